//! Page tables in a small RAM, for the tests.

use crate::{Accessor, AlignmentCheck, PagingRegs};
use memory::Ram;
use x86::control::{Cr0, Cr4, Efer};
use x86::fault::{Access, Privilege};
use x86::paging::Format;
use x86::paging::format::Pdpte;
use x86::{Level, PhysAddr, VirtAddr};

/// P, R/W and U/S: what a table entry has that narrows nothing.
pub(crate) const TABLE: u64 = 7;
/// Where the tables of the one path lie, PML4 first.
pub(crate) const TABLES: [u64; 4] = [0x1000, 0x2000, 0x3000, 0x4000];
/// MAXPHYADDR in the tests: bits 51:46 are reserved.
pub(crate) const MAXPHYADDR: u32 = 46;

pub(crate) const ACCESSES: [Access; 3] = [Access::Read, Access::Write, Access::Fetch];
pub(crate) const FORMATS: [Format; 4] = [
    Format::FourLevel,
    Format::Pae,
    Format::Bits32Pse,
    Format::Bits32,
];

pub(crate) fn ram() -> Ram {
    Ram::new(2 << 20).unwrap()
}

pub(crate) fn va(raw: u64) -> VirtAddr {
    VirtAddr::new(raw).unwrap()
}

/// The four privileges and AC values.
pub(crate) fn accessors() -> impl Iterator<Item = Accessor> {
    [Privilege::Supervisor, Privilege::User]
        .into_iter()
        .flat_map(|privilege| {
            [AlignmentCheck::Clear, AlignmentCheck::Set].map(|ac| Accessor { privilege, ac })
        })
}

/// Every kind of access.
pub(crate) fn kinds() -> impl Iterator<Item = (Access, Accessor)> {
    ACCESSES
        .into_iter()
        .flat_map(|access| accessors().map(move |who| (access, who)))
}

/// Registers that make `format` the one in use, with tables at [`TABLES`], all protections on, PGE on.
pub(crate) fn regs_of(format: Format) -> PagingRegs {
    let (cr3, paging, lma) = match format {
        Format::FourLevel => (TABLES[0], Cr4::PAE, Efer::LME | Efer::LMA),
        Format::Pae => (0, Cr4::PAE, Efer::empty()),
        Format::Bits32Pse => (TABLES[2], Cr4::PSE, Efer::empty()),
        Format::Bits32 => (TABLES[2], Cr4::empty(), Efer::empty()),
    };
    PagingRegs {
        cr0: Cr0::PE | Cr0::PG | Cr0::WP,
        cr3,
        cr4: paging | Cr4::PGE | Cr4::SMEP | Cr4::SMAP,
        efer: lma | Efer::NXE,
        pdptes: [Pdpte::new(TABLES[2] | 1, MAXPHYADDR).unwrap(); 4],
        ..PagingRegs::after_reset(MAXPHYADDR)
    }
}

/// [`regs_of`] 4-level paging, with the PDPTE registers as RESET leaves them.
pub(crate) fn regs() -> PagingRegs {
    PagingRegs {
        pdptes: [Pdpte::ABSENT; 4],
        ..regs_of(Format::FourLevel)
    }
}

/// The 16 combinations of WP, NXE, SMEP and SMAP.
pub(crate) fn all_regs_of(format: Format) -> impl Iterator<Item = PagingRegs> {
    (0..16_u8).map(move |n| {
        let mut regs = regs_of(format);
        regs.cr0.set(Cr0::WP, n & 1 != 0);
        regs.efer.set(Efer::NXE, n & 2 != 0);
        regs.cr4.set(Cr4::SMEP, n & 4 != 0);
        regs.cr4.set(Cr4::SMAP, n & 8 != 0);
        regs
    })
}

/// [`all_regs_of`] 4-level paging.
pub(crate) fn all_regs() -> impl Iterator<Item = PagingRegs> {
    all_regs_of(Format::FourLevel)
}

/// P, R/W, U/S and XD from the low four bits of `n`.
pub(crate) fn flags(n: u64) -> u64 {
    (n & 7) | (n & 8) << 60
}

/// The tables a walk reads, top down.
pub(crate) fn levels(format: Format) -> &'static [Level] {
    match format {
        Format::FourLevel => &Level::TOP_DOWN,
        _ => &Level::TOP_DOWN[2..],
    }
}

/// Where the entry for `at` lies in the table of [`TABLES`] for `level`.
pub(crate) fn entry_at(at: VirtAddr, level: Level) -> PhysAddr {
    entry_of(Format::FourLevel, at, level)
}

fn entry_of(format: Format, at: VirtAddr, level: Level) -> PhysAddr {
    let table = TABLES[4 - level as usize];
    match (format, level) {
        (Format::Bits32 | Format::Bits32Pse, Level::Pd) => {
            PhysAddr::new(table + 4 * (at.get() >> 22 & 0x3ff))
        }
        (Format::Bits32 | Format::Bits32Pse, _) => {
            PhysAddr::new(table + 4 * (at.get() >> 12 & 0x3ff))
        }
        _ => PhysAddr::new(table + 8 * at.index(level)),
    }
}

/// Stores `entries` along the path of `at`, top down.
pub(crate) fn store_path_of(format: Format, ram: &Ram, at: VirtAddr, entries: &[u64]) {
    for (&level, &entry) in levels(format).iter().zip(entries) {
        let place = entry_of(format, at, level);
        let stored = match format {
            Format::Bits32 | Format::Bits32Pse => ram.write(place, u32::try_from(entry).unwrap()),
            _ => ram.write(place, entry),
        };
        assert!(stored);
    }
}

/// The `len` entries along the path of `at`.
pub(crate) fn load_path_of(format: Format, ram: &Ram, at: VirtAddr, len: usize) -> Vec<u64> {
    let load = |&level| {
        let place = entry_of(format, at, level);
        match format {
            Format::Bits32 | Format::Bits32Pse => ram.read::<u32>(place).unwrap().into(),
            _ => ram.read(place).unwrap(),
        }
    };
    levels(format)[..len].iter().map(load).collect()
}

/// Stores `entries` along the path of `at`, PML4E first.
pub(crate) fn store_path(ram: &Ram, at: VirtAddr, entries: &[u64]) {
    store_path_of(Format::FourLevel, ram, at, entries);
}

/// The four entries along the path of `at`, PML4E first.
pub(crate) fn load_path(ram: &Ram, at: VirtAddr) -> Vec<u64> {
    load_path_of(Format::FourLevel, ram, at, 4)
}
