//! MMX, SSE to SSE4.2 and the extensions after it against the processor these tests run on.
//!
//! One routine of machine code takes a row of cases (MXCSR, two XMM operands, one general register),
//! executes the instruction under test on each, and writes down the XMM result, the general
//! register, MXCSR, the status flags, an MMX register and 16 bytes of memory. The same bytes run natively and in
//! the interpreter; everything written must be equal.
//!
//! Unmasked exceptions are skipped over, by a SIGFPE handler there and a #XM handler here. Only
//! the approximations (RCPPS, RSQRTPS) may differ, within the manual's bound.
//!
//! **Spec:** SDM 1 "SIMD Floating-Point Exceptions"; SDM 2 "RCPPS", "RSQRTPS".

#![cfg(all(target_arch = "x86_64", target_os = "linux"))]
#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test may panic, and cuts records into their fields"
)]

mod cases;
#[path = "../common/mod.rs"]
mod common;
mod extensions;
mod general;
mod mmx;
mod run;

use cases::{Case, DOUBLE, Format, MASKED, Random, SINGLE, integer_cases};
use common::{Asm, Bench};
use iced_x86::code_asm::*;
use run::{Form, Outcome, compare, compare_one, skip_exceptions};

fn equal(want: &Outcome, have: &Outcome) -> bool {
    want == have
}

/// Whether this processor has what a test is about; says so if not.
macro_rules! host_has {
    ($feature:tt) => {{
        let there = std::is_x86_feature_detected!($feature);
        if !there {
            eprintln!("skipped: this processor has no {}", $feature);
        }
        there
    }};
}
pub(crate) use host_has;

/// Instructions with a source operand, from a register and from memory.
macro_rules! sources {
    ($mem:ident: $($op:ident)*) => {
        vec![$(
            (concat!(stringify!($op), " xmm0, xmm1"), (|a| a.$op(xmm0, xmm1)) as fn(&mut CodeAssembler) -> Asm),
            (concat!(stringify!($op), " xmm0, [rdi + 32]"), |a| a.$op(xmm0, $mem(rdi + 32))),
        )*]
    };
}

pub(crate) use sources;

/// The same with an immediate, for each of those given.
macro_rules! immediates {
    ($mem:ident, $imms:tt: $($op:ident)*) => { [$(immediates!(@one $mem, $op, $imms)),*].concat() };
    (@one $mem:ident, $op:ident, [$($imm:literal)*]) => {
        vec![$(
            (concat!(stringify!($op), " xmm0, xmm1, ", $imm), (|a| a.$op(xmm0, xmm1, $imm)) as fn(&mut CodeAssembler) -> Asm),
            (concat!(stringify!($op), " xmm0, [rdi + 32], ", $imm), |a| a.$op(xmm0, $mem(rdi + 32), $imm)),
        )*]
    };
}

pub(crate) use immediates;

/// Any instruction, written out.
macro_rules! written {
    ($($text:literal => |$a:ident| $body:expr,)*) => {
        vec![$(($text, (|$a| $body) as fn(&mut CodeAssembler) -> Asm),)*]
    };
}
pub(crate) use written;

#[test]
fn packed_single_arithmetic_gives_what_silicon_gives() {
    let forms: Vec<Form> = sources!(xmmword_ptr: addps subps mulps divps sqrtps minps maxps);
    compare(&forms, &SINGLE.cases(), equal);
}

#[test]
fn scalar_single_arithmetic_gives_what_silicon_gives() {
    let forms: Vec<Form> = sources!(dword_ptr: addss subss mulss divss sqrtss minss maxss);
    compare(&forms, &SINGLE.cases(), equal);
}

#[test]
fn packed_double_arithmetic_gives_what_silicon_gives() {
    let forms: Vec<Form> = sources!(xmmword_ptr: addpd subpd mulpd divpd sqrtpd minpd maxpd);
    compare(&forms, &DOUBLE.cases(), equal);
}

