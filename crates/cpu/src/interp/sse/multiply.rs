//! Packed multiplication, and sums of neighbours.
//!
//! **Spec:** SDM 2 "PMADDWD", "PMADDUBSW", "PMULHRSW", "PMULDQ", "PHADDW/PHADDD", "PHADDSW",
//! "PHSUBW/PHSUBD", "PHSUBSW".

use super::lanes::Lane;
use super::packed::{by_registers, packed_ops};
use crate::op::Exec;
use iced_x86::Instruction;

pub(super) fn select(instr: &Instruction) -> Option<Exec> {
    products(instr).or_else(|| horizontal(instr))
}

packed_ops! { products(by_registers, Elements):
    Pmullw | Vpmullw = |a, b| i16::zip(a, b, i16::wrapping_mul);
    Pmulld | Vpmulld = |a, b| i32::zip(a, b, i32::wrapping_mul);
    Pmulhw | Vpmulhw = |a, b| i16::zip(a, b, |x, y| ((i32::from(x) * i32::from(y)) >> 16) as i16);
    Pmulhuw | Vpmulhuw = |a, b| u16::zip(a, b, |x, y| ((u32::from(x) * u32::from(y)) >> 16) as u16);
    Pmulhrsw | Vpmulhrsw = |a, b| i16::zip(a, b, rounded_product);
    Pmuludq | Vpmuludq = |a, b| u64::zip(a, b, |x, y| (x & 0xffff_ffff) * (y & 0xffff_ffff));
    Pmuldq | Vpmuldq = |a, b| i64::zip(a, b, |x, y| i64::from(x as i32) * i64::from(y as i32));
    Pmaddwd | Vpmaddwd = |a, b| multiply_and_add(a, b);
    Pmaddubsw | Vpmaddubsw = |a, b| multiply_bytes_and_add(a, b);
}

/// PMULHRSW: bits 30:15 of the product, rounded to nearest, halves up.
const fn rounded_product(x: i16, y: i16) -> i16 {
    ((((x as i32 * y as i32) >> 14) + 1) >> 1) as i16
}

/// PMADDWD. Only −32768² twice overflows; the sum then wraps.
fn multiply_and_add(a: u128, b: u128) -> u128 {
    let (a, b) = (i16::split(a), i16::split(b));
    let product = |i: usize| i32::from(a[i]) * i32::from(b[i]);
    i32::join(std::array::from_fn(|i| {
        product(2 * i).wrapping_add(product(2 * i + 1))
    }))
}

/// PMADDUBSW: unsigned bytes of the first source times signed ones of the second; sums saturate.
fn multiply_bytes_and_add(a: u128, b: u128) -> u128 {
    let (a, b) = (u8::split(a), i8::split(b));
    let product = |i: usize| i16::from(a[i]) * i16::from(b[i]);
    i16::join(std::array::from_fn(|i| {
        product(2 * i).saturating_add(product(2 * i + 1))
    }))
}

packed_ops! { horizontal(by_registers, Joined):
    Phaddw | Vphaddw = |a, b| i16::pairs(a, b, i16::wrapping_add);
    Phaddd | Vphaddd = |a, b| i32::pairs(a, b, i32::wrapping_add);
    Phaddsw | Vphaddsw = |a, b| i16::pairs(a, b, i16::saturating_add);
    Phsubw | Vphsubw = |a, b| i16::pairs(a, b, i16::wrapping_sub);
    Phsubd | Vphsubd = |a, b| i32::pairs(a, b, i32::wrapping_sub);
    Phsubsw | Vphsubsw = |a, b| i16::pairs(a, b, i16::saturating_sub);
}
