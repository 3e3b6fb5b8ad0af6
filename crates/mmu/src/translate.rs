//! The front door: TLB, else walk and fill.
//!
//! [`Mmu::translate`] is on the path of every instruction; what it inlines is one look at
//! the TLB's front. All else is out of line.
//!
//! Modelled: a TLB entry serves an access it allows, however stale. An entry that does not
//! allow the access, or has D clear when the access is a write, is dropped and the
//! tables are walked. A walk begins after the deepest entry the paging-structure caches keep,
//! however stale; if that ends in a #PF, the entries it used are dropped and it is made again from the
//! root. So a #PF always tells of the tables as they are now, and never comes again because of
//! something cached that is older than they are.
//!
//! **Spec:** SDM 3A "Details of TLB Use": a translation may come from an entry. "Optional
//! Invalidation": a processor may also fault on an entry whose rights the tables have since
//! widened, and so deliver a #PF that recurs no more; it may drop any entry
//! at any time, too, and dropping this one first is our choice.

use crate::invalidate::{Invalidation, Invpcid, by_mov_cr0, by_mov_cr3, by_mov_cr4};
use crate::pcache::PagingStructureCaches;
use crate::peek::{PeekResult, peek};
use crate::regs::{Accessor, PagingRegs, ReservedPdpte, identity, read_pdptes};
use crate::rights::AccessMatrix;
use crate::tlb::{Tlb, TlbEntry};
use crate::walk::{Found, Start, WalkFault, Walked, walk};
use memory::Ram;
use x86::control::{Cr0, Cr4, Efer, Pkru};
use x86::fault::Access;
use x86::paging::{Format, PageSize, PatIndex};
use x86::{PhysAddr, VirtAddr};

/// An access that may go ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// Where it goes.
    pub pa: PhysAddr,
    /// Which field of IA32_PAT tells the memory type; 0 with paging off. Nothing is timed by it.
    pub pat: PatIndex,
    /// What it took to know.
    pub walk: Walked,
}

/// The MMU of one processor.
#[derive(Clone, Debug)]
pub struct Mmu {
    regs: PagingRegs,
    /// The rights under `regs`; rebuilt with them.
    matrix: AccessMatrix,
    tlb: Tlb,
    pcache: PagingStructureCaches,
}

impl Mmu {
    /// An MMU as RESET leaves it, with physical addresses of `maxphyaddr` bits.
    ///
    /// # Panics
    ///
    /// If `maxphyaddr` is not between 36 and 52.
    #[must_use]
    pub fn new(maxphyaddr: u32) -> Self {
        assert!(
            (36..=x86::addr::PHYS_BITS).contains(&maxphyaddr),
            "MAXPHYADDR is {maxphyaddr}"
        );
        let regs = PagingRegs::after_reset(maxphyaddr);
        Self {
            regs,
            matrix: AccessMatrix::new(&regs),
            tlb: Tlb::new(),
            pcache: PagingStructureCaches::new(),
        }
    }

    /// The registers as they stand.
    #[must_use]
    pub const fn regs(&self) -> &PagingRegs {
        &self.regs
    }

    /// Translates `va` for one access; walks and fills the TLB if no entry serves it.
    ///
    /// An access that crosses a page is two translations, both before any byte moves: the CPU's business.
    ///
    /// # Errors
    ///
    /// [`WalkFault`]: the #PF to deliver. The TLB no longer holds the page; the tables are as they were.
    #[inline]
    pub fn translate(
        &mut self,
        ram: &Ram,
        va: VirtAddr,
        access: Access,
        who: Accessor,
    ) -> Result<Translation, WalkFault> {
        if let Some((frame, pat)) = self.tlb.front(va, access, who) {
            let pa = frame.add(va.offset_in(PageSize::Size4K.bytes()));
            return Ok(Translation {
                pa,
                pat,
                walk: Walked::HIT,
            });
        }
        self.translate_beyond_front(ram, va, access, who)
    }

    #[inline(never)]
    fn translate_beyond_front(
        &mut self,
        ram: &Ram,
        va: VirtAddr,
        access: Access,
        who: Accessor,
    ) -> Result<Translation, WalkFault> {
        let Some(format) = self.regs.format() else {
            return Ok(Translation {
                pa: identity(va),
                pat: PatIndex::ZERO,
                walk: Walked::HIT,
            });
        };
        if let Some(page) = self.tlb.find(va) {
            let kinds = self.matrix.kinds(&page);
            if kinds.contains(access, who) {
                self.tlb.promote(va, access, &page, kinds);
                return Ok(translation(va, &page, Walked::HIT));
            }
        }
        self.walk_and_fill(ram, format, va, access, who)
    }

    /// Walks and keeps the result.
    ///
    /// What the TLB holds for `va` goes first. That is what a #PF does to it; and if there
    /// is none, the new entry takes its place.
    fn walk_and_fill(
        &mut self,
        ram: &Ram,
        format: Format,
        va: VirtAddr,
        access: Access,
        who: Accessor,
    ) -> Result<Translation, WalkFault> {
        self.tlb.remove(va);
        let found = self.walk_from_deepest(ram, format, va, access, who)?;
        for step in found.descent.steps().iter().skip(1) {
            self.pcache.fill(format, va, step.from);
        }
        self.tlb.fill(va, found.page);
        let kinds = self.matrix.kinds(&found.page);
        self.tlb.promote(va, access, &found.page, kinds);
        Ok(translation(va, &found.page, found.walk))
    }

