//! The walk against the closed form, over every combination of the bits that matter.

use super::*;
use crate::closed_form::expected;
use crate::testing::*;
use x86::Pkru;
use x86::addr::PAGE_BYTES;
use x86::control::Cr0;
use x86::paging::PageSize;

/// Linear address of all walks here; the low 32 bits of it where there are no more.
const VA: u64 = 0x1234_5678_9abc;
const PS: u64 = 0x80;

fn va_of(format: Format) -> VirtAddr {
    match format {
        Format::FourLevel => va(VA),
        _ => va(VA & 0xffff_ffff),
    }
}

/// The lengths of path there are: entries read until one maps a page.
fn lengths(format: Format) -> &'static [usize] {
    match format {
        Format::FourLevel => &[2, 3, 4],
        Format::Pae | Format::Bits32Pse => &[1, 2],
        Format::Bits32 => &[2],
    }
}

fn leaf_size(format: Format, len: usize) -> PageSize {
    match (format, levels(format).len() - len) {
        (_, 0) => PageSize::Size4K,
        (Format::Bits32Pse, _) => PageSize::Size4M,
        (_, 1) => PageSize::Size2M,
        _ => PageSize::Size1G,
    }
}

/// Addresses in a path of `len` entries, the topmost first; the page lies at 40000000h.
fn addresses_of(format: Format, len: usize) -> Vec<u64> {
    let tables = &TABLES[5 - levels(format).len()..];
    let ps = if len < levels(format).len() { PS } else { 0 };
    let leaf = 0x4000_0000 | ps;
    tables[..len - 1].iter().copied().chain([leaf]).collect()
}

fn addresses(len: usize) -> [u64; 4] {
    let mut addresses = [0; 4];
    addresses[..len].copy_from_slice(&addresses_of(Format::FourLevel, len));
    addresses
}

/// Bits that entries have.
fn width(format: Format) -> u32 {
    match format {
        Format::Bits32 | Format::Bits32Pse => 32,
        _ => 64,
    }
}

/// A walk from the root.
fn walk(
    ram: &Ram,
    regs: &PagingRegs,
    va: VirtAddr,
    access: Access,
    who: Accessor,
) -> Result<(TlbEntry, Walked), WalkFault> {
    let format = regs.format().unwrap();
    let found = super::walk(ram, regs, format, regs.root(format, va), va, access, who)?;
    Ok((found.page, found.walk))
}

/// Makes one walk along `entries` and holds it against the closed form: result, memory, counts.
fn check(ram: &Ram, entries: &[u64], regs: &PagingRegs, access: Access, who: Accessor) {
    let case = || format!("{entries:x?} {regs:?} {access:?} {who:?}");
    let (format, len) = (regs.format().unwrap(), entries.len());
    let want = expected(entries, regs, access, who);
    store_path_of(format, ram, va_of(format), entries);
    let got = walk(ram, regs, va_of(format), access, who);
    let after = load_path_of(format, ram, va_of(format), len);
    assert_eq!(after, want.entries, "{}", case());

    let changed = want
        .entries
        .iter()
        .zip(entries)
        .filter(|(new, old)| new != old)
        .count();
    let walked = match got {
        Ok((page, walked)) => {
            assert_eq!(want.fault, None, "{}", case());
            assert_eq!(page.size, leaf_size(format, len), "{}", case());
            let leaf = *entries.last().unwrap();
            assert_eq!(page.base.get(), leaf_base(leaf, page.size), "{}", case());
            assert_eq!(u64::from(page.key.get()), leaf >> 59 & 15, "{}", case());
            assert_eq!(page.pat.get(), pat_index(leaf, page.size), "{}", case());
            walked
        }
        Err(WalkFault { fault, walk }) => {
            assert_eq!(Some(fault.code.bits()), want.fault, "{}", case());
            assert_eq!(fault.linear, va_of(format));
            walk
        }
    };
    assert_eq!(walked.hit, TlbOutcome::Miss);
    assert_eq!(usize::from(walked.steps), want.read, "{}", case());
    assert_eq!(usize::from(walked.ad_updates), changed, "{}", case());
}

