//! The walk against the closed form, over every combination of the bits that matter.

use super::*;
use crate::closed_form::expected;
use crate::testing::*;
use x86::addr::PAGE_BYTES;
use x86::control::Cr0;

const VA: u64 = 0x1234_5678_9abc;
const PS: u64 = 0x80;
const SIZE_OF_LEAF: [PageSize; 3] = [PageSize::Size1G, PageSize::Size2M, PageSize::Size4K];

/// Addresses in a path of `len` entries, PML4E first; the page lies at 40000000h.
fn addresses(len: usize) -> [u64; 4] {
    let mut addresses = [TABLES[1], TABLES[2], TABLES[3], 0];
    addresses[len - 1] = 0x4000_0000 | if len < 4 { PS } else { 0 };
    addresses
}

/// Makes one walk along `entries` and holds it against the closed form: result, memory, counts.
fn check(ram: &Ram, entries: &[u64], regs: &PagingRegs, access: Access, who: Accessor) {
    let case = || format!("{entries:x?} {regs:?} {access:?} {who:?}");
    let want = expected(entries, regs, access, who);
    store_path(ram, va(VA), entries);
    let got = walk(ram, regs, va(VA), access, who);
    let after = load_path(ram, va(VA), entries.len());
    assert_eq!(after[..entries.len()], want.entries, "{}", case());

    let changed = want
        .entries
        .iter()
        .zip(entries)
        .filter(|(new, old)| new != old)
        .count();
    let walked = match got {
        Ok((page, walked)) => {
            assert_eq!(want.fault, None, "{}", case());
            assert_eq!(page.size, SIZE_OF_LEAF[entries.len() - 2], "{}", case());
            assert_eq!(page.base.get(), leaf_base(entries), "{}", case());
            walked
        }
        Err(WalkFault { fault, walk }) => {
            assert_eq!(Some(fault.code.bits()), want.fault, "{}", case());
            assert_eq!(fault.linear, va(VA));
            walk
        }
    };
    assert_eq!(walked.hit, TlbOutcome::Miss);
    assert_eq!(usize::from(walked.steps), want.read, "{}", case());
    assert_eq!(usize::from(walked.ad_updates), changed, "{}", case());
}

/// Bits of the last entry that address the page: down to 12, 21 or 30.
fn leaf_base(entries: &[u64]) -> u64 {
    let lowest = [30, 21, 12][entries.len() - 2];
    (entries.last().unwrap() & 0x000f_ffff_ffff_ffff) >> lowest << lowest
}

/// Walks every path of `len` entries with every P, R/W, U/S, XD at each; returns the number of cases.
fn check_all_rights(len: usize) -> u64 {
    let (ram, addresses) = (ram(), addresses(len));
    let mut cases = 0;
    for combination in 0..1_u64 << (4 * len) {
        let entries: [u64; 4] =
            std::array::from_fn(|depth| addresses[depth] | flags(combination >> (4 * depth)));
        for regs in all_regs() {
            for (access, who) in kinds() {
                check(&ram, &entries[..len], &regs, access, who);
                cases += 1;
            }
        }
    }
    cases
}

#[test]
fn every_combination_of_rights_matches_the_closed_form() {
    assert_eq!(check_all_rights(4), 65_536 * 16 * 12);
}

#[test]
fn every_combination_of_rights_matches_the_closed_form_for_large_pages() {
    assert_eq!(check_all_rights(3), 4096 * 16 * 12);
    assert_eq!(check_all_rights(2), 256 * 16 * 12);
}

#[test]
fn accessed_and_dirty_are_set_as_the_closed_form_says_from_any_state() {
    let ram = ram();
    let mut cases = 0;
    for len in [2, 3, 4] {
        let addresses = addresses(len);
        // One A and one D for each level, and the four flags of the leaf.
        for state in 0..1_u64 << (2 * len + 4) {
            let entries: [u64; 4] = std::array::from_fn(|depth| {
                let rights = if depth == len - 1 {
                    flags(state >> (2 * len))
                } else {
                    TABLE
                };
                addresses[depth] | rights | (state >> (2 * depth) & 3) << 5
            });
            for regs in all_regs() {
                for (access, who) in kinds() {
                    check(&ram, &entries[..len], &regs, access, who);
                    cases += 1;
                }
            }
        }
    }
    assert_eq!(cases, (256 + 1024 + 4096) * 16 * 12);
}

/// Whether flipping `bit` at `depth` leaves a path of `len` entries in the tables of the test.
///
/// Address bits of a table lead elsewhere; PS of a PDPTE or PDE changes the length, which
/// is the business of the other lengths.
fn keeps_path(len: usize, depth: usize, bit: u32) -> bool {
    match bit {
        12..46 => depth == len - 1,
        7 => depth == 0 || depth == 3,
        _ => true,
    }
}

#[test]
fn every_single_bit_at_every_level_means_what_the_closed_form_says() {
    let ram = ram();
    let mut cases = 0;
    for len in [2, 3, 4] {
        for (depth, bit) in (0..len).flat_map(|depth| (0..64).map(move |bit| (depth, bit))) {
            if !keeps_path(len, depth, bit) {
                continue;
            }
            let mut entries = addresses(len).map(|address| address | TABLE);
            entries[depth] ^= 1 << bit;
            for regs in all_regs() {
                for (access, who) in kinds() {
                    check(&ram, &entries[..len], &regs, access, who);
                    cases += 1;
                }
            }
        }
    }
    // A PML4E has 30 bits to flip, a PDPTE or PDE 29 and as a leaf 34 more, a PTE all 64.
    let bits = (30 + 63) + (30 + 29 + 63) + (30 + 29 + 29 + 64);
    assert_eq!(cases, bits * 16 * 12);
}

