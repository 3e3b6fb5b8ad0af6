//! Protected mode with rings: gates to inner levels, returns to outer ones, call gates, LDT, expand-down segments.

#![expect(
    clippy::cast_possible_truncation,
    reason = "the bench's addresses are small"
)]

mod common;

use common::legacy::{
    USER, USER_STACK, gate, handler, protected, sel, set_descriptor, set_gate, stack, system, user,
    vector,
};
use common::{Bench, assemble, at};
use cpu::{Activity, SegReg, reg};
use iced_x86::code_asm::*;
use x86::Rflags;
use x86::descriptor::{Gate64, Selector};

const TS: u64 = 10;
const NP: u64 = 11;
const SS: u64 = 12;
const GP: u64 = 13;
const RF: u32 = Rflags::RF.bits() as u32;
const USER_CS: u32 = sel::USER_CODE as u32;
const USER_SS: u32 = sel::USER_DATA as u32;
/// A 32-bit call gate, present, of privilege 3.
const CALL_GATE: u8 = 0xec;

#[test]
fn an_exception_at_cpl_3_comes_in_on_the_stack_the_tss_holds() {
    let mut bench = protected();
    user(&mut bench, 0, |a| a.ud2());
    assert_eq!(vector(&bench), 6);
    assert_eq!(bench.cpu.regs[reg::RSP], at::RSP0 - 20);
    assert_eq!(
        stack(&bench),
        [USER as u32, USER_CS, 2 | RF, USER_STACK as u32, USER_SS]
    );
    assert_eq!(
        (bench.cpu.cpl, bench.cpu.seg(SegReg::Ss).selector),
        (0, Selector(sel::DATA))
    );
}

#[test]
fn an_error_code_lies_above_the_frame_and_no_interrupt_is_left_open_by_an_interrupt_gate() {
    let mut bench = protected();
    user(&mut bench, 0x200, |a| a.int(0x40));
    assert_eq!(vector(&bench), GP);
    let [code, eip, selector, flags, ..] = stack::<6>(&bench);
    assert_eq!((code, eip, selector), (0x202, USER as u32, USER_CS));
    assert_eq!(flags & 0x200, 0x200);
    assert_eq!(bench.cpu.flags & 0x200, 0);
}

#[test]
fn a_16_bit_gate_pushes_words_and_a_16_bit_tss_holds_words() {
    let mut bench = protected();
    set_gate(&bench, 6, gate(0x86, sel::CODE, handler(6), 0));
    user(&mut bench, 0, |a| a.ud2());
    assert_eq!(bench.cpu.regs[reg::RSP], at::RSP0 - 10);
    let words: [u16; 5] = std::array::from_fn(|i| bench.peek(at::RSP0 - 10 + 2 * i as u64));
    let eip = USER as u16;
    assert_eq!(
        words,
        [eip, USER_CS as u16, 2, USER_STACK as u16, USER_SS as u16]
    );

    let mut bench = protected();
    set_descriptor(&bench, sel::FREE, system(0x81, at::DATA, 0x2b));
    bench.poke(at::DATA + 2, 0x7000_u16);
    bench.poke(at::DATA + 4, sel::DATA);
    bench.exec(|a| {
        a.mov(eax, u32::from(sel::FREE))?;
        a.ltr(ax)
    });
    user(&mut bench, 0, |a| a.ud2());
    assert_eq!((vector(&bench), bench.cpu.regs[reg::RSP]), (6, 0x7000 - 20));
}

#[test]
fn iretd_to_cpl_3_takes_away_the_data_segments_of_the_kernel() {
    let mut bench = protected();
    user(&mut bench, 0, |a| {
        a.mov(ax, i32::from(sel::USER_DATA))?;
        a.mov(fs, ax)?;
        a.mov(eax, ds)?;
        a.mov(ebx, fs)?;
        a.mov(ecx, dword_ptr(at::DATA))
    });
    assert_eq!(vector(&bench), GP, "DS is null");
    assert_eq!(bench.cpu.regs[reg::RAX] & 0xffff, 0);
    assert_eq!(bench.cpu.regs[reg::RBX] & 0xffff, u64::from(USER_SS));
}