/// Bits of the last entry that address the page: down to 12, 21, 22 or 30.
fn leaf_base(leaf: u64, size: PageSize) -> u64 {
    let lowest = match size {
        PageSize::Size4K => 12,
        PageSize::Size2M => 21,
        PageSize::Size4M => return (leaf >> 22 << 22) + (leaf >> 13 << 56 >> 24),
        PageSize::Size1G => 30,
    };
    (leaf & 0x000f_ffff_ffff_ffff) >> lowest << lowest
}

/// 4 times PAT, 2 times PCD, PWT.
fn pat_index(leaf: u64, size: PageSize) -> u8 {
    let pat_bit = if size == PageSize::Size4K { 7 } else { 12 };
    let bits = [(pat_bit, 4), (4, 2), (3, 1)];
    let value = |(bit, value): (u32, u8)| if leaf >> bit & 1 == 1 { value } else { 0 };
    bits.into_iter().map(value).sum()
}

/// Walks under every set of registers and for every kind of access; returns the number of cases.
fn check_under_all_regs(ram: &Ram, format: Format, entries: &[u64]) -> u64 {
    let mut cases = 0;
    for regs in all_regs_of(format) {
        for (access, who) in kinds() {
            check(ram, entries, &regs, access, who);
            cases += 1;
        }
    }
    cases
}

/// P, R/W, U/S and, where there is one, XD from the low four bits of `n`; `None` for a bit there is not.
fn flags_of(format: Format, n: u64) -> Option<u64> {
    let flags = flags(n & 15);
    (width(format) == 64 || flags <= 7).then_some(flags)
}

/// Walks every path of `len` entries with every P, R/W, U/S, XD at each; returns the number of cases.
fn check_all_rights(format: Format, len: usize) -> u64 {
    let (ram, addresses) = (ram(), addresses_of(format, len));
    let mut cases = 0;
    for combination in 0..1_u64 << (4 * len) {
        let entries: Option<Vec<u64>> = (0..)
            .zip(&addresses)
            .map(|(depth, address)| Some(address | flags_of(format, combination >> (4 * depth))?))
            .collect();
        if let Some(entries) = entries {
            cases += check_under_all_regs(&ram, format, &entries);
        }
    }
    cases
}

#[test]
fn every_combination_of_rights_matches_the_closed_form() {
    assert_eq!(check_all_rights(Format::FourLevel, 4), 65_536 * 16 * 12);
}

#[test]
fn every_combination_of_rights_matches_the_closed_form_for_large_pages() {
    assert_eq!(check_all_rights(Format::FourLevel, 3), 4096 * 16 * 12);
    assert_eq!(check_all_rights(Format::FourLevel, 2), 256 * 16 * 12);
}

#[test]
fn every_combination_of_rights_matches_the_closed_form_in_pae_and_32_bit_paging() {
    assert_eq!(check_all_rights(Format::Pae, 2), 256 * 16 * 12);
    assert_eq!(check_all_rights(Format::Pae, 1), 16 * 16 * 12);
    assert_eq!(check_all_rights(Format::Bits32, 2), 64 * 16 * 12);
    assert_eq!(check_all_rights(Format::Bits32Pse, 2), 64 * 16 * 12);
    assert_eq!(check_all_rights(Format::Bits32Pse, 1), 8 * 16 * 12);
}

#[test]
fn accessed_and_dirty_are_set_as_the_closed_form_says_from_any_state() {
    let ram = ram();
    let mut cases = 0;
    for (format, &len) in FORMATS
        .into_iter()
        .flat_map(|format| lengths(format).iter().map(move |len| (format, len)))
    {
        let addresses = addresses_of(format, len);
        // One A and one D for each level, and the flags of the leaf.
        for state in 0..1_u64 << (2 * len + 4) {
            let Some(leaf) = flags_of(format, state >> (2 * len)) else {
                continue;
            };
            let entry = |(depth, address): (usize, &u64)| {
                let rights = if depth == len - 1 { leaf } else { TABLE };
                address | rights | (state >> (2 * depth) & 3) << 5
            };
            let entries: Vec<u64> = addresses.iter().enumerate().map(entry).collect();
            cases += check_under_all_regs(&ram, format, &entries);
        }
    }
    let (four_level, pae, bits32) = (256 + 1024 + 4096, 64 + 256, 32 + 2 * 128);
    assert_eq!(cases, (four_level + pae + bits32) * 16 * 12);
}

