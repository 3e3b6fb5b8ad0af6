//! When SSE instructions fault, and what they leave then; the saved state.
//!
//! What they compute is held against silicon in `sse_against_silicon`; here is what cannot run
//! there: privileged bits, page faults, unmasked exceptions.
//!
//! **Spec:** SDM 2 "FXSAVE", "FXRSTOR", "LDMXCSR", "Exceptions" paragraphs of SSE
//! instructions; SDM 1 "SSE and SSE2 SIMD Floating-Point Exceptions"; SDM 3A "System Programming
//! for Instruction Set Extensions".

#![expect(
    clippy::cast_possible_truncation,
    reason = "patterns are made of small indices"
)]

mod common;

use common::{Asm, Bench, assemble, at};
use cpu::reg;
use iced_x86::code_asm::*;
use x86::fault::Vector;
use x86::{Bits, Cr0, Cr4};

const UD: u8 = Vector::Ud as u8;
const NM: u8 = Vector::Nm as u8;
const GP: u8 = Vector::Gp as u8;
const PF: u8 = Vector::Pf as u8;
const MF: u8 = Vector::Mf as u8;
const XM: u8 = Vector::Xm as u8;

type Code = fn(&mut CodeAssembler) -> Asm;

/// Runs one instruction; the vector it faults with, if it does.
fn fault(bench: &mut Bench, code: impl FnOnce(&mut CodeAssembler) -> Asm) -> Option<u8> {
    bench.cpu.regs[reg::RSP] = at::STACK;
    bench.exec(code);
    let halted_in_handler = (at::HANDLERS..at::HANDLERS + 4096).contains(&bench.cpu.rip());
    halted_in_handler.then(|| bench.caught().vector)
}

fn set_cr0(bench: &mut Bench, bits: Cr0, on: bool) {
    let mut value = bench.cpu.mmu.regs().cr0;
    value.set(bits, on);
    bench.cpu.mmu.write_cr0(value);
}

fn set_cr4(bench: &mut Bench, bits: Cr4, on: bool) {
    let mut value = bench.cpu.mmu.regs().cr4;
    value.set(bits, on);
    bench.cpu.mmu.write_cr4(value);
}

/// Puts a value into XMM0 or XMM1 through memory.
fn set_xmm(bench: &mut Bench, number: u8, value: u128) {
    bench.poke(at::DATA + 0xf00, value);
    let load: Code = match number {
        0 => |a| a.movups(xmm0, xmmword_ptr(at::DATA + 0xf00)),
        _ => |a| a.movups(xmm1, xmmword_ptr(at::DATA + 0xf00)),
    };
    assert_eq!(fault(bench, load), None);
}

fn xmm0_of(bench: &mut Bench) -> u128 {
    assert_eq!(
        fault(bench, |a| a.movups(xmmword_ptr(at::DATA + 0xf00), xmm0)),
        None
    );
    bench.peek(at::DATA + 0xf00)
}

fn set_mxcsr(bench: &mut Bench, value: u32) {
    bench.poke(at::DATA + 0xf20, value);
    assert_eq!(
        fault(bench, |a| a.ldmxcsr(dword_ptr(at::DATA + 0xf20))),
        None
    );
}

fn mxcsr(bench: &mut Bench) -> u32 {
    assert_eq!(
        fault(bench, |a| a.stmxcsr(dword_ptr(at::DATA + 0xf20))),
        None
    );
    bench.peek(at::DATA + 0xf20)
}