#[test]
fn the_first_entry_that_stops_the_walk_decides_the_error_code() {
    let ram = ram();
    for combination in 0..4_u64.pow(4) {
        let entries: [u64; 4] = std::array::from_fn(|depth| {
            let fine = addresses(4)[depth] | TABLE;
            [fine, !1, fine | 1 << 46, fine & !6]
                [usize::try_from(combination >> (2 * depth) & 3).unwrap()]
        });
        for (access, who) in kinds() {
            check(&ram, &entries, &regs(), access, who);
        }
    }
}

#[test]
fn the_width_of_physical_addresses_decides_which_bits_are_reserved() {
    let ram = ram();
    for (maxphyaddr, bit) in (36..=52).flat_map(|width| (30..52).map(move |bit| (width, bit))) {
        let mut entries = addresses(4).map(|address| address | TABLE);
        entries[3] |= 1 << bit;
        check(
            &ram,
            &entries,
            &PagingRegs {
                maxphyaddr,
                ..regs()
            },
            Access::Read,
            Accessor::USER,
        );
    }
}

fn user_path(leaf: u64) -> Ram {
    let ram = ram();
    let [a, b, c, _] = addresses(4).map(|address| address | TABLE);
    store_path(&ram, va(VA), &[a, b, c, leaf]);
    ram
}

#[test]
fn a_user_write_sets_dirty_in_the_leaf_alone_and_accessed_everywhere() {
    let ram = user_path(0x9000 | TABLE);
    let (page, walked) = walk(&ram, &regs(), va(VA), Access::Write, Accessor::USER).unwrap();
    assert_eq!(page.translate(va(VA)), PhysAddr::new(0x9abc));
    assert_eq!(
        walked,
        Walked {
            hit: TlbOutcome::Miss,
            steps: 4,
            ad_updates: 4
        }
    );
    let set = load_path(&ram, va(VA), 4).map(|entry| entry & 0x60);
    assert_eq!(set, [0x20, 0x20, 0x20, 0x60]);
}

#[test]
fn a_supervisor_write_to_a_read_only_page_faults_only_while_wp_is_set() {
    for (wp, want) in [
        (Cr0::WP, Some(PfErrorCode::P | PfErrorCode::WR)),
        (Cr0::empty(), None),
    ] {
        let ram = user_path(0x9000 | 1);
        let regs = PagingRegs {
            cr0: Cr0::PG | wp,
            ..regs()
        };
        let got = walk(&ram, &regs, va(VA), Access::Write, Accessor::SUPERVISOR);
        assert_eq!(got.err().map(|f| f.fault.code), want, "{wp:?}");
    }
}

#[test]
fn a_table_outside_ram_reads_as_all_ones() {
    let mut regs = PagingRegs {
        cr3: 0xd000_0000,
        ..regs()
    };
    let fault = walk(&ram(), &regs, va(VA), Access::Read, Accessor::USER).unwrap_err();
    assert_eq!(
        fault.fault.code,
        PfErrorCode::P | PfErrorCode::RSVD | PfErrorCode::US
    );
    assert_eq!(fault.walk.steps, 1);

    // The one place where all ones are an entry: a page table, with no address bit reserved.
    let ram = user_path(0);
    assert!(ram.write(entry_at(va(VA), Level::Pd), 0xd000_0000 | TABLE));
    regs = PagingRegs {
        cr3: TABLES[0],
        maxphyaddr: 52,
        ..regs
    };
    let (page, walked) = walk(&ram, &regs, va(VA), Access::Write, Accessor::USER).unwrap();
    assert_eq!(page.base, PhysAddr::new((1 << 52) - PAGE_BYTES));
    assert_eq!(walked.ad_updates, 3);
}

#[test]
fn a_table_that_maps_itself_gets_a_from_the_first_level_and_d_from_the_last() {
    // Every level of this address is the same entry of the same table.
    let at = va(0xffff_8000_0000_0000 | 0x100 << 30 | 0x100 << 21 | 0x100 << 12);
    let (ram, entry) = (ram(), PhysAddr::new(TABLES[0] + 8 * 0x100));
    assert!(ram.write(entry, TABLES[0] | 3));
    let (page, walked) = walk(&ram, &regs(), at, Access::Write, Accessor::SUPERVISOR).unwrap();
    assert_eq!(page.base, PhysAddr::new(TABLES[0]));
    assert_eq!(ram.read(entry), Some(TABLES[0] | 0x63));
    assert_eq!(walked.ad_updates, 2);
}

#[test]
fn global_counts_only_in_the_leaf_and_only_under_pge() {
    for (in_leaf, in_table, cr4, want) in [
        (true, false, Cr4::PAE | Cr4::PGE, true),
        (true, true, Cr4::PAE, false),
        (false, true, Cr4::PAE | Cr4::PGE, false),
    ] {
        let ram = user_path(0x9000 | TABLE | u64::from(in_leaf) << 8);
        let pde = TABLES[3] | TABLE | u64::from(in_table) << 8;
        assert!(ram.write(entry_at(va(VA), Level::Pd), pde));
        let regs = PagingRegs { cr4, ..regs() };
        let (page, _) = walk(&ram, &regs, va(VA), Access::Read, Accessor::USER).unwrap();
        assert_eq!(page.global, want, "{cr4:?}");
    }
}
