//! The manual's table of invalidations, row by row: all of it seen stale before, what is left after.
//!
//! Two PCIDs, each with tables of its own. Everything cached comes from the *old* tables; then each PML4E
//! is made to lead to the *new* ones, which map the same pages elsewhere. Nothing is removed by that, so
//! where an access still goes tells what is cached: a page that was read before is in the TLB, and
//! its neighbours, never read, are reached by way of the PDE, the PDPTE or the PML4E of that page.

use super::*;
use crate::testing::*;
use crate::{Accessor, Mmu, TlbOutcome};
use memory::Ram;
use std::collections::BTreeSet;
use x86::control::Efer;
use x86::fault::Access;
use x86::paging::Format;
use x86::{Level, PfErrorCode, PhysAddr};

const G: u64 = 1 << 8;
/// What the frames of the old tables have in their address, and those of the new ones.
const OLD: u64 = 1 << 40;
const NEW: u64 = 1 << 41;

/// The page each PCID has read, another far away, and one near that, which is global.
const PAGE: u64 = 5 << 39 | 3 << 30 | 7 << 21 | 0x9000;
const FAR: u64 = 6 << 39 | 4 << 30 | 8 << 21 | 0xa000;
const GLOBAL: u64 = FAR + 0x5000;

/// What is cached for each PCID, and an address whose translation tells.
const CACHED: [(&str, u64); 6] = [
    ("page", PAGE),
    ("PDE", PAGE + 0x1000),
    ("PDPTE", PAGE + (1 << 21)),
    ("PML4E", PAGE + (1 << 30)),
    ("far page", FAR),
    ("far PDE", FAR + 0x1000),
];

/// The PML4 tables of PCIDs 1 and 2.
const PML4: [u64; 2] = [0x1000, 0x2000];

struct Machine {
    ram: Ram,
    mmu: Mmu,
    /// Where the next table goes.
    free: u64,
}

impl Machine {
    /// PCID 1 is current, both PCIDs have read their pages, and their tables are new since.
    fn new() -> Self {
        let mut machine = Self {
            ram: ram(),
            mmu: Mmu::new(MAXPHYADDR),
            free: 0x1_0000,
        };
        machine.mmu.write_efer(Efer::LME | Efer::LMA | Efer::NXE);
        machine.mmu.write_cr4(Cr4::PAE | Cr4::PGE | Cr4::PCIDE);
        machine.mmu.write_cr0(Cr0::PE | Cr0::PG | Cr0::WP);
        machine.map_all(OLD);
        for pcid in [2, 1] {
            machine.mmu.write_cr3(cr3(pcid));
            for at in [PAGE, FAR] {
                assert!(!is_stale_read(&mut machine.mmu, &machine.ram, at, NEW));
            }
        }
        assert!(is_stale_read(&mut machine.mmu, &machine.ram, GLOBAL, OLD));
        machine.map_all(NEW);
        machine
    }

    /// Makes both PML4 tables lead to tables made now, which map all pages to frames of `kind`.
    fn map_all(&mut self, kind: u64) {
        for pml4 in PML4 {
            for at in [PAGE, FAR] {
                assert!(self.ram.write(entry(pml4, at, Level::Pml4), 0_u64));
            }
            for (_, at) in CACHED {
                self.map(pml4, at, kind | 0x25);
            }
            self.map(pml4, GLOBAL, kind | 0x25 | G);
        }
    }

    fn map(&mut self, pml4: u64, at: u64, leaf: u64) {
        let mut table = pml4;
        for level in [Level::Pml4, Level::Pdpt, Level::Pd] {
            let place = entry(table, at, level);
            if self.ram.read::<u64>(place) == Some(0) {
                assert!(self.ram.write(place, self.free | TABLE));
                self.free += 0x1000;
            }
            table = self.ram.read::<u64>(place).unwrap() & !0xfff;
        }
        assert!(self.ram.write(entry(table, at, Level::Pt), leaf));
    }

