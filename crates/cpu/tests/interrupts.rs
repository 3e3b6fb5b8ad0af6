//! External interrupts, HLT and single steps: when they are taken, and when not.

mod common;

use common::{Asm, Bench, at, first_faults, sel};
use cpu::{Activity, reg};
use iced_x86::code_asm::*;
use x86::addr::PAGE_BYTES;
use x86::{Bits, Rflags};

const UD: u8 = 6;
/// Mapped nowhere.
const HOLE: u64 = 0x6000_0000;
const IF: u64 = Rflags::IF.bits();
const TF: u64 = Rflags::TF.bits();

#[test]
fn an_interrupt_waits_for_if() {
    let mut bench = Bench::long();
    bench.bus.interrupts.push_back(0x40);
    bench.exec(|a| a.nop());
    assert_eq!(
        (bench.cpu.rip(), bench.bus.interrupts.len()),
        (at::CODE + 2, 1)
    );
    bench.cpu.flags |= IF;
    bench.exec(|a| a.nop());
    assert_eq!(
        (
            bench.caught().vector,
            bench.caught().rip,
            bench.caught().code
        ),
        (0x40, at::CODE, None)
    );
    assert!(bench.bus.interrupts.is_empty());
}

#[test]
fn sti_holds_interrupts_off_for_one_more_instruction() {
    let taken_at = |flags: u64, f: fn(&mut CodeAssembler) -> Asm| {
        let mut bench = Bench::long();
        bench.cpu.flags |= flags;
        bench.bus.interrupts.push_back(0x40);
        bench.exec(f);
        bench.caught().rip - at::CODE
    };
    assert_eq!(
        taken_at(0, |a| {
            a.sti()?;
            a.nop()?;
            a.nop()
        }),
        2
    );
    assert_eq!(
        taken_at(0, |a| a.sti()),
        2,
        "STI, HLT: the HLT is executed, then left"
    );
    assert_eq!(
        taken_at(IF, |a| {
            a.sti()?;
            a.nop()?;
            a.nop()
        }),
        0,
        "already open"
    );
    assert_eq!(
        taken_at(0, |a| {
            a.sti()?;
            a.sti()?;
            a.nop()
        }),
        2,
        "the second STI holds nothing"
    );
    assert_eq!(
        taken_at(0, |a| {
            a.push(0x202)?;
            a.popfq()?;
            a.nop()
        }),
        6,
        "POPF has no shadow"
    );
}

#[test]
fn mov_to_ss_holds_interrupts_off_for_one_more_instruction() {
    let mut bench = Bench::long();
    bench.code(|a| {
        a.mov(eax, u32::from(sel::DATA))?;
        a.mov(ss, eax)?;
        a.nop()?;
        a.nop()
    });
    bench.block();
    assert_eq!(bench.cpu.rip(), at::CODE + 7, "the block ends after MOV SS");
    bench.cpu.flags |= IF;
    bench.bus.interrupts.push_back(0x40);
    bench.run();
    assert_eq!(bench.caught().rip, at::CODE + 8);
}

#[test]
fn cli_after_sti_lets_no_interrupt_in() {
    let mut bench = Bench::long();
    bench.bus.interrupts.push_back(0x40);
    bench.exec(|a| {
        a.sti()?;
        a.cli()?;
        a.nop()
    });
    assert_eq!(bench.bus.interrupts.len(), 1);
}

#[test]
fn an_interrupt_wakes_a_halted_processor_past_the_hlt() {
    let mut bench = Bench::long();
    bench.exec(|a| a.sti());
    assert_eq!(bench.cpu.activity, Activity::Halted);
    bench.bus.interrupts.push_back(0x40);
    bench.run();
    assert_eq!(
        (bench.caught().vector, bench.caught().rip),
        (0x40, at::CODE + 2)
    );
}

