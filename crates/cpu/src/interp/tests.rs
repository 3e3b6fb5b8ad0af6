//! Every instruction of the features CPUID declares has a handler, without exception.
//!
//! The other statement is iced-x86's list of instructions. The test decodes every combination of
//! prefixes, opcode map, opcode and ModR/M form in all three code sizes, keeps what belongs to
//! declared features only, and asks for the handler of each operand form.
//!
//! **Spec:** SDM 2 "CPUID—CPU Identification", "Opcode Map".

use crate::cpuid::leaf;
use iced_x86::{Code, CpuidFeature, Decoder, DecoderOptions, EncodingKind, Instruction, OpKind};
use std::collections::BTreeSet;

/// Features that are there without a bit in CPUID, and those whose bit is set.
fn is_declared(feature: CpuidFeature) -> bool {
    use CpuidFeature as F;
    let bit = |number, register: usize, bit: u32| leaf(number, 0, 0)[register] >> bit & 1 != 0;
    let (ebx, ecx, edx) = (1, 2, 3);
    match feature {
        F::INTEL8086 | F::INTEL186 | F::INTEL286 | F::INTEL386 | F::INTEL486 => true,
        F::CPUID | F::MULTIBYTENOP | F::PAUSE | F::RDPMC => true,
        F::X64 => bit(0x8000_0001, edx, 29),
        F::FPU | F::FPU287 | F::FPU387 => bit(1, edx, 0),
        F::TSC => bit(1, edx, 4),
        F::MSR => bit(1, edx, 5),
        F::CX8 => bit(1, edx, 8),
        F::SEP => bit(1, edx, 11),
        F::CMOV => bit(1, edx, 15),
        F::CLFSH => bit(1, edx, 19),
        F::MMX => bit(1, edx, 23),
        F::FXSR => bit(1, edx, 24),
        F::SSE => bit(1, edx, 25),
        F::SSE2 => bit(1, edx, 26),
        F::SSE3 => bit(1, ecx, 0),
        F::PCLMULQDQ => bit(1, ecx, 1),
        F::MONITOR => bit(1, ecx, 3),
        F::SSSE3 => bit(1, ecx, 9),
        F::FMA => bit(1, ecx, 12),
        F::CMPXCHG16B => bit(1, ecx, 13),
        F::SSE4_1 => bit(1, ecx, 19),
        F::SSE4_2 => bit(1, ecx, 20),
        F::MOVBE => bit(1, ecx, 22),
        F::POPCNT => bit(1, ecx, 23),
        F::AES => bit(1, ecx, 25),
        F::XSAVE => bit(1, ecx, 26),
        F::AVX => bit(1, ecx, 28),
        F::F16C => bit(1, ecx, 29),
        F::RDRAND => bit(1, ecx, 30),
        F::FSGSBASE => bit(7, ebx, 0),
        F::BMI1 => bit(7, ebx, 3),
        F::AVX2 => bit(7, ebx, 5),
        F::BMI2 => bit(7, ebx, 8),
        F::INVPCID => bit(7, ebx, 10),
        F::RDSEED => bit(7, ebx, 18),
        F::ADX => bit(7, ebx, 19),
        F::SMAP => bit(7, ebx, 20),
        F::SHA => bit(7, ebx, 29),
        F::PKU => bit(7, ecx, 3),
        F::VAES => bit(7, ecx, 9),
        F::VPCLMULQDQ => bit(7, ecx, 10),
        F::RDPID => bit(7, ecx, 22),
        F::SYSCALL => bit(0x8000_0001, edx, 11),
        F::RDTSCP => bit(0x8000_0001, edx, 27),
        F::LZCNT => bit(0x8000_0001, ecx, 5),
        F::PREFETCHW => bit(0x8000_0001, ecx, 8),
        _ => false,
    }
}

fn belongs_here(code: Code) -> bool {
    let features = code.cpuid_features();
    let encoding = matches!(code.encoding(), EncodingKind::Legacy | EncodingKind::VEX);
    encoding && features.iter().all(|f| is_declared(*f))
}

/// Prefixes that choose between instructions of one opcode.
fn prefixes(bits: u32) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for sizes in [&[][..], &[0x66], &[0x67], &[0x66, 0x67]] {
        for mandatory in [&[][..], &[0xf2], &[0xf3]] {
            out.push([sizes, mandatory].concat());
            if bits == 64 {
                out.push([sizes, mandatory, &[0x48]].concat());
            }
        }
    }
    out
}

/// What stands before the opcode byte: prefixes and map, or a VEX prefix.
fn leads(bits: u32) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for prefix in prefixes(bits) {
        for map in [&[][..], &[0x0f], &[0x0f, 0x38], &[0x0f, 0x3a]] {
            out.push([&prefix[..], map].concat());
        }
    }
    for map in 1..=3 {
        for low in 0..8 {
            // vvvv names register 0, or none; W is 0 or 1.
            for wide in [0x78, 0xf8] {
                out.push(vec![0xc4, 0xe0 | map, wide | low]);
            }
        }
    }
    out
}

/// Every form of ModR/M that chooses between instructions: memory with each `/digit`, without and
/// with SIB, and all registers.
fn forms() -> impl Iterator<Item = u8> {
    let memory = (0..8).flat_map(|digit| [digit << 3, digit << 3 | 4]);
    memory.chain(0xc0..=0xff)
}

fn each_instruction(bits: u32, mut f: impl FnMut(&Instruction)) {
    let mut instr = Instruction::default();
    for lead in leads(bits) {
        for opcode in 0..=255 {
            for form in forms() {
                // The SIB byte has an index, and none that needs a base.
                let tail = [opcode, form, 0x08, 0, 0, 0, 0, 0, 0, 0];
                let bytes = [&lead[..], &tail].concat();
                Decoder::with_ip(bits, &bytes, 0, DecoderOptions::NONE).decode_out(&mut instr);
                if !instr.is_invalid() {
                    f(&instr);
                }
            }
        }
    }
}

#[test]
fn every_instruction_of_a_declared_feature_has_a_handler() {
    let mut missing = BTreeSet::new();
    for bits in [16, 32, 64] {
        each_instruction(bits, |instr| {
            if belongs_here(instr.code()) && super::select(instr).is_none() {
                let kinds: Vec<OpKind> = instr.op_kinds().collect();
                missing.insert(format!("{bits}: {:?} {kinds:?}", instr.code()));
            }
        });
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn the_enumeration_meets_every_instruction_the_decoder_knows() {
    let mut met = BTreeSet::new();
    for bits in [16, 32, 64] {
        each_instruction(bits, |instr| {
            met.insert(instr.code());
        });
    }
    let never: Vec<Code> = Code::values()
        .filter(|code| belongs_here(*code) && !met.contains(code))
        .collect();
    assert_eq!(never, NEVER_DECODED);
}

/// iced-x86's pseudo-instructions; LOOP and JRCXZ to a 16-bit IP in 64-bit mode, which AMD's
/// processors alone have; UD0 without ModR/M, as processors of old had it.
const NEVER_DECODED: &[Code] = &[
    Code::INVALID,
    Code::DeclareByte,
    Code::DeclareWord,
    Code::DeclareDword,
    Code::DeclareQword,
    Code::Loopne_rel8_16_RCX,
    Code::Loope_rel8_16_RCX,
    Code::Loop_rel8_16_RCX,
    Code::Jrcxz_rel8_16,
    Code::Ud0,
    Code::Zero_bytes,
];