#[test]
fn a_stack_in_the_tss_that_cannot_be_used_is_an_invalid_tss_or_a_stack_fault() {
    let absent = 0x00cf_1300_0000_ffff;
    let read_only = 0x00cf_9100_0000_ffff;
    let rows: [(u16, u64, u64, u32); 5] = [
        (0, 0, TS, 1),
        (sel::DATA | 3, 0, TS, u32::from(sel::DATA) | 1),
        (0xff8, 0, TS, 0xff9),
        (sel::FREE, read_only, TS, u32::from(sel::FREE) | 1),
        (sel::FREE, absent, SS, u32::from(sel::FREE) | 1),
    ];
    for (ss0, descriptor, want, code) in rows {
        let mut bench = protected();
        set_descriptor(&bench, sel::FREE, descriptor);
        bench.poke(at::TSS + 8, u32::from(ss0));
        // Conforming handlers stay at CPL 3 and on the user's stack.
        for v in [10, 12] {
            set_gate(&bench, v, gate(0xee, sel::CONFORMING, handler(v), 0));
        }
        bench.poke(handler(10), 0xfe_eb_u16);
        bench.poke(handler(12), 0xfe_eb_u16);
        bench.load(USER, &[0x0f, 0x0b]);
        bench.code(|a| {
            a.push(u32::from(sel::USER_DATA))?;
            a.push(USER_STACK as u32)?;
            a.push(2)?;
            a.push(u32::from(sel::USER_CODE))?;
            a.push(USER as u32)?;
            a.iretd()
        });
        for _ in 0..4 {
            bench.block();
        }
        assert_eq!(bench.cpu.rip(), handler(want as u8), "SS0 {ss0:#x}");
        assert_eq!(stack::<2>(&bench), [code, USER as u32], "SS0 {ss0:#x}");
        assert_eq!(bench.cpu.cpl, 3);
    }
}

#[test]
fn an_offset_beyond_the_limit_of_the_code_segment_is_refused_when_the_gate_is_taken() {
    let mut bench = protected();
    set_gate(&bench, 0x40, gate(0x8e, sel::CODE16, 0x1_0000, 0));
    bench.exec(|a| a.int(0x40));
    assert_eq!(
        (vector(&bench), stack::<2>(&bench)),
        (GP, [0, at::CODE as u32])
    );
}

/// Far code at `at::CODE + 0x800`, called through a gate by user code.
fn callee(bench: &Bench, f: impl FnOnce(&mut CodeAssembler) -> common::Asm) -> u64 {
    let there = at::CODE + 0x800;
    bench.load(there, &assemble(32, there, f));
    there
}

fn call_far(a: &mut CodeAssembler, selector: u16) -> common::Asm {
    a.db(&[0x9a, 0, 0, 0, 0, selector as u8, (selector >> 8) as u8])
}

#[test]
fn a_call_gate_to_an_inner_level_copies_parameters_and_retf_releases_them_on_both_stacks() {
    let mut bench = protected();
    let there = callee(&bench, |a| {
        a.mov(ebx, dword_ptr(esp + 8))?;
        a.mov(ecx, dword_ptr(esp + 12))?;
        a.mov(edx, esp)?;
        a.mov(esi, cs)?;
        a.retf_1(8)
    });
    set_descriptor(&bench, sel::FREE, gate(CALL_GATE, sel::CODE, there, 2));
    user(&mut bench, 0, |a| {
        a.push(0x1111)?;
        a.push(0x2222)?;
        call_far(a, sel::FREE | 3)?;
        a.ud2()
    });
    let regs = &bench.cpu.regs;
    assert_eq!((regs[reg::RBX], regs[reg::RCX]), (0x2222, 0x1111));
    assert_eq!(
        regs[reg::RDX],
        at::RSP0 - 24,
        "SS, ESP, two parameters, CS, EIP"
    );
    assert_eq!(regs[reg::RSI], u64::from(sel::CODE));
    let frame: [u32; 5] = stack(&bench);
    assert_eq!(frame[1], USER_CS);
    assert_eq!(frame[3..], [USER_STACK as u32, USER_SS]);
}

#[test]
fn a_call_gate_to_the_same_level_pushes_by_its_own_size() {
    for (kind, bytes) in [(0x84, 4), (0x8c, 8)] {
        let mut bench = protected();
        bench.poke(0x1800, 0xf4_u8);
        set_descriptor(&bench, sel::FREE, gate(kind, sel::CODE, 0x1800, 0));
        bench.exec(|a| call_far(a, sel::FREE));
        assert_eq!(bench.cpu.rip(), 0x1801);
        assert_eq!(bench.cpu.regs[reg::RSP], at::STACK - bytes);
    }
}

#[test]
fn a_call_gate_admits_who_its_dpl_says_and_a_jump_never_changes_the_level() {
    let jump = |a: &mut CodeAssembler| a.db(&[0xea, 0, 0, 0, 0, sel::FREE as u8, 0]);
    let call = |a: &mut CodeAssembler| call_far(a, sel::FREE);
    let free = u32::from(sel::FREE);
    let rows: [(u8, u16, bool, u64, u32); 5] = [
        (0x8c, sel::CODE, true, GP, free),
        (0x6c, sel::CODE, true, NP, free),
        (0xec, 0, true, GP, 0),
        (0xec, sel::DATA, true, GP, u32::from(sel::DATA)),
        (0xec, sel::CODE, false, GP, u32::from(sel::CODE)),
    ];
    for (kind, target, calls, want, code) in rows {
        let mut bench = protected();
        set_descriptor(&bench, sel::FREE, gate(kind, target, at::CODE, 0));
        user(&mut bench, 0, |a| if calls { call(a) } else { jump(a) });
        assert_eq!(
            (vector(&bench), stack::<2>(&bench)),
            (want, [code, USER as u32])
        );
    }
}

