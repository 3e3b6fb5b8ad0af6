//! Page tables as data in frames: find an entry, make a path, free a tree.
//!
//! Table frames have refcount 1 and mapcount 0. They are made when a page first
//! needs them and freed when the address space is released.
//!
//! Not modelled: freeing tables that `munmap` has emptied; an address space keeps
//! them for the next mapping, and [`crate::AreaSet::first_gap`] reuses low
//! addresses first.
//!
//! **Spec:** SDM 3A "4-Level Paging and 5-Level Paging".

use crate::frame::{Frame, OutOfMemory};
use crate::hardware::Hardware;
use crate::memory::Memory;
use crate::pte::Pte;
use crate::range::PageRange;
use x86::paging::{ADDR_51_12, ENTRIES};
use x86::{Bits, Level, PhysAddr, VirtAddr};

/// Entries of the PML4 that cover the user half.
pub(crate) const USER_ENTRIES: u64 = ENTRIES / 2;

/// The levels whose entries point at tables.
const UPPER: [Level; 3] = [Level::Pml4, Level::Pdpt, Level::Pd];

/// Rights are decided by the last level alone: tables allow everything.
const TABLE_BITS: u64 = Bits::P.union(Bits::RW).union(Bits::US).bits();

/// Where the entry for `va` stands in the table at `table`.
pub(crate) fn entry_at(table: PhysAddr, level: Level, va: VirtAddr) -> PhysAddr {
    table.add(8 * va.index(level))
}

/// The table a present entry points at.
fn next_table(entry: u64) -> Option<PhysAddr> {
    Pte(entry)
        .is_present()
        .then(|| PhysAddr::new(entry & ADDR_51_12))
}

/// A page table and the part of a range that it maps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// The table.
    pub(crate) table: PhysAddr,
    /// The pages, all inside one table.
    pub(crate) range: PageRange,
}

/// Walks the page tables that exist in a range, ascending.
///
/// Where a table is missing it goes on after all the missing one would cover, so a
/// huge empty range costs little.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tables {
    root: Frame,
    rest: Option<PageRange>,
}

impl Tables {
    /// The tables of `root` in `range`.
    pub(crate) fn new(root: Frame, range: PageRange) -> Self {
        Self {
            root,
            rest: Some(range),
        }
    }

    /// The next one. No iterator, so that the caller can edit between two.
    pub(crate) fn next<H: Hardware>(&mut self, hw: &H) -> Option<Span> {
        loop {
            let rest = self.rest?;
            let va = rest.start();
            let (level, found) = descend(hw, self.root, va);
            let next = (va.get() / level.span_bytes() + 1) * level.span_bytes();
            self.rest = PageRange::between(next, rest.end());
            let here = PageRange::between(va.get(), next.min(rest.end()));
            if let (Some(table), Some(range)) = (found, here) {
                return Some(Span { table, range });
            }
        }
    }
}

/// The page table for `va` and what one covers, or what the missing table would cover.
fn descend<H: Hardware>(hw: &H, root: Frame, va: VirtAddr) -> (Level, Option<PhysAddr>) {
    let mut table = root.base();
    for level in UPPER {
        match next_table(hw.load_entry(entry_at(table, level, va))) {
            Some(next) => table = next,
            None => return (level, None),
        }
    }
    (Level::Pd, Some(table))
}

/// Address of the page-table entry for `va`, if its table exists.
pub(crate) fn find<H: Hardware>(hw: &H, root: Frame, va: VirtAddr) -> Option<PhysAddr> {
    let (_, table) = descend(hw, root, va);
    table.map(|table| entry_at(table, Level::Pt, va))
}

/// The page-table entry for `va`; [`Pte::NONE`] if there is no table.
pub(crate) fn load<H: Hardware>(hw: &H, root: Frame, va: VirtAddr) -> Pte {
    find(hw, root, va).map_or(Pte::NONE, |at| Pte(hw.load_entry(at)))
}

/// Address of the page-table entry for `va`; missing tables are made.
///
/// # Errors
///
/// [`OutOfMemory`]; tables already made stay, empty.
pub(crate) fn ensure<H: Hardware>(
    mem: &mut Memory<H>,
    root: Frame,
    va: VirtAddr,
) -> Result<PhysAddr, OutOfMemory> {
    let mut table = root.base();
    for level in UPPER {
        let at = entry_at(table, level, va);
        table = match next_table(mem.hw.load_entry(at)) {
            Some(next) => next,
            None => add_table(mem, at)?,
        };
    }
    Ok(entry_at(table, Level::Pt, va))
}

fn add_table<H: Hardware>(mem: &mut Memory<H>, at: PhysAddr) -> Result<PhysAddr, OutOfMemory> {
    let base = mem.alloc_zeroed()?.base();
    mem.hw.store_entry(at, base.get() | TABLE_BITS);
    Ok(base)
}

/// Frees the PML4 and every table of its user half. No page is mapped any more and
/// no CPU walks these tables.
pub(crate) fn free_tree<H: Hardware>(mem: &mut Memory<H>, root: Frame) {
    free_below(mem, root.base(), Level::Pml4, USER_ENTRIES);
}

fn free_below<H: Hardware>(mem: &mut Memory<H>, table: PhysAddr, level: Level, entries: u64) {
    if let Some(below) = level.next() {
        for n in 0..entries {
            if let Some(next) = next_table(mem.hw.load_entry(table.add(8 * n))) {
                free_below(mem, next, below, ENTRIES);
            }
        }
    }
    mem.frames.put(Pte(table.get()).frame());
}
