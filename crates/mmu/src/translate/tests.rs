//! Staleness: which entry is used after the tables changed, and what ends that.
//!
//! Each rule of [`invalidate`](crate::invalidate) for one address space has a test in which the stale
//! entries are seen in use before the operation, and the survivors listed after it. Those for
//! several, and for the paging-structure caches, are in that module's own tests.

use super::*;
use crate::closed_form::{Expected, expected};
use crate::rights::Rights;
use crate::testing::*;
use crate::walk::TlbOutcome;
use x86::{Level, PfErrorCode, Pkru};

const RW: u64 = 2;
const G: u64 = 1 << 8;
const D: u64 = 1 << 6;
const PS: u64 = 1 << 7;

/// Four pages: 4 KiB and 2 MiB, each once global and once not.
const PAGES: [(&str, u64, u64); 4] = [
    ("local", 0x5000, TABLE),
    ("global", 0x6000, TABLE | G),
    ("large", 0x40_0000, TABLE | PS),
    ("large global", 0x60_0000, TABLE | PS | G),
];
const LOCAL: u64 = PAGES[0].1;
const LARGE: u64 = PAGES[2].1;
const OLD: u64 = 0x4000_0000;
const NEW: u64 = 0x8000_0000;

struct Machine {
    ram: Ram,
    mmu: Mmu,
}

impl Machine {
    /// The pages of [`PAGES`] at their address plus [`OLD`], read by a user and so cached.
    fn new() -> Self {
        let ram = ram();
        store_path(
            &ram,
            va(0),
            &[TABLES[1] | TABLE, TABLES[2] | TABLE, TABLES[3] | TABLE],
        );
        let mut machine = Self {
            ram,
            mmu: mmu(regs()),
        };
        machine.map_all(OLD);
        for (name, page, _) in PAGES {
            assert_eq!(
                machine.read(page).unwrap().walk.hit,
                TlbOutcome::Miss,
                "{name}"
            );
        }
        machine
    }

    fn map_all(&self, at: u64) {
        for (_, page, bits) in PAGES {
            self.store(page, (at + page) | bits);
        }
    }

    /// Stores the leaf entry for `page`.
    fn store(&self, page: u64, raw: u64) {
        assert!(self.ram.write(self.leaf(page), raw));
    }

    fn leaf(&self, page: u64) -> PhysAddr {
        entry_at(
            va(page),
            if page < 0x20_0000 {
                Level::Pt
            } else {
                Level::Pd
            },
        )
    }

    fn access(&mut self, at: u64, access: Access, who: Accessor) -> Result<Translation, WalkFault> {
        self.mmu.translate(&self.ram, va(at), access, who)
    }

    fn read(&mut self, at: u64) -> Result<Translation, WalkFault> {
        self.access(at, Access::Read, Accessor::USER)
    }

    fn write(&mut self, at: u64) -> Result<Translation, WalkFault> {
        self.access(at, Access::Write, Accessor::USER)
    }

    fn is_hit(&mut self, at: u64) -> bool {
        self.read(at).unwrap().walk.hit == TlbOutcome::Hit
    }
}

/// An MMU whose registers have these values.
fn mmu(regs: PagingRegs) -> Mmu {
    let mut mmu = Mmu::new(regs.maxphyaddr);
    mmu.write_cr4(regs.cr4);
    mmu.write_cr3(regs.cr3);
    mmu.write_efer(regs.efer);
    mmu.write_pkru(regs.pkru);
    mmu.write_cr0(regs.cr0);
    assert_eq!(mmu.regs(), &regs);
    mmu
}

/// Gives the registers values as if written, with nothing removed.
fn set_regs(mmu: &mut Mmu, regs: PagingRegs) {
    mmu.regs = regs;
    mmu.update(Invalidation::Nothing);
}

/// Which pages still translate by their old entry after `operation`.
///
/// All are cached and their entries in memory changed; until `operation` each old one is seen in use.
fn survivors(operation: impl FnOnce(&mut Mmu)) -> Vec<&'static str> {
    let mut machine = Machine::new();
    machine.map_all(NEW);
    for (name, page, _) in PAGES {
        assert_eq!(
            machine.read(page).unwrap().pa.get(),
            OLD + page,
            "{name} is not cached"
        );
    }
    operation(&mut machine.mmu);
    let uses_old = |&(name, page, _): &(&'static str, u64, u64)| {
        let pa = machine.read(page).unwrap().pa.get();
        assert!(
            [OLD + page, NEW + page].contains(&pa),
            "{name} is at {pa:#x}"
        );
        pa == OLD + page
    };
    PAGES
        .iter()
        .copied()
        .filter(uses_old)
        .map(|(name, ..)| name)
        .collect()
}