#[test]
fn control_bits_forbid_each_kind_of_instruction_as_the_manual_says() {
    let sse: [Code; 6] = [
        |a| a.addps(xmm0, xmm1),
        |a| a.movdqu(xmm0, xmmword_ptr(at::DATA)),
        |a| a.movd(eax, xmm0),
        |a| a.cvtsi2sd(xmm0, eax),
        |a| a.pslldq(xmm0, 3),
        |a| a.stmxcsr(dword_ptr(at::DATA)),
    ];
    let save: [Code; 2] = [|a| a.fxsave(ptr(at::DATA)), |a| a.fxsave64(ptr(at::DATA))];
    let x87: [Code; 5] = [
        |a| a.fninit(),
        |a| a.fnclex(),
        |a| a.fnstcw(word_ptr(at::DATA)),
        |a| a.fldcw(word_ptr(at::DATA)),
        |a| a.fnstsw(ax),
    ];
    let none: [Code; 2] = [|a| a.movnti(dword_ptr(at::DATA), eax), |a| a.sfence()];
    for number in 0..8 {
        let (em, ts, osfxsr) = (number & 1 != 0, number & 2 != 0, number & 4 != 0);
        let check = |code: Code, expected: Option<u8>| {
            let mut bench = Bench::long();
            set_cr0(&mut bench, Cr0::EM, em);
            set_cr0(&mut bench, Cr0::TS, ts);
            set_cr4(&mut bench, Cr4::OSFXSR, osfxsr);
            assert_eq!(
                fault(&mut bench, code),
                expected,
                "EM {em}, TS {ts}, OSFXSR {osfxsr}"
            );
        };
        let nm = |on: bool| on.then_some(NM);
        for code in sse {
            check(code, if em || !osfxsr { Some(UD) } else { nm(ts) });
        }
        for code in save {
            check(code, if em { Some(UD) } else { nm(ts) });
        }
        for code in x87 {
            check(code, nm(em || ts));
        }
        for code in none {
            check(code, None);
        }
    }
}

#[test]
fn aligned_operands_must_be_aligned_and_the_others_need_not() {
    let strict: [Code; 12] = [
        |a| a.movaps(xmm0, xmmword_ptr(rbx)),
        |a| a.movapd(xmmword_ptr(rbx), xmm0),
        |a| a.movdqa(xmm0, xmmword_ptr(rbx)),
        |a| a.movdqa(xmmword_ptr(rbx), xmm0),
        |a| a.movntdq(xmmword_ptr(rbx), xmm0),
        |a| a.addps(xmm0, xmmword_ptr(rbx)),
        |a| a.pxor(xmm0, xmmword_ptr(rbx)),
        |a| a.pshufd(xmm0, xmmword_ptr(rbx), 0),
        |a| a.psllq(xmm0, xmmword_ptr(rbx)),
        |a| a.cvtdq2ps(xmm0, xmmword_ptr(rbx)),
        |a| a.fxsave64(ptr(rbx)),
        |a| a.fxrstor(ptr(rbx)),
    ];
    let lax: [Code; 8] = [
        |a| a.movups(xmm0, xmmword_ptr(rbx)),
        |a| a.movdqu(xmmword_ptr(rbx), xmm0),
        |a| a.addsd(xmm0, qword_ptr(rbx)),
        |a| a.cvtps2pd(xmm0, qword_ptr(rbx)),
        |a| a.cvtdq2pd(xmm0, qword_ptr(rbx)),
        |a| a.movhps(xmm0, qword_ptr(rbx)),
        |a| a.movq(xmm0, qword_ptr(rbx)),
        |a| a.pinsrw(xmm0, word_ptr(rbx), 0),
    ];
    for off in [0, 1, 4, 8, 15] {
        let mut bench = Bench::long();
        bench.cpu.regs[reg::RBX] = at::DATA + off;
        for code in strict {
            assert_eq!(
                fault(&mut bench, code),
                (off != 0).then_some(GP),
                "offset {off}"
            );
            if off != 0 {
                assert_eq!(bench.caught().code, Some(0));
            }
        }
        for code in lax {
            assert_eq!(fault(&mut bench, code), None, "offset {off}");
        }
    }
}

#[test]
fn a_store_that_faults_on_its_second_page_leaves_the_first_as_it_was() {
    let last = at::DATA + 0xfff;
    for room in 1..16 {
        let mut bench = Bench::long();
        set_xmm(&mut bench, 0, u128::MAX);
        bench.unmap(last + 1);
        bench.flush();
        bench.cpu.regs[reg::RDI] = last + 1 - room;
        bench.poke(last - 15, 0_u128);
        for code in [(|a| a.movups(xmmword_ptr(rdi), xmm0)) as Code, |a| {
            a.maskmovdqu(xmm0, xmm0)
        }] {
            assert_eq!(fault(&mut bench, code), Some(PF));
            assert_eq!((bench.caught().code, bench.cpu.cr2), (Some(2), last + 1));
            assert_eq!(
                bench.peek::<u128>(last - 15),
                0,
                "{room} bytes before the boundary"
            );
        }
    }
}

