//! Areas (VMAs): what the user asked for, before any page exists.
//!
//! [`AreaSet`] keeps them sorted and disjoint; neighbours that agree in everything
//! are one area. Every change is made on a copy of the list and takes effect whole
//! or not at all.

use crate::range::{MapError, PageRange};
use alloc::vec::Vec;
use guest_abi::syscall::{PROT_EXEC, PROT_READ, PROT_WRITE};
use x86::VirtAddr;
use x86::fault::Access;

/// Most areas one address space may have (Linux: `vm.max_map_count`); bounds what a
/// program can make the kernel's heap hold.
pub const MAX_MAP_COUNT: usize = 1024;

/// What user mode may do with the pages of an area.
///
/// x86 paging has no right to read apart from being present: a page that may be
/// written or executed can be read too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prot {
    /// PROT_READ.
    pub read: bool,
    /// PROT_WRITE.
    pub write: bool,
    /// PROT_EXEC.
    pub exec: bool,
}

impl Prot {
    /// Read only.
    pub const READ: Self = Self {
        read: true,
        write: false,
        exec: false,
    };
    /// Read and write.
    pub const READ_WRITE: Self = Self {
        write: true,
        ..Self::READ
    };
    /// Read and execute.
    pub const READ_EXEC: Self = Self {
        exec: true,
        ..Self::READ
    };

    /// Decodes `mmap`'s argument; `None` if it has bits that mean nothing.
    #[must_use]
    pub const fn from_bits(prot: u64) -> Option<Self> {
        if prot & !(PROT_READ | PROT_WRITE | PROT_EXEC) != 0 {
            return None;
        }
        Some(Self {
            read: prot & PROT_READ != 0,
            write: prot & PROT_WRITE != 0,
            exec: prot & PROT_EXEC != 0,
        })
    }

    /// Whether pages of such an area may exist at all (it is not PROT_NONE).
    #[must_use]
    pub const fn is_accessible(self) -> bool {
        self.read || self.write || self.exec
    }

    /// Whether the access is allowed.
    #[must_use]
    pub const fn allows(self, access: Access) -> bool {
        match access {
            Access::Read => self.is_accessible(),
            Access::Write => self.write,
            Access::Fetch => self.exec,
        }
    }
}

/// Whose stores an area shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// MAP_PRIVATE: fork gives the child a copy, made when someone writes.
    Private,
    /// MAP_SHARED: parent and child keep the same frames. They are allocated by `mmap`,
    /// so that pages untouched at fork are the same page afterwards too.
    Shared,
}

/// What fork does with an area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForkAdvice {
    /// MADV_DOFORK: the child gets it.
    DoFork,
    /// MADV_DONTFORK (VM_DONTCOPY): the child has a hole there.
    DontFork,
}

/// A range of pages with the same attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    /// Where.
    pub range: PageRange,
    /// Rights.
    pub prot: Prot,
    /// Private or shared.
    pub sharing: Sharing,
    /// What fork does.
    pub advice: ForkAdvice,
}

impl Area {
    fn over(self, range: Option<PageRange>) -> Option<Self> {
        range.map(|range| Self { range, ..self })
    }

    /// The parts before, inside and after `cut`.
    fn split(self, cut: PageRange) -> [Option<Self>; 3] {
        let (start, end) = (self.range.start().get(), self.range.end());
        let (cut_start, cut_end) = (cut.start().get(), cut.end());
        [
            self.over(PageRange::between(start, end.min(cut_start))),
            self.over(self.range.intersect(cut)),
            self.over(PageRange::between(start.max(cut_end), end)),
        ]
    }

    fn joins(self, next: Self) -> bool {
        self.range.end() == next.range.start().get()
            && self
                == Self {
                    range: self.range,
                    ..next
                }
    }
}

/// The areas of one address space.
#[derive(Clone, Debug, Default)]
pub struct AreaSet {
    sorted: Vec<Area>,
}

impl AreaSet {
    /// The area that holds the byte at `va`.
    #[must_use]
    pub fn find(&self, va: VirtAddr) -> Option<Area> {
        let after = self
            .sorted
            .partition_point(|area| area.range.end() <= va.get());
        let area = *self.sorted.get(after)?;
        area.range.contains(va).then_some(area)
    }