const ALL: [&str; 4] = ["local", "global", "large", "large global"];
const NONE: [&str; 0] = [];

fn toggle_cr4(mmu: &mut Mmu, bit: Cr4) {
    mmu.write_cr4(mmu.regs().cr4 ^ bit);
}

#[test]
fn a_store_to_a_table_removes_nothing() {
    assert_eq!(survivors(|_| ()), ALL);
}

#[test]
fn invlpg_removes_the_page_of_its_operand_and_no_other() {
    for (name, page, _) in PAGES {
        let others: Vec<_> = ALL.into_iter().filter(|&other| other != name).collect();
        assert_eq!(
            survivors(|mmu| mmu.invlpg(va(page + 0xabc))),
            others,
            "{name}"
        );
    }
    assert_eq!(survivors(|mmu| mmu.invlpg(va(LOCAL + 0x2000))), ALL);
}

#[test]
fn invlpg_of_any_address_in_a_large_page_removes_all_of_it() {
    let removed = ["local", "global", "large global"];
    for offset in [0, 0x1000, 0x12_3456, 0x1f_ffff] {
        assert_eq!(
            survivors(|mmu| mmu.invlpg(va(LARGE + offset))),
            removed,
            "{offset:#x}"
        );
    }
    assert_eq!(survivors(|mmu| mmu.invlpg(va(LARGE - 1))), ALL);
}

#[test]
fn mov_to_cr3_removes_all_but_global_pages_even_if_the_value_stays() {
    assert_eq!(
        survivors(|mmu| mmu.write_cr3(TABLES[0])),
        ["global", "large global"]
    );
}

#[test]
fn mov_to_cr3_thrice_over_keeps_global_pages() {
    let thrice = |mmu: &mut Mmu| (0..3).for_each(|_| mmu.write_cr3(TABLES[0]));
    assert_eq!(survivors(thrice), ["global", "large global"]);
}

#[test]
fn mov_to_cr0_removes_everything_when_pg_falls() {
    let off_and_on = |mmu: &mut Mmu| {
        let on = mmu.regs().cr0;
        mmu.write_cr0(on - Cr0::PG);
        mmu.write_cr0(on);
    };
    assert_eq!(survivors(off_and_on), NONE);
}

#[test]
fn mov_to_cr0_that_keeps_pg_removes_nothing() {
    for bit in [Cr0::WP, Cr0::TS, Cr0::AM] {
        assert_eq!(
            survivors(|mmu| mmu.write_cr0(mmu.regs().cr0 ^ bit)),
            ALL,
            "{bit:?}"
        );
    }
}

#[test]
fn mov_to_cr4_that_changes_pge_removes_everything() {
    assert_eq!(survivors(|mmu| toggle_cr4(mmu, Cr4::PGE)), NONE);
}

#[test]
fn mov_to_cr4_that_sets_pge_removes_everything() {
    let mut machine = Machine::new();
    toggle_cr4(&mut machine.mmu, Cr4::PGE);
    machine.read(LOCAL).unwrap();
    assert!(machine.is_hit(LOCAL));
    toggle_cr4(&mut machine.mmu, Cr4::PGE);
    assert!(!machine.is_hit(LOCAL));
}

#[test]
fn mov_to_cr4_that_changes_pae_removes_everything() {
    assert_eq!(survivors(|mmu| toggle_cr4(mmu, Cr4::PAE)), NONE);
}

#[test]
fn mov_to_cr4_removes_everything_when_smep_rises_and_nothing_when_it_falls() {
    assert_eq!(survivors(|mmu| toggle_cr4(mmu, Cr4::SMEP)), ALL);
    let mut machine = Machine::new();
    toggle_cr4(&mut machine.mmu, Cr4::SMEP);
    assert!(machine.is_hit(LOCAL));
    toggle_cr4(&mut machine.mmu, Cr4::SMEP);
    assert!(!machine.is_hit(LOCAL));
}

