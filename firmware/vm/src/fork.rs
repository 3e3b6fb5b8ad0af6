//! fork: the child's page tables, and what becomes of each page.
//!
//! In two passes. The first takes all memory the child needs, tables and copies, and
//! touches nothing of the parent; if it fails, releasing the child is the whole undo.
//! The second cannot fail.
//!
//! ```text
//!              before        Share               CopyNow
//!    parent    PTE RW ─▶ F   PTE R ──▶ F         PTE RW ─▶ F   (R while it is copied)
//!    child                   PTE R ──▶ F         PTE RW ─▶ F′
//!    F         rc 1  mc 1    rc 2  mc 2          rc 2  mc 1    (the other reference is GUP's)
//! ```

use crate::area::{Area, ForkAdvice, Sharing};
use crate::frame::{Frame, OutOfMemory};
use crate::hardware::Hardware;
use crate::memory::Memory;
use crate::policy::{Fork, FrameState};
use crate::pte::Pte;
use crate::space::AddressSpace;
use crate::table::{self, Span, Tables};
use alloc::vec::Vec;
use x86::{Bits, Level, PhysAddr, VirtAddr};

/// What one fork did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForkStats {
    /// Entries the child got on frames of the parent.
    pub ptes_shared: u64,
    /// Pages copied for the child.
    pub pages_copied: u64,
}

/// What decides about private pages, and the frames it will need.
struct Copies {
    /// `None` shares every page without a look.
    rule: Option<fn(FrameState) -> Fork>,
    reserved: Vec<Frame>,
}

/// One page, seen from both sides.
struct Pair {
    va: VirtAddr,
    parent_at: PhysAddr,
    child_at: PhysAddr,
}

impl AddressSpace {
    /// Makes a copy of the address space for a child.
    ///
    /// Stores of other threads of the parent can reach shared frames through TLB entries
    /// that are still writable until the one flush at the end; the child sees them, and the
    /// moment of the flush is the moment of the snapshot. A page that is *copied* has no
    /// such moment later, so it is flushed on its own before the copy.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`]; the parent and all counts are as before.
    pub fn fork<H: Hardware>(
        &mut self,
        mem: &mut Memory<H>,
    ) -> Result<(Self, ForkStats), OutOfMemory> {
        let kernel_half = self.kernel_half(&mem.hw);
        let mut child = Self::new(mem, &kernel_half)?;
        let Ok(mut copies) = self.reserve(mem, &child) else {
            child.release(mem);
            return Err(OutOfMemory);
        };
        let mut stats = ForkStats::default();
        for area in self.areas.iter().filter(is_inherited) {
            child
                .areas
                .insert(area)
                .expect("no more areas than the parent has");
            let mut tables = Tables::new(self.root, area.range);
            while let Some(span) = tables.next(&mem.hw) {
                let forked = self.fork_table(mem, &child, &area, span, &mut copies);
                stats.ptes_shared += forked.ptes_shared;
                stats.pages_copied += forked.pages_copied;
            }
        }
        mem.hw.flush_space(self.id);
        child.resident_pages = stats.ptes_shared + stats.pages_copied;
        mem.stats.fork_copies += stats.pages_copied;
        Ok((child, stats))
    }

    /// First pass: the child's tables, and a frame for each page that will be copied.
    fn reserve<H: Hardware>(
        &self,
        mem: &mut Memory<H>,
        child: &Self,
    ) -> Result<Copies, OutOfMemory> {
        let mut copies = Copies {
            // While no frame bears PG_gup nothing can ask for a copy.
            rule: mem.policy.on_fork.filter(|_| mem.frames.marked() > 0),
            reserved: Vec::new(),
        };
        for area in self.areas.iter().filter(is_inherited) {
            let mut tables = Tables::new(self.root, area.range);
            while let Some(span) = tables.next(&mem.hw) {
                let reserved = table::ensure(mem, child.root, span.range.start())
                    .and_then(|_| copies.reserve(mem, &area, span));
                if reserved.is_err() {
                    copies.give_back(mem);
                    return Err(OutOfMemory);
                }
            }
        }
        Ok(copies)
    }