    /// What is stale. Each look is made by a copy of the MMU, so that none changes what another sees.
    fn stale(&self) -> BTreeSet<String> {
        let is_stale = |pcid, at| {
            let mut mmu = self.mmu.clone();
            mmu.write_cr3(cr3(pcid) | CR3_NO_FLUSH);
            is_stale_read(&mut mmu, &self.ram, at, OLD)
        };
        let by_pcid = [1, 2].map(|pcid| {
            let stale = CACHED.iter().filter(move |(_, at)| is_stale(pcid, *at));
            stale.map(move |(name, _)| format!("{pcid} {name}"))
        });
        let mut stale: BTreeSet<String> = by_pcid.into_iter().flatten().collect();
        if self.global_hits(2) {
            stale.insert("global".into());
        }
        stale
    }

    /// Whether the global page, cached under PCID 1, is in the TLB under `pcid`.
    fn global_hits(&self, pcid: u64) -> bool {
        let mut mmu = self.mmu.clone();
        mmu.write_cr3(cr3(pcid) | CR3_NO_FLUSH);
        let page = mmu.probe_tlb(va(GLOBAL));
        assert!(page.is_none_or(|page| page.global && page.base.get() & OLD != 0));
        page.is_some()
    }
}

/// Whether a read of `at` goes to a frame of `kind`.
fn is_stale_read(mmu: &mut Mmu, ram: &Ram, at: u64, kind: u64) -> bool {
    let read = mmu.translate(ram, va(at), Access::Read, Accessor::USER);
    read.unwrap().pa.get() & kind != 0
}

fn cr3(pcid: u64) -> u64 {
    PML4[usize::from(pcid == 2)] | pcid
}

fn entry(table: u64, at: u64, level: Level) -> PhysAddr {
    PhysAddr::new(table + 8 * va(at).index(level))
}

/// All that is cached, but what has one of the names `gone`, or begins with it: "2" is all of PCID 2.
fn all_but(gone: &[&str]) -> BTreeSet<String> {
    let names = [1, 2]
        .into_iter()
        .flat_map(|pcid| CACHED.map(|(name, _)| format!("{pcid} {name}")));
    names
        .chain(["global".to_owned()])
        .filter(|name| !gone.iter().any(|gone| name.starts_with(gone)))
        .collect()
}

/// What is left after `operation` of all that was cached, each seen stale before.
fn left_by(operation: impl FnOnce(&mut Mmu)) -> BTreeSet<String> {
    let mut machine = Machine::new();
    assert_eq!(machine.stale(), all_but(&[]), "all is stale before");
    operation(&mut machine.mmu);
    machine.stale()
}

/// All caches of PCID 1, with pages, but for the paging-structure caches alone without.
const STRUCTURES_OF_1: [&str; 4] = ["1 PDE", "1 PDPTE", "1 PML4E", "1 far PDE"];

fn toggle(mmu: &mut Mmu, bit: Cr4) {
    mmu.write_cr4(mmu.regs().cr4 ^ bit);
}

#[test]
fn stores_to_tables_of_any_level_remove_nothing() {
    assert_eq!(left_by(|_| ()), all_but(&[]));
}

#[test]
fn invlpg_removes_its_page_and_all_paging_structure_caches_of_the_current_pcid() {
    let gone = [&STRUCTURES_OF_1[..], &["1 page"]].concat();
    assert_eq!(left_by(|mmu| mmu.invlpg(va(PAGE + 0xfff))), all_but(&gone));
    // An address for which nothing is cached: the paging-structure caches go all the same.
    let elsewhere = left_by(|mmu| mmu.invlpg(va(0x1234_5000)));
    assert_eq!(elsewhere, all_but(&STRUCTURES_OF_1));
}

#[test]
fn invlpg_removes_a_global_page_whatever_pcid_it_was_cached_under() {
    let gone = [&STRUCTURES_OF_1[..], &["global"]].concat();
    assert_eq!(left_by(|mmu| mmu.invlpg(va(GLOBAL))), all_but(&gone));
    let gone = ["2 PDE", "2 PDPTE", "2 PML4E", "2 far PDE", "global"];
    let under_2 = left_by(|mmu| {
        mmu.write_cr3(cr3(2) | CR3_NO_FLUSH);
        mmu.invlpg(va(GLOBAL));
    });
    assert_eq!(under_2, all_but(&gone));
}