#[test]
fn mov_to_cr4_that_changes_no_paging_bit_but_smap_removes_nothing() {
    for bit in [
        Cr4::empty(),
        Cr4::SMAP,
        Cr4::TSD,
        Cr4::OSFXSR,
        Cr4::FSGSBASE,
    ] {
        assert_eq!(survivors(|mmu| toggle_cr4(mmu, bit)), ALL, "{bit:?}");
    }
}

#[test]
fn a_write_to_efer_removes_nothing() {
    let without_nxe = |mmu: &mut Mmu| mmu.write_efer(mmu.regs().efer ^ Efer::NXE);
    assert_eq!(survivors(without_nxe), ALL);
}

#[test]
fn reset_removes_everything_and_turns_paging_off() {
    let reset_and_back = |mmu: &mut Mmu| {
        let before = *mmu.regs();
        mmu.reset();
        assert_eq!(mmu.regs(), Mmu::new(MAXPHYADDR).regs());
        set_regs(mmu, before);
    };
    assert_eq!(survivors(reset_and_back), NONE);
}

#[test]
fn a_page_fault_removes_the_entries_for_its_page_and_no_other() {
    for (name, page, _) in PAGES {
        let mut machine = Machine::new();
        for (_, page, bits) in PAGES {
            machine.store(page, (NEW + page) | (bits & !RW));
        }
        // The old entry allows the write but has D clear: the walk finds no right in the tables.
        let fault = machine.write(page + 0x10).unwrap_err().fault;
        assert_eq!(fault.linear, va(page + 0x10), "{name}");
        assert_eq!(
            fault.code,
            PfErrorCode::P | PfErrorCode::WR | PfErrorCode::US,
            "{name}"
        );
        assert_eq!(machine.mmu.probe_tlb(va(page)), None, "{name}");
        for (other, at, _) in PAGES {
            let want = if other == name { NEW } else { OLD } + at;
            assert_eq!(
                machine.read(at).unwrap().pa.get(),
                want,
                "{other} after a #PF in {name}"
            );
        }
    }
}

#[test]
fn a_page_made_absent_stays_readable_until_a_page_fault_removes_it() {
    let mut machine = Machine::new();
    machine.store(LOCAL, 0);
    assert!(machine.is_hit(LOCAL));
    assert_eq!(
        machine.write(LOCAL).unwrap_err().fault.code,
        PfErrorCode::WR | PfErrorCode::US
    );
    assert_eq!(machine.read(LOCAL).unwrap_err().fault.code, PfErrorCode::US);
}

#[test]
fn an_entry_with_fewer_rights_than_the_tables_causes_no_fault() {
    let mut machine = Machine::new();
    machine.store(LOCAL, OLD | LOCAL | TABLE & !RW | 1 << 63);
    machine.mmu.invlpg(va(LOCAL));
    machine.read(LOCAL).unwrap();
    machine.store(LOCAL, OLD | LOCAL | TABLE);
    assert!(machine.is_hit(LOCAL));
    assert_eq!(machine.write(LOCAL).unwrap().walk.hit, TlbOutcome::Miss);
    let fetch = machine
        .access(LOCAL, Access::Fetch, Accessor::USER)
        .unwrap();
    assert_eq!(
        fetch.walk.hit,
        TlbOutcome::Hit,
        "the write's walk brought the right to execute"
    );
}

#[test]
fn the_first_write_after_a_read_walks_and_sets_dirty_in_memory() {
    for (name, page, _) in PAGES {
        let mut machine = Machine::new();
        let dirty = |m: &Machine| m.ram.read::<u64>(m.leaf(page)).unwrap() & D != 0;
        assert!(
            !machine
                .mmu
                .probe_tlb(va(page))
                .unwrap()
                .rights
                .contains(Rights::D),
            "{name}"
        );
        assert!(!dirty(&machine), "{name}");

        let first = machine.write(page).unwrap().walk;
        assert_eq!(
            (first.hit, first.ad_updates),
            (TlbOutcome::Miss, 1),
            "{name}"
        );
        assert!(dirty(&machine), "{name}");
        assert_eq!(machine.write(page).unwrap().walk, Walked::HIT, "{name}");
    }
}

