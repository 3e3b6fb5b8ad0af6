//! The two formats of SSE arithmetic, and what a bit pattern is in them.
//!
//! Bit patterns of both travel as `u64`.
//!
//! **Spec:** SDM 1 "Floating-Point Format", "NaNs".

use crate::word::Word;
use std::ops::{Add, Div, Mul, Sub};

/// A binary interchange format.
pub(super) trait Format {
    /// Integer of the same width.
    type Word: Word;
    /// The host's type of this format.
    type Host: Copy
        + Add<Output = Self::Host>
        + Sub<Output = Self::Host>
        + Mul<Output = Self::Host>
        + Div<Output = Self::Host>;

    /// Bits of the fraction, without the hidden one.
    const FRACTION_BITS: i32;
    const EXPONENT_BITS: i32;

    /// Exponent of the largest numbers; also the bias.
    const EMAX: i32 = (1 << (Self::EXPONENT_BITS - 1)) - 1;
    /// Exponent of the smallest normal numbers.
    const EMIN: i32 = 1 - Self::EMAX;
    const SIGN: u64 = 1 << (Self::FRACTION_BITS + Self::EXPONENT_BITS);
    const INFINITY: u64 = ((1 << Self::EXPONENT_BITS) - 1) << Self::FRACTION_BITS;
    /// The hidden bit of normal numbers.
    const HIDDEN: u64 = 1 << Self::FRACTION_BITS;
    const FRACTION: u64 = Self::HIDDEN - 1;
    /// Set in quiet NaNs.
    const QUIET: u64 = Self::HIDDEN >> 1;
    /// The NaN invalid operations give: "real indefinite".
    const INDEFINITE: u64 = Self::SIGN | Self::INFINITY | Self::QUIET;

    fn to_host(bits: u64) -> Self::Host;
    fn from_host(value: Self::Host) -> u64;
    fn host_sqrt(value: Self::Host) -> Self::Host;
    /// The value in double precision, which holds both formats exactly.
    fn to_f64(bits: u64) -> f64;
}

/// binary32.
pub(super) struct Single;
/// binary64.
pub(super) struct Double;

impl Format for Single {
    type Word = u32;
    type Host = f32;
    const FRACTION_BITS: i32 = 23;
    const EXPONENT_BITS: i32 = 8;

    fn to_host(bits: u64) -> f32 {
        f32::from_bits(u32::low(bits))
    }
    fn from_host(value: f32) -> u64 {
        u64::from(value.to_bits())
    }
    fn host_sqrt(value: f32) -> f32 {
        value.sqrt()
    }
    fn to_f64(bits: u64) -> f64 {
        f64::from(Self::to_host(bits))
    }
}

impl Format for Double {
    type Word = u64;
    type Host = f64;
    const FRACTION_BITS: i32 = 52;
    const EXPONENT_BITS: i32 = 11;

    fn to_host(bits: u64) -> f64 {
        f64::from_bits(bits)
    }
    fn from_host(value: f64) -> u64 {
        value.to_bits()
    }
    fn host_sqrt(value: f64) -> f64 {
        value.sqrt()
    }
    fn to_f64(bits: u64) -> f64 {
        Self::to_host(bits)
    }
}

pub(super) fn is_nan<F: Format>(bits: u64) -> bool {
    bits & !F::SIGN > F::INFINITY
}

pub(super) fn is_signaling<F: Format>(bits: u64) -> bool {
    is_nan::<F>(bits) && bits & F::QUIET == 0
}

pub(super) fn is_denormal<F: Format>(bits: u64) -> bool {
    bits & F::INFINITY == 0 && bits & F::FRACTION != 0
}

/// Neither zero, denormal, infinite nor NaN, nor at the edge of being denormal.
pub(super) fn is_ordinary<F: Format>(bits: u64) -> bool {
    (2 * F::HIDDEN..F::INFINITY).contains(&(bits & !F::SIGN))
}
