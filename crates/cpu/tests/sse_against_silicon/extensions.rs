//! SSE3, SSSE3, SSE4.1, SSE4.2, AES, PCLMULQDQ and SHA on XMM registers.

use crate::cases::{Case, DOUBLE, MASKED, Random, SINGLE, integer_cases};
use crate::common::Asm;
use crate::run::{Form, compare};
use crate::{equal, host_has, immediates, sources, written};
use iced_x86::code_asm::*;

#[test]
fn sse3_gives_what_silicon_gives() {
    if !host_has!("sse3") {
        return;
    }
    let single: Vec<Form> = sources!(xmmword_ptr: addsubps haddps hsubps movshdup movsldup);
    compare(&single, &SINGLE.cases(), equal);
    let mut double: Vec<Form> = sources!(xmmword_ptr: addsubpd haddpd hsubpd);
    double.extend::<Vec<Form>>(sources!(qword_ptr: movddup));
    double.extend::<Vec<Form>>(written! {
        "lddqu xmm0, [rdi + 23]" => |a| a.lddqu(xmm0, xmmword_ptr(rdi + 23)),
    });
    compare(&double, &DOUBLE.cases(), equal);
}

#[test]
fn ssse3_gives_what_silicon_gives() {
    if !host_has!("ssse3") {
        return;
    }
    let mut forms: Vec<Form> = sources!(xmmword_ptr:
        pabsb pabsw pabsd psignb psignw psignd pshufb pmulhrsw pmaddubsw
        phaddw phaddd phaddsw phsubw phsubd phsubsw);
    forms.extend(immediates!(xmmword_ptr, [0 1 7 15 16 21 31 32 255]: palignr));
    compare(&forms, &integer_cases(), equal);
}

#[test]
fn sse41_integer_instructions_give_what_silicon_gives() {
    if !host_has!("sse4.1") {
        return;
    }
    let mut forms: Vec<Form> = sources!(xmmword_ptr:
        packusdw pcmpeqq phminposuw pmaxsb pmaxsd pmaxud pmaxuw pminsb pminsd pminud pminuw
        pmuldq pmulld ptest pblendvb blendvps blendvpd);
    forms.extend::<Vec<Form>>(
        sources!(qword_ptr: pmovsxbw pmovsxwd pmovsxdq pmovzxbw pmovzxwd pmovzxdq),
    );
    forms.extend::<Vec<Form>>(sources!(dword_ptr: pmovsxbd pmovsxwq pmovzxbd pmovzxwq));
    forms.extend::<Vec<Form>>(sources!(word_ptr: pmovsxbq pmovzxbq));
    forms.extend(immediates!(xmmword_ptr, [0 1 2 3 4 5 6 7 0xff]: mpsadbw));
    forms.extend(immediates!(xmmword_ptr, [0 1 0x5a 0xa5 0xff]: pblendw blendps blendpd));
    forms.extend(immediates!(dword_ptr, [0 0x1b 0x4e 0x85 0xc7 0xd0 0xf0 0x60]: insertps));
    compare(&forms, &integer_cases(), equal);
}

