//! Task switches in hardware: who links back, who is busy, whose exception it is.

#![expect(
    clippy::cast_possible_truncation,
    reason = "the bench's addresses are small"
)]

mod common;

use common::legacy::{TASK, gate, protected, sel, set_descriptor, set_gate, stack, system, vector};
use common::{Asm, Bench, assemble, at};
use cpu::{SegReg, reg};
use iced_x86::code_asm::*;
use x86::Cr0;
use x86::descriptor::Selector;

const TS: u64 = 10;
const NP: u64 = 11;
const GP: u64 = 13;
/// Code, stack and TSS of the other task.
const CODE: u64 = TASK + 0x1000;
const STACK: u64 = TASK + 0x3000;
/// TSS of a task that handles #TS.
const HANDLER_TASK: u64 = TASK + 0x800;
const NT: u64 = 1 << 14;
const BUSY: u64 = 1 << 41;

/// A task whose TSS [`sel::FREE`] names and which runs `f`.
fn with_task(f: impl FnOnce(&mut CodeAssembler) -> Asm) -> Bench {
    let bench = protected();
    set_descriptor(&bench, sel::FREE, system(0x89, TASK, 103));
    bench.load(CODE, &assemble(32, CODE, f));
    let fields = [(32, CODE as u32), (36, 2), (40, 0xa1), (56, STACK as u32)];
    for (offset, value) in fields {
        bench.poke(TASK + offset, value);
    }
    let (code, data) = (u32::from(sel::CODE), u32::from(sel::DATA));
    for (i, selector) in (0..).zip([data, code, data, data, 0, 0]) {
        bench.poke(TASK + 72 + 4 * i, selector);
    }
    bench
}

/// What a segment field of a usable TSS holds.
fn good(field: u64) -> u32 {
    match field {
        76 => u32::from(sel::CODE),
        80 | 84 => u32::from(sel::DATA),
        _ => 0,
    }
}

fn far(a: &mut CodeAssembler, opcode: u8, selector: u16) -> Asm {
    a.db(&[opcode, 0, 0, 0, 0, selector as u8, 0])
}

fn descriptor(bench: &Bench, selector: u16) -> u64 {
    bench.peek(at::GDT + u64::from(selector))
}

#[test]
fn jmp_to_a_tss_saves_the_old_task_and_leaves_it_idle() {
    let mut bench = with_task(|a| a.hlt());
    bench.exec(|a| {
        a.mov(ebx, 0x77)?;
        far(a, 0xea, sel::FREE)
    });
    assert_eq!(bench.cpu.rip(), CODE + 1);
    assert_eq!(
        (bench.cpu.regs[reg::RAX], bench.cpu.regs[reg::RSP]),
        (0xa1, STACK)
    );
    assert!(bench.cpu.mmu.regs().cr0.contains(Cr0::TS));
    assert_eq!(bench.cpu.flags & NT, 0);
    assert_eq!(descriptor(&bench, sel::TSS) & BUSY, 0);
    assert_ne!(descriptor(&bench, sel::FREE) & BUSY, 0);
    let saved: [u32; 3] = [32, 52, 76].map(|offset| bench.peek(at::TSS + offset));
    assert_eq!(saved, [at::CODE as u32 + 12, 0x77, u32::from(sel::CODE)]);
}

#[test]
fn call_to_a_tss_nests_and_iret_comes_back() {
    let mut bench = with_task(|a| {
        a.inc(eax)?;
        a.iretd()
    });
    bench.exec(|a| {
        far(a, 0x9a, sel::FREE)?;
        a.mov(ecx, 0x33)
    });
    assert_eq!(bench.cpu.regs[reg::RCX], 0x33);
    assert_eq!(bench.peek::<u16>(TASK), sel::TSS, "back link");
    assert_eq!(bench.peek::<u32>(TASK + 40), 0xa2, "saved as it left");
    assert_eq!(
        bench.peek::<u32>(TASK + 36) & NT as u32,
        0,
        "NT is cleared in what IRET saves"
    );
    assert_eq!(descriptor(&bench, sel::FREE) & BUSY, 0);
    assert_ne!(descriptor(&bench, sel::TSS) & BUSY, 0);
    assert_eq!(bench.cpu.flags & NT, 0);
}

#[test]
fn a_task_gate_of_the_idt_gives_the_error_code_to_the_new_task() {
    let mut bench = with_task(|a| a.hlt());
    set_gate(&bench, 13, gate(0x85, sel::FREE, 0, 0));
    bench.exec(|a| {
        a.mov(eax, 0xff8)?;
        a.mov(gs, ax)
    });
    assert_eq!(bench.cpu.rip(), CODE + 1);
    assert_eq!(
        (bench.cpu.regs[reg::RSP], stack::<1>(&bench)),
        (STACK - 4, [0xff8])
    );
    assert_ne!(bench.cpu.flags & NT, 0);
    assert_eq!(
        bench.peek::<u32>(at::TSS + 32),
        at::CODE as u32 + 5,
        "a fault restarts"
    );
}

