//! The sets against a plain list, and the front against the sets.

use super::*;
use crate::testing::va;

fn page(base: u64, size: PageSize) -> TlbEntry {
    TlbEntry {
        base: PhysAddr::new(base),
        size,
        rights: Rights::WIDEST,
        global: false,
        key: ProtectionKey::new(0),
        pat: PatIndex::ZERO,
    }
}

const USER: Accessor = Accessor::USER;

/// Copies `page` to the front, where it serves every access.
fn promote(tlb: &mut Tlb, at: VirtAddr, access: Access, page: &TlbEntry) {
    tlb.promote(at, access, page, all_kinds());
}

fn all_kinds() -> Kinds {
    let mut regs = crate::testing::regs();
    regs.cr0 = x86::Cr0::PG;
    regs.cr4 = x86::Cr4::empty();
    regs.efer = x86::Efer::LMA;
    let mut page = page(0, PageSize::Size4K);
    page.rights = Rights::WIDEST | Rights::D;
    crate::rights::AccessMatrix::new(&regs).kinds(&page)
}

/// The address of the page `n` sets' worth of 4 KiB pages on: all of them share a set.
fn same_set(n: u64) -> VirtAddr {
    va(0x7000 + n * SETS_4K as u64 * 0x1000)
}

#[test]
fn the_oldest_entry_of_a_full_set_falls_out() {
    let mut tlb = Tlb::new();
    for n in 0..=WAYS as u64 {
        tlb.fill(same_set(n), page(n << 12, PageSize::Size4K));
    }
    let kept: Vec<bool> = (0..=WAYS as u64)
        .map(|n| tlb.find(same_set(n)).is_some())
        .collect();
    assert_eq!(kept, [false, true, true, true, true]);
}

#[test]
fn as_many_pages_as_there_are_entries_fit_at_once() {
    for (size, entries) in [
        (PageSize::Size4K, SETS_4K * WAYS),
        (PageSize::Size2M, SETS_2M * WAYS),
        (PageSize::Size1G, SETS_1G * WAYS),
    ] {
        let mut tlb = Tlb::new();
        let pages = (0..entries as u64).map(|n| va(n * size.bytes()));
        pages
            .clone()
            .for_each(|at| tlb.fill(at, page(at.get(), size)));
        for at in pages {
            assert_eq!(tlb.find(at), Some(page(at.get(), size)), "{at:?}");
        }
    }
}

#[test]
fn an_entry_that_falls_out_leaves_the_front_too() {
    let mut tlb = Tlb::new();
    tlb.fill(same_set(0), page(0, PageSize::Size4K));
    promote(
        &mut tlb,
        same_set(0),
        Access::Read,
        &page(0, PageSize::Size4K),
    );
    assert!(tlb.front(same_set(0), Access::Read, USER).is_some());
    assert!(tlb.front(same_set(0), Access::Fetch, USER).is_none());
    (1..=WAYS as u64).for_each(|n| tlb.fill(same_set(n), page(n << 12, PageSize::Size4K)));
    assert!(tlb.front(same_set(0), Access::Read, USER).is_none());
}

#[test]
fn of_entries_of_several_sizes_the_smallest_is_found_and_all_are_removed() {
    let mut tlb = Tlb::new();
    tlb.fill(va(0x7000), page(0x7000, PageSize::Size4K));
    tlb.fill(va(0x20_0000), page(0x4000_0000, PageSize::Size2M));
    tlb.sets[set_index(va(0x20_5000), PageSize::Size4K)][0] = Slot {
        number: page_number(va(0x20_5000), PageSize::Size4K),
        epoch: tlb.epochs.current(),
        pcid: Pcid::ZERO,
        page: page(0x9000, PageSize::Size4K),
    };
    assert_eq!(
        tlb.find(va(0x20_5000)),
        Some(page(0x9000, PageSize::Size4K))
    );
    assert_eq!(
        tlb.find(va(0x20_6000)),
        Some(page(0x4000_0000, PageSize::Size2M))
    );
    tlb.remove(va(0x20_5000));
    assert_eq!(tlb.find(va(0x20_5000)), None);
    assert_eq!(tlb.find(va(0x20_6000)), None);
}

#[test]
fn both_halves_of_the_address_space_are_kept_apart() {
    let mut tlb = Tlb::new();
    let (low, high) = (va(0x7fff_ffff_f000), va(0xffff_ffff_ffff_f000));
    tlb.fill(low, page(0x1000, PageSize::Size4K));
    tlb.fill(high, page(0x2000, PageSize::Size4K));
    assert_eq!(tlb.find(low), Some(page(0x1000, PageSize::Size4K)));
    assert_eq!(tlb.find(high), Some(page(0x2000, PageSize::Size4K)));
}

/// A TLB as plain as can be: a list, newest first.
#[derive(Default)]
struct List {
    entries: Vec<(Pcid, VirtAddr, TlbEntry)>,
    pcid: Pcid,
}

