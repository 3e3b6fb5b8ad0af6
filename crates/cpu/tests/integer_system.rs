//! Integer instructions of the old modes, and those that ask about descriptors.

#![expect(
    clippy::cast_possible_truncation,
    reason = "the bench's addresses and digits are small"
)]

mod common;

use common::legacy::{USER, protected, sel, set_descriptor, stack, system, user, vector};
use common::{Asm, Bench, at};
use cpu::{Activity, SegReg, reg};
use iced_x86::code_asm::*;
use x86::descriptor::Selector;
use x86::{Cr4, Rflags};

const CF: u64 = Rflags::CF.bits();
const ZF: u64 = Rflags::ZF.bits();

const fn packed(n: u64) -> u64 {
    n / 10 % 10 * 16 + n % 10
}

/// Runs the code at [`at::CODE`] again with AX and BL.
fn again(bench: &mut Bench, accumulator: u64, operand: u64) -> (u64, bool) {
    bench.cpu.set_rip(at::CODE);
    bench.cpu.activity = Activity::Running;
    bench.cpu.regs[reg::RAX] = accumulator;
    bench.cpu.regs[reg::RBX] = operand;
    bench.run();
    (bench.cpu.regs[reg::RAX] & 0xffff, bench.cpu.flags & CF != 0)
}

#[test]
fn daa_and_das_make_decimal_sums_and_differences_of_packed_digits() {
    let mut sum = protected();
    sum.exec(|a| {
        a.add(al, bl)?;
        a.daa()
    });
    let mut difference = protected();
    difference.exec(|a| {
        a.sub(al, bl)?;
        a.das()
    });
    for x in 0..100 {
        for y in 0..100 {
            let want = (packed(x + y), x + y > 99);
            assert_eq!(again(&mut sum, packed(x), packed(y)), want, "{x} + {y}");
            let want = (packed(100 + x - y), x < y);
            assert_eq!(
                again(&mut difference, packed(x), packed(y)),
                want,
                "{x} - {y}"
            );
        }
    }
}

#[test]
fn aaa_and_aas_carry_and_borrow_between_unpacked_digits() {
    let mut sum = protected();
    sum.exec(|a| {
        a.add(al, bl)?;
        a.aaa()
    });
    let mut difference = protected();
    difference.exec(|a| {
        a.sub(al, bl)?;
        a.aas()
    });
    for x in 0..10 {
        for y in 0..10 {
            let want = (0x300 + (x + y) / 10 * 256 + (x + y) % 10, x + y > 9);
            assert_eq!(again(&mut sum, 0x300 | x, y), want, "{x} + {y}");
            let borrow = u64::from(x < y);
            let want = (0x300 - (borrow << 8) + (10 + x - y) % 10, x < y);
            assert_eq!(again(&mut difference, 0x300 | x, y), want, "{x} - {y}");
        }
    }
}

#[test]
fn aam_and_aad_convert_between_a_byte_and_two_digits() {
    let mut split = protected();
    split.exec(|a| a.aam(10));
    let mut join = protected();
    join.exec(|a| a.aad(10));
    for n in 0..100 {
        let digits = n / 10 * 256 + n % 10;
        assert_eq!(again(&mut split, n, 0).0, digits);
        assert_eq!(again(&mut join, digits, 0).0, n);
    }
    let mut bench = protected();
    bench.exec(|a| a.aam(0));
    assert_eq!(vector(&bench), 0, "#DE");
}

#[test]
fn salc_spreads_the_carry() {
    for (carry, want) in [(false, 0), (true, 0xff)] {
        let mut bench = protected();
        bench.exec(|a| {
            if carry {
                a.stc()?
            } else {
                a.clc()?
            }
            a.db(&[0xd6])
        });
        assert_eq!(bench.cpu.regs[reg::RAX] & 0xff, want);
    }
}

#[test]
fn bound_admits_both_bounds_as_signed_numbers() {
    for (index, inside) in [(-6, false), (-5, true), (0, true), (7, true), (8, false)] {
        let mut bench = protected();
        bench.poke(at::DATA, (-5_i32).cast_unsigned());
        bench.poke(at::DATA + 4, 7_u32);
        bench.exec(|a| {
            a.mov(eax, index)?;
            a.bound(eax, ptr(at::DATA))
        });
        let raised = bench.cpu.rip() == at::HANDLERS + 16 * 5 + 1;
        assert_eq!(raised, !inside, "{index}");
    }
}

