//! The TLB: translations kept until capacity or a named operation removes them.
//!
//! One level, for instructions and data alike, divided by page size: a 2 MiB page is one
//! entry. Sets of [`WAYS`] ways, first in first out, so that what falls out, and when, is
//! the same on every run.
//!
//! An entry is found under the PCID it was made under, a global one under all of them. Removing
//! everything costs as little as removing nothing: an entry bears the [`epoch`](crate::epoch) of its PCID,
//! and a flush begins the next one. Global entries have an epoch of their own.
//!
//! Before the sets stands the *front*, direct-mapped by 4 KiB page, instructions apart from
//! data. It is there for the host's speed and the guest cannot tell: it holds copies of
//! entries in the sets, for the PCID and the rights of the moment, and is emptied whenever one
//! of those goes or they change.
//!
//! Modelled: G, PCIDs, page sizes, staleness, capacity. Not modelled: a second level,
//! entries a processor drops or makes of its own accord.
//!
//! **Spec:** SDM 3A "Translation Lookaside Buffers (TLBs)".

use crate::epoch::{Epoch, Epochs};
use crate::regs::Accessor;
use crate::rights::{Kinds, Rights};
use x86::fault::Access;
use x86::paging::{PageSize, PatIndex, ProtectionKey};
use x86::{Pcid, PhysAddr, VirtAddr};

/// Entries that share a set.
pub const WAYS: usize = 4;
/// Sets for 4 KiB pages: 1024 entries, 4 MiB of reach.
pub const SETS_4K: usize = 256;
/// Sets for 2 MiB pages: 128 entries.
pub const SETS_2M: usize = 32;
/// Sets for 1 GiB pages: 16 entries.
pub const SETS_1G: usize = 4;
/// Sets for 4 MiB pages: 32 entries.
pub const SETS_4M: usize = 8;

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
    /// Bits 62:59 of the leaf.
    pub key: ProtectionKey,
    /// PAT, PCD and PWT of the leaf.
    pub pat: PatIndex,
}

impl TlbEntry {
    /// The physical address of `va`, which lies in this page.
    #[must_use]
    pub const fn translate(&self, va: VirtAddr) -> PhysAddr {
        self.base.add(va.offset_in(self.size.bytes()))
    }
}

/// Place for one entry in a set.
#[derive(Clone, Copy, Debug)]
struct Slot {
    number: u64,
    epoch: Epoch,
    pcid: Pcid,
    page: TlbEntry,
}

const EMPTY: Slot = Slot {
    number: 0,
    epoch: Epoch::NEVER,
    pcid: Pcid::ZERO,
    page: TlbEntry {
        base: PhysAddr::new(0),
        size: PageSize::Size4K,
        rights: Rights::empty(),
        global: false,
        key: ProtectionKey::new(0),
        pat: PatIndex::ZERO,
    },
};

const SIZES: [PageSize; 4] = [
    PageSize::Size4K,
    PageSize::Size2M,
    PageSize::Size4M,
    PageSize::Size1G,
];