#[test]
fn what_is_wrong_with_a_tss_is_an_exception_of_the_old_task() {
    let free = u32::from(sel::FREE);
    let rows = [
        (0x8b_u8, 103, GP, free),
        (0x09, 103, NP, free),
        (0x89, 102, TS, free),
        (0x82, 103, GP, free),
    ];
    for (kind, limit, want, code) in rows {
        let mut bench = with_task(|a| a.hlt());
        set_descriptor(&bench, sel::FREE, system(kind, TASK, limit));
        bench.exec(|a| far(a, 0xea, sel::FREE));
        assert_eq!(
            (vector(&bench), stack::<2>(&bench)),
            (want, [code, at::CODE as u32]),
            "{kind:#x} {limit}"
        );
        assert_eq!(descriptor(&bench, sel::TSS) & BUSY, BUSY);
    }
}

#[test]
fn what_is_wrong_with_a_segment_of_the_new_task_is_the_new_tasks_exception() {
    let rows = [
        (96, u32::from(sel::DATA), 10, u32::from(sel::DATA)),
        (76, u32::from(sel::DATA), 10, u32::from(sel::DATA)),
        (80, 0, 10, 0),
        (84, 0xff8, 10, 0xff8),
        (92, 0xff8, 10, 0xff8),
    ];
    for (field, selector, want, code) in rows {
        let mut bench = with_task(|a| a.hlt());
        bench.poke(TASK + field, selector);
        // The new task may have no stack: #TS is for a task of its own.
        let mut image = [0; 104];
        assert!(bench.ram.read_bytes(x86::PhysAddr::new(TASK), &mut image));
        bench.load(HANDLER_TASK, &image);
        bench.poke(
            HANDLER_TASK + field,
            if field == 96 { 0 } else { good(field) },
        );
        bench.poke(HANDLER_TASK + 56, STACK as u32 + 0x800);
        set_descriptor(&bench, sel::FREE2, system(0x89, HANDLER_TASK, 103));
        set_gate(&bench, want, gate(0x85, sel::FREE2, 0, 0));
        bench.exec(|a| far(a, 0xea, sel::FREE));
        assert_eq!(bench.cpu.rip(), CODE + 1, "field {field}");
        assert_eq!(stack::<1>(&bench), [code], "field {field}");
        assert_eq!(bench.peek::<u16>(HANDLER_TASK), sel::FREE, "field {field}");
        assert_eq!(bench.peek::<u32>(TASK + 32), CODE as u32, "field {field}");
    }
}

#[test]
fn iret_of_a_nested_task_needs_a_busy_tss_to_go_back_to() {
    let mut bench = with_task(|a| a.hlt());
    bench.poke(at::TSS, sel::FREE);
    bench.exec(|a| {
        a.push(0x4002)?;
        a.popfd()?;
        a.iretd()
    });
    assert_eq!(
        (vector(&bench), stack::<1>(&bench)),
        (TS, [u32::from(sel::FREE)])
    );
}

#[test]
fn a_16_bit_tss_loads_words_and_null_fs_and_gs() {
    let mut bench = protected();
    set_descriptor(&bench, sel::FREE, system(0x81, TASK, 43));
    for (offset, value) in [(14, 0x1800), (16, 2), (18, 0xbeef), (26, 0x7000)] {
        bench.poke(TASK + offset, value as u16);
    }
    for (i, selector) in (0..).zip([sel::DATA, sel::CODE, sel::DATA, sel::DATA]) {
        bench.poke(TASK + 34 + 2 * i, selector);
    }
    bench.poke(0x1800, 0xf4_u8);
    bench.exec(|a| far(a, 0xea, sel::FREE));
    assert_eq!(
        (bench.cpu.rip(), bench.cpu.regs[reg::RAX] & 0xffff),
        (0x1801, 0xbeef)
    );
    assert_eq!(bench.cpu.seg(SegReg::Gs).selector, Selector(0));
    assert_eq!(
        bench.peek::<u32>(at::TSS + 92),
        u32::from(sel::DATA),
        "GS of the old task"
    );
}

#[test]
fn the_t_bit_of_a_tss_traps_before_the_first_instruction_of_its_task() {
    let mut bench = with_task(|a| a.hlt());
    bench.poke(TASK + 100, 1_u16);
    bench.exec(|a| far(a, 0xea, sel::FREE));
    assert_eq!((vector(&bench), stack::<1>(&bench)), (1, [CODE as u32]));
    bench.exec(|a| a.mov(eax, dr6));
    assert_eq!(bench.cpu.regs[reg::RAX] & 0xe000, 0x8000);
}