    /// All areas, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Area> {
        self.sorted.iter().copied()
    }

    /// Adds an area in place of whatever its range held.
    ///
    /// # Errors
    ///
    /// [`MapError::NoMemory`] if there would be too many; nothing is changed.
    pub fn insert(&mut self, new: Area) -> Result<(), MapError> {
        let mut areas = self.without(new.range);
        let at = areas.partition_point(|area| area.range.end() <= new.range.start().get());
        areas.insert(at, new);
        self.replace(areas)
    }

    /// Cuts a hole.
    ///
    /// # Errors
    ///
    /// [`MapError::NoMemory`] if the cut would leave too many areas; nothing is changed.
    pub fn remove(&mut self, hole: PageRange) -> Result<(), MapError> {
        self.replace(self.without(hole))
    }

    /// Sets what fork does with the areas in `range`, holes aside.
    ///
    /// # Errors
    ///
    /// [`MapError::NoMemory`] if the cuts would leave too many areas; nothing is changed.
    pub fn advise(&mut self, range: PageRange, advice: ForkAdvice) -> Result<(), MapError> {
        let advised = |area: Area| Area { advice, ..area };
        let cut = |area: &Area| {
            let [before, inside, after] = area.split(range);
            [before, inside.map(advised), after]
        };
        let areas = self.sorted.iter().flat_map(cut).flatten().collect();
        self.replace(areas)
    }

    /// Whether `range` has no holes.
    #[must_use]
    pub fn covers(&self, range: PageRange) -> bool {
        let inside = |area: Area| Some(area.range.intersect(range)?.npages());
        self.iter().filter_map(inside).sum::<u64>() == range.npages()
    }

    /// Whether nothing of `range` is taken.
    #[must_use]
    pub fn is_free(&self, range: PageRange) -> bool {
        self.iter().all(|a| a.range.intersect(range).is_none())
    }

    /// The lowest hole of `len_bytes` (a multiple of the page size) at or above `from`.
    #[must_use]
    pub fn first_gap(&self, from: u64, len_bytes: u64) -> Option<PageRange> {
        let mut start = from;
        for area in self.iter().filter(|area| area.range.end() > from) {
            if area.range.start().get() >= start.checked_add(len_bytes)? {
                break;
            }
            start = area.range.end();
        }
        let end = start.checked_add(len_bytes)?;
        PageRange::between(start, end)
    }

    fn without(&self, hole: PageRange) -> Vec<Area> {
        let outside = |area: &Area| {
            let [before, _, after] = area.split(hole);
            [before, after]
        };
        self.sorted.iter().flat_map(outside).flatten().collect()
    }

    fn replace(&mut self, mut areas: Vec<Area>) -> Result<(), MapError> {
        areas.dedup_by(|next, area| {
            let joins = area.joins(*next);
            if joins {
                area.range = PageRange::between(area.range.start().get(), next.range.end())
                    .expect("two areas joined are not empty");
            }
            joins
        });
        if areas.len() > MAX_MAP_COUNT {
            return Err(MapError::NoMemory);
        }
        self.sorted = areas;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::range::USER_END;
    use x86::addr::PAGE_BYTES;

    fn pages(start: u64, end: u64) -> PageRange {
        PageRange::between(start * PAGE_BYTES, end * PAGE_BYTES).unwrap()
    }

    fn area(start: u64, end: u64, prot: Prot) -> Area {
        Area {
            range: pages(start, end),
            prot,
            sharing: Sharing::Private,
            advice: ForkAdvice::DoFork,
        }
    }

    fn outline(set: &AreaSet) -> Vec<(u64, u64)> {
        set.iter()
            .map(|a| {
                (
                    a.range.start().get() / PAGE_BYTES,
                    a.range.end() / PAGE_BYTES,
                )
            })
            .collect()
    }

    #[test]
    fn neighbours_that_agree_become_one_area_and_others_do_not() {
        for (prot, expected) in [
            (Prot::READ, vec![(2, 6)]),
            (Prot::READ_WRITE, vec![(2, 3), (3, 5), (5, 6)]),
        ] {
            let mut set = AreaSet::default();
            for new in [
                area(5, 6, Prot::READ),
                area(2, 3, Prot::READ),
                area(3, 5, prot),
            ] {
                set.insert(new).unwrap();
            }
            assert_eq!(outline(&set), expected);
        }
    }

    /// Every hole against every page of a set of two areas, by a plain list of pages.
    #[test]
    fn removing_any_range_removes_its_pages_and_no_others() {
        for start in 0..12 {
            for end in start + 1..13 {
                let mut set = AreaSet::default();
                set.insert(area(2, 5, Prot::READ)).unwrap();
                set.insert(area(7, 11, Prot::READ)).unwrap();
                set.remove(pages(start, end)).unwrap();
                for n in 0..13 {
                    let va = VirtAddr::new(n * PAGE_BYTES + 5).unwrap();
                    let was = (2..5).contains(&n) || (7..11).contains(&n);
                    let expected = was && !(start..end).contains(&n);
                    assert_eq!(set.find(va).is_some(), expected, "{start}..{end}, page {n}");
                }
            }
        }
    }

    #[test]
    fn advice_for_a_part_splits_an_area_and_taking_it_back_joins_it() {
        let mut set = AreaSet::default();
        set.insert(area(2, 8, Prot::READ)).unwrap();
        set.advise(pages(4, 5), ForkAdvice::DontFork).unwrap();
        assert_eq!(outline(&set), [(2, 4), (4, 5), (5, 8)]);
        set.advise(pages(0, 9), ForkAdvice::DoFork).unwrap();
        assert_eq!(outline(&set), [(2, 8)]);
    }

    #[test]
    fn the_first_gap_is_the_lowest_that_is_wide_enough() {
        let mut set = AreaSet::default();
        for (start, end) in [(2, 4), (5, 8), (10, 12)] {
            set.insert(area(start, end, Prot::READ)).unwrap();
        }
        for (from, npages, expected) in [(0, 2, 0), (2, 1, 4), (2, 2, 8), (3, 3, 12), (9, 1, 9)] {
            let gap = set.first_gap(from * PAGE_BYTES, npages * PAGE_BYTES);
            assert_eq!(gap.unwrap(), pages(expected, expected + npages));
        }
        assert_eq!(set.first_gap(PAGE_BYTES, USER_END), None);
    }

    #[test]
    fn a_range_is_covered_only_without_holes() {
        let mut set = AreaSet::default();
        set.insert(area(2, 4, Prot::READ)).unwrap();
        set.insert(area(4, 6, Prot::READ_WRITE)).unwrap();
        assert!(set.covers(pages(2, 6)) && set.covers(pages(3, 5)));
        assert!(!set.covers(pages(1, 3)) && !set.covers(pages(5, 7)));
        assert!(set.is_free(pages(0, 2)) && !set.is_free(pages(0, 3)));
    }

    #[test]
    fn protection_bits_that_mean_nothing_are_refused() {
        assert_eq!(Prot::from_bits(8), None);
        assert_eq!(Prot::from_bits(3), Some(Prot::READ_WRITE));
        assert_eq!(Prot::from_bits(5), Some(Prot::READ_EXEC));
    }
}