    /// Second pass, for the pages of one page table.
    fn fork_table<H: Hardware>(
        &self,
        mem: &mut Memory<H>,
        child: &Self,
        area: &Area,
        span: Span,
        copies: &mut Copies,
    ) -> ForkStats {
        let child_at = table::find(&mem.hw, child.root, span.range.start());
        let child_table = child_at.expect("made in the first pass").frame_base();
        let mut stats = ForkStats::default();
        for va in span.range.pages() {
            let pair = Pair {
                va,
                parent_at: table::entry_at(span.table, Level::Pt, va),
                child_at: table::entry_at(child_table, Level::Pt, va),
            };
            let pte = Pte(mem.hw.load_entry(pair.parent_at));
            if !pte.is_present() {
                continue;
            }
            if copies.decide(mem, area, pte) == Fork::CopyNow {
                let new = copies.reserved.pop().expect("reserved in the first pass");
                self.copy_for_child(mem, area, &pair, new);
                stats.pages_copied += 1;
            } else {
                share_with_child(mem, area, &pair);
                stats.ptes_shared += 1;
            }
        }
        stats
    }

    /// Copies one page while nobody can write it, then lets the parent write again.
    ///
    /// Without the flush another thread of the parent could store during the copy, and the
    /// child would see words of one page from different times.
    fn copy_for_child<H: Hardware>(
        &self,
        mem: &mut Memory<H>,
        area: &Area,
        pair: &Pair,
        new: Frame,
    ) {
        let writable = Bits::RW.bits();
        let old = Pte(mem.hw.fetch_and_entry(pair.parent_at, !writable));
        if old.is_writable() {
            mem.hw.flush_page(self.id, pair.va);
        }
        mem.hw.copy_frame(old.frame(), new);
        mem.frames.add_rmap(new);
        mem.hw
            .store_entry(pair.child_at, Pte::user(new, area.prot).0);
        if old.is_writable() {
            mem.hw.fetch_or_entry(pair.parent_at, writable);
        }
    }
}

/// Maps the parent's frame in the child too. A private page becomes read-only on both
/// sides, without a flush: see [`AddressSpace::fork`].
fn share_with_child<H: Hardware>(mem: &mut Memory<H>, area: &Area, pair: &Pair) {
    let kept = match area.sharing {
        Sharing::Private => !Bits::RW.bits(),
        Sharing::Shared => !0,
    };
    let old = mem.hw.load_entry(pair.parent_at);
    let old = if old & kept == old {
        old
    } else {
        mem.hw.fetch_and_entry(pair.parent_at, kept)
    };
    let inherited = Pte(old & kept).without(Bits::A);
    mem.frames.get(inherited.frame());
    mem.frames.add_rmap(inherited.frame());
    mem.hw.store_entry(pair.child_at, inherited.0);
}

fn is_inherited(area: &Area) -> bool {
    area.advice == ForkAdvice::DoFork
}

impl Copies {
    /// What fork does with one present page. The same in both passes: a private frame is
    /// mapped once per address space, so no other page's turn changes its counts.
    fn decide<H: Hardware>(&self, mem: &Memory<H>, area: &Area, pte: Pte) -> Fork {
        match (area.sharing, self.rule) {
            (Sharing::Private, Some(rule)) => rule(mem.frames.state(pte.frame())),
            _ => Fork::Share,
        }
    }

    /// Takes a frame for each page of `span` that will be copied.
    fn reserve<H: Hardware>(
        &mut self,
        mem: &mut Memory<H>,
        area: &Area,
        span: Span,
    ) -> Result<(), OutOfMemory> {
        if self.rule.is_none() {
            return Ok(());
        }
        for va in span.range.pages() {
            let at = table::entry_at(span.table, Level::Pt, va);
            let pte = Pte(mem.hw.load_entry(at));
            if pte.is_present() && self.decide(mem, area, pte) == Fork::CopyNow {
                self.reserved.try_reserve(1).map_err(|_| OutOfMemory)?;
                self.reserved.push(mem.frames.alloc()?);
            }
        }
        Ok(())
    }

    fn give_back<H: Hardware>(self, mem: &mut Memory<H>) {
        for frame in self.reserved {
            mem.frames.put(frame);
        }
    }
}
