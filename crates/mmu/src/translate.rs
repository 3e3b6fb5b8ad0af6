//! The front door: TLB, else walk and fill.
//!
//! [`Mmu::translate`] is on the path of every instruction; what it inlines is one look at
//! the TLB's front and one shift of the rights' matrix. All else is out of line.
//!
//! Modelled: a TLB entry serves an access it allows, however stale. An entry that does not
//! allow the access, or has D clear when the access is a write, is dropped and the
//! tables are walked. So a #PF always tells of the tables as they are now, and never
//! comes again because of an entry older than they are.
//!
//! **Spec:** SDM 3A "Details of TLB Use": a translation may come from an entry. "Optional
//! Invalidation": a processor may also fault on an entry whose rights the tables have since
//! widened, and so deliver a #PF that recurs no more; it may drop any entry
//! at any time, too, and dropping this one first is our choice.

use crate::invalidate::{Invalidation, by_mov_cr0, by_mov_cr3, by_mov_cr4};
use crate::peek::{PeekResult, peek};
use crate::regs::{Accessor, PagingMode, PagingRegs, identity};
use crate::rights::AccessMatrix;
use crate::tlb::{Tlb, TlbEntry};
use crate::walk::{TlbOutcome, WalkFault, Walked, request_code, walk};
use memory::Ram;
use x86::control::{Cr0, Cr4, Efer};
use x86::fault::Access;
use x86::paging::PageSize;
use x86::{PageFault, PhysAddr, VirtAddr};

/// An access that may go ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// Where it goes.
    pub pa: PhysAddr,
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
        if let Some((frame, rights)) = self.tlb.front(va, access)
            && self.matrix.serves(rights, access, who)
        {
            let pa = frame.add(va.offset_in(PageSize::Size4K.bytes()));
            return Ok(Translation {
                pa,
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
        match self.regs.mode() {
            PagingMode::None => Ok(Translation {
                pa: identity(va),
                walk: Walked::HIT,
            }),
            PagingMode::Unsupported => Err(self.unsupported(va, access, who)),
            PagingMode::FourLevel => match self.tlb.find(va) {
                Some(page) if self.matrix.serves(page.rights, access, who) => {
                    self.tlb.promote(va, access, &page);
                    Ok(Translation {
                        pa: page.translate(va),
                        walk: Walked::HIT,
                    })
                }
                _ => self.walk_and_fill(ram, va, access, who),
            },
        }
    }

    /// Walks and keeps the result.
    ///
    /// What the TLB holds for `va` goes first. That is what a #PF does to it; and if there
    /// is none, the new entry takes its place.
    fn walk_and_fill(
        &mut self,
        ram: &Ram,
        va: VirtAddr,
        access: Access,
        who: Accessor,
    ) -> Result<Translation, WalkFault> {
        self.tlb.remove(va);
        let (page, walk) = walk(ram, &self.regs, va, access, who)?;
        self.tlb.fill(va, page);
        self.tlb.promote(va, access, &page);
        Ok(Translation {
            pa: page.translate(va),
            walk,
        })
    }

    // DEPARTS: 32-bit and PAE paging map nothing: every access finds its page not present.
    fn unsupported(&self, va: VirtAddr, access: Access, who: Accessor) -> WalkFault {
        let code = request_code(&self.regs, access, who.privilege);
        let walk = Walked {
            hit: TlbOutcome::Miss,
            steps: 0,
            ad_updates: 0,
        };
        WalkFault {
            fault: PageFault { linear: va, code },
            walk,
        }
    }

    /// MOV to CR0: sets the register and removes what that removes. The CPU has checked the value.
    pub fn write_cr0(&mut self, value: Cr0) {
        let removes = by_mov_cr0(self.regs.cr0, value);
        self.set(
            PagingRegs {
                cr0: value,
                ..self.regs
            },
            removes,
        );
    }

    /// MOV to CR3.
    pub fn write_cr3(&mut self, value: u64) {
        self.set(
            PagingRegs {
                cr3: value,
                ..self.regs
            },
            by_mov_cr3(),
        );
    }

    /// MOV to CR4. The CPU has checked the value.
    pub fn write_cr4(&mut self, value: Cr4) {
        let removes = by_mov_cr4(self.regs.cr4, value);
        self.set(
            PagingRegs {
                cr4: value,
                ..self.regs
            },
            removes,
        );
    }

    /// WRMSR to IA32_EFER, and the processor's own changes of LMA. Removes nothing.
    pub fn write_efer(&mut self, value: Efer) {
        self.set(
            PagingRegs {
                efer: value,
                ..self.regs
            },
            Invalidation::Nothing,
        );
    }

    fn set(&mut self, regs: PagingRegs, removes: Invalidation) {
        self.regs = regs;
        self.matrix = AccessMatrix::new(&regs);
        removes.apply(&mut self.tlb);
    }

    /// INVLPG of an address in the page to forget.
    pub fn invlpg(&mut self, va: VirtAddr) {
        self.tlb.remove(va);
    }

    /// RESET or INIT: registers and TLB as at power-up.
    pub fn reset(&mut self) {
        self.set(
            PagingRegs::after_reset(self.regs.maxphyaddr),
            Invalidation::All,
        );
    }

    /// What the TLB holds for `va`, without touching anything: for debuggers, traces and tests.
    #[must_use]
    pub fn probe_tlb(&self, va: VirtAddr) -> Option<TlbEntry> {
        self.tlb.find(va)
    }

    /// What the tables say of `va`, without TLB, rights, A or D: for debuggers and tests.
    ///
    /// [`peek_cr3`](crate::peek_cr3) does the same for tables no processor is using.
    #[must_use]
    pub fn peek(ram: &Ram, regs: &PagingRegs, va: VirtAddr) -> PeekResult {
        peek(ram, regs, va)
    }
}

#[cfg(test)]
mod tests;