/// Whether flipping `bit` at `depth` leaves a path of `len` entries in the tables of the test.
///
/// Address bits of a table lead elsewhere; PS of a PDPTE or PDE changes the length, which
/// is the business of the other lengths.
fn keeps_path(format: Format, len: usize, depth: usize, bit: u32) -> bool {
    let level = levels(format)[depth];
    let top_of_address = width(format).min(MAXPHYADDR);
    match bit {
        12.. if bit < top_of_address => depth == len - 1,
        7 => matches!(level, Level::Pml4 | Level::Pt) || format == Format::Bits32,
        _ => bit < width(format),
    }
}

#[test]
fn every_single_bit_at_every_level_means_what_the_closed_form_says() {
    let ram = ram();
    for (format, bits) in [
        // A PML4E has 30 bits to flip, a PDPTE or PDE 29 and as a leaf 34 more, a PTE all 64.
        (
            Format::FourLevel,
            (30 + 63) + (30 + 29 + 63) + (30 + 29 + 29 + 64),
        ),
        (Format::Pae, 63 + (29 + 64)),
        (Format::Bits32Pse, 31 + (11 + 32)),
        (Format::Bits32, 12 + 32),
    ] {
        let mut cases = 0;
        for &len in lengths(format) {
            for (depth, bit) in (0..len).flat_map(|depth| (0..64).map(move |bit| (depth, bit))) {
                if !keeps_path(format, len, depth, bit) {
                    continue;
                }
                let mut entries = addresses_of(format, len);
                entries.iter_mut().for_each(|entry| *entry |= TABLE);
                entries[depth] ^= 1 << bit;
                cases += check_under_all_regs(&ram, format, &entries);
            }
        }
        assert_eq!(cases, bits * 16 * 12, "{format:?}");
    }
}

/// PKRU with AD and WD of `key` as the two bits of `rights` say, and those of all other keys the contrary.
fn pkru(key: u64, rights: u32) -> Pkru {
    let contrary = (!rights & 3) * 0x5555_5555;
    Pkru(contrary & !(3 << (2 * key)) | rights << (2 * key))
}

#[test]
fn every_key_and_every_right_in_pkru_matches_the_closed_form() {
    let ram = ram();
    let mut cases = 0;
    for (format, &len) in [Format::FourLevel, Format::Pae]
        .into_iter()
        .flat_map(|format| lengths(format).iter().map(move |len| (format, len)))
    {
        let mut entries = addresses_of(format, len);
        entries.iter_mut().for_each(|entry| *entry |= TABLE);
        for (key, flags_of_leaf) in (0..16).flat_map(|key| (0..16).map(move |n| (key, flags(n)))) {
            entries[len - 1] = addresses_of(format, len)[len - 1] | flags_of_leaf | key << 59;
            for (rights, pke) in (0..4).flat_map(|n| [(n, false), (n, true)]) {
                for mut regs in all_regs_of(format) {
                    regs.cr4.set(Cr4::PKE, pke);
                    regs.pkru = pkru(key, rights);
                    for (access, who) in kinds() {
                        check(&ram, &entries, &regs, access, who);
                        cases += 1;
                    }
                }
            }
        }
    }
    // Three sizes of page in 4-level paging and two in PAE, 16 keys, 16 leaves, 4 rights, PKE on and off.
    assert_eq!(cases, (3 + 2) * 16 * 16 * 4 * 2 * 16 * 12);
}

