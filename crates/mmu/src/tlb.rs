//! The TLB: translations kept until capacity or a named operation removes them.
//!
//! One level, for instructions and data alike, divided by page size: a 2 MiB page is one
//! entry. Sets of [`WAYS`] ways, first in first out, so that what falls out, and when, is
//! the same on every run.
//!
//! Removing everything costs as little as removing nothing: an entry bears the *epoch* it was made
//! in, and a flush begins the next one. Global entries have an epoch of their own.
//!
//! Before the sets stands the *front*, direct-mapped by 4 KiB page, instructions apart from
//! data. It is there for the host's speed and the guest cannot tell: it holds copies
//! of entries in the sets and is emptied whenever one of those goes.
//!
//! Modelled: G, page sizes, staleness, capacity. Not modelled: PCIDs, a second level,
//! entries a processor drops or makes of its own accord.
//!
//! **Spec:** SDM 3A "Translation Lookaside Buffers (TLBs)".

use crate::rights::Rights;
use x86::fault::Access;
use x86::paging::PageSize;
use x86::{PhysAddr, VirtAddr};

/// Entries that share a set.
pub const WAYS: usize = 4;
/// Sets for 4 KiB pages: 1024 entries, 4 MiB of reach.
pub const SETS_4K: usize = 256;
/// Sets for 2 MiB pages: 128 entries.
pub const SETS_2M: usize = 32;
/// Sets for 1 GiB pages: 16 entries.
pub const SETS_1G: usize = 4;

/// Slots on each side of the front.
const FRONT_SLOTS: usize = 128;

/// One translation as the TLB keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TlbEntry {
    /// First byte of the page.
    pub base: PhysAddr,
    /// Its size.
    pub size: PageSize,
    /// What all levels together allowed, and D of the leaf, when it was cached.
    pub rights: Rights,
    /// The leaf had G set, and CR4.PGE was on.
    pub global: bool,
}

impl TlbEntry {
    /// The physical address of `va`, which lies in this page.
    #[must_use]
    pub const fn translate(&self, va: VirtAddr) -> PhysAddr {
        self.base.add(va.offset_in(self.size.bytes()))
    }
}

/// When an entry was made, counted in flushes. Never comes round again: 2^64 flushes are out of reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Epoch(u64);

impl Epoch {
    /// The epoch of slots never used.
    const NEVER: Self = Self(0);
}

/// Place for one entry in a set.
#[derive(Clone, Copy, Debug)]
struct Slot {
    number: u64,
    epoch: Epoch,
    page: TlbEntry,
}

const EMPTY: Slot = Slot {
    number: 0,
    epoch: Epoch::NEVER,
    page: TlbEntry {
        base: PhysAddr::new(0),
        size: PageSize::Size4K,
        rights: Rights::empty(),
        global: false,
    },
};

const SIZES: [PageSize; 3] = [PageSize::Size4K, PageSize::Size2M, PageSize::Size1G];

/// The translations one processor keeps.
#[derive(Clone)]
pub struct Tlb {
    front: Front,
    /// Sets for 4 KiB, then 2 MiB, then 1 GiB pages.
    sets: Box<[[Slot; WAYS]]>,
    /// Entries that are not global are live if made in this epoch…
    epoch: Epoch,
    /// …and global ones if made in this.
    global_epoch: Epoch,
    newest: u64,
}

impl std::fmt::Debug for Tlb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let live = self.sets.iter().flatten().filter(|slot| self.is_live(slot));
        f.debug_list().entries(live).finish()
    }
}

impl Default for Tlb {
    fn default() -> Self {
        Self::new()
    }
}