#[test]
fn sixteen_bytes_cross_a_page_boundary_at_any_place() {
    let value = 0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100_u128;
    for room in 0..=16 {
        let mut bench = Bench::long();
        // The second page lies elsewhere, so that what is contiguous to the guest is not so in RAM.
        bench.map(at::DATA + 0x1000, at::FRAMES, Bits::RW | Bits::A | Bits::D);
        bench.flush();
        set_xmm(&mut bench, 0, value);
        bench.cpu.regs[reg::RDI] = at::DATA + 0x1000 - room;
        let there_and_back: Code = |a| {
            a.movdqu(xmmword_ptr(rdi), xmm0)?;
            a.pxor(xmm0, xmm0)?;
            a.movups(xmm0, xmmword_ptr(rdi))
        };
        assert_eq!(fault(&mut bench, there_and_back), None);
        assert_eq!(
            xmm0_of(&mut bench),
            value,
            "{room} bytes before the boundary"
        );
        if room < 16 {
            assert_eq!(
                bench.peek::<u8>(at::FRAMES),
                room as u8,
                "the first byte of the second page"
            );
        }
    }
}

#[test]
fn maskmovdqu_stores_the_bytes_whose_mask_has_its_top_bit_set() {
    let mut bench = Bench::long();
    set_xmm(
        &mut bench,
        0,
        u128::from_le_bytes(std::array::from_fn(|i| i as u8 + 1)),
    );
    set_xmm(
        &mut bench,
        1,
        u128::from_le_bytes(std::array::from_fn(
            |i| if i % 3 == 0 { 0x80 } else { 0x7f },
        )),
    );
    bench.cpu.regs[reg::RDI] = at::DATA + 0x205;
    assert_eq!(fault(&mut bench, |a| a.maskmovdqu(xmm0, xmm1)), None);
    let stored = bench.peek::<u128>(at::DATA + 0x205).to_le_bytes();
    assert_eq!(
        stored,
        std::array::from_fn(|i| if i % 3 == 0 { i as u8 + 1 } else { 0 })
    );
}

/// An operation and operands that raise just `flag` in double precision.
const CAUSES: [(u32, Code, f64, f64); 6] = [
    (0x01, |a| a.subsd(xmm0, xmm1), f64::INFINITY, f64::INFINITY),
    (0x02, |a| a.maxsd(xmm0, xmm1), 1.0, 5e-324),
    (0x04, |a| a.divsd(xmm0, xmm1), 1.0, 0.0),
    // Underflow and overflow with exact significands: unmasked, they are no PE.
    (0x08, |a| a.mulsd(xmm0, xmm1), f64::MAX, 2.0),
    (0x10, |a| a.mulsd(xmm0, xmm1), f64::MIN_POSITIVE, 0.5),
    (0x20, |a| a.addsd(xmm0, xmm1), 1.0, f64::EPSILON / 4.0),
];

#[test]
fn an_unmasked_exception_sets_its_flag_and_leaves_the_destination() {
    for osxmmexcpt in [true, false] {
        for (flag, code, a, b) in CAUSES {
            let mut bench = Bench::long();
            set_cr4(&mut bench, Cr4::OSXMMEXCPT, osxmmexcpt);
            set_xmm(&mut bench, 0, u128::from(a.to_bits()));
            set_xmm(&mut bench, 1, u128::from(b.to_bits()));
            set_mxcsr(&mut bench, 0x1f80 & !(flag << 7));
            assert_eq!(
                fault(&mut bench, code),
                Some(if osxmmexcpt { XM } else { UD }),
                "flag {flag:#x}"
            );
            assert_eq!(
                bench.caught().rip,
                at::CODE,
                "a fault: RIP is at the instruction"
            );
            assert_eq!(mxcsr(&mut bench) & 0x3f, flag);
            assert_eq!(
                xmm0_of(&mut bench),
                u128::from(a.to_bits()),
                "flag {flag:#x}"
            );
        }
    }
}