#[test]
fn invpcid_type_0_removes_what_its_pcid_has_for_the_address() {
    for pcid in [1, 2] {
        let address =
            |at| left_by(|mmu| mmu.invpcid(Invpcid::Address(Pcid::truncate(pcid), va(at))));
        let gone = ["page", "PDE", "PDPTE", "PML4E"].map(|name| format!("{pcid} {name}"));
        let gone: Vec<&str> = gone.iter().map(String::as_str).collect();
        assert_eq!(address(PAGE), all_but(&gone));
        // The global page stays; what led to it goes.
        assert_eq!(address(GLOBAL), all_but(&[&format!("{pcid} far PDE")]));
        assert_eq!(address(0x1234_5000), all_but(&[]));
    }
    let unused = |mmu: &mut Mmu| mmu.invpcid(Invpcid::Address(Pcid::truncate(77), va(PAGE)));
    assert_eq!(left_by(unused), all_but(&[]));
}

#[test]
fn invpcid_type_1_removes_what_its_pcid_has_but_no_global_page() {
    for (pcid, name) in [(1, "1"), (2, "2"), (77, "none")] {
        let context = |mmu: &mut Mmu| mmu.invpcid(Invpcid::SingleContext(Pcid::truncate(pcid)));
        assert_eq!(left_by(context), all_but(&[name]));
    }
}

#[test]
fn invpcid_type_2_removes_everything_and_type_3_all_but_global_pages() {
    let everything = left_by(|mmu| mmu.invpcid(Invpcid::AllContextsAndGlobal));
    assert_eq!(everything, all_but(&["1", "2", "global"]));
    let contexts = left_by(|mmu| mmu.invpcid(Invpcid::AllContexts));
    assert_eq!(contexts, all_but(&["1", "2"]));
}

#[test]
fn mov_to_cr3_removes_what_the_new_pcid_has_unless_bit_63_is_set() {
    for (pcid, name) in [(1, "1"), (2, "2")] {
        assert_eq!(left_by(|mmu| mmu.write_cr3(cr3(pcid))), all_but(&[name]));
        let kept = left_by(|mmu| {
            mmu.write_cr3(cr3(pcid) | CR3_NO_FLUSH);
            assert_eq!(mmu.regs().cr3, cr3(pcid), "bit 63 is not kept");
        });
        assert_eq!(kept, all_but(&[]));
    }
}

#[test]
fn mov_to_cr0_that_clears_pg_removes_everything() {
    let off_and_on = |mmu: &mut Mmu| {
        let on = mmu.regs().cr0;
        mmu.write_cr0(on - Cr0::PG);
        mmu.write_cr0(on);
    };
    assert_eq!(left_by(off_and_on), all_but(&["1", "2", "global"]));
}

#[test]
fn mov_to_cr4_that_changes_pge_or_clears_pcide_removes_everything() {
    for bit in [Cr4::PGE, Cr4::PCIDE] {
        let twice = |mmu: &mut Mmu| {
            toggle(mmu, bit);
            toggle(mmu, bit);
        };
        assert_eq!(left_by(twice), all_but(&["1", "2", "global"]), "{bit:?}");
    }
}

#[test]
fn mov_to_cr4_that_changes_pae_or_sets_smep_removes_what_the_current_pcid_can_use() {
    for bit in [Cr4::PAE, Cr4::SMEP] {
        let gone = left_by(|mmu| {
            toggle(mmu, bit);
        });
        assert_eq!(gone, all_but(&["1", "global"]), "{bit:?}");
    }
}

#[test]
fn mov_to_cr4_that_sets_pke_or_smap_removes_nothing_nor_does_pkru_or_efer() {
    let protections = |mmu: &mut Mmu| {
        toggle(mmu, Cr4::PKE | Cr4::SMAP);
        mmu.write_pkru(x86::Pkru(3));
        mmu.write_pkru(x86::Pkru(0));
        mmu.write_efer(mmu.regs().efer - Efer::NXE);
    };
    assert_eq!(left_by(protections), all_but(&[]));
}

#[test]
fn mov_to_cr4_that_sets_pcide_removes_nothing() {
    let ram = ram();
    let (mut mmu, at) = (Mmu::new(MAXPHYADDR), va(PAGE));
    mmu.write_efer(Efer::LME | Efer::LMA);
    mmu.write_cr4(Cr4::PAE);
    mmu.write_cr3(TABLES[0]);
    mmu.write_cr0(Cr0::PG);
    store_path(
        &ram,
        at,
        &[TABLES[1], TABLES[2], TABLES[3], OLD].map(|entry| entry | TABLE),
    );
    assert!(is_stale_read(&mut mmu, &ram, PAGE, OLD));
    toggle(&mut mmu, Cr4::PCIDE);
    let read = mmu.translate(&ram, at, Access::Read, Accessor::USER);
    assert_eq!(read.unwrap().walk.hit, TlbOutcome::Hit);
    mmu.write_cr3(TABLES[0] | 3 | CR3_NO_FLUSH);
    assert_eq!(mmu.probe_tlb(at), None, "PCID 3 has nothing");
}

