//! Paging-structure caches: upper-level entries kept so that a walk begins further down.
//!
//! | Cache | Looked up by | What it keeps | Where the walk goes on |
//! |---|---|---|---|
//! | PML4E | bits 47:39 | R/W, U/S, XD of the PML4E | PDPT |
//! | PDPTE | bits 47:30 | those of PML4E and PDPTE together | page directory |
//! | PDE | bits 47:21, in 32-bit paging 31:22 | those of all three together | page table |
//!
//! An entry is kept if it led a walk to a page, so its P and A are 1 (the walk set A),
//! and never if it maps one: then the TLB has it. What is kept goes on being
//! used whatever a store makes of the entry in memory, until [`invalidate`](crate::invalidate)
//! or capacity ends that. Tagged by PCID; no entry is global.
//!
//! Modelled: all three caches in 4-level paging, the PDE cache in 32-bit and PAE paging,
//! each with sets of [`WAYS`] ways, first in first out.
//! Not modelled: entries kept by walks that end in a #PF, or ahead of need.
//!
//! **Spec:** SDM 3A "Paging-Structure Caches".

use crate::epoch::{Epoch, Epochs};
use crate::rights::Rights;
use crate::walk::Start;
use x86::paging::Format;
use x86::{Level, Pcid, PhysAddr, VirtAddr};

/// Entries that share a set.
pub const WAYS: usize = 4;
/// Sets of the PDE cache: 32 entries.
pub const SETS_PDE: usize = 8;
/// Sets of the PDPTE cache: 4 entries.
pub const SETS_PDPTE: usize = 1;
/// Sets of the PML4E cache: 4 entries.
pub const SETS_PML4E: usize = 1;

/// Place for one entry.
#[derive(Clone, Copy, Debug)]
struct Slot {
    number: u64,
    epoch: Epoch,
    pcid: Pcid,
    start: Start,
}

const EMPTY: Slot = Slot {
    number: 0,
    epoch: Epoch::NEVER,
    pcid: Pcid::ZERO,
    start: Start {
        level: Level::Pt,
        table: PhysAddr::new(0),
        rights: Rights::empty(),
    },
};

/// The tables whose entries are kept, deepest first.
const KEPT: [Level; 3] = [Level::Pd, Level::Pdpt, Level::Pml4];

/// The paging-structure caches of one processor.
#[derive(Clone, Debug)]
pub struct PagingStructureCaches {
    /// Sets for PDEs, then PDPTEs, then PML4Es.
    sets: Box<[[Slot; WAYS]]>,
    epochs: Epochs,
}

impl Default for PagingStructureCaches {
    fn default() -> Self {
        Self::new()
    }
}

impl PagingStructureCaches {
    /// Caches that hold nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            sets: vec![[EMPTY; WAYS]; SETS_PDE + SETS_PDPTE + SETS_PML4E].into_boxed_slice(),
            epochs: Epochs::new(),
        }
    }

    /// Where a walk for `va` may begin: after the deepest entry kept.
    #[must_use]
    pub fn find(&self, format: Format, va: VirtAddr) -> Option<Start> {
        KEPT.into_iter().find_map(|level| {
            let (set, number) = place(format, level, va);
            let live = |slot: &&Slot| slot.number == number && slot.epoch == self.epochs.current();
            Some(self.sets[set].iter().find(live)?.start)
        })
    }

    /// Keeps the entry of the table above `start` that led there for `va`; the oldest of its set makes room.
    ///
    /// The caller's walk read that entry, so it was not here.
    pub(crate) fn fill(&mut self, format: Format, va: VirtAddr, start: Start) {
        let level = above(start.level);
        let (set, number) = place(format, level, va);
        let free = self.sets[set].iter().position(|slot| !self.is_live(slot));
        let set = &mut self.sets[set];
        set[..=free.unwrap_or(WAYS - 1)].rotate_right(1);
        set[0] = Slot {
            number,
            epoch: self.epochs.current(),
            pcid: self.epochs.pcid(),
            start,
        };
    }

    /// Removes every entry of `pcid` that a walk for `va` would use.
    pub(crate) fn remove(&mut self, pcid: Pcid, format: Format, va: VirtAddr) {
        let Some(epoch) = self.epochs.of(pcid) else {
            return;
        };
        for level in KEPT {
            let (set, number) = place(format, level, va);
            self.sets[set]
                .iter_mut()
                .filter(|slot| slot.number == number && slot.epoch == epoch)
                .for_each(|slot| *slot = EMPTY);
        }
    }

    /// Goes on with the entries of `pcid`.
    pub(crate) fn switch_to(&mut self, pcid: Pcid) {
        self.epochs.switch_to(pcid);
    }

    /// Removes every entry of `pcid`.
    pub(crate) fn flush(&mut self, pcid: Pcid) {
        self.epochs.end(pcid);
    }

    /// Removes every entry.
    pub(crate) fn flush_all(&mut self) {
        self.epochs.end_all();
    }

    fn is_live(&self, slot: &Slot) -> bool {
        self.epochs.of(slot.pcid) == Some(slot.epoch)
    }
}

