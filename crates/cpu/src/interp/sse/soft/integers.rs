//! Between floating point and integers.
//!
//! **Spec:** SDM 2 "CVTSI2SD", "CVTSD2SI", "ROUNDPD".

use super::{Exact, Exactness, Finite, flushed, multiple_of, number, propagated, round};
use crate::interp::sse::format::Format;
use crate::interp::sse::mxcsr::{Env, Mxcsr, Rounding};

/// A signed integer to a format.
pub(in crate::interp::sse) fn from_integer<F: Format>(value: i64, env: &mut Env) -> u64 {
    let exact = Exact {
        negative: value < 0,
        significand: u128::from(value.unsigned_abs()),
        exponent: 0,
    };
    round::<F>(exact, env)
}

/// To a signed integer of `bits` bits; what does not fit is invalid and gives the
/// "integer indefinite", the most negative number.
pub(in crate::interp::sse) fn to_integer<F: Format>(
    raw: u64,
    bits: u32,
    rounding: Rounding,
    env: &mut Env,
) -> i64 {
    let indefinite = i64::MIN >> (64 - bits);
    let rounded = match number::<F>(flushed::<F>(raw, env)) {
        // 2^64 and above; smaller numbers cannot overflow what follows.
        Finite(x) if x.exponent <= 64 - F::FRACTION_BITS => {
            Some((x.negative, multiple_of(x, 0, rounding)))
        }
        _ => None,
    };
    let fitting = rounded.and_then(|(negative, (magnitude, exactness))| {
        let magnitude = i128::try_from(magnitude).ok()?;
        let value = i64::try_from(if negative { -magnitude } else { magnitude }).ok()?;
        (value >> (bits - 1) == value >> 63).then_some((value, exactness))
    });
    match fitting {
        Some((value, Exactness::Exact)) => value,
        Some((value, Exactness::Inexact)) => {
            env.raise(Mxcsr::PE);
            value
        }
        None => {
            env.raise(Mxcsr::IE);
            indefinite
        }
    }
}

/// The nearest integer in the given direction, in the same format. Knows no denormal exception.
pub(in crate::interp::sse) fn to_integral<F: Format>(
    raw: u64,
    rounding: Rounding,
    env: &mut Env,
) -> u64 {
    if let Some(nan) = propagated::<F>(raw, raw, env) {
        return nan;
    }
    let bits = flushed::<F>(raw, env);
    match number::<F>(bits) {
        Finite(x) if x.exponent < 0 => {
            let (significand, exactness) = multiple_of(x, 0, rounding);
            if exactness == Exactness::Inexact {
                env.raise(Mxcsr::PE);
            }
            let integer = Exact {
                significand,
                exponent: 0,
                ..x
            };
            // An integer of no more bits than the significand had: exact.
            round::<F>(integer, env)
        }
        _ => bits,
    }
}