#[test]
fn a_64_bit_call_gate_switches_to_rsp0_with_a_null_stack_segment() {
    let mut bench = Bench::long();
    let there = Gate64::interrupt(at::HANDLERS, Selector(common::sel::CODE64), 0, 3);
    // A slot of 16 bytes after the bench's GDT.
    let selector = 8 * common::GDT.len() as u16;
    bench.cpu.gdtr.limit += 16;
    bench.poke(
        at::GDT + u64::from(selector),
        there.low & !(0xf << 40) | 0xc << 40,
    );
    bench.poke(at::GDT + u64::from(selector) + 8, there.high);
    bench.user(|a| {
        a.mov(word_ptr(rsp - 8), i32::from(selector))?;
        // CALL m16:32
        a.db(&[0xff, 0x5c, 0x24, 0xf4])
    });
    bench.run();
    assert_eq!(bench.cpu.rip(), at::HANDLERS + 1);
    assert_eq!(bench.cpu.regs[reg::RSP], at::RSP0 - 32);
    let frame: [u64; 4] = std::array::from_fn(|i| bench.peek(at::RSP0 - 32 + 8 * i as u64));
    let code = u64::from(common::sel::USER_CODE64);
    let data = u64::from(common::sel::USER_DATA);
    assert_eq!(frame[1..], [code, at::USER_STACK, data]);
    assert_eq!(
        (bench.cpu.cpl, bench.cpu.seg(SegReg::Ss).selector),
        (0, Selector(0))
    );
}

#[test]
fn the_local_table_serves_selectors_with_ti() {
    let mut bench = protected();
    set_descriptor(&bench, sel::FREE, system(0x82, at::DATA, 15));
    bench.poke(at::DATA + 8, 0x00cf_9311_0000_ffff_u64);
    bench.poke(at::STACK, 0x5a_u32);
    bench.exec(|a| {
        a.mov(eax, u32::from(sel::FREE))?;
        a.lldt(ax)?;
        a.mov(eax, 0xc)?;
        a.mov(gs, ax)?;
        a.mov(ebx, dword_ptr(at::STACK - 0x11_0000).gs())?;
        a.mov(eax, 0x14)?;
        a.mov(gs, ax)
    });
    assert_eq!(bench.cpu.regs[reg::RBX], 0x5a);
    assert_eq!(
        (vector(&bench), stack::<1>(&bench)),
        (GP, [0x14]),
        "beyond the limit"
    );
}

#[test]
fn an_expand_down_segment_is_valid_above_its_limit() {
    for (offset, want) in [
        (0xfff_u32, None),
        (0x1000, Some(())),
        (0xffff, None),
        (0xfffc, Some(())),
    ] {
        let mut bench = protected();
        set_descriptor(&bench, sel::FREE, 0x0000_9700_0000_0fff);
        bench.exec(|a| {
            a.mov(eax, u32::from(sel::FREE))?;
            a.mov(gs, ax)?;
            a.mov(ebx, dword_ptr(offset).gs())?;
            a.mov(ecx, 1)
        });
        assert_eq!(
            (bench.cpu.regs[reg::RCX] == 1).then_some(()),
            want,
            "{offset:#x}"
        );
    }
}

#[test]
fn sysenter_and_sysexit_go_to_the_selectors_that_follow_from_one_msr() {
    let mut bench = protected();
    let there = callee(&bench, |a| {
        a.mov(ebx, cs)?;
        a.mov(edx, USER as u32 + 0x40)?;
        a.mov(ecx, USER_STACK as u32 - 0x10)?;
        a.sysexit()
    });
    bench.load(USER + 0x40, &[0x0f, 0x0b]);
    bench.exec(|a| {
        common::wrmsr(a, 0x174, u64::from(sel::CODE))?;
        common::wrmsr(a, 0x175, at::RSP0)?;
        common::wrmsr(a, 0x176, there)
    });
    user(&mut bench, 0x200, |a| a.sysenter());
    assert_eq!(
        (vector(&bench), bench.cpu.regs[reg::RBX]),
        (6, u64::from(sel::CODE))
    );
    let frame: [u32; 5] = stack(&bench);
    assert_eq!(frame[..2], [USER as u32 + 0x40, USER_CS]);
    assert_eq!(frame[3..], [USER_STACK as u32 - 0x10, USER_SS]);
    assert_eq!(bench.cpu.activity, Activity::Halted);
}

#[test]
fn sysenter_without_a_code_selector_is_a_protection_fault() {
    let mut bench = protected();
    bench.exec(|a| a.sysenter());
    assert_eq!(
        (vector(&bench), stack::<2>(&bench)),
        (GP, [0, at::CODE as u32])
    );
}
