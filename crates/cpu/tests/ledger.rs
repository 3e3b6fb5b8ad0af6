//! Under the `flat` profile every event costs what the profile says, and the clock is the sum.

mod common;

use common::{Asm, Bench, at, sel, wrmsr};
use cost::{Category, Ticks};
use cpu::reg;
use iced_x86::code_asm::*;
use x86::descriptor::{Gate64, Selector};
use x86::{Bits, Rflags, VirtAddr, msr};

/// A page no test has touched.
const PAGE: u64 = 0x6000_0000;

/// A bench whose code, data, stack, IDT and TSS pages are in the TLB.
fn warm() -> Bench {
    let mut bench = Bench::long();
    bench.exec(|a| {
        a.mov(qword_ptr(at::DATA), rax)?;
        a.mov(qword_ptr(at::STACK - 16), rax)?;
        a.int(0x40)
    });
    bench.cpu.regs[reg::RSP] = at::STACK;
    bench
}

/// Drops the paging-structure caches, so that the next walk reads all four levels.
fn cold(bench: &mut Bench) {
    bench
        .cpu
        .mmu
        .invlpg(VirtAddr::new(PAGE).expect("canonical"));
}

/// What running `f` and a HLT costs, by category, in ticks; the clock moves by the sum.
fn cost(bench: &mut Bench, f: impl FnOnce(&mut CodeAssembler) -> Asm) -> Vec<(Category, u64)> {
    measured(bench, |bench| {
        bench.exec(f);
    })
}

fn measured(bench: &mut Bench, f: impl FnOnce(&mut Bench)) -> Vec<(Category, u64)> {
    let before = bench.cpu.ledger.clone();
    f(bench);
    let ledger = &bench.cpu.ledger;
    let spent: Vec<_> = Category::ALL
        .into_iter()
        .map(|category| {
            (
                category,
                ledger.spent(category).since(before.spent(category)).0,
            )
        })
        .filter(|(_, ticks)| *ticks != 0)
        .collect();
    assert!(ledger.adds_up());
    let sum = spent.iter().map(|(_, ticks)| ticks).sum();
    assert_eq!(
        ledger.now().since(before.now()),
        Ticks(sum),
        "total = sum of categories"
    );
    spent
}

/// `n` whole cycles of `category`.
fn cycles(category: Category, n: u64) -> (Category, u64) {
    (category, n * Ticks::PER_CYCLE)
}

/// `n` instructions of the kernel.
fn kernel(n: u64) -> (Category, u64) {
    cycles(Category::KernelInstr, n)
}

#[test]
fn an_instruction_costs_one_cycle() {
    let mut bench = warm();
    assert_eq!(cost(&mut bench, |a| a.hlt()), [kernel(1)]);
    let retired = bench.cpu.retired();
    let three = |a: &mut CodeAssembler| {
        a.nop()?;
        a.add(qword_ptr(at::DATA), rax)?;
        a.imul_2(rax, rbx)
    };
    assert_eq!(cost(&mut bench, three), [kernel(4)]);
    assert_eq!(bench.cpu.retired() - retired, 4);
}

#[test]
fn a_four_level_walk_costs_40_cycles_and_a_hit_none() {
    let mut bench = warm();
    cold(&mut bench);
    bench.map(PAGE, at::FRAMES, Bits::RW | Bits::A | Bits::D);
    let twice = |a: &mut CodeAssembler| {
        a.mov(al, byte_ptr(PAGE))?;
        a.mov(byte_ptr(PAGE), al)
    };
    assert_eq!(
        cost(&mut bench, twice),
        [kernel(3), cycles(Category::Walk, 40)]
    );
    assert_eq!(cost(&mut bench, twice), [kernel(3)]);
}

#[test]
fn a_walk_costs_10_cycles_for_each_level_below_the_deepest_entry_cached() {
    const GIB: u64 = 1 << 30;
    let mut bench = warm();
    let pages = [PAGE, PAGE + 4096, PAGE + (2 << 20), PAGE + GIB];
    for page in pages {
        bench.map(page, at::FRAMES, Bits::A);
    }
    cold(&mut bench);
    for (page, levels) in pages.into_iter().zip([4, 1, 2, 3]) {
        assert_eq!(
            cost(&mut bench, |a| a.mov(al, byte_ptr(page))),
            [kernel(2), cycles(Category::Walk, 10 * levels)],
            "{page:#x}"
        );
    }
}

#[test]
fn setting_accessed_and_dirty_costs_10_cycles_per_entry() {
    let mut bench = warm();
    cold(&mut bench);
    bench.map(PAGE, at::FRAMES, Bits::RW);
    let read = |a: &mut CodeAssembler| a.mov(al, byte_ptr(PAGE));
    let write = |a: &mut CodeAssembler| a.mov(byte_ptr(PAGE), al);
    let updated = |walk| {
        [
            kernel(2),
            cycles(Category::Walk, walk),
            cycles(Category::AdUpdate, 10),
        ]
    };
    assert_eq!(cost(&mut bench, read), updated(40), "A");
    assert_eq!(
        cost(&mut bench, write),
        updated(10),
        "D needs a walk of its own, of the last level"
    );
    assert_eq!(cost(&mut bench, write), [kernel(2)]);
}

