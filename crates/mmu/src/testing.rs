//! Page tables in a small RAM, for the tests.

use crate::{Accessor, AlignmentCheck, PagingRegs};
use memory::Ram;
use x86::control::{Cr0, Cr4, Efer};
use x86::fault::{Access, Privilege};
use x86::{Level, PhysAddr, VirtAddr};

/// P, R/W and U/S: what a table entry has that narrows nothing.
pub(crate) const TABLE: u64 = 7;
/// Where the tables of the one path lie, PML4 first.
pub(crate) const TABLES: [u64; 4] = [0x1000, 0x2000, 0x3000, 0x4000];
/// MAXPHYADDR in the tests: bits 51:46 are reserved.
pub(crate) const MAXPHYADDR: u32 = 46;

pub(crate) const ACCESSES: [Access; 3] = [Access::Read, Access::Write, Access::Fetch];

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

/// 4-level paging with tables at [`TABLES`], all protections on, PGE on.
pub(crate) fn regs() -> PagingRegs {
    PagingRegs {
        cr0: Cr0::PE | Cr0::PG | Cr0::WP,
        cr3: TABLES[0],
        cr4: Cr4::PAE | Cr4::PGE | Cr4::SMEP | Cr4::SMAP,
        efer: Efer::LME | Efer::LMA | Efer::NXE,
        maxphyaddr: MAXPHYADDR,
    }
}

/// The 16 combinations of WP, NXE, SMEP and SMAP.
pub(crate) fn all_regs() -> impl Iterator<Item = PagingRegs> {
    (0..16_u8).map(|n| {
        let mut regs = regs();
        regs.cr0.set(Cr0::WP, n & 1 != 0);
        regs.efer.set(Efer::NXE, n & 2 != 0);
        regs.cr4.set(Cr4::SMEP, n & 4 != 0);
        regs.cr4.set(Cr4::SMAP, n & 8 != 0);
        regs
    })
}

/// P, R/W, U/S and XD from the low four bits of `n`.
pub(crate) fn flags(n: u64) -> u64 {
    (n & 7) | (n & 8) << 60
}

/// Where the entry for `at` lies in the table of [`TABLES`] for `level`.
pub(crate) fn entry_at(at: VirtAddr, level: Level) -> PhysAddr {
    PhysAddr::new(TABLES[4 - level as usize] + 8 * at.index(level))
}

/// Stores `entries` along the path of `at`, PML4E first.
pub(crate) fn store_path(ram: &Ram, at: VirtAddr, entries: &[u64]) {
    for (level, entry) in Level::TOP_DOWN.into_iter().zip(entries) {
        assert!(ram.write(entry_at(at, level), *entry));
    }
}

/// The `len` entries along the path of `at`.
pub(crate) fn load_path(ram: &Ram, at: VirtAddr, len: usize) -> [u64; 4] {
    let mut entries = [0; 4];
    for (level, entry) in Level::TOP_DOWN.into_iter().zip(&mut entries).take(len) {
        *entry = ram.read(entry_at(at, level)).unwrap();
    }
    entries
}