#[test]
fn scalar_double_arithmetic_gives_what_silicon_gives() {
    let forms: Vec<Form> = sources!(qword_ptr: addsd subsd mulsd divsd sqrtsd minsd maxsd);
    compare(&forms, &DOUBLE.cases(), equal);
}

#[test]
fn every_predicate_compares_singles_as_silicon_does() {
    let mut forms: Vec<Form> = immediates!(xmmword_ptr, [0 1 2 3 4 5 6 7]: cmpps);
    forms.extend(immediates!(dword_ptr, [0 1 2 3 4 5 6 7]: cmpss));
    forms.extend::<Vec<Form>>(sources!(dword_ptr: comiss ucomiss));
    compare(&forms, &SINGLE.cases(), equal);
}

#[test]
fn every_predicate_compares_doubles_as_silicon_does() {
    let mut forms: Vec<Form> = immediates!(xmmword_ptr, [0 1 2 3 4 5 6 7]: cmppd);
    forms.extend(immediates!(qword_ptr, [0 1 2 3 4 5 6 7]: cmpsd_3));
    forms.extend::<Vec<Form>>(sources!(qword_ptr: comisd ucomisd));
    compare(&forms, &DOUBLE.cases(), equal);
}

#[test]
fn conversions_of_singles_give_what_silicon_gives() {
    let mut forms: Vec<Form> = sources!(xmmword_ptr: cvtps2dq cvttps2dq);
    forms.extend::<Vec<Form>>(sources!(qword_ptr: cvtps2pd));
    forms.extend::<Vec<Form>>(sources!(dword_ptr: cvtss2sd));
    forms.extend::<Vec<Form>>(written! {
        "cvtss2si eax, xmm1" => |a| a.cvtss2si(eax, xmm1),
        "cvtss2si rax, xmm1" => |a| a.cvtss2si(rax, xmm1),
        "cvtss2si rax, [rdi + 32]" => |a| a.cvtss2si(rax, dword_ptr(rdi + 32)),
        "cvttss2si eax, xmm1" => |a| a.cvttss2si(eax, xmm1),
        "cvttss2si rax, xmm1" => |a| a.cvttss2si(rax, xmm1),
        "cvttss2si eax, [rdi + 32]" => |a| a.cvttss2si(eax, dword_ptr(rdi + 32)),
    });
    compare(&forms, &SINGLE.cases(), equal);
}

#[test]
fn conversions_of_doubles_give_what_silicon_gives() {
    let mut forms: Vec<Form> = sources!(xmmword_ptr: cvtpd2dq cvttpd2dq cvtpd2ps);
    forms.extend::<Vec<Form>>(sources!(qword_ptr: cvtsd2ss));
    forms.extend::<Vec<Form>>(written! {
        "cvtsd2si eax, xmm1" => |a| a.cvtsd2si(eax, xmm1),
        "cvtsd2si rax, xmm1" => |a| a.cvtsd2si(rax, xmm1),
        "cvtsd2si eax, [rdi + 32]" => |a| a.cvtsd2si(eax, qword_ptr(rdi + 32)),
        "cvttsd2si eax, xmm1" => |a| a.cvttsd2si(eax, xmm1),
        "cvttsd2si rax, xmm1" => |a| a.cvttsd2si(rax, xmm1),
        "cvttsd2si rax, [rdi + 32]" => |a| a.cvttsd2si(rax, qword_ptr(rdi + 32)),
    });
    compare(&forms, &DOUBLE.cases(), equal);
}

