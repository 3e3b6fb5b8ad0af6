//! What does a translation cost: from the TLB, by a walk for each page size, and where nothing is kept?
//!
//! Beside it: the read of RAM a translation is made for. Walks include the INVLPG that makes them necessary.

use benches::Beside;
use criterion::{Criterion, criterion_group, criterion_main};
use memory::Ram;
use mmu::{Accessor, AlignmentCheck, Mmu};
use std::hint::black_box;
use std::time::{Duration, Instant};
use x86::control::{Cr0, Cr4, Efer};
use x86::fault::{Access, Privilege};
use x86::{Bits, PhysAddr, VirtAddr};

const KIB_4: u64 = 1 << 12;
const MIB_2: u64 = 1 << 21;
const GIB_1: u64 = 1 << 30;

/// The tables: one PML4, one PDPT, one PD, then 32 page tables.
const PML4: u64 = 0x10_0000;
const PDPT: u64 = PML4 + KIB_4;
const PD: u64 = PDPT + KIB_4;
const PAGE_TABLES: u64 = PD + KIB_4;
/// Each page table maps 2 MiB.
const SPAN_4K: u64 = 32 * MIB_2;
/// Where the three sizes of pages begin.
const AT_4K: u64 = 0;
const AT_2M: u64 = 64 * MIB_2;
const AT_1G: u64 = GIB_1;
/// PS: the entry maps a page.
const PS: u64 = 1 << 7;

struct Bench {
    ram: Ram,
    mmu: Mmu,
    /// Translations so far: pages are taken in turn from one measurement to the next.
    done: u64,
}

impl Bench {
    fn new() -> Self {
        let ram = Ram::new(128 << 20).expect("the host has 128 MiB");
        let table = (Bits::P | Bits::RW | Bits::A | Bits::D).bits();
        let store =
            |at: u64, value: u64| assert!(ram.write(PhysAddr::new(at), value), "{at:#x} is RAM");
        store(PML4, PDPT | table);
        store(PDPT, PD | table);
        store(PDPT + 8 * (AT_1G / GIB_1), table | PS);
        for n in 0..SPAN_4K / MIB_2 {
            store(PD + 8 * n, (PAGE_TABLES + n * KIB_4) | table);
            store(PD + 8 * (AT_2M / MIB_2 + n), (n * MIB_2) | table | PS);
        }
        for n in 0..SPAN_4K / KIB_4 {
            store(PAGE_TABLES + 8 * n, (n * KIB_4) | table);
        }
        Self {
            ram,
            mmu: paging_on(),
            done: 0,
        }
    }

    /// Translates `pages` pages from `at` on in turn; `before` is done to the MMU before each.
    fn time(
        &mut self,
        times: u64,
        at: u64,
        step: u64,
        pages: u64,
        before: impl Fn(&mut Mmu, VirtAddr),
    ) -> Duration {
        let who = Accessor {
            privilege: Privilege::Supervisor,
            ac: AlignmentCheck::Clear,
        };
        let start = Instant::now();
        for n in self.done..self.done + times {
            let va = VirtAddr::new(at + n % pages * step).expect("low addresses are canonical");
            before(&mut self.mmu, va);
            let found = self
                .mmu
                .translate(&self.ram, black_box(va), Access::Read, who);
            black_box(found).expect("all pages are present");
        }
        self.done += times;
        start.elapsed()
    }
}

fn paging_on() -> Mmu {
    let mut mmu = Mmu::new(46);
    mmu.write_cr4(Cr4::PAE);
    mmu.write_cr3(PML4);
    mmu.write_efer(Efer::LME | Efer::LMA);
    mmu.write_cr0(Cr0::PE | Cr0::PG | Cr0::WP);
    mmu
}

fn walk(criterion: &mut Criterion) {
    let mut bench = Bench::new();
    let mut suite = Beside::new(criterion, "walk");
    suite.measure("RAM read", 1, |times| {
        let start = Instant::now();
        for n in 0..times {
            let at = PhysAddr::new(n % 16 * KIB_4);
            black_box(bench.ram.read::<u64>(black_box(at)));
        }
        start.elapsed()
    });
    let keep = |_: &mut Mmu, _: VirtAddr| {};
    suite.measure("TLB hit, 16 pages", 1, |n| {
        bench.time(n, AT_4K, KIB_4, 16, keep)
    });
    suite.measure("TLB hit, 512 pages", 1, |n| {
        bench.time(n, AT_4K, KIB_4, 512, keep)
    });
    let forget = |mmu: &mut Mmu, va: VirtAddr| mmu.invlpg(va);
    suite.measure("walk, 4 KiB page", 1, |n| {
        bench.time(n, AT_4K, KIB_4, 16, forget)
    });
    suite.measure("walk, 2 MiB page", 1, |n| {
        bench.time(n, AT_2M, MIB_2, 16, forget)
    });
    suite.measure("walk, 1 GiB page", 1, |n| {
        bench.time(n, AT_1G, KIB_4, 16, forget)
    });
    suite.measure("miss, 16384 pages", 1, |n| {
        bench.time(n, AT_4K, KIB_4, SPAN_4K / KIB_4, keep)
    });
    for what in ["TLB hit, 16 pages", "TLB hit, 512 pages"] {
        suite.ratio(what, "RAM read");
    }
    for what in [
        "walk, 4 KiB page",
        "walk, 2 MiB page",
        "walk, 1 GiB page",
        "miss, 16384 pages",
    ] {
        suite.ratio(what, "TLB hit, 16 pages");
    }
}

criterion_group!(suite, walk);
criterion_main!(suite);