#[test]
fn flags_that_were_set_before_raise_nothing() {
    let mut bench = Bench::long();
    set_mxcsr(&mut bench, 0x3f);
    set_xmm(&mut bench, 0, u128::from(1.0_f64.to_bits()));
    assert_eq!(fault(&mut bench, |a| a.addsd(xmm0, xmm0)), None);
    assert_eq!(xmm0_of(&mut bench), u128::from(2.0_f64.to_bits()));
}

#[test]
fn unmasked_exceptions_of_operands_hide_those_of_results() {
    let mut bench = Bench::long();
    let pack = |low: f64, high: f64| u128::from(low.to_bits()) | u128::from(high.to_bits()) << 64;
    set_xmm(&mut bench, 0, pack(f64::MAX, 1.0));
    set_xmm(&mut bench, 1, pack(0.5, 0.0));
    // The low quotient overflows, the high one divides by zero.
    set_mxcsr(&mut bench, 0);
    assert_eq!(fault(&mut bench, |a| a.divpd(xmm0, xmm1)), Some(XM));
    assert_eq!(mxcsr(&mut bench), 0x04);
    set_mxcsr(&mut bench, 0x200);
    assert_eq!(fault(&mut bench, |a| a.divpd(xmm0, xmm1)), Some(XM));
    assert_eq!(mxcsr(&mut bench), 0x20c, "with ZE masked both are reported");
}

#[test]
fn comparisons_that_fault_leave_the_flags() {
    let mut bench = Bench::long();
    set_xmm(&mut bench, 0, u128::from(f64::NAN.to_bits()));
    set_mxcsr(&mut bench, 0x1f00);
    let code: Code = |a| {
        a.xor(eax, eax)?;
        a.comisd(xmm0, xmm0)
    };
    assert_eq!(fault(&mut bench, code), Some(XM));
    assert_eq!(bench.caught().flags & 0x8d5, 0x44, "ZF and PF of the XOR");
    assert_eq!(
        fault(&mut bench, |a| a.ucomisd(xmm0, xmm0)),
        None,
        "UCOMISD takes quiet NaNs"
    );
    assert_eq!(bench.cpu.flags & 0x8d5, 0x45);
}

#[test]
fn reserved_bits_of_mxcsr_are_refused_and_change_nothing() {
    let mut bench = Bench::long();
    for bit in 0..32 {
        bench.poke(at::DATA, 0x1f80 ^ 1_u32 << bit);
        set_mxcsr(&mut bench, 0x1f80);
        let refused = bit >= 16;
        assert_eq!(
            fault(&mut bench, |a| a.ldmxcsr(dword_ptr(at::DATA))),
            refused.then_some(GP),
            "bit {bit}"
        );
        assert_eq!(
            mxcsr(&mut bench),
            if refused { 0x1f80 } else { 0x1f80 ^ 1 << bit }
        );
    }
    set_mxcsr(&mut bench, 0x1f80);
    set_xmm(&mut bench, 0, 7);
    assert_eq!(fault(&mut bench, |a| a.fxsave64(ptr(at::DATA))), None);
    bench.poke(at::DATA + 26, 1_u16);
    bench.poke(at::DATA + 160, 8_u128);
    assert_eq!(fault(&mut bench, |a| a.fxrstor64(ptr(at::DATA))), Some(GP));
    assert_eq!((xmm0_of(&mut bench), mxcsr(&mut bench)), (7, 0x1f80));
}

/// Bytes of an FXSAVE area filled so that each field is told from its neighbours.
fn patterned_area() -> [u8; 512] {
    let mut area: [u8; 512] = std::array::from_fn(|i| (i * 7 + 3) as u8);
    area[0..2].copy_from_slice(&0x137f_u16.to_le_bytes());
    area[2..4].copy_from_slice(&0x2800_u16.to_le_bytes());
    area[24..28].copy_from_slice(&0x5fa5_u32.to_le_bytes());
    area
}