#[test]
fn conversions_of_integers_give_what_silicon_gives() {
    let mut forms: Vec<Form> = sources!(xmmword_ptr: cvtdq2ps);
    forms.extend::<Vec<Form>>(sources!(qword_ptr: cvtdq2pd));
    forms.extend::<Vec<Form>>(written! {
        "cvtsi2ss xmm0, eax" => |a| a.cvtsi2ss(xmm0, eax),
        "cvtsi2ss xmm0, rax" => |a| a.cvtsi2ss(xmm0, rax),
        "cvtsi2ss xmm0, dword [rdi + 48]" => |a| a.cvtsi2ss(xmm0, dword_ptr(rdi + 48)),
        "cvtsi2ss xmm0, qword [rdi + 48]" => |a| a.cvtsi2ss(xmm0, qword_ptr(rdi + 48)),
        "cvtsi2sd xmm0, eax" => |a| a.cvtsi2sd(xmm0, eax),
        "cvtsi2sd xmm0, rax" => |a| a.cvtsi2sd(xmm0, rax),
        "cvtsi2sd xmm0, dword [rdi + 48]" => |a| a.cvtsi2sd(xmm0, dword_ptr(rdi + 48)),
        "cvtsi2sd xmm0, qword [rdi + 48]" => |a| a.cvtsi2sd(xmm0, qword_ptr(rdi + 48)),
    });
    compare(&forms, &DOUBLE.cases(), equal);
}

#[test]
fn packed_integer_instructions_give_what_silicon_gives() {
    let forms: Vec<Form> = sources!(xmmword_ptr:
        paddb paddw paddd paddq psubb psubw psubd psubq paddsb paddsw paddusb paddusw psubsb psubsw psubusb psubusw
        pmullw pmulhw pmulhuw pmuludq pmaddwd psadbw pavgb pavgw pminub pmaxub pminsw pmaxsw
        pcmpeqb pcmpeqw pcmpeqd pcmpgtb pcmpgtw pcmpgtd
        pand pandn por pxor andps andpd andnps andnpd orps orpd xorps xorpd
        psllw pslld psllq psrlw psrld psrlq psraw psrad);
    compare(&forms, &integer_cases(), equal);
}

#[test]
fn rearranging_instructions_give_what_silicon_gives() {
    let mut forms: Vec<Form> = sources!(xmmword_ptr:
        punpcklbw punpcklwd punpckldq punpcklqdq punpckhbw punpckhwd punpckhdq punpckhqdq
        unpcklps unpcklpd unpckhps unpckhpd packsswb packssdw packuswb);
    forms.extend(immediates!(xmmword_ptr, [0 1 2 3 0x1b 0x4e 0x93 0xe4 0xff]: pshufd pshuflw pshufhw shufps shufpd));
    forms.extend::<Vec<Form>>(written! {
        "psllw xmm0, 5" => |a| a.psllw(xmm0, 5),
        "psllw xmm0, 16" => |a| a.psllw(xmm0, 16),
        "pslld xmm0, 31" => |a| a.pslld(xmm0, 31),
        "pslld xmm0, 200" => |a| a.pslld(xmm0, 200),
        "psllq xmm0, 63" => |a| a.psllq(xmm0, 63),
        "psrlw xmm0, 15" => |a| a.psrlw(xmm0, 15),
        "psrld xmm0, 32" => |a| a.psrld(xmm0, 32),
        "psrlq xmm0, 33" => |a| a.psrlq(xmm0, 33),
        "psraw xmm0, 3" => |a| a.psraw(xmm0, 3),
        "psraw xmm0, 255" => |a| a.psraw(xmm0, 255),
        "psrad xmm0, 32" => |a| a.psrad(xmm0, 32),
        "pslldq xmm0, 0" => |a| a.pslldq(xmm0, 0),
        "pslldq xmm0, 7" => |a| a.pslldq(xmm0, 7),
        "pslldq xmm0, 16" => |a| a.pslldq(xmm0, 16),
        "psrldq xmm0, 15" => |a| a.psrldq(xmm0, 15),
        "psrldq xmm0, 250" => |a| a.psrldq(xmm0, 250),
        "pinsrw xmm0, eax, 5" => |a| a.pinsrw(xmm0, eax, 5),
        "pinsrw xmm0, [rdi + 33], 15" => |a| a.pinsrw(xmm0, word_ptr(rdi + 33), 15),
        "pextrw eax, xmm1, 3" => |a| a.pextrw(eax, xmm1, 3),
        "pextrw rax, xmm1, 12" => |a| a.pextrw(rax, xmm1, 12),
        "pmovmskb eax, xmm1" => |a| a.pmovmskb(eax, xmm1),
        "movmskps eax, xmm1" => |a| a.movmskps(eax, xmm1),
        "movmskpd rax, xmm1" => |a| a.movmskpd(rax, xmm1),
    });
    compare(&forms, &integer_cases(), equal);
}