impl List {
    fn covers(at: VirtAddr, start: VirtAddr, page: TlbEntry) -> bool {
        at.get() & !(page.size.bytes() - 1) == start.get() & !(page.size.bytes() - 1)
    }

    fn find(&self, at: VirtAddr) -> Option<TlbEntry> {
        let of_pcid = |&&(pcid, _, page): &&(Pcid, _, TlbEntry)| pcid == self.pcid || page.global;
        let usable = self.entries.iter().filter(of_pcid);
        let covering = usable.filter(|&&(_, start, page)| Self::covers(at, start, page));
        covering.map(|entry| entry.2).min_by_key(|page| page.size)
    }

    fn fill(&mut self, at: VirtAddr, page: TlbEntry) {
        self.entries.insert(0, (self.pcid, at, page));
        let sets = match page.size {
            PageSize::Size4K => SETS_4K,
            PageSize::Size2M => SETS_2M,
            PageSize::Size4M => SETS_4M,
            PageSize::Size1G => SETS_1G,
        };
        let set = |at: VirtAddr| at.get() / page.size.bytes() % sets as u64;
        let mut peers = self
            .entries
            .iter()
            .enumerate()
            .filter(|(_, (_, other, kept))| kept.size == page.size && set(*other) == set(at));
        if let Some((oldest, _)) = peers.nth(WAYS) {
            self.entries.remove(oldest);
        }
    }

    /// Keeps what `stays` says of an entry's PCID, start and page.
    fn retain(&mut self, stays: impl Fn(Pcid, VirtAddr, TlbEntry) -> bool) {
        self.entries
            .retain(|&(pcid, start, page)| stays(pcid, start, page));
    }
}

/// Numbers that look random and are the same each time (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) % limit
    }

    /// One of a few addresses in each of few sets, so that pages collide and overlap.
    fn address(&mut self) -> VirtAddr {
        let sets_apart = SETS_4K as u64 * 0x1000;
        let (half, gibibyte) = (self.below(2), self.below(3));
        let (in_set, set) = (self.below(12), self.below(2));
        va((half << 36) + (gibibyte << 30) + in_set * sets_apart + (set << 12))
    }

    fn page(&mut self) -> TlbEntry {
        let size = SIZES[usize::try_from(self.below(4)).unwrap()];
        TlbEntry {
            base: PhysAddr::new(self.below(1 << 15) << 30),
            size,
            rights: Rights::from_bits_truncate(u8::try_from(self.below(16)).unwrap()),
            global: self.below(3) == 0,
            key: ProtectionKey::of_entry(self.below(16) << 59),
            pat: PatIndex::of_leaf(self.below(4) << 3, size),
        }
    }

    fn pcid(&mut self) -> Pcid {
        Pcid::truncate([0, 1, 4095][usize::try_from(self.below(3)).unwrap()])
    }
}

#[test]
fn the_sets_hold_what_a_plain_list_holds_and_the_front_agrees_with_them() {
    let (mut tlb, mut list, mut numbers) =
        (Tlb::new(), List::default(), Numbers(0x1234_5678_9abc_def1));
    let mut from_front = 0;
    for step in 0..400_000 {
        let (at, pcid) = (numbers.address(), numbers.pcid());
        let current = list.pcid;
        match numbers.below(400) {
            0 => {
                tlb.flush_all_local();
                list.retain(|_, _, page| page.global);
            }
            1 => {
                tlb.flush_global();
                list.retain(|_, _, page| !page.global);
            }
            2 | 3 => {
                tlb.flush_local(pcid);
                list.retain(|owner, _, page| owner != pcid || page.global);
            }
            4..30 => {
                tlb.switch_to(pcid);
                list.pcid = pcid;
            }
            30..50 => {
                tlb.remove_local(pcid, at);
                list.retain(|owner, start, page| {
                    owner != pcid || page.global || !List::covers(at, start, page)
                });
            }
            50..80 => {
                tlb.remove(at);
                list.retain(|owner, start, page| {
                    owner != current && !page.global || !List::covers(at, start, page)
                });
            }
            _ => match tlb.find(at) {
                Some(page) => promote(&mut tlb, at, Access::Write, &page),
                None => {
                    let page = numbers.page();
                    tlb.fill(at, page);
                    list.fill(at, page);
                }
            },
        }
        for at in [at, numbers.address()] {
            let found = tlb.find(at);
            assert_eq!(found, list.find(at), "step {step}, {at:?}");
            if let Some((frame, pat)) = tlb.front(at, Access::Read, USER) {
                let page = found.expect("the front holds copies only");
                let copy = (page.translate(at).frame_base(), page.pat);
                assert_eq!((frame, pat), copy, "step {step}, {at:?}");
                from_front += 1;
            }
        }
    }
    assert!(from_front > 10_000, "the front served {from_front} only");
}