#[test]
fn a_page_read_while_dirty_in_memory_is_written_without_a_walk() {
    let mut machine = Machine::new();
    machine.store(LOCAL, OLD | LOCAL | TABLE | D);
    machine.mmu.invlpg(va(LOCAL));
    machine.read(LOCAL).unwrap();
    assert_eq!(machine.write(LOCAL).unwrap().walk, Walked::HIT);
}

#[test]
fn dirty_cleared_in_memory_is_not_set_again_until_invlpg() {
    let mut machine = Machine::new();
    machine.write(LOCAL).unwrap();
    machine.store(LOCAL, OLD | LOCAL | TABLE);
    machine.write(LOCAL).unwrap();
    assert_eq!(
        machine.ram.read(machine.leaf(LOCAL)),
        Some(OLD | LOCAL | TABLE)
    );
    machine.mmu.invlpg(va(LOCAL));
    machine.write(LOCAL).unwrap();
    assert_eq!(
        machine.ram.read(machine.leaf(LOCAL)),
        Some(OLD | LOCAL | TABLE | 0x60)
    );
}

#[test]
fn a_write_through_a_stale_writable_entry_succeeds_until_invlpg() {
    for (name, page, bits) in PAGES {
        let mut machine = Machine::new();
        machine.write(page).unwrap();
        machine.store(page, (NEW + page) | (bits & !RW));
        assert_eq!(machine.write(page).unwrap().pa.get(), OLD + page, "{name}");
        machine.mmu.invlpg(va(page));
        let code = machine.write(page).unwrap_err().fault.code;
        assert_eq!(
            code,
            PfErrorCode::P | PfErrorCode::WR | PfErrorCode::US,
            "{name}"
        );
    }
}

#[test]
fn a_write_that_needs_dirty_goes_where_the_tables_say_now() {
    let mut machine = Machine::new();
    machine.store(LOCAL, NEW | LOCAL | TABLE);
    assert_eq!(machine.read(LOCAL).unwrap().pa.get(), OLD + LOCAL);
    assert_eq!(machine.write(LOCAL).unwrap().pa.get(), NEW + LOCAL);
    assert_eq!(machine.read(LOCAL).unwrap().pa.get(), NEW + LOCAL);
}

#[test]
fn fetches_and_data_accesses_share_one_entry() {
    let mut machine = Machine::new();
    machine.store(LOCAL, NEW | LOCAL | TABLE);
    let fetch = machine
        .access(LOCAL, Access::Fetch, Accessor::USER)
        .unwrap();
    assert_eq!((fetch.pa.get(), fetch.walk), (OLD + LOCAL, Walked::HIT));
}

#[test]
fn a_large_page_is_one_entry() {
    let mut machine = Machine::new();
    for offset in (0..0x20_0000).step_by(0x1000) {
        let read = machine.read(LARGE + offset).unwrap();
        assert_eq!(
            (read.pa.get(), read.walk),
            (OLD + LARGE + offset, Walked::HIT)
        );
    }
}

/// What must come of an access to [`LOCAL`], whose cached entry is as `leaf`: a hit needs the entry's
/// leave alone, and XD is no matter without NXE; where that does not do, a walk decides.
fn expected_of_cached(
    leaf: u64,
    regs: &PagingRegs,
    access: Access,
    who: Accessor,
) -> (Expected, TlbOutcome) {
    let tables = [TABLES[1], TABLES[2], TABLES[3]].map(|table| table | TABLE | 0x20);
    let judge = |leaf| expected(&[tables[0], tables[1], tables[2], leaf], regs, access, who);
    let cached = if regs.efer.contains(Efer::NXE) {
        leaf
    } else {
        leaf & !(1 << 63)
    };
    let by_entry = judge(cached);
    if by_entry.fault.is_none() && by_entry.entries[3] == cached {
        (
            Expected {
                fault: None,
                read: 0,
                entries: vec![leaf],
            },
            TlbOutcome::Hit,
        )
    } else {
        (judge(leaf), TlbOutcome::Miss)
    }
}

/// Entries read for [`LOCAL`], whose PDE is cached: none on a hit, else the PTE, and before a #PF all four again.
fn steps_of(want: &Expected) -> usize {
    match (want.read, want.fault) {
        (0, _) => 0,
        (_, None) => 1,
        (all, Some(_)) => 1 + all,
    }
}

