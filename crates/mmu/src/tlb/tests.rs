//! The sets against a plain list, and the front against the sets.

use super::*;
use crate::testing::va;

fn page(base: u64, size: PageSize) -> TlbEntry {
    TlbEntry {
        base: PhysAddr::new(base),
        size,
        rights: Rights::WIDEST,
        global: false,
    }
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
    tlb.promote(same_set(0), Access::Read, &page(0, PageSize::Size4K));
    assert!(tlb.front(same_set(0), Access::Read).is_some());
    assert!(tlb.front(same_set(0), Access::Fetch).is_none());
    (1..=WAYS as u64).for_each(|n| tlb.fill(same_set(n), page(n << 12, PageSize::Size4K)));
    assert!(tlb.front(same_set(0), Access::Read).is_none());
}

#[test]
fn of_entries_of_several_sizes_the_smallest_is_found_and_all_are_removed() {
    let mut tlb = Tlb::new();
    tlb.fill(va(0x20_0000), page(0x4000_0000, PageSize::Size2M));
    tlb.sets[set_index(va(0x20_5000), PageSize::Size4K)][0] = Slot {
        number: page_number(va(0x20_5000), PageSize::Size4K),
        epoch: tlb.epoch,
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
struct List(Vec<(VirtAddr, TlbEntry)>);

impl List {
    fn covers(at: VirtAddr, (start, page): (VirtAddr, TlbEntry)) -> bool {
        at.get() & !(page.size.bytes() - 1) == start.get() & !(page.size.bytes() - 1)
    }

    fn find(&self, at: VirtAddr) -> Option<TlbEntry> {
        let covering = self.0.iter().filter(|&&entry| Self::covers(at, entry));
        covering.map(|entry| entry.1).min_by_key(|page| page.size)
    }

    fn fill(&mut self, at: VirtAddr, page: TlbEntry) {
        self.0.insert(0, (at, page));
        let sets = match page.size {
            PageSize::Size4K => SETS_4K,
            PageSize::Size2M => SETS_2M,
            PageSize::Size1G => SETS_1G,
        };
        let set = |at: VirtAddr| at.get() / page.size.bytes() % sets as u64;
        let mut peers = self
            .0
            .iter()
            .enumerate()
            .filter(|(_, (other, kept))| kept.size == page.size && set(*other) == set(at));
        if let Some((oldest, _)) = peers.nth(WAYS) {
            self.0.remove(oldest);
        }
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
        let size = SIZES[usize::try_from(self.below(3)).unwrap()];
        TlbEntry {
            base: PhysAddr::new(self.below(1 << 15) << 30),
            size,
            rights: Rights::from_bits_truncate(u8::try_from(self.below(16)).unwrap()),
            global: self.below(3) == 0,
        }
    }
}

#[test]
fn the_sets_hold_what_a_plain_list_holds_and_the_front_agrees_with_them() {
    let (mut tlb, mut list, mut numbers) =
        (Tlb::new(), List::default(), Numbers(0x1234_5678_9abc_def1));
    let mut from_front = 0;
    for step in 0..400_000 {
        let at = numbers.address();
        match numbers.below(200) {
            0 => {
                tlb.flush_all();
                list.0.clear();
            }
            1 => {
                tlb.flush_non_global();
                list.0.retain(|(_, page)| page.global);
            }
            2..20 => {
                tlb.remove(at);
                list.0.retain(|&entry| !List::covers(at, entry));
            }
            _ => match tlb.find(at) {
                Some(page) => tlb.promote(at, Access::Write, &page),
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
            if let Some((frame, rights)) = tlb.front(at, Access::Read) {
                let page = found.expect("the front holds copies only");
                let copy = (page.translate(at).frame_base(), page.rights);
                assert_eq!((frame, rights), copy, "step {step}, {at:?}");
                from_front += 1;
            }
        }
    }
    assert!(from_front > 10_000, "the front served {from_front} only");
}
