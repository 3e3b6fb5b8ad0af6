//! Virtual-8086 mode: real-mode segments at CPL 3, with a monitor behind the gates.

mod common;

use common::legacy::{gate, handler, protected, sel, set_gate, stack, vector};
use common::{Asm, Bench, assemble, at};
use cpu::{Activity, SegReg, reg};
use iced_x86::code_asm::*;
use x86::descriptor::Selector;

const GP: u64 = 13;
const VM: u32 = 1 << 17;
const RF: u32 = 1 << 16;
const IOPL3: u32 = 3 << 12;
/// CS:0 of the 8086 program.
const CS: u16 = 0x6000;
const SS: u16 = 0x6800;
const SEGMENTS: [u32; 4] = [0x6100, 0x6200, 0x6300, 0x6400];

/// Runs `f` in virtual-8086 mode with `flags` until something halts.
fn vm86(bench: &mut Bench, flags: u32, f: impl FnOnce(&mut CodeAssembler) -> Asm) {
    bench.load(u64::from(CS) << 4, &assemble(16, 0, f));
    bench.code(|a| {
        for selector in SEGMENTS.into_iter().rev() {
            a.push(selector as i32)?;
        }
        a.push(u32::from(SS))?;
        a.push(0x1000)?;
        a.push((flags | VM | 2) as i32)?;
        a.push(u32::from(CS))?;
        a.push(0)?;
        a.iretd()
    });
    bench.cpu.activity = Activity::Running;
    bench.run();
}

#[test]
fn iretd_at_cpl_0_enters_it_and_a_fault_brings_all_segments_to_the_monitor() {
    let mut bench = protected();
    vm86(&mut bench, 0, |a| a.hlt());
    assert_eq!(vector(&bench), GP);
    let frame: [u32; 10] = stack(&bench);
    assert_eq!(frame[..2], [0, 0]);
    assert_eq!(frame[2..4], [u32::from(CS), 2 | VM | RF]);
    assert_eq!(frame[4..6], [0x1000, u32::from(SS)]);
    assert_eq!(frame[6..], SEGMENTS);
    assert_eq!(bench.cpu.regs[reg::RSP], at::RSP0 - 40);
    assert_eq!((bench.cpu.cpl, bench.cpu.flags & u64::from(VM)), (0, 0));
    for which in [SegReg::Es, SegReg::Ds, SegReg::Fs, SegReg::Gs] {
        assert_eq!(bench.cpu.seg(which).selector, Selector(0), "{which:?}");
    }
}

#[test]
fn selectors_are_paragraphs_and_far_transfers_name_them() {
    let mut bench = protected();
    bench.poke(0x7_1234, 0xabcd_u16);
    bench.load(0x7_0000, &[0xf4]);
    vm86(&mut bench, 0, |a| {
        a.mov(ax, 0x7000)?;
        a.mov(ds, ax)?;
        a.mov(bx, word_ptr(0x1234))?;
        a.db(&[0xea, 0, 0, 0, 0x70])
    });
    assert_eq!(vector(&bench), GP);
    assert_eq!(bench.cpu.regs[reg::RBX] & 0xffff, 0xabcd);
    assert_eq!(stack(&bench), [0, 0, 0x7000]);
}

#[test]
fn what_touches_if_needs_iopl_3() {
    type Row = (&'static str, fn(&mut CodeAssembler) -> Asm);
    let rows: [Row; 6] = [
        ("CLI", |a| a.cli()),
        ("STI", |a| a.sti()),
        ("PUSHF", |a| a.pushf()),
        ("POPF", |a| a.popf()),
        ("INT n", |a| a.int(0x21)),
        ("IRET", |a| a.iret()),
    ];
    for (name, instruction) in rows {
        let mut bench = protected();
        vm86(&mut bench, 2 << 12, instruction);
        assert_eq!(
            (vector(&bench), stack::<2>(&bench)),
            (GP, [0, 0]),
            "{name} below"
        );
        let mut bench = protected();
        set_gate(&bench, 0x21, gate(0xee, sel::CODE, handler(0x21), 0));
        vm86(&mut bench, IOPL3, |a| {
            instruction(a)?;
            a.ud2()
        });
        assert_ne!(vector(&bench), GP, "{name} at IOPL 3");
    }
}

#[test]
fn int_n_at_iopl_3_goes_through_the_idt_to_cpl_0_only() {
    let mut bench = protected();
    set_gate(&bench, 0x21, gate(0xee, sel::CODE, handler(0x21), 0));
    vm86(&mut bench, IOPL3, |a| a.int(0x21));
    assert_eq!(
        (vector(&bench), stack::<2>(&bench)),
        (0x21, [2, u32::from(CS)])
    );
    let mut bench = protected();
    set_gate(&bench, 0x21, gate(0xee, sel::CONFORMING, handler(0x21), 0));
    vm86(&mut bench, IOPL3, |a| a.int(0x21));
    assert_eq!(
        (vector(&bench), stack::<1>(&bench)),
        (GP, [u32::from(sel::CONFORMING)])
    );
}

#[test]
fn ports_are_the_bitmaps_alone_whatever_iopl_says() {
    for (bits, want) in [(0xff_u8, GP), (0, 6)] {
        let mut bench = protected();
        bench.poke(at::TSS + 0x68 + 8, bits);
        vm86(&mut bench, IOPL3, |a| {
            a.in_(al, 0x40)?;
            a.ud2()
        });
        assert_eq!(vector(&bench), want);
    }
}

#[test]
fn iret_inside_keeps_iopl_and_vm() {
    let mut bench = protected();
    vm86(&mut bench, IOPL3, |a| {
        a.push(0x0202)?;
        a.push(i32::from(CS))?;
        a.push(0x100)?;
        a.iret()
    });
    bench.load((u64::from(CS) << 4) + 0x100, &[0x0f, 0x0b]);
    vm86(&mut bench, IOPL3, |a| {
        a.push(0x0202)?;
        a.push(i32::from(CS))?;
        a.push(0x100)?;
        a.iret()
    });
    let [eip, _, flags] = stack(&bench);
    assert_eq!((vector(&bench), eip), (6, 0x100));
    assert_eq!(flags, 0x202 | IOPL3 | VM | RF);
}

#[test]
fn descriptor_instructions_do_not_exist_there() {
    for bytes in [[0x0f, 0x02, 0xc0], [0x0f, 0x00, 0xc0], [0x0f, 0x00, 0xe0]] {
        let mut bench = protected();
        vm86(&mut bench, IOPL3, |a| a.db(&bytes));
        assert_eq!(vector(&bench), 6, "{bytes:x?}");
    }
}