#[test]
fn a_key_in_an_entry_that_maps_no_page_is_ignored_and_a_supervisor_page_has_none() {
    let ram = ram();
    for (depth, user) in (0..4).flat_map(|depth| [(depth, 0), (depth, 4)]) {
        let mut entries = addresses(4).map(|address| address | 3 | user);
        entries[depth] |= 5 << 59;
        for mut regs in all_regs() {
            regs.cr4.insert(Cr4::PKE);
            regs.pkru = Pkru(3 << 10);
            for (access, who) in kinds() {
                check(&ram, &entries, &regs, access, who);
            }
        }
    }
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
        for format in [Format::FourLevel, Format::Pae, Format::Bits32Pse] {
            for &len in lengths(format) {
                let mut entries = addresses_of(format, len);
                entries.iter_mut().for_each(|entry| *entry |= TABLE);
                // Bits 39:32 of an address are bits 20:13 of a PDE that maps 4 MiB.
                entries[len - 1] |= match format {
                    Format::Bits32Pse if len == 2 || !(32..40).contains(&bit) => continue,
                    Format::Bits32Pse => 1 << (bit - 19),
                    _ => 1 << bit,
                };
                let regs = PagingRegs {
                    maxphyaddr,
                    ..regs_of(format)
                };
                check(&ram, &entries, &regs, Access::Read, Accessor::USER);
            }
        }
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
    let set = load_path(&ram, va(VA))
        .iter()
        .map(|entry| entry & 0x60)
        .collect::<Vec<_>>();
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

#[test]
fn a_pdpte_register_that_is_not_present_faults_without_a_read() {
    let (ram, mut regs) = (ram(), regs_of(Format::Pae));
    store_path_of(
        Format::Pae,
        &ram,
        va(0xc000_0000),
        &[0x40_0000 | TABLE | PS],
    );
    regs.pdptes[3] = x86::paging::format::Pdpte::ABSENT;
    for (gibibyte, present) in [(0, true), (1, true), (2, true), (3, false)] {
        let at = va(gibibyte << 30);
        let got = walk(&ram, &regs, at, Access::Write, Accessor::USER);
        let steps = got.map_or_else(|fault| fault.walk.steps, |(_, walked)| walked.steps);
        let code = got.err().map(|fault| fault.fault.code);
        let not_present = PfErrorCode::WR | PfErrorCode::US;
        assert_eq!(code, (!present).then_some(not_present), "{gibibyte} GiB");
        assert_eq!(steps, u8::from(present), "{gibibyte} GiB");
    }
}

#[test]
fn a_32_bit_table_outside_ram_reads_as_all_ones() {
    let regs = PagingRegs {
        cr3: 0xd000_0000,
        ..regs_of(Format::Bits32)
    };
    // All ones point at the last page of 4 GiB, which reads as all ones again: a user page.
    let (page, walked) = walk(&ram(), &regs, va(0), Access::Write, Accessor::USER).unwrap();
    assert_eq!(page.base, PhysAddr::new(0xffff_f000));
    assert_eq!((walked.steps, walked.ad_updates), (2, 0));
}

#[test]
fn the_pdptes_lie_where_bits_31_to_5_of_cr3_say_and_are_loaded_all_or_none() {
    let (ram, mut mmu) = (ram(), crate::Mmu::new(MAXPHYADDR));
    let loaded = |mmu: &crate::Mmu| {
        mmu.regs()
            .pdptes
            .map(|pdpte| pdpte.directory().map(PhysAddr::get))
    };
    for n in 0..8 {
        assert!(ram.write(PhysAddr::new(0x5fc0 + 8 * n), (n << 12) | 1));
    }
    mmu.load_pdptes(&ram, 0xdead_0000_5fdf).unwrap();
    assert_eq!(loaded(&mmu), [0, 1, 2, 3].map(|n| Some(n << 12)));
    mmu.load_pdptes(&ram, 0x5fe0).unwrap();
    assert_eq!(loaded(&mmu), [4, 5, 6, 7].map(|n| Some(n << 12)));
    assert!(ram.write(PhysAddr::new(0x5fd8), 3_u64));
    mmu.load_pdptes(&ram, 0x5fc0).unwrap_err();
    assert_eq!(
        loaded(&mmu),
        [4, 5, 6, 7].map(|n| Some(n << 12)),
        "as they were"
    );
}