#[test]
fn moves_give_what_silicon_gives() {
    let mut forms: Vec<Form> = sources!(xmmword_ptr: movaps movapd movdqa movups movupd movdqu);
    forms.extend::<Vec<Form>>(sources!(qword_ptr: movq movsd_2));
    forms.extend::<Vec<Form>>(sources!(dword_ptr: movss));
    forms.extend::<Vec<Form>>(written! {
        "movups xmm0, [rdi + 23]" => |a| a.movups(xmm0, xmmword_ptr(rdi + 23)),
        "movaps [rsi + 48], xmm1" => |a| a.movaps(xmmword_ptr(rsi + 48), xmm1),
        "movdqa [rsi + 48], xmm1" => |a| a.movdqa(xmmword_ptr(rsi + 48), xmm1),
        "movupd [rsi + 48], xmm1" => |a| a.movupd(xmmword_ptr(rsi + 48), xmm1),
        "movdqu [rsi + 48], xmm1" => |a| a.movdqu(xmmword_ptr(rsi + 48), xmm1),
        "movntps [rsi + 48], xmm1" => |a| a.movntps(xmmword_ptr(rsi + 48), xmm1),
        "movntpd [rsi + 48], xmm1" => |a| a.movntpd(xmmword_ptr(rsi + 48), xmm1),
        "movntdq [rsi + 48], xmm1" => |a| a.movntdq(xmmword_ptr(rsi + 48), xmm1),
        "movss [rsi + 49], xmm1" => |a| a.movss(dword_ptr(rsi + 49), xmm1),
        "movsd [rsi + 49], xmm1" => |a| a.movsd_2(qword_ptr(rsi + 49), xmm1),
        "movq [rsi + 49], xmm1" => |a| a.movq(qword_ptr(rsi + 49), xmm1),
        "movd [rsi + 49], xmm1" => |a| a.movd(dword_ptr(rsi + 49), xmm1),
        "movd xmm0, eax" => |a| a.movd(xmm0, eax),
        "movq xmm0, rax" => |a| a.movq(xmm0, rax),
        "movd eax, xmm1" => |a| a.movd(eax, xmm1),
        "movq rax, xmm1" => |a| a.movq(rax, xmm1),
        "movd xmm0, [rdi + 33]" => |a| a.movd(xmm0, dword_ptr(rdi + 33)),
        "movlps xmm0, [rdi + 33]" => |a| a.movlps(xmm0, qword_ptr(rdi + 33)),
        "movlpd xmm0, [rdi + 33]" => |a| a.movlpd(xmm0, qword_ptr(rdi + 33)),
        "movhps xmm0, [rdi + 33]" => |a| a.movhps(xmm0, qword_ptr(rdi + 33)),
        "movhpd xmm0, [rdi + 33]" => |a| a.movhpd(xmm0, qword_ptr(rdi + 33)),
        "movlps [rsi + 48], xmm1" => |a| a.movlps(qword_ptr(rsi + 48), xmm1),
        "movhps [rsi + 48], xmm1" => |a| a.movhps(qword_ptr(rsi + 48), xmm1),
        "movhpd [rsi + 48], xmm1" => |a| a.movhpd(qword_ptr(rsi + 48), xmm1),
        "movhlps xmm0, xmm1" => |a| a.movhlps(xmm0, xmm1),
        "movlhps xmm0, xmm1" => |a| a.movlhps(xmm0, xmm1),
        "movnti [rsi + 49], eax" => |a| a.movnti(dword_ptr(rsi + 49), eax),
        "movnti [rsi + 49], rax" => |a| a.movnti(qword_ptr(rsi + 49), rax),
        "movaps through xmm8 to xmm15" => |a| {
            a.movaps(xmm8, xmm1)?;
            a.movdqu(xmm15, xmm8)?;
            a.movapd(xmm0, xmm15)
        },
        "maskmovdqu xmm0, xmm1" => |a| {
            a.mov(rcx, rdi)?;
            a.lea(rdi, qword_ptr(rsi + 48))?;
            a.maskmovdqu(xmm0, xmm1)?;
            a.mov(rdi, rcx)
        },
    });
    compare(&forms, &integer_cases(), equal);
}