#[test]
fn far_pointers_load_both_registers_or_neither() {
    let mut bench = protected();
    bench.poke(at::DATA, 0x1234_5678_u32);
    bench.poke(at::DATA + 4, sel::USER_DATA);
    bench.exec(|a| a.lgs(ebx, ptr(at::DATA)));
    assert_eq!(bench.cpu.regs[reg::RBX], 0x1234_5678);
    assert_eq!(bench.cpu.seg(SegReg::Gs).selector, Selector(sel::USER_DATA));
    bench.poke(at::DATA, 0_u32);
    bench.exec(|a| a.lss(ebx, ptr(at::DATA)));
    assert_eq!(
        (vector(&bench), bench.cpu.regs[reg::RBX]),
        (13, 0x1234_5678)
    );
}

/// What LAR, LSL, VERR and VERW of `selector` say: ZF of each.
fn verdicts(bench: &mut Bench, selector: u16) -> [bool; 4] {
    let ask: [fn(&mut CodeAssembler) -> Asm; 4] = [
        |a| a.lar(ebx, ecx),
        |a| a.lsl(edx, ecx),
        |a| a.verr(cx),
        |a| a.verw(cx),
    ];
    ask.map(|instruction| {
        bench.exec(|a| {
            a.mov(ecx, u32::from(selector))?;
            instruction(a)
        });
        bench.cpu.flags & ZF != 0
    })
}

#[test]
fn lar_lsl_verr_and_verw_answer_in_zf_what_a_load_would_meet() {
    let rows = [
        (0, 0, [false; 4]),
        (0xff8, 0, [false; 4]),
        (sel::CODE, 0, [true, true, true, false]),
        (sel::DATA, 0, [true; 4]),
        (sel::DATA | 3, 0, [false; 4]),
        (sel::CONFORMING | 3, 0, [true, true, true, false]),
        (sel::TSS, 0, [true, true, false, false]),
        (sel::FREE, system(0x8c, 0, 0), [true, false, false, false]),
        (sel::FREE, system(0x8e, 0, 0), [false; 4]),
        (sel::FREE, system(0x80, 0, 0), [false; 4]),
        (sel::FREE, 0x00cf_9900_0000_ffff, [true, true, false, false]),
        (sel::FREE, 0x00cf_9100_0000_ffff, [true, true, true, false]),
    ];
    for (selector, descriptor, want) in rows {
        let mut bench = protected();
        set_descriptor(&bench, sel::FREE, descriptor);
        let got = verdicts(&mut bench, selector);
        assert_eq!(got, want, "{selector:#x} {descriptor:#x}");
    }
    let mut bench = protected();
    verdicts(&mut bench, sel::DATA);
    assert_eq!(bench.cpu.regs[reg::RBX] & 0xff00, 0x9300);
    assert_eq!(bench.cpu.regs[reg::RDX], 0xffff_ffff);
}

#[test]
fn arpl_raises_the_rpl_and_never_lowers_it() {
    for to in 0..4_u32 {
        for from in 0..4_u32 {
            let mut bench = protected();
            bench.exec(|a| {
                a.mov(eax, 0x40 | to)?;
                a.mov(ebx, 0x80 | from)?;
                a.arpl(ax, bx)
            });
            let raised = bench.cpu.flags & ZF != 0;
            let want = u64::from(0x40 | to.max(from));
            assert_eq!((bench.cpu.regs[reg::RAX], raised), (want, to < from));
        }
    }
}

#[test]
fn rdpmc_finds_no_counter() {
    let mut bench = protected();
    user(&mut bench, 0, |a| a.rdpmc());
    assert_eq!((vector(&bench), stack::<2>(&bench)), (13, [0, USER as u32]));
}

#[test]
fn fs_and_gs_bases_are_instructions_under_cr4_fsgsbase() {
    let mut bench = Bench::long();
    bench.exec(|a| a.wrfsbase(rax));
    assert_eq!(bench.caught().vector, 6);
    let old = bench.cpu.mmu.regs().cr4;
    bench.cpu.mmu.write_cr4(old | Cr4::FSGSBASE);
    bench.exec(|a| {
        a.mov(rax, 0x1234_5678_9abc_u64)?;
        a.wrgsbase(rax)?;
        a.rdgsbase(rbx)?;
        a.rdgsbase(ecx)?;
        a.wrfsbase(eax)?;
        a.rdfsbase(rdx)
    });
    let regs = &bench.cpu.regs;
    assert_eq!(regs[reg::RBX], 0x1234_5678_9abc);
    assert_eq!((regs[reg::RCX], regs[reg::RDX]), (0x5678_9abc, 0x5678_9abc));
    bench.exec(|a| {
        a.mov(rax, 0x8000_0000_0000_u64)?;
        a.wrfsbase(rax)
    });
    assert_eq!(bench.caught().vector, 13, "not canonical");
}