#[test]
fn reset_removes_everything_and_keeps_pkru() {
    let reset = |mmu: &mut Mmu| {
        let before = *mmu.regs();
        mmu.write_pkru(x86::Pkru(0x5555_5554));
        mmu.reset();
        assert_eq!(mmu.regs().pkru, x86::Pkru(0x5555_5554));
        mmu.write_pkru(x86::Pkru(0));
        mmu.write_efer(before.efer);
        mmu.write_cr4(before.cr4 - Cr4::PCIDE);
        mmu.write_cr3(before.cr3);
        mmu.write_cr4(before.cr4);
        mmu.write_cr0(before.cr0);
    };
    assert_eq!(left_by(reset), all_but(&["1", "2", "global"]));
}

#[test]
fn a_page_fault_removes_what_the_current_pcid_has_for_its_address() {
    let mut machine = Machine::new();
    let write = Access::Write;
    let fault = machine
        .mmu
        .translate(&machine.ram, va(PAGE), write, Accessor::USER);
    let fault = fault.unwrap_err();
    assert_eq!(
        fault.fault.code,
        PfErrorCode::P | PfErrorCode::WR | PfErrorCode::US
    );
    assert_eq!(
        fault.walk.steps,
        1 + 4,
        "from the PDE kept, and again from the root"
    );
    let gone = ["1 page", "1 PDE", "1 PDPTE", "1 PML4E"];
    assert_eq!(machine.stale(), all_but(&gone));
}

#[test]
fn a_fault_by_stale_upper_entries_alone_is_not_delivered() {
    let mut machine = Machine::new();
    let at = PAGE + 0x3000; // Mapped since, in the new tables only.
    machine.map(PML4[0], at, NEW | 0x25);
    let read = machine
        .mmu
        .translate(&machine.ram, va(at), Access::Read, Accessor::USER);
    let read = read.unwrap();
    assert_eq!((read.pa.get(), read.walk.steps), (NEW, 1 + 4));
}

#[test]
fn an_entry_in_use_after_its_table_became_absent_is_used_until_invlpg() {
    for level in [Level::Pml4, Level::Pdpt, Level::Pd] {
        let mut machine = Machine::new();
        let mut place = entry(PML4[0], FAR, Level::Pml4);
        for next in [Level::Pdpt, Level::Pd] {
            if next >= level {
                place = entry(machine.ram.read::<u64>(place).unwrap() & !0xfff, FAR, next);
            }
        }
        machine.mmu.write_cr3(cr3(1));
        assert!(is_stale_read(&mut machine.mmu, &machine.ram, FAR, NEW));
        assert!(machine.ram.write(place, 0_u64));
        assert!(
            is_stale_read(&mut machine.mmu, &machine.ram, FAR + 0x1000, NEW),
            "{level:?}"
        );
        machine.mmu.invlpg(va(PAGE));
        let fault =
            machine
                .mmu
                .translate(&machine.ram, va(FAR + 0x2000), Access::Read, Accessor::USER);
        assert_eq!(fault.unwrap_err().fault.code, PfErrorCode::US, "{level:?}");
    }
}