/// Element by element: both numbers within the bound of the exact value, so within twice
/// the bound of each other; anything but normal numbers equal. Nothing else may differ.
fn approximately(want: &Outcome, have: &Outcome) -> bool {
    let lane = |x: u128, i: u32| f32::from_bits((x >> (32 * i)) as u32);
    let near = |i| {
        let (x, y) = (lane(want.xmm, i), lane(have.xmm, i));
        let exact_kind = !x.is_normal() || !y.is_normal();
        // Results around the smallest normal number may or may not be flushed to zero.
        let tiny = 1.001 * f32::MIN_POSITIVE;
        if x.abs() <= tiny && y.abs() <= tiny {
            return x.is_sign_negative() == y.is_sign_negative();
        }
        let difference = (f64::from(x) - f64::from(y)).abs();
        if exact_kind {
            x.to_bits() == y.to_bits()
        } else {
            difference <= f64::from(x).abs() * 3.0 / 4096.0
        }
    };
    (0..4).all(near)
        && Outcome {
            xmm: have.xmm,
            ..*want
        } == *have
}

#[test]
fn approximations_are_as_near_as_the_manual_says() {
    let mut forms: Vec<Form> = sources!(xmmword_ptr: rcpps rsqrtps);
    forms.extend::<Vec<Form>>(sources!(dword_ptr: rcpss rsqrtss));
    compare(&forms, &SINGLE.cases(), approximately);
}

#[test]
fn unmasked_exceptions_report_and_leave_what_silicon_does() {
    let mut random = Random(0x853c_49e6_748f_ea9b);
    let mut thin = |format: Format| -> Vec<Case> {
        let some = format
            .cases()
            .into_iter()
            .filter(|_| random.below(24) == 0)
            .collect::<Vec<_>>();
        some.into_iter()
            .map(|c| Case {
                mxcsr: c.mxcsr & !MASKED | (random.next() as u32 & MASKED),
                ..c
            })
            .collect()
    };
    let single: Vec<Form> = sources!(xmmword_ptr:
        addps subps mulps divps sqrtps minps maxps cvtps2dq cvttps2dq rcpps addss mulss divss sqrtss comiss ucomiss cvtss2sd);
    let double: Vec<Form> = sources!(xmmword_ptr:
        addpd subpd mulpd divpd sqrtpd minpd maxpd cvtpd2dq cvttpd2dq cvtpd2ps addsd mulsd divsd sqrtsd comisd ucomisd cvtsd2ss);
    let mut bench = Bench::long();
    for (forms, cases) in [(single, thin(SINGLE)), (double, thin(DOUBLE))] {
        for form in forms {
            skip_exceptions(&bench, form);
            compare_one(
                &mut bench,
                form,
                &cases,
                if form.0.starts_with("rcp") {
                    approximately
                } else {
                    equal
                },
            );
        }
    }
}