/// The table whose entries point at the table `level`.
const fn above(level: Level) -> Level {
    match level {
        Level::Pt => Level::Pd,
        Level::Pd => Level::Pdpt,
        Level::Pdpt | Level::Pml4 => Level::Pml4,
    }
}

/// The set in which the entry for `va` of the table `level` is kept, and its number.
const fn place(format: Format, level: Level, va: VirtAddr) -> (usize, u64) {
    let number = va.get() / format.span_bytes(level);
    let (first, sets) = match level {
        Level::Pt | Level::Pd => (0, SETS_PDE),
        Level::Pdpt => (SETS_PDE, SETS_PDPTE),
        Level::Pml4 => (SETS_PDE + SETS_PDPTE, SETS_PML4E),
    };
    (first + crate::tlb::remainder(number, sets), number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::va;

    const FORMAT: Format = Format::FourLevel;

    fn start(level: Level, table: u64) -> Start {
        Start {
            level,
            table: PhysAddr::new(table << 12),
            rights: Rights::WIDEST,
        }
    }

    /// The address that uses entry `n` of the table `level`, all of them in one set.
    fn at(level: Level, n: u64) -> VirtAddr {
        let sets = if level == Level::Pd { SETS_PDE } else { 1 };
        va(n * sets as u64 * level.span_bytes())
    }

    #[test]
    fn the_deepest_entry_that_covers_the_address_is_found() {
        let mut caches = PagingStructureCaches::new();
        for (level, table) in [(Level::Pdpt, 1), (Level::Pd, 2), (Level::Pt, 3)] {
            caches.fill(FORMAT, va(0x1000), start(level, table));
        }
        for (address, found) in [
            (0, Some(start(Level::Pt, 3))),
            (2 << 20, Some(start(Level::Pd, 2))),
            (1 << 30, Some(start(Level::Pdpt, 1))),
            (1 << 39, None),
        ] {
            assert_eq!(caches.find(FORMAT, va(address)), found, "{address:#x}");
        }
    }

    #[test]
    fn the_oldest_entry_of_a_full_set_falls_out_and_dead_ones_first() {
        for (of, next) in [
            (Level::Pml4, Level::Pdpt),
            (Level::Pdpt, Level::Pd),
            (Level::Pd, Level::Pt),
        ] {
            let mut caches = PagingStructureCaches::new();
            let kept = |caches: &PagingStructureCaches| -> Vec<bool> {
                let found = |n| caches.find(FORMAT, at(of, n)).is_some();
                (0..=WAYS as u64).map(found).collect()
            };
            (0..=WAYS as u64).for_each(|n| caches.fill(FORMAT, at(of, n), start(next, n)));
            assert_eq!(kept(&caches), [false, true, true, true, true], "{of:?}");
            caches.remove(Pcid::ZERO, FORMAT, at(of, 3));
            caches.fill(FORMAT, at(of, 0), start(next, 0));
            assert_eq!(kept(&caches), [true, true, true, false, true], "{of:?}");
        }
    }

    #[test]
    fn entries_of_another_pcid_take_room_but_are_not_found() {
        let mut caches = PagingStructureCaches::new();
        caches.fill(FORMAT, va(0), start(Level::Pdpt, 1));
        caches.switch_to(Pcid::truncate(9));
        assert_eq!(caches.find(FORMAT, va(0)), None);
        (0..WAYS as u64)
            .for_each(|n| caches.fill(FORMAT, at(Level::Pml4, n), start(Level::Pdpt, n)));
        caches.switch_to(Pcid::ZERO);
        assert_eq!(caches.find(FORMAT, va(0)), None, "it fell out");
    }

    #[test]
    fn an_entry_of_32_bit_paging_covers_4_mib() {
        let mut caches = PagingStructureCaches::new();
        caches.fill(Format::Bits32, va(0x40_0000), start(Level::Pt, 1));
        let covers = |address| caches.find(Format::Bits32, va(address)).is_some();
        let found = [0x3f_ffff, 0x40_0000, 0x7f_ffff, 0x80_0000].map(covers);
        assert_eq!(found, [false, true, true, false]);
    }
}