#[test]
fn sse41_elements_are_put_and_taken_as_silicon_does() {
    if !host_has!("sse4.1") {
        return;
    }
    let forms: Vec<Form> = written! {
        "pinsrb xmm0, eax, 5" => |a| a.pinsrb(xmm0, eax, 5),
        "pinsrb xmm0, [rdi + 33], 31" => |a| a.pinsrb(xmm0, byte_ptr(rdi + 33), 31),
        "pinsrd xmm0, eax, 3" => |a| a.pinsrd(xmm0, eax, 3),
        "pinsrd xmm0, [rdi + 33], 6" => |a| a.pinsrd(xmm0, dword_ptr(rdi + 33), 6),
        "pinsrq xmm0, rax, 1" => |a| a.pinsrq(xmm0, rax, 1),
        "pinsrq xmm0, [rdi + 33], 2" => |a| a.pinsrq(xmm0, qword_ptr(rdi + 33), 2),
        "pextrb eax, xmm1, 7" => |a| a.pextrb(eax, xmm1, 7),
        "pextrb [rsi + 49], xmm1, 30" => |a| a.pextrb(byte_ptr(rsi + 49), xmm1, 30),
        "pextrw [rsi + 49], xmm1, 13" => |a| a.pextrw(word_ptr(rsi + 49), xmm1, 13),
        "pextrd eax, xmm1, 2" => |a| a.pextrd(eax, xmm1, 2),
        "pextrd [rsi + 49], xmm1, 7" => |a| a.pextrd(dword_ptr(rsi + 49), xmm1, 7),
        "pextrq rax, xmm1, 1" => |a| a.pextrq(rax, xmm1, 1),
        "pextrq [rsi + 49], xmm1, 2" => |a| a.pextrq(qword_ptr(rsi + 49), xmm1, 2),
        "extractps eax, xmm1, 3" => |a| a.extractps(eax, xmm1, 3),
        "extractps [rsi + 49], xmm1, 5" => |a| a.extractps(dword_ptr(rsi + 49), xmm1, 5),
        "movntdqa xmm0, [rdi + 32]" => |a| a.movntdqa(xmm0, xmmword_ptr(rdi + 32)),
    };
    compare(&forms, &integer_cases(), equal);
}

#[test]
fn every_rounding_of_roundps_and_its_kin_is_silicons() {
    if !host_has!("sse4.1") {
        return;
    }
    let mut single: Vec<Form> = immediates!(xmmword_ptr, [0 1 2 3 4 8 9 10 11 12 0xf7]: roundps);
    single.extend(immediates!(dword_ptr, [0 1 2 3 4 11 12]: roundss));
    compare(&single, &SINGLE.cases(), equal);
    let mut double: Vec<Form> = immediates!(xmmword_ptr, [0 1 2 3 4 8 9 10 11 12 0xf7]: roundpd);
    double.extend(immediates!(qword_ptr, [0 1 2 3 4 11 12]: roundsd));
    compare(&double, &DOUBLE.cases(), equal);
}

#[test]
fn dot_products_are_silicons() {
    if !host_has!("sse4.1") {
        return;
    }
    let single: Vec<Form> = immediates!(xmmword_ptr, [0xff 0x31 0x7f 0xc2 0x0f]: dpps);
    compare(&single, &SINGLE.cases(), equal);
    let double: Vec<Form> = immediates!(xmmword_ptr, [0x33 0x31 0x12 0x03]: dppd);
    compare(&double, &DOUBLE.cases(), equal);
}

/// Short strings over few characters, often with an end, so that every rule matters.
fn text_cases() -> Vec<Case> {
    let mut random = Random(0x6c07_8965_1b2f_9a37);
    let alphabet = [0, 1, 2, 3, 0x41, 0x7f, 0x80, 0xfe, 0xff];
    let mut string = |few: u64| {
        (0..16).fold(0, |s, _| {
            let byte = alphabet[random.below(few) as usize];
            s << 8 | u128::from(byte as u8)
        })
    };
    let mut out: Vec<Case> = (0..1200)
        .map(|i| {
            let few = 2 + i % 8;
            let (mut a, b) = (string(few), string(few));
            // Substrings and equal strings.
            match i % 5 {
                0 => a = b,
                1 => a = b >> (8 * (i % 16)),
                2 => a |= 0x0101 << (i % 64),
                _ => {}
            }
            Case {
                mxcsr: MASKED,
                a,
                b,
                general: 0,
            }
        })
        .collect();
    for case in &mut out {
        case.general = random.next() >> random.below(64);
    }
    out.extend(integer_cases().into_iter().step_by(8));
    out
}