#[test]
fn fxsave_gives_back_what_fxrstor_took() {
    for wide in [true, false] {
        let mut bench = Bench::long();
        let given = patterned_area();
        bench.load(at::DATA, &given);
        bench.load(at::DATA + 512, &[0xaa; 512]);
        let code: Code = if wide {
            |a| {
                a.fxrstor64(ptr(at::DATA))?;
                a.fxsave64(ptr(at::DATA + 512))
            }
        } else {
            |a| {
                a.fxrstor(ptr(at::DATA))?;
                a.fxsave(ptr(at::DATA + 512))
            }
        };
        assert_eq!(fault(&mut bench, code), None);
        let mut expected = given;
        expected[5] = 0;
        expected[7] &= 7; // FOP has eleven bits.
        if !wide {
            // Selectors of the last x87 instruction and operand are gone.
            expected[12..16].fill(0);
            expected[20..24].fill(0);
        }
        expected[28..32].copy_from_slice(&0xffff_u32.to_le_bytes());
        for i in 0..8 {
            expected[32 + 16 * i + 10..48 + 16 * i].fill(0);
        }
        expected[416..].fill(0xaa);
        let saved: Vec<u8> = (0..512).map(|i| bench.peek(at::DATA + 512 + i)).collect();
        assert_eq!(saved, expected, "64-bit form: {wide}");
    }
}

#[test]
fn outside_64_bit_mode_fxsave_knows_eight_xmm_registers() {
    let mut bench = Bench::protected();
    set_cr4(&mut bench, Cr4::OSFXSR, true);
    bench.load(at::DATA, &patterned_area());
    bench.load(at::DATA + 512, &[0xaa; 512]);
    bench.exec(|a| {
        a.fxrstor(ptr(at::DATA))?;
        a.fxsave(ptr(at::DATA + 512))
    });
    for i in 0..16 {
        let expected = if i < 8 {
            bench.peek(at::DATA + 160 + 16 * i)
        } else {
            u128::from_le_bytes([0xaa; 16])
        };
        assert_eq!(
            bench.peek::<u128>(at::DATA + 512 + 160 + 16 * i),
            expected,
            "XMM{i}"
        );
    }
}

#[test]
fn fxsave_into_a_page_that_is_missing_writes_nothing() {
    let mut bench = Bench::long();
    let area = at::DATA + 0x1000 - 256;
    bench.load(area, &[0xaa; 256]);
    bench.unmap(at::DATA + 0x1000);
    bench.flush();
    bench.cpu.regs[reg::RBX] = area;
    assert_eq!(fault(&mut bench, |a| a.fxsave64(ptr(rbx))), Some(PF));
    assert_eq!(bench.cpu.cr2, at::DATA + 0x1000);
    assert!((0..256).all(|i| bench.peek::<u8>(area + i) == 0xaa));
}

#[test]
fn fninit_leaves_the_control_and_status_words_kernels_look_for() {
    let mut bench = Bench::long();
    bench.poke(at::DATA, u64::MAX);
    let code: Code = |a| {
        a.finit()?;
        a.fnstsw(word_ptr(at::DATA))?;
        a.fnstcw(word_ptr(at::DATA + 2))?;
        a.mov(eax, -1)?;
        a.fnstsw(ax)
    };
    assert_eq!(fault(&mut bench, code), None);
    assert_eq!(
        (bench.peek::<u16>(at::DATA), bench.peek::<u16>(at::DATA + 2)),
        (0, 0x37f)
    );
    assert_eq!(bench.cpu.regs[reg::RAX], 0xffff_0000);
}