impl Tlb {
    /// A TLB that holds nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            front: Front::new(),
            sets: vec![[EMPTY; WAYS]; SETS_4K + SETS_2M + SETS_1G].into_boxed_slice(),
            epoch: Epoch(1),
            global_epoch: Epoch(2),
            newest: 2,
        }
    }

    /// What the front holds for `va`: the 4 KiB frame and its rights.
    #[inline]
    #[must_use]
    pub(crate) fn front(&self, va: VirtAddr, access: Access) -> Option<(PhysAddr, Rights)> {
        self.front.find(va, access)
    }

    /// The entry for `va`, if there is one. Changes nothing.
    ///
    /// Entries of several sizes can cover `va` if the tables changed under them; the
    /// smallest is used. The manual leaves the choice open.
    #[must_use]
    pub fn find(&self, va: VirtAddr) -> Option<TlbEntry> {
        SIZES.into_iter().find_map(|size| {
            let slot = self.sets[set_index(va, size)]
                .iter()
                .find(|s| self.matches(s, va, size))?;
            Some(slot.page)
        })
    }

    /// Copies `page`, which the sets hold for `va`, to the front for the next access like this one.
    pub(crate) fn promote(&mut self, va: VirtAddr, access: Access, page: &TlbEntry) {
        self.front.put(va, access, page);
    }

    /// Keeps `page` for `va`; the oldest entry of its set makes room.
    ///
    /// The caller has removed what was there for `va`: no two entries of a size share a page.
    pub(crate) fn fill(&mut self, va: VirtAddr, page: TlbEntry) {
        debug_assert_eq!(self.find(va), None, "two entries for {va:?}");
        let epoch = if page.global {
            self.global_epoch
        } else {
            self.epoch
        };
        let index = set_index(va, page.size);
        let free = self.sets[index].iter().position(|slot| !self.is_live(slot));
        if free.is_none() {
            self.front.clear();
        }
        let set = &mut self.sets[index];
        set[..=free.unwrap_or(WAYS - 1)].rotate_right(1);
        set[0] = Slot {
            number: page_number(va, page.size),
            epoch,
            page,
        };
    }

    /// Removes every entry whose page contains `va`, global or not.
    pub fn remove(&mut self, va: VirtAddr) {
        for size in SIZES {
            let found = self.sets[set_index(va, size)]
                .iter()
                .position(|s| self.matches(s, va, size));
            if let Some(way) = found {
                self.sets[set_index(va, size)][way] = EMPTY;
                self.front.clear();
            }
        }
    }

    /// Removes every entry that is not global.
    pub fn flush_non_global(&mut self) {
        self.epoch = self.next_epoch();
        self.front.clear();
    }

    /// Removes every entry.
    pub fn flush_all(&mut self) {
        self.flush_non_global();
        self.global_epoch = self.next_epoch();
    }

    fn next_epoch(&mut self) -> Epoch {
        self.newest += 1;
        Epoch(self.newest)
    }

    fn is_live(&self, slot: &Slot) -> bool {
        slot.epoch == self.epoch || slot.epoch == self.global_epoch
    }

    fn matches(&self, slot: &Slot, va: VirtAddr, size: PageSize) -> bool {
        slot.number == page_number(va, size) && self.is_live(slot)
    }
}

/// Number of the page of `size` that contains `va`.
const fn page_number(va: VirtAddr, size: PageSize) -> u64 {
    va.get() / size.bytes()
}

/// Index of the set in which pages of `size` that contain `va` are kept.
const fn set_index(va: VirtAddr, size: PageSize) -> usize {
    let (first, sets) = match size {
        PageSize::Size4K => (0, SETS_4K),
        PageSize::Size2M => (SETS_4K, SETS_2M),
        PageSize::Size1G => (SETS_4K + SETS_2M, SETS_1G),
    };
    first + remainder(page_number(va, size), sets)
}

#[expect(clippy::cast_possible_truncation, reason = "less than `below`")]
const fn remainder(number: u64, below: usize) -> usize {
    (number % below as u64) as usize
}

/// A 4 KiB piece of a page, as the front keeps it.
#[derive(Clone, Copy, Debug)]
struct Piece {
    number: u64,
    epoch: Epoch,
    frame: PhysAddr,
    rights: Rights,
}

/// Copies of entries, by 4 KiB page: one comparison away from a physical address.
#[derive(Clone)]
struct Front {
    instructions: [Piece; FRONT_SLOTS],
    data: [Piece; FRONT_SLOTS],
    epoch: Epoch,
}

impl Front {
    const fn new() -> Self {
        let empty = Piece {
            number: 0,
            epoch: Epoch::NEVER,
            frame: PhysAddr::new(0),
            rights: Rights::empty(),
        };
        Self {
            instructions: [empty; FRONT_SLOTS],
            data: [empty; FRONT_SLOTS],
            epoch: Epoch(1),
        }
    }

    #[inline]
    fn find(&self, va: VirtAddr, access: Access) -> Option<(PhysAddr, Rights)> {
        let number = page_number(va, PageSize::Size4K);
        let side = match access {
            Access::Fetch => &self.instructions,
            Access::Read | Access::Write => &self.data,
        };
        let piece = &side[remainder(number, FRONT_SLOTS)];
        (piece.number == number && piece.epoch == self.epoch).then_some((piece.frame, piece.rights))
    }

    fn put(&mut self, va: VirtAddr, access: Access, page: &TlbEntry) {
        let number = page_number(va, PageSize::Size4K);
        let frame = page.translate(va).frame_base();
        let side = match access {
            Access::Fetch => &mut self.instructions,
            Access::Read | Access::Write => &mut self.data,
        };
        side[remainder(number, FRONT_SLOTS)] = Piece {
            number,
            epoch: self.epoch,
            frame,
            rights: page.rights,
        };
    }

    fn clear(&mut self) {
        self.epoch = Epoch(self.epoch.0 + 1);
    }
}

#[cfg(test)]
mod tests;