#[test]
fn a_cached_entry_is_judged_by_the_registers_as_they_are_now() {
    let open = PagingRegs {
        cr0: Cr0::PG,
        cr4: Cr4::PGE,
        ..regs()
    };
    let mut cases = 0;
    for n in 0..16 {
        // P and A, and each combination of R/W, U/S, D and XD.
        let leaf = OLD | LOCAL | 0x21 | (n & 3) << 1 | (n & 4) << 4 | (n & 8) << 60;
        for regs in all_regs() {
            for (access, who) in kinds() {
                let case = format!("{leaf:x} {regs:?} {access:?} {who:?}");
                let mut machine = Machine::new();
                machine.store(LOCAL, leaf);
                machine.mmu = mmu(open);
                machine
                    .access(LOCAL, Access::Read, Accessor::SUPERVISOR)
                    .unwrap();
                set_regs(&mut machine.mmu, regs);

                let (want, outcome) = expected_of_cached(leaf, &regs, access, who);
                let got = machine.access(LOCAL, access, who);
                let walked = got.map_or_else(|fault| fault.walk, |translation| translation.walk);
                assert_eq!(got.err().map(|f| f.fault.code.bits()), want.fault, "{case}");
                assert_eq!(
                    (walked.hit, usize::from(walked.steps)),
                    (outcome, steps_of(&want)),
                    "{case}"
                );
                assert_eq!(
                    machine.ram.read(machine.leaf(LOCAL)),
                    want.entries.last().copied(),
                    "{case}"
                );
                cases += 1;
            }
        }
    }
    assert_eq!(cases, 16 * 16 * 12);
}

#[test]
fn wp_smap_and_nxe_act_on_cached_entries_at_once() {
    let [read_only, no_execute] = [TABLE & !RW, TABLE | 1 << 63].map(|bits| OLD | LOCAL | bits | D);
    let faults = |leaf, access, who, change: fn(&mut Mmu)| {
        let mut machine = Machine::new();
        machine.store(LOCAL, leaf);
        machine.mmu = mmu(PagingRegs {
            cr0: Cr0::PG,
            cr4: Cr4::PGE,
            ..regs()
        });
        machine
            .access(LOCAL, Access::Read, Accessor::SUPERVISOR)
            .unwrap();
        let before = machine.access(LOCAL, access, who).is_err();
        change(&mut machine.mmu);
        assert!(machine.mmu.probe_tlb(va(LOCAL)).is_some());
        (before, machine.access(LOCAL, access, who).is_err())
    };
    let set_wp = |mmu: &mut Mmu| mmu.write_cr0(Cr0::PG | Cr0::WP);
    let set_smap = |mmu: &mut Mmu| mmu.write_cr4(Cr4::PGE | Cr4::SMAP);
    assert_eq!(
        faults(read_only, Access::Write, Accessor::SUPERVISOR, set_wp),
        (false, true)
    );
    assert_eq!(
        faults(read_only, Access::Read, Accessor::SUPERVISOR, set_smap),
        (false, true)
    );

    let mut machine = Machine::new();
    machine.store(LOCAL, no_execute);
    machine.mmu.invlpg(va(LOCAL));
    machine.read(LOCAL).unwrap();
    machine.mmu.write_efer(Efer::LMA);
    let fetch = machine
        .access(LOCAL, Access::Fetch, Accessor::USER)
        .unwrap();
    assert_eq!(
        fetch.walk,
        Walked::HIT,
        "XD means nothing to a cached entry without NXE"
    );
}

#[test]
fn pkru_acts_on_cached_entries_at_once_and_never_on_fetches() {
    let key_5 = 5 << 59;
    let mut machine = Machine::new();
    machine.store(LOCAL, OLD | LOCAL | TABLE | D | key_5);
    machine.mmu.invlpg(va(LOCAL));
    machine.mmu.write_cr4(machine.mmu.regs().cr4 | Cr4::PKE);
    for access in ACCESSES {
        machine.access(LOCAL, access, Accessor::USER).unwrap();
    }
    machine.mmu.write_pkru(Pkru(2 << 10));
    assert!(machine.is_hit(LOCAL), "WD of key 5 lets reads pass");
    let refused = PfErrorCode::P | PfErrorCode::US | PfErrorCode::PK;
    let write = machine.write(LOCAL).unwrap_err().fault.code;
    assert_eq!(write, refused | PfErrorCode::WR);
    machine.mmu.write_pkru(Pkru(1 << 10));
    assert_eq!(machine.read(LOCAL).unwrap_err().fault.code, refused);
    let mut fetch = || {
        machine
            .access(LOCAL, Access::Fetch, Accessor::USER)
            .unwrap()
    };
    fetch();
    assert_eq!(fetch().walk, Walked::HIT);
}