#[test]
fn the_pde_cache_of_pae_and_32_bit_paging_goes_with_mov_to_cr3_and_invlpg() {
    for format in [Format::Pae, Format::Bits32, Format::Bits32Pse] {
        let operations: [fn(&mut Mmu); 3] = [
            |_| (),
            |mmu| mmu.write_cr3(mmu.regs().cr3),
            |mmu| mmu.invlpg(va(0x5000_0000)),
        ];
        for (operation, stale) in operations.into_iter().zip([true, false, false]) {
            let (ram, mut mmu) = (ram(), Mmu::new(MAXPHYADDR));
            let regs = regs_of(format);
            assert!((0..4).all(|n| ram.write(PhysAddr::new(8 * n), TABLES[2] | 1)));
            mmu.write_efer(regs.efer);
            mmu.write_cr4(regs.cr4);
            mmu.write_cr3(regs.cr3);
            mmu.load_pdptes(&ram, regs.cr3).unwrap();
            mmu.write_cr0(regs.cr0);
            let (first, second) = (va(0xc012_3000), va(0xc012_4000));
            store_path_of(
                format,
                &ram,
                first,
                &[TABLES[3] | TABLE, 0x4000_0000 | TABLE],
            );
            store_path_of(
                format,
                &ram,
                second,
                &[TABLES[3] | TABLE, 0x4000_1000 | TABLE],
            );
            let mut read = |at| {
                mmu.translate(&ram, at, Access::Read, Accessor::USER)
                    .unwrap()
            };
            assert_eq!(read(first).walk.steps, 2);
            // The PDE leads elsewhere now: to a table whose entries are all 0.
            store_path_of(format, &ram, second, &[TABLES[1] | TABLE]);
            assert_eq!(
                (read(first).pa.get(), read(first).walk.steps),
                (0x4000_0000, 0)
            );
            operation(&mut mmu);
            let second = mmu.translate(&ram, second, Access::Read, Accessor::USER);
            assert_eq!(second.is_ok(), stale, "{format:?}");
            assert_eq!(
                second.map_or_else(|f| f.walk.steps, |t| t.walk.steps),
                2 - u8::from(stale)
            );
        }
    }
}

/// One path at [`PAGE`] to three pages, whose entry at `level` is without `right`, XD counted the other way.
fn narrowed(level: Level, right: u64) -> (Ram, Mmu) {
    let ram = ram();
    let entries = [TABLES[1], TABLES[2], TABLES[3], OLD].map(|address| address | TABLE);
    for page in 0..3 {
        store_path(&ram, va(PAGE + 0x1000 * page), &entries);
    }
    let at = entry_at(va(PAGE), level);
    assert!(ram.write(at, ram.read::<u64>(at).unwrap() ^ right));
    let mut mmu = Mmu::new(MAXPHYADDR);
    mmu.write_efer(Efer::LME | Efer::LMA | Efer::NXE);
    mmu.write_cr4(Cr4::PAE);
    mmu.write_cr3(TABLES[0]);
    mmu.write_cr0(Cr0::PG | Cr0::WP);
    (ram, mmu)
}

/// R/W, U/S and XD, and an access by a user that each forbids.
const RIGHTS: [(u64, Access); 3] = [
    (2, Access::Write),
    (4, Access::Read),
    (1 << 63, Access::Fetch),
];

#[test]
fn a_walk_from_a_kept_entry_has_the_rights_of_all_entries_above_it() {
    for level in [Level::Pml4, Level::Pdpt, Level::Pd] {
        for (right, forbidden) in RIGHTS {
            let (ram, mut mmu) = narrowed(level, right);
            let mut access =
                |page: u64, access, who| mmu.translate(&ram, va(PAGE + 0x1000 * page), access, who);
            access(0, Access::Read, Accessor::SUPERVISOR).unwrap();
            let fault = access(1, forbidden, Accessor::USER).unwrap_err();
            assert_eq!(fault.walk.steps, 1 + 4, "{level:?} {right:x}");
            assert!(fault.fault.code.contains(PfErrorCode::P | PfErrorCode::US));
        }
    }
}

#[test]
fn a_kept_entry_has_the_rights_it_was_kept_with_until_invlpg() {
    for level in [Level::Pml4, Level::Pdpt, Level::Pd] {
        for (right, since_forbidden) in RIGHTS {
            let (ram, mut mmu) = narrowed(level, 0);
            let access = |mmu: &mut Mmu, page: u64| {
                mmu.translate(
                    &ram,
                    va(PAGE + 0x1000 * page),
                    since_forbidden,
                    Accessor::USER,
                )
            };
            access(&mut mmu, 0).unwrap();
            let at = entry_at(va(PAGE), level);
            assert!(ram.write(at, ram.read::<u64>(at).unwrap() ^ right));
            assert_eq!(
                access(&mut mmu, 1).unwrap().walk.steps,
                1,
                "{level:?} {right:x}"
            );
            mmu.invlpg(va(PAGE));
            access(&mut mmu, 2).unwrap_err();
        }
    }
}