/// The instruction with every immediate; lengths come from the case, and RCX goes to RAX.
macro_rules! texts {
    ($($imm:literal)*) => {
        vec![$(
            (concat!("pcmpistri ", $imm), (|a| { a.pcmpistri(xmm0, xmm1, $imm)?; a.mov(rax, rcx) }) as fn(&mut CodeAssembler) -> Asm),
            (concat!("pcmpistrm ", $imm), |a| a.pcmpistrm(xmm0, xmmword_ptr(rdi + 32), $imm)),
            (concat!("pcmpestri ", $imm), |a| {
                lengths(a)?;
                a.pcmpestri(xmm0, xmmword_ptr(rdi + 32), $imm)?;
                a.mov(rax, rcx)?;
                a.mov(rdx, r8)
            }),
            (concat!("pcmpestrm ", $imm), |a| {
                lengths(a)?;
                a.pcmpestrm(xmm0, xmm1, $imm)?;
                a.mov(rdx, r8)
            }),
            (concat!("pcmpestri rex.w ", $imm), |a| {
                lengths(a)?;
                a.pcmpestri64(xmm0, xmm1, $imm)?;
                a.mov(rax, rcx)?;
                a.mov(rdx, r8)
            }),
        )*]
    };
}

/// Signed lengths around what fits, from RAX; what RDX counts is kept in R8.
fn lengths(a: &mut CodeAssembler) -> Asm {
    a.mov(r8, rdx)?;
    a.mov(rdx, rax)?;
    a.shl(rdx, 56)?;
    a.sar(rdx, 59)?;
    a.sar(rax, 3)
}

#[test]
fn every_mode_of_string_comparison_gives_what_silicon_gives() {
    if !host_has!("sse4.2") {
        return;
    }
    let forms: Vec<Form> = texts!(
        0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31
        32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63
        64 65 66 67 68 69 70 71 72 73 74 75 76 77 78 79 80 81 82 83 84 85 86 87 88 89 90 91 92 93 94 95
        96 97 98 99 100 101 102 103 104 105 106 107 108 109 110 111 112 113 114 115 116 117 118 119 120
        121 122 123 124 125 126 127 255);
    compare(&forms, &text_cases(), equal);
}

#[test]
fn quadwords_compare_as_silicon_compares_them() {
    if !host_has!("sse4.2") {
        return;
    }
    let forms: Vec<Form> = sources!(xmmword_ptr: pcmpgtq);
    compare(&forms, &integer_cases(), equal);
}

#[test]
fn aes_and_carryless_products_are_silicons() {
    if !host_has!("aes") || !host_has!("pclmulqdq") {
        return;
    }
    let mut forms: Vec<Form> = sources!(xmmword_ptr: aesenc aesenclast aesdec aesdeclast aesimc);
    forms.extend(immediates!(xmmword_ptr, [0 1 0x1b 0xff]: aeskeygenassist));
    forms.extend(immediates!(xmmword_ptr, [0 1 0x10 0x11 0xff]: pclmulqdq));
    compare(&forms, &integer_cases(), equal);
}

#[test]
fn sha_gives_what_silicon_gives() {
    if !host_has!("sha") {
        return;
    }
    let mut forms: Vec<Form> =
        sources!(xmmword_ptr: sha1nexte sha1msg1 sha1msg2 sha256msg1 sha256msg2);
    forms.extend(immediates!(xmmword_ptr, [0 1 2 3 0xff]: sha1rnds4));
    forms.extend::<Vec<Form>>(written! {
        "sha256rnds2 xmm1, [rdi + 32]" => |a| {
            a.movq(xmm2, rax)?;
            a.sha256rnds2(xmm2, xmm1)?;
            a.sha256rnds2(xmm1, xmmword_ptr(rdi + 16))?;
            a.pxor(xmm1, xmm2)?;
            a.movdqa(xmm0, xmm1)
        },
    });
    compare(&forms, &integer_cases(), equal);
}