/// The translations one processor keeps.
#[derive(Clone)]
pub struct Tlb {
    front: Front,
    /// Sets for 4 KiB, then 2 MiB, then 1 GiB, then 4 MiB pages.
    sets: Box<[[Slot; WAYS]]>,
    /// Entries that are not global are live if made in the epoch of their PCID…
    epochs: Epochs,
    /// …and global ones if made in this.
    global_epoch: Epoch,
    /// Bit `size as u8` for each size there has been an entry of: no other need be searched.
    held: u8,
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
        let mut epochs = Epochs::new();
        Self {
            front: Front::new(),
            sets: vec![[EMPTY; WAYS]; SETS_4K + SETS_2M + SETS_1G + SETS_4M].into_boxed_slice(),
            global_epoch: epochs.fresh(),
            epochs,
            held: 0,
        }
    }

    /// The 4 KiB frame of `va` and its memory type, if the front holds it and it serves the access.
    #[inline]
    #[must_use]
    pub(crate) fn front(
        &self,
        va: VirtAddr,
        access: Access,
        who: Accessor,
    ) -> Option<(PhysAddr, PatIndex)> {
        self.front.find(va, access, who)
    }

    /// The entry for `va` under the current PCID, if there is one. Changes nothing.
    ///
    /// Entries of several sizes can cover `va` if the tables changed under them; the
    /// smallest is used. The manual leaves the choice open.
    #[must_use]
    pub fn find(&self, va: VirtAddr) -> Option<TlbEntry> {
        self.sizes().find_map(|size| {
            let slot = self.sets[set_index(va, size)]
                .iter()
                .find(|s| self.matches(s, va, size, self.epochs.current()))?;
            Some(slot.page)
        })
    }

    /// Copies `page`, which the sets hold for `va`, to the front for the next access like this one.
    ///
    /// `kinds` of access it serves, under registers whose change will be told by [`Self::forget_kinds`].
    pub(crate) fn promote(&mut self, va: VirtAddr, access: Access, page: &TlbEntry, kinds: Kinds) {
        self.front.put(va, access, page, kinds);
    }

    /// Empties the front: what serves which access has changed.
    pub(crate) const fn forget_kinds(&mut self) {
        self.front.clear();
    }

    /// Keeps `page` for `va`; the oldest entry of its set makes room.
    ///
    /// The caller has removed what was there for `va`: no two entries of a size share a page.
    pub(crate) fn fill(&mut self, va: VirtAddr, page: TlbEntry) {
        debug_assert_eq!(self.find(va), None, "two entries for {va:?}");
        let epoch = if page.global {
            self.global_epoch
        } else {
            self.epochs.current()
        };
        self.held |= 1 << page.size as u8;
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
            pcid: self.epochs.pcid(),
            page,
        };
    }

    /// Removes every entry of the current PCID whose page contains `va`, and every global one.
    pub fn remove(&mut self, va: VirtAddr) {
        self.remove_if(va, |tlb, slot, size| {
            tlb.matches(slot, va, size, tlb.epochs.current())
        });
    }

    /// Removes every entry of `pcid` whose page contains `va`, if it is not global.
    pub fn remove_local(&mut self, pcid: Pcid, va: VirtAddr) {
        let epoch = self.epochs.of(pcid);
        self.remove_if(va, |_, slot, size| {
            slot.number == page_number(va, size) && Some(slot.epoch) == epoch
        });
    }

    fn remove_if(&mut self, va: VirtAddr, goes: impl Fn(&Self, &Slot, PageSize) -> bool) {
        for size in self.sizes() {
            let set = set_index(va, size);
            for way in 0..WAYS {
                if goes(self, &self.sets[set][way], size) {
                    self.sets[set][way] = EMPTY;
                    self.front.clear();
                }
            }
        }
    }

    /// Goes on with the entries of `pcid`.
    pub fn switch_to(&mut self, pcid: Pcid) {
        if pcid != self.epochs.pcid() {
            self.epochs.switch_to(pcid);
            self.front.clear();
        }
    }

    /// Removes every entry of `pcid` that is not global.
    pub fn flush_local(&mut self, pcid: Pcid) {
        self.epochs.end(pcid);
        self.front.clear();
    }

    /// Removes every entry that is not global, of whatever PCID.
    pub fn flush_all_local(&mut self) {
        self.epochs.end_all();
        self.front.clear();
    }

    /// Removes every global entry.
    pub const fn flush_global(&mut self) {
        self.global_epoch = self.epochs.fresh();
        self.front.clear();
    }

    /// The sizes to search, smallest first.
    fn sizes(&self) -> impl Iterator<Item = PageSize> + use<> {
        let held = self.held;
        SIZES
            .into_iter()
            .filter(move |&size| held >> size as u8 & 1 != 0)
    }

    fn is_live(&self, slot: &Slot) -> bool {
        if slot.page.global {
            slot.epoch == self.global_epoch
        } else {
            self.epochs.of(slot.pcid) == Some(slot.epoch)
        }
    }

    /// Whether `slot` holds the page of `size` that contains `va`, made in `epoch` or global.
    fn matches(&self, slot: &Slot, va: VirtAddr, size: PageSize, epoch: Epoch) -> bool {
        slot.number == page_number(va, size)
            && (slot.epoch == epoch || slot.epoch == self.global_epoch)
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
        PageSize::Size4M => (SETS_4K + SETS_2M + SETS_1G, SETS_4M),
    };
    first + remainder(page_number(va, size), sets)
}

#[expect(clippy::cast_possible_truncation, reason = "less than `below`")]
pub(crate) const fn remainder(number: u64, below: usize) -> usize {
    (number % below as u64) as usize
}

/// A 4 KiB piece of a page, as the front keeps it.
#[derive(Clone, Copy, Debug)]
struct Piece {
    number: u64,
    epoch: Epoch,
    frame: PhysAddr,
    kinds: Kinds,
    pat: PatIndex,
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
            kinds: Kinds::NONE,
            pat: PatIndex::ZERO,
        };
        Self {
            instructions: [empty; FRONT_SLOTS],
            data: [empty; FRONT_SLOTS],
            epoch: Epoch::NEVER.next(),
        }
    }

    #[inline]
    fn find(&self, va: VirtAddr, access: Access, who: Accessor) -> Option<(PhysAddr, PatIndex)> {
        let number = page_number(va, PageSize::Size4K);
        let side = match access {
            Access::Fetch => &self.instructions,
            Access::Read | Access::Write => &self.data,
        };
        let piece = &side[remainder(number, FRONT_SLOTS)];
        (piece.number == number && piece.epoch == self.epoch && piece.kinds.contains(access, who))
            .then_some((piece.frame, piece.pat))
    }

    fn put(&mut self, va: VirtAddr, access: Access, page: &TlbEntry, kinds: Kinds) {
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
            kinds,
            pat: page.pat,
        };
    }

    const fn clear(&mut self) {
        self.epoch = self.epoch.next();
    }
}

#[cfg(test)]
mod tests;