    /// Walks from the deepest entry the paging-structure caches keep; if that comes to a #PF, from the root.
    fn walk_from_deepest(
        &mut self,
        ram: &Ram,
        format: Format,
        va: VirtAddr,
        access: Access,
        who: Accessor,
    ) -> Result<Found, WalkFault> {
        let walk = |regs: &PagingRegs, start: Option<Start>| {
            walk(ram, regs, format, start, va, access, who)
        };
        let deepest = self.pcache.find(format, va);
        let root = self.regs.root(format, va);
        if deepest.is_none() {
            return walk(&self.regs, root);
        }
        let shortened = walk(&self.regs, deepest);
        let Err(WalkFault { walk: before, .. }) = shortened else {
            return shortened;
        };
        self.pcache.remove(self.regs.pcid(), format, va);
        match walk(&self.regs, root) {
            Ok(found) => Ok(Found {
                walk: found.walk.after(before),
                ..found
            }),
            Err(WalkFault { fault, walk }) => Err(WalkFault {
                fault,
                walk: walk.after(before),
            }),
        }
    }

    /// MOV to CR0: sets the register and removes what that removes. The CPU has checked the value.
    pub fn write_cr0(&mut self, value: Cr0) {
        let removes = by_mov_cr0(self.regs.cr0, value);
        self.regs.cr0 = value;
        self.update(removes);
    }

    /// MOV to CR3. The CPU has checked the value; bit 63 of it counts under CR4.PCIDE.
    pub fn write_cr3(&mut self, value: u64) {
        let removes = by_mov_cr3(&self.regs, value);
        self.regs.cr3 = self.regs.cr3_after(value);
        self.switch_context(removes);
    }

    /// MOV to CR4. The CPU has checked the value.
    pub fn write_cr4(&mut self, value: Cr4) {
        let removes = by_mov_cr4(&self.regs, value);
        self.regs.cr4 = value;
        self.update(removes);
    }

    /// WRMSR to IA32_EFER, and the processor's own changes of LMA. Removes nothing.
    pub fn write_efer(&mut self, value: Efer) {
        self.regs.efer = value;
        self.update(Invalidation::Nothing);
    }

    /// WRPKRU, and XRSTOR of PKRU. Removes nothing.
    pub fn write_pkru(&mut self, value: Pkru) {
        self.regs.pkru = value;
        self.matrix.update_pkru(&self.regs);
        self.tlb.forget_kinds();
    }

    /// Loads the PDPTE registers from the table at `cr3`, as MOV to CR3 does under PAE paging,
    /// and MOV to CR0 and CR4 where [`PagingRegs::reloads_pdptes`]. The CPU does this before the write.
    ///
    /// # Errors
    ///
    /// [`ReservedPdpte`]: #GP(0); the registers are as they were.
    pub fn load_pdptes(&mut self, ram: &Ram, cr3: u64) -> Result<(), ReservedPdpte> {
        self.regs.pdptes = read_pdptes(ram, cr3, self.regs.maxphyaddr)?;
        Ok(())
    }

    /// After a change of registers: tabulates the rights, goes on with the PCID in use, removes what is to go.
    fn update(&mut self, removes: Invalidation) {
        let matrix = AccessMatrix::new(&self.regs);
        if matrix != self.matrix {
            self.matrix = matrix;
            self.tlb.forget_kinds();
        }
        self.switch_context(removes);
    }

    fn switch_context(&mut self, removes: Invalidation) {
        self.tlb.switch_to(self.regs.pcid());
        self.pcache.switch_to(self.regs.pcid());
        removes.apply(&mut self.tlb, &mut self.pcache);
    }

    /// INVLPG of an address in the page to forget.
    pub fn invlpg(&mut self, va: VirtAddr) {
        self.tlb.remove(va);
        self.pcache.flush(self.regs.pcid());
    }

    /// INVPCID. The CPU has checked type and descriptor.
    pub fn invpcid(&mut self, what: Invpcid) {
        let removes = match what {
            Invpcid::Address(pcid, va) => {
                self.tlb.remove_local(pcid, va);
                if let Some(format) = self.regs.format() {
                    self.pcache.remove(pcid, format, va);
                }
                return;
            }
            Invpcid::SingleContext(pcid) => Invalidation::Local(pcid),
            Invpcid::AllContextsAndGlobal => Invalidation::All,
            Invpcid::AllContexts => Invalidation::AllLocal,
        };
        removes.apply(&mut self.tlb, &mut self.pcache);
    }

    /// RESET or INIT: registers and TLB as at power-up, PKRU as it was.
    ///
    /// INIT leaves PKRU alone, and at RESET a processor is made anew.
    pub fn reset(&mut self) {
        self.regs = PagingRegs {
            pkru: self.regs.pkru,
            ..PagingRegs::after_reset(self.regs.maxphyaddr)
        };
        self.update(Invalidation::All);
    }

    /// What the TLB holds for `va`, without touching anything: for debuggers, traces and tests.
    #[must_use]
    pub fn probe_tlb(&self, va: VirtAddr) -> Option<TlbEntry> {
        self.tlb.find(va)
    }

    /// What the paging-structure caches hold for `va`: where a walk would begin, if not at the root.
    #[must_use]
    pub fn probe_pcache(&self, va: VirtAddr) -> Option<Start> {
        self.pcache.find(self.regs.format()?, va)
    }

    /// What the tables say of `va`, without TLB, rights, A or D: for debuggers and tests.
    ///
    /// [`peek_cr3`](crate::peek_cr3) does the same for tables no processor is using.
    #[must_use]
    pub fn peek(ram: &Ram, regs: &PagingRegs, va: VirtAddr) -> PeekResult {
        peek(ram, regs, va)
    }
}

/// `va` in `page`, known by `walk`.
const fn translation(va: VirtAddr, page: &TlbEntry, walk: Walked) -> Translation {
    Translation {
        pa: page.translate(va),
        pat: page.pat,
        walk,
    }
}

#[cfg(test)]
mod tests;