#[test]
fn an_access_across_pages_walks_for_both() {
    let mut bench = warm();
    for i in 0..2 {
        bench.map(
            PAGE + 4096 * i,
            at::FRAMES + 4096 * i,
            Bits::RW | Bits::A | Bits::D,
        );
    }
    cold(&mut bench);
    assert_eq!(
        cost(&mut bench, |a| a.mov(rax, qword_ptr(PAGE + 4092))),
        [kernel(2), cycles(Category::Walk, 40 + 10)]
    );
}

#[test]
fn an_exception_costs_100_cycles_and_the_faulting_instruction_is_not_retired() {
    let mut bench = warm();
    let retired = bench.cpu.retired();
    assert_eq!(
        cost(&mut bench, |a| a.ud2()),
        [kernel(2), cycles(Category::ExcEntry, 100)]
    );
    assert_eq!(bench.cpu.retired() - retired, 1, "the HLT of the handler");
    assert_eq!(
        cost(&mut bench, |a| a.int(0x40)),
        [kernel(2), cycles(Category::ExcEntry, 100)]
    );
}

#[test]
fn a_page_fault_costs_its_walk_and_its_delivery() {
    let mut bench = warm();
    bench.unmap(PAGE);
    cold(&mut bench);
    let want = |walk| {
        [
            kernel(2),
            cycles(Category::Walk, walk),
            cycles(Category::ExcEntry, 100),
        ]
    };
    assert_eq!(cost(&mut bench, |a| a.mov(al, byte_ptr(PAGE))), want(40));
    // From cached entries a #PF is not believed: the walk is made again from the root.
    bench.map(PAGE + 4096, at::FRAMES, Bits::A);
    bench.exec(|a| a.mov(al, byte_ptr(PAGE + 4096)));
    assert_eq!(cost(&mut bench, |a| a.mov(al, byte_ptr(PAGE))), want(50));
    // The walk ends where an entry is missing: here in the PML4.
    bench.cpu.regs[reg::RBX] = 0x7000_0000_0000;
    assert_eq!(cost(&mut bench, |a| a.mov(al, byte_ptr(rbx))), want(10));
}

#[test]
fn iretq_costs_100_cycles() {
    let mut bench = warm();
    let frame = [
        at::CODE + 0x100,
        u64::from(sel::CODE64),
        2,
        at::STACK,
        u64::from(sel::DATA),
    ];
    for (i, value) in (0..).zip(frame) {
        bench.poke(at::STACK - 64 + 8 * i, value);
    }
    bench.poke(at::CODE + 0x100, 0xf4_u8);
    bench.cpu.regs[reg::RSP] = at::STACK - 64;
    // The descriptor's A bit is set already: nothing is written.
    assert_eq!(
        cost(&mut bench, |a| a.iretq()),
        [kernel(2), cycles(Category::ExcReturn, 100)]
    );
}

#[test]
fn string_moves_and_stores_cost_a_cycle_per_8_bytes_whatever_the_element() {
    type Case = (fn(&mut CodeAssembler) -> Asm, u64);
    let moves: [Case; 4] = [
        (|a| a.rep().movsb(), 1),
        (|a| a.rep().movsw(), 2),
        (|a| a.rep().movsd(), 4),
        (|a| a.rep().movsq(), 8),
    ];
    let stores: [Case; 4] = [
        (|a| a.rep().stosb(), 1),
        (|a| a.rep().stosw(), 2),
        (|a| a.rep().stosd(), 4),
        (|a| a.rep().stosq(), 8),
    ];
    for (cases, category) in [(moves, Category::Copy), (stores, Category::Zero)] {
        for (case, bytes) in cases {
            for backwards in [false, true] {
                let mut bench = warm();
                bench.exec(|a| a.mov(byte_ptr(at::DATA + 0x1000), al));
                let start = if backwards { 4096 - bytes } else { 0 };
                bench.cpu.regs[reg::RCX] = 4096 / bytes;
                bench.cpu.regs[reg::RSI] = at::DATA + start;
                bench.cpu.regs[reg::RDI] = at::DATA + 0x1000 + start;
                bench.cpu.flags |= if backwards { Rflags::DF.bits() } else { 0 };
                let spent = cost(&mut bench, case);
                assert_eq!(
                    spent,
                    [kernel(2), cycles(category, 512)],
                    "{bytes} bytes, backwards: {backwards}"
                );
                assert_eq!(bench.cpu.regs[reg::RCX], 0);
            }
        }
    }
    let mut bench = warm();
    bench.cpu.regs[reg::RDI] = at::DATA;
    assert_eq!(
        cost(&mut bench, |a| a.stosb()),
        [kernel(2), (Category::Zero, 8)],
        "an eighth of a cycle"
    );
}