#[test]
fn a_translation_tells_pat_pcd_and_pwt_of_the_leaf_from_walk_tlb_and_front() {
    for (name, page, bits) in PAGES {
        let pat_bit = if page < 0x20_0000 { 1 << 7 } else { 1 << 12 };
        for (bit, index) in [0, 1 << 3, 1 << 4, pat_bit].into_iter().zip([0, 1, 2, 4]) {
            let mut machine = Machine::new();
            machine.store(page, (OLD + page) | bits | bit);
            machine.mmu.invlpg(va(page));
            for _ in 0..2 {
                assert_eq!(machine.read(page).unwrap().pat.get(), index, "{name}");
            }
            machine.mmu.tlb.forget_kinds();
            let from_sets = machine.read(page).unwrap();
            assert_eq!((from_sets.pat.get(), from_sets.walk), (index, Walked::HIT));
            let leaf = Mmu::peek(&machine.ram, machine.mmu.regs(), va(page))
                .leaf
                .unwrap();
            let told = (leaf.pat.pat(), leaf.pat.pcd(), leaf.pat.pwt());
            assert_eq!(
                told,
                (bit == pat_bit, bit == 1 << 4, bit == 1 << 3),
                "{name}"
            );
        }
    }
}

#[test]
fn without_paging_addresses_are_their_own_and_32_bits_wide() {
    let (ram, mut mmu) = (ram(), Mmu::new(MAXPHYADDR));
    for (linear, physical) in [
        (0x1234, 0x1234),
        (0xffff_ffff, 0xffff_ffff),
        (0x1_0000_0010, 0x10),
    ] {
        let got = mmu
            .translate(&ram, va(linear), Access::Write, Accessor::USER)
            .unwrap();
        assert_eq!((got.pa.get(), got.walk), (physical, Walked::HIT));
    }
    assert_eq!(mmu.probe_tlb(va(0x1234)), None);
}

#[test]
fn a_peek_shows_each_level_and_changes_neither_tables_nor_tlb() {
    let machine = Machine::new();
    machine.store(LOCAL, NEW | LOCAL | TABLE);
    let peek = Mmu::peek(&machine.ram, machine.mmu.regs(), va(LOCAL + 0x123));
    assert_eq!(peek.pa, Some(PhysAddr::new(NEW + LOCAL + 0x123)));
    let levels: Vec<_> = peek
        .steps
        .iter()
        .map(|step| (step.level, step.at))
        .collect();
    assert_eq!(
        levels,
        Level::TOP_DOWN.map(|level| (level, entry_at(va(LOCAL), level)))
    );
    assert_eq!(peek.steps[3].raw, NEW | LOCAL | TABLE);
    assert_eq!(
        machine.ram.read(machine.leaf(LOCAL)),
        Some(NEW | LOCAL | TABLE)
    );
    assert_eq!(
        machine.mmu.probe_tlb(va(LOCAL)).unwrap().base.get(),
        OLD + LOCAL
    );
    assert_eq!(
        crate::peek_cr3(&machine.ram, TABLES[0], va(LOCAL + 0x123)),
        peek
    );
}

#[test]
fn a_peek_ends_where_the_tables_end() {
    let machine = Machine::new();
    let absent = Mmu::peek(&machine.ram, machine.mmu.regs(), va(0x80_0000));
    assert_eq!(
        (absent.steps.len(), absent.leaf, absent.pa),
        (3, None, None)
    );
    let large = Mmu::peek(&machine.ram, machine.mmu.regs(), va(LARGE + 5));
    assert_eq!(
        (large.steps.len(), large.pa),
        (3, Some(PhysAddr::new(OLD + LARGE + 5)))
    );
    let off = Mmu::peek(&machine.ram, Mmu::new(MAXPHYADDR).regs(), va(5));
    assert_eq!(
        (off.steps.len(), off.leaf, off.pa),
        (0, None, Some(PhysAddr::new(5)))
    );
}