#[test]
fn an_unmasked_x87_exception_is_raised_by_the_next_waiting_instruction() {
    let mut bench = Bench::long();
    set_cr0(&mut bench, Cr0::NE, true);
    let mut area = patterned_area();
    area[2] = 4; // FSW.ZE
    bench.load(at::DATA, &area);
    bench.poke(at::DATA + 512, 0x37b_u16); // all masked but ZE
    let code: Code = |a| {
        a.fxrstor64(ptr(at::DATA))?;
        a.fldcw(word_ptr(at::DATA + 512))?;
        a.fnstsw(ax)?;
        a.wait()
    };
    assert_eq!(fault(&mut bench, code), Some(MF));
    assert_eq!(
        bench.cpu.regs[reg::RAX] & 0x80ff,
        0x8084,
        "ES and B report it"
    );
    assert_eq!(
        fault(&mut bench, |a| {
            a.fnclex()?;
            a.wait()
        }),
        None
    );
}

#[test]
fn instructions_cpuid_does_not_declare_are_missing() {
    let missing: [Code; 3] = [|a| a.rdrand(eax), |a| a.fld1(), |a| a.rdseed(rax)];
    for code in missing {
        let mut bench = Bench::long();
        let bytes = assemble(64, at::CODE, code);
        assert_eq!(fault(&mut bench, code), Some(UD));
        let told: Vec<_> = bench
            .bus
            .missing
            .iter()
            .map(|(rip, bytes, _)| (*rip, bytes.clone()))
            .collect();
        assert_eq!(told, [(at::CODE, bytes)]);
    }
}

#[test]
fn avx_cannot_run_while_osxsave_is_clear() {
    let avx: [Code; 3] = [
        |a| a.vaddps(xmm0, xmm1, xmm2),
        |a| a.vmovdqa(ymm0, ymmword_ptr(at::DATA)),
        |a| a.vpshufb(ymm0, ymm1, ymm2),
    ];
    for code in avx {
        assert_eq!(fault(&mut Bench::long(), code), Some(UD));
    }
}

/// CR0.EM forbids MMX with #UD, CR0.TS with #NM, in this order; then comes what x87 left pending.
#[test]
fn mmx_instructions_fault_as_the_control_bits_say() {
    let mmx: [Code; 6] = [
        |a| a.paddb(mm0, mm1),
        |a| a.movd(mm0, eax),
        |a| a.movq(qword_ptr(at::DATA), mm0),
        |a| a.pshufw(mm0, mm1, 0),
        |a| a.cvtpi2ps(xmm0, mm1),
        |a| a.emms(),
    ];
    for code in mmx {
        let mut bench = Bench::long();
        assert_eq!(fault(&mut bench, code), None);
        set_cr0(&mut bench, Cr0::TS, true);
        assert_eq!(fault(&mut bench, code), Some(NM));
        set_cr0(&mut bench, Cr0::EM, true);
        assert_eq!(fault(&mut bench, code), Some(UD));
        set_cr0(&mut bench, Cr0::TS | Cr0::EM, false);
        pend_x87_error(&mut bench);
        assert_eq!(fault(&mut bench, code), Some(MF));
    }
}

/// Sets FSW.IE and its mask's opposite by FXRSTOR, and CR0.NE.
fn pend_x87_error(bench: &mut Bench) {
    set_cr0(bench, Cr0::NE, true);
    let area = at::DATA + 0x800;
    assert_eq!(fault(bench, |a| a.fxsave(ptr(area))), None);
    bench.poke(area, 0x037e_u16);
    bench.poke(area + 2, 1_u16);
    assert_eq!(fault(bench, |a| a.fxrstor(ptr(area))), None);
}

/// Vectors of general registers need no SSE state, but VEX itself needs protected mode.
#[test]
fn bmi_is_undefined_in_real_mode_and_not_after() {
    let code: Code = |a| a.andn(eax, ebx, ecx);
    assert_eq!(fault(&mut Bench::long(), code), None);
    let mut bench = Bench::real(0x10);
    let bytes = assemble(16, 0x1_0000, code);
    bench.load(0x1_0000, &bytes);
    // The vector table's entry for #UD leads to a HLT.
    bench.poke(4 * u64::from(UD), 0x2000_u32);
    bench.load(0x2000, &[0xf4]);
    bench.cpu.regs[reg::RSP] = 0x4000;
    bench.run();
    assert_eq!(bench.cpu.rip(), 0x2001);
}