#[test]
fn invlpg_costs_50_cycles_and_mov_to_cr3_100() {
    let mut bench = warm();
    bench.map(PAGE, at::FRAMES, Bits::RW | Bits::A | Bits::D);
    bench.cpu.regs[reg::RBX] = PAGE;
    assert_eq!(
        cost(&mut bench, |a| a.invlpg(ptr(rbx))),
        [kernel(2), cycles(Category::Flush, 50)]
    );
    bench.cpu.regs[reg::RAX] = at::TABLES;
    // The HLT after it is fetched anew.
    let want = [
        kernel(2),
        cycles(Category::Walk, 40),
        cycles(Category::Flush, 100),
    ];
    assert_eq!(cost(&mut bench, |a| a.mov(cr3, rax)), want);
}

#[test]
fn syscall_and_sysret_cost_50_cycles_each_and_instructions_count_where_they_ran() {
    let mut bench = warm();
    bench.exec(|a| {
        wrmsr(
            a,
            msr::STAR,
            u64::from(sel::USER_CODE32) << 48 | u64::from(sel::CODE64) << 32,
        )?;
        wrmsr(a, msr::LSTAR, at::HANDLERS + 0xff0)
    });
    bench.load(at::HANDLERS + 0xff0, &[0x90, 0x90, 0x48, 0x0f, 0x07]);
    // Once before, so that the user's code, the TSS and the stack of RSP0 are in the TLB.
    bench.user(|a| a.ud2()).run();
    bench.user(|a| {
        a.nop()?;
        a.syscall()?;
        a.nop()?;
        a.ud2()
    });
    let spent = measured(&mut bench, |bench| {
        bench.run();
    });
    let user_instructions = cycles(Category::UserInstr, 4);
    let (exception, calls) = (
        cycles(Category::ExcEntry, 100),
        cycles(Category::Syscall, 100),
    );
    assert_eq!(spent, [user_instructions, kernel(4), exception, calls]);
}

#[test]
fn a_return_to_user_mode_by_retf_splits_the_instructions_at_the_return() {
    let mut bench = warm();
    bench.user(|a| a.nop());
    bench.cpu.cpl = 0;
    let frame = [
        at::USER_CODE,
        u64::from(sel::USER_CODE64),
        at::USER_STACK,
        u64::from(sel::USER_DATA),
    ];
    for (i, value) in (0..).zip(frame) {
        bench.poke(at::STACK - 64 + 8 * i, value);
    }
    bench.cpu.regs[reg::RSP] = at::STACK - 64;
    bench.code(|a| {
        a.nop()?;
        a.nop()?;
        a.db(&[0x48, 0xcb]) // RETF with a 64-bit operand
    });
    let spent = measured(&mut bench, |bench| {
        bench.block();
    });
    assert_eq!((spent, bench.cpu.cpl), (vec![kernel(3)], 3));
}

#[test]
fn a_device_access_costs_100_cycles() {
    let mut bench = warm();
    bench.map(PAGE, at::MMIO, Bits::RW | Bits::A | Bits::D);
    bench.exec(|a| a.mov(eax, dword_ptr(PAGE)));
    let once = [kernel(2), cycles(Category::MmioIrq, 100)];
    assert_eq!(cost(&mut bench, |a| a.mov(eax, dword_ptr(PAGE))), once);
    assert_eq!(cost(&mut bench, |a| a.mov(dword_ptr(PAGE), eax)), once);
    assert_eq!(cost(&mut bench, |a| a.in_(al, 0x10)), once);
    assert_eq!(cost(&mut bench, |a| a.out(0x10, al)), once);
    assert_eq!(
        cost(&mut bench, |a| a.or(dword_ptr(PAGE), eax)),
        [kernel(2), cycles(Category::MmioIrq, 200)]
    );
}

#[test]
fn an_external_interrupt_costs_200_cycles() {
    let mut bench = warm();
    bench.cpu.flags |= Rflags::IF.bits();
    bench.bus.interrupts.push_back(0x40);
    assert_eq!(
        cost(&mut bench, |a| a.nop()),
        [kernel(1), cycles(Category::MmioIrq, 200)]
    );
}

#[test]
fn a_double_fault_pays_for_each_attempt() {
    let mut bench = warm();
    let gate = bench.gate(13);
    bench.set_gate(
        13,
        Gate64 {
            low: gate.low & !(1 << 47),
            ..gate
        },
    );
    bench.set_gate(
        8,
        Gate64::interrupt(bench.gate(8).offset(), Selector(sel::CODE64), 0, 0),
    );
    bench.cpu.regs[reg::RCX] = 0x1_2345;
    assert_eq!(
        cost(&mut bench, |a| a.rdmsr()),
        [kernel(2), cycles(Category::ExcEntry, 200)]
    );
}

#[test]
fn rdtsc_reads_the_clock_with_its_own_instruction_on_it() {
    let mut bench = warm();
    let before = bench.cpu.ledger.now().cycles();
    bench.exec(|a| {
        a.nop()?;
        a.rdtsc()
    });
    assert_eq!(bench.cpu.regs[reg::RAX], before + 2);
    bench.cpu.mmu.invlpg(VirtAddr::new(at::CODE).unwrap());
    let before = bench.cpu.ledger.now().cycles();
    bench.exec(|a| a.rdtsc());
    assert_eq!(
        bench.cpu.regs[reg::RAX],
        before + 41,
        "the walk for its page was before it"
    );
}
