//! Packed integers: addition, comparison, minimum and maximum, logic, signs.
//!
//! The bitwise instructions for floating-point types do the same as those for integers.
//!
//! **Spec:** SDM 1 "Intel SSE2 64-Bit and 128-Bit SIMD Integer Instructions", "Intel SSE Logical
//! Instructions", "SSSE3 Instructions", "Intel SSE4 Instruction Set"; SDM 2 "PSIGNB".

use super::lanes::Lane;
use super::packed::{by_registers, packed_ops};
use crate::op::Exec;
use iced_x86::Instruction;

pub(super) fn select(instr: &Instruction) -> Option<Exec> {
    bitwise(instr)
        .or_else(|| sums(instr))
        .or_else(|| comparisons(instr))
        .or_else(|| extremes(instr))
        .or_else(|| signs(instr))
}

packed_ops! { bitwise(by_registers, Elements):
    Pand | Andps | Andpd | Vpand | Vandps | Vandpd = |a, b| a & b;
    Pandn | Andnps | Andnpd | Vpandn | Vandnps | Vandnpd = |a, b| !a & b;
    Por | Orps | Orpd | Vpor | Vorps | Vorpd = |a, b| a | b;
    Pxor | Xorps | Xorpd | Vpxor | Vxorps | Vxorpd = |a, b| a ^ b;
}

packed_ops! {
    /// The averages round up: what the operands share, and half of where they differ.
    sums(by_registers, Elements):
    Paddb | Vpaddb = |a, b| u8::zip(a, b, u8::wrapping_add);
    Paddw | Vpaddw = |a, b| u16::zip(a, b, u16::wrapping_add);
    Paddd | Vpaddd = |a, b| u32::zip(a, b, u32::wrapping_add);
    Paddq | Vpaddq = |a, b| u64::zip(a, b, u64::wrapping_add);
    Psubb | Vpsubb = |a, b| u8::zip(a, b, u8::wrapping_sub);
    Psubw | Vpsubw = |a, b| u16::zip(a, b, u16::wrapping_sub);
    Psubd | Vpsubd = |a, b| u32::zip(a, b, u32::wrapping_sub);
    Psubq | Vpsubq = |a, b| u64::zip(a, b, u64::wrapping_sub);
    Paddsb | Vpaddsb = |a, b| i8::zip(a, b, i8::saturating_add);
    Paddsw | Vpaddsw = |a, b| i16::zip(a, b, i16::saturating_add);
    Paddusb | Vpaddusb = |a, b| u8::zip(a, b, u8::saturating_add);
    Paddusw | Vpaddusw = |a, b| u16::zip(a, b, u16::saturating_add);
    Psubsb | Vpsubsb = |a, b| i8::zip(a, b, i8::saturating_sub);
    Psubsw | Vpsubsw = |a, b| i16::zip(a, b, i16::saturating_sub);
    Psubusb | Vpsubusb = |a, b| u8::zip(a, b, u8::saturating_sub);
    Psubusw | Vpsubusw = |a, b| u16::zip(a, b, u16::saturating_sub);
    Psadbw | Vpsadbw = |a, b| sum_of_differences(a, b);
    Pavgb | Vpavgb = |a, b| u8::zip(a, b, |x, y| (x | y) - ((x ^ y) >> 1));
    Pavgw | Vpavgw = |a, b| u16::zip(a, b, |x, y| (x | y) - ((x ^ y) >> 1));
}

/// PSADBW: one sum per quadword.
fn sum_of_differences(a: u128, b: u128) -> u128 {
    let (a, b) = (u8::split(a), u8::split(b));
    let sum = |from: usize| {
        (from..from + 8)
            .map(|i| u64::from(a[i].abs_diff(b[i])))
            .sum()
    };
    u64::join([sum(0), sum(8)])
}

packed_ops! { comparisons(by_registers, Elements):
    Pcmpeqb | Vpcmpeqb = |a, b| u8::test(a, b, |x, y| x == y);
    Pcmpeqw | Vpcmpeqw = |a, b| u16::test(a, b, |x, y| x == y);
    Pcmpeqd | Vpcmpeqd = |a, b| u32::test(a, b, |x, y| x == y);
    Pcmpeqq | Vpcmpeqq = |a, b| u64::test(a, b, |x, y| x == y);
    Pcmpgtb | Vpcmpgtb = |a, b| i8::test(a, b, |x, y| x > y);
    Pcmpgtw | Vpcmpgtw = |a, b| i16::test(a, b, |x, y| x > y);
    Pcmpgtd | Vpcmpgtd = |a, b| i32::test(a, b, |x, y| x > y);
    Pcmpgtq | Vpcmpgtq = |a, b| i64::test(a, b, |x, y| x > y);
}

packed_ops! { extremes(by_registers, Elements):
    Pminub | Vpminub = |a, b| u8::zip(a, b, u8::min);
    Pminuw | Vpminuw = |a, b| u16::zip(a, b, u16::min);
    Pminud | Vpminud = |a, b| u32::zip(a, b, u32::min);
    Pminsb | Vpminsb = |a, b| i8::zip(a, b, i8::min);
    Pminsw | Vpminsw = |a, b| i16::zip(a, b, i16::min);
    Pminsd | Vpminsd = |a, b| i32::zip(a, b, i32::min);
    Pmaxub | Vpmaxub = |a, b| u8::zip(a, b, u8::max);
    Pmaxuw | Vpmaxuw = |a, b| u16::zip(a, b, u16::max);
    Pmaxud | Vpmaxud = |a, b| u32::zip(a, b, u32::max);
    Pmaxsb | Vpmaxsb = |a, b| i8::zip(a, b, i8::max);
    Pmaxsw | Vpmaxsw = |a, b| i16::zip(a, b, i16::max);
    Pmaxsd | Vpmaxsd = |a, b| i32::zip(a, b, i32::max);
    Phminposuw | Vphminposuw = |_a, b| least_word(b);
}

/// PHMINPOSUW: the least word, and the position of the first that is it.
fn least_word(b: u128) -> u128 {
    (0..)
        .zip(u16::split(b))
        .map(|(i, word): (u128, u16)| (word, i))
        .min()
        .map_or(0, |(word, i)| i << 16 | u128::from(word))
}

packed_ops! {
    /// The most negative number has no absolute value; it stays.
    signs(by_registers, Elements):
    Pabsb | Vpabsb = |_a, b| i8::each(b, i8::wrapping_abs);
    Pabsw | Vpabsw = |_a, b| i16::each(b, i16::wrapping_abs);
    Pabsd | Vpabsd = |_a, b| i32::each(b, i32::wrapping_abs);
    Psignb | Vpsignb = |a, b| i8::zip(a, b, |x, y| x.wrapping_mul(y.signum()));
    Psignw | Vpsignw = |a, b| i16::zip(a, b, |x, y| x.wrapping_mul(y.signum()));
    Psignd | Vpsignd = |a, b| i32::zip(a, b, |x, y| x.wrapping_mul(y.signum()));
}