#[test]
fn a_long_repeated_store_lets_interrupts_in_and_goes_on_after_them() {
    let mut bench = Bench::long();
    bench.load(at::HANDLERS + 0x400, &[0x48, 0xcf]); // IRETQ
    bench.map(HOLE, at::FRAMES + 0x8000, Bits::RW);
    bench.map(HOLE + PAGE_BYTES, at::FRAMES + 0x9000, Bits::RW);
    bench.map(HOLE + 2 * PAGE_BYTES, at::FRAMES + 0xa000, Bits::RW);
    bench.cpu.regs[reg::RAX] = 0x5a;
    bench.cpu.regs[reg::RCX] = 10_000;
    bench.cpu.regs[reg::RDI] = HOLE;
    bench.cpu.flags |= IF;
    bench.code(|a| {
        a.rep().stosb()?;
        a.hlt()
    });
    bench.block();
    let done = bench.cpu.regs[reg::RDI] - HOLE;
    assert!(0 < done && done < 10_000, "{done} of 10000");
    assert_eq!(
        (bench.cpu.rip(), bench.cpu.regs[reg::RCX]),
        (at::CODE, 10_000 - done)
    );
    bench.bus.interrupts.push_back(0x40);
    bench.run();
    assert!(bench.bus.interrupts.is_empty());
    assert_eq!(bench.cpu.regs[reg::RDI], HOLE + 10_000);
    for offset in [0, 4096, 8192, 9999] {
        assert_eq!(bench.peek::<u8>(at::FRAMES + 0x8000 + offset), 0x5a);
    }
}

#[test]
fn a_spurious_request_delivers_nothing() {
    let mut bench = Bench::long();
    bench.cpu.flags |= IF;
    bench.cpu.interrupt_request = true;
    bench.exec(|a| a.nop());
    assert_eq!(bench.cpu.rip(), at::CODE + 2);
}

#[test]
fn tf_traps_after_the_instruction_that_began_with_it() {
    let mut bench = Bench::long();
    bench.exec(|a| {
        a.push(0x100)?;
        a.popfq()?;
        a.inc(rax)?;
        a.inc(rax)
    });
    let caught = bench.caught();
    assert_eq!(
        (caught.vector, caught.code, caught.rip),
        (1, None, at::CODE + 9)
    );
    assert_eq!(bench.cpu.regs[reg::RAX], 1);
    assert_eq!((caught.flags & TF, bench.cpu.flags & TF), (TF, 0));
    bench.exec(|a| a.mov(rax, dr6));
    assert_ne!(bench.cpu.regs[reg::RAX] & 1 << 14, 0, "DR6.BS");
}

#[test]
fn the_popf_that_clears_tf_is_still_trapped() {
    let mut bench = Bench::long();
    bench.cpu.flags |= TF;
    bench.poke(at::STACK - 8, 2_u64);
    bench.cpu.regs[reg::RSP] = at::STACK - 8;
    bench.exec(|a| a.popfq());
    assert_eq!(
        (
            bench.caught().vector,
            bench.caught().rip,
            bench.caught().flags & TF
        ),
        (1, at::CODE + 1, 0)
    );
}

#[test]
fn int_n_under_tf_enters_its_handler_without_a_trap() {
    let mut bench = Bench::long();
    bench.cpu.flags |= TF;
    bench.exec(|a| a.int(0x40));
    assert_eq!(
        (bench.caught().vector, bench.caught().flags & TF),
        (0x40, TF)
    );
}

#[test]
fn a_fault_under_tf_is_delivered_without_a_trap() {
    let mut bench = Bench::long();
    bench.cpu.flags |= TF;
    assert_eq!(first_faults(&mut bench, |a| a.ud2()), (UD, None));
    assert_eq!(bench.cpu.rip(), at::HANDLERS + 16 * u64::from(UD) + 1);
}

#[test]
fn a_single_step_of_a_repeated_instruction_is_one_element() {
    let mut bench = Bench::long();
    bench.cpu.flags |= TF;
    bench.cpu.regs[reg::RCX] = 5;
    bench.cpu.regs[reg::RDI] = at::DATA;
    bench.exec(|a| a.rep().stosb());
    assert_eq!(
        (bench.caught().vector, bench.caught().rip),
        (1, at::CODE),
        "RIP is still at the instruction"
    );
    assert_eq!(
        (bench.cpu.regs[reg::RCX], bench.cpu.regs[reg::RDI]),
        (4, at::DATA + 1)
    );
}
