//! IEEE 754 arithmetic in integers, with every rounding mode and exception of SSE.
//!
//! Operands become exact [`Number`]s, operations give exact results (with a sticky
//! lowest bit for what no integer holds), and [`round`] alone decides about
//! rounding, overflow and underflow. SSE detects tininess after rounding, as if the
//! exponent had no bound; NaNs follow x86's rule, not the host's.
//!
//! Bit patterns of both formats travel as `u64`.
//!
//! **Spec:** SDM 1 "Floating-Point Format", "Operating on SNaNs and QNaNs",
//! "SIMD Floating-Point Exception Conditions".

use super::format::{Format, is_denormal, is_nan, is_signaling};
use super::mxcsr::{Env, Mxcsr, Rounding};
use super::operand::low_quad;
use std::cmp::Ordering;

mod integers;
pub(super) use integers::{from_integer, to_integer, to_integral};

/// `significand × 2^exponent`; the lowest bit also stands for "and a little more".
#[derive(Clone, Copy, Debug)]
pub(super) struct Exact {
    pub(super) negative: bool,
    pub(super) significand: u128,
    pub(super) exponent: i32,
}

/// An operand that is no NaN.
#[derive(Clone, Copy, Debug)]
enum Number {
    Finite(Exact),
    Infinite { negative: bool },
}
use Number::{Finite, Infinite};

impl Number {
    const fn negative(self) -> bool {
        match self {
            Finite(Exact { negative, .. }) | Infinite { negative } => negative,
        }
    }

    const fn is_zero(self) -> bool {
        matches!(self, Finite(Exact { significand: 0, .. }))
    }
}

fn number<F: Format>(bits: u64) -> Number {
    let negative = bits & F::SIGN != 0;
    let field = (((bits & F::INFINITY) >> F::FRACTION_BITS) & 0x7ff) as i32;
    if bits & F::INFINITY == F::INFINITY {
        return Infinite { negative };
    }
    let hidden = if field == 0 { 0 } else { F::HIDDEN };
    Finite(Exact {
        negative,
        significand: u128::from(bits & F::FRACTION | hidden),
        exponent: field.max(1) - F::EMAX - F::FRACTION_BITS,
    })
}

fn signed<F: Format>(negative: bool, magnitude: u64) -> u64 {
    if negative {
        F::SIGN | magnitude
    } else {
        magnitude
    }
}

/// The result of an invalid operation.
fn invalid<F: Format>(env: &mut Env) -> u64 {
    env.raise(Mxcsr::IE);
    F::INDEFINITE
}

/// The NaN an operation on `a` and `b` gives if either is one: the first NaN, made quiet.
fn propagated<F: Format>(a: u64, b: u64, env: &mut Env) -> Option<u64> {
    if is_signaling::<F>(a) || is_signaling::<F>(b) {
        env.raise(Mxcsr::IE);
    }
    [a, b]
        .into_iter()
        .find(|x| is_nan::<F>(*x))
        .map(|nan| nan | F::QUIET)
}

/// The operand as it counts: zero for a denormal under DAZ.
pub(super) fn flushed<F: Format>(bits: u64, env: &Env) -> u64 {
    if is_denormal::<F>(bits) && env.denormals_are_zeros() {
        bits & F::SIGN
    } else {
        bits
    }
}

/// The same; a denormal that counts as one raises DE.
pub(super) fn admit<F: Format>(bits: u64, env: &mut Env) -> u64 {
    let bits = flushed::<F>(bits, env);
    if is_denormal::<F>(bits) {
        env.raise(Mxcsr::DE);
    }
    bits
}

/// Two operands as numbers, or the NaN that is the result.
fn operands<F: Format>(a: u64, b: u64, env: &mut Env) -> Result<(Number, Number), u64> {
    match propagated::<F>(a, b, env) {
        Some(nan) => Err(nan),
        None => Ok((
            number::<F>(admit::<F>(a, env)),
            number::<F>(admit::<F>(b, env)),
        )),
    }
}

pub(super) fn add<F: Format>(a: u64, b: u64, env: &mut Env) -> u64 {
    match operands::<F>(a, b, env) {
        Err(nan) => nan,
        Ok((Infinite { negative: x }, Infinite { negative: y })) if x != y => invalid::<F>(env),
        Ok((Infinite { negative }, _) | (_, Infinite { negative })) => {
            signed::<F>(negative, F::INFINITY)
        }
        Ok((Finite(a), Finite(b))) => round::<F>(sum(a, b, env.rounding()), env),
    }
}

/// Subtraction is addition of the negated operand, unless that is a NaN.
pub(super) fn sub<F: Format>(a: u64, b: u64, env: &mut Env) -> u64 {
    add::<F>(a, if is_nan::<F>(b) { b } else { b ^ F::SIGN }, env)
}

fn sum(a: Exact, b: Exact, rounding: Rounding) -> Exact {
    /// More than the bits of any result and its rounding: what lies below is only sticky.
    const ROOM: u32 = 64;
    let (high, low) = if a.exponent >= b.exponent {
        (a, b)
    } else {
        (b, a)
    };
    let distance = high.exponent.abs_diff(low.exponent);
    let up = distance.min(ROOM);
    let with_sign = |x: Exact, significand: u128| {
        if x.negative {
            -significand.cast_signed()
        } else {
            significand.cast_signed()
        }
    };
    let total = with_sign(high, high.significand << up)
        + with_sign(low, shift_right_sticky(low.significand, distance - up));
    let negative = match total.cmp(&0) {
        Ordering::Less => true,
        Ordering::Greater => false,
        Ordering::Equal if a.negative == b.negative => a.negative,
        Ordering::Equal => rounding == Rounding::Down,
    };
    Exact {
        negative,
        significand: total.unsigned_abs(),
        exponent: high.exponent - up.cast_signed(),
    }
}

/// Shifts right; bits that fall out are remembered in the lowest one.
fn shift_right_sticky(value: u128, by: u32) -> u128 {
    let kept = value.checked_shr(by).unwrap_or(0);
    let lost = kept.checked_shl(by).unwrap_or(0) != value;
    kept | u128::from(lost)
}

pub(super) fn mul<F: Format>(a: u64, b: u64, env: &mut Env) -> u64 {
    let (a, b) = match operands::<F>(a, b, env) {
        Ok(pair) => pair,
        Err(nan) => return nan,
    };
    let negative = a.negative() != b.negative();
    match (a, b) {
        (Finite(a), Finite(b)) => {
            let (significand, exponent) = (a.significand * b.significand, a.exponent + b.exponent);
            round::<F>(
                Exact {
                    negative,
                    significand,
                    exponent,
                },
                env,
            )
        }
        _ if a.is_zero() || b.is_zero() => invalid::<F>(env),
        _ => signed::<F>(negative, F::INFINITY),
    }
}

pub(super) fn div<F: Format>(a: u64, b: u64, env: &mut Env) -> u64 {
    // Of higher priority than a denormal dividend, which is not reported then.
    if divides_by_zero::<F>(a, b, env) {
        env.raise(Mxcsr::ZE);
        return signed::<F>((a ^ b) & F::SIGN != 0, F::INFINITY);
    }
    let (a, b) = match operands::<F>(a, b, env) {
        Ok(pair) => pair,
        Err(nan) => return nan,
    };
    let negative = a.negative() != b.negative();
    match (a, b) {
        (Infinite { .. }, Infinite { .. }) => invalid::<F>(env),
        (Infinite { .. }, _) => signed::<F>(negative, F::INFINITY),
        (_, Infinite { .. }) => signed::<F>(negative, 0),
        _ if a.is_zero() && b.is_zero() => invalid::<F>(env),
        (Finite(a), Finite(b)) => round::<F>(
            Exact {
                negative,
                ..quotient(a, b)
            },
            env,
        ),
    }
}

/// A finite number other than zero, by zero.
fn divides_by_zero<F: Format>(a: u64, b: u64, env: &Env) -> bool {
    let magnitude = |x| flushed::<F>(x, env) & !F::SIGN;
    magnitude(b) == 0 && (1..F::INFINITY).contains(&magnitude(a))
}

/// At least 74 bits of the quotient; the remainder makes it sticky.
fn quotient(a: Exact, b: Exact) -> Exact {
    let up = a.significand.leading_zeros().saturating_sub(1).min(126);
    let dividend = a.significand << up;
    let sticky = u128::from(!dividend.is_multiple_of(b.significand));
    Exact {
        negative: false,
        significand: (dividend / b.significand) | sticky,
        exponent: a.exponent - up.cast_signed() - b.exponent,
    }
}

pub(super) fn sqrt<F: Format>(a: u64, env: &mut Env) -> u64 {
    if let Some(nan) = propagated::<F>(a, a, env) {
        return nan;
    }
    if flushed::<F>(a, env) > F::SIGN {
        return invalid::<F>(env);
    }
    match number::<F>(admit::<F>(a, env)) {
        Finite(x) if x.significand != 0 => round::<F>(root(x), env),
        zero_or_infinity => signed::<F>(zero_or_infinity.negative(), a & F::INFINITY),
    }
}

/// 63 bits of the root; the rest makes it sticky.
fn root(x: Exact) -> Exact {
    let up = x.significand.leading_zeros() - 1;
    // The exponent must be even.
    let up = if (x.exponent - up.cast_signed()) % 2 == 0 {
        up
    } else {
        up - 1
    };
    let square = x.significand << up;
    let root = square.isqrt();
    let sticky = u128::from(root * root != square);
    Exact {
        negative: false,
        significand: root | sticky,
        exponent: (x.exponent - up.cast_signed()) / 2,
    }
}

/// Compares; `None` if either is a NaN. Raises DE, but IE is up to the instruction.
pub(super) fn compare<F: Format>(a: u64, b: u64, env: &mut Env) -> Option<Ordering> {
    if is_nan::<F>(a) || is_nan::<F>(b) {
        return None;
    }
    let (a, b) = (admit::<F>(a, env), admit::<F>(b, env));
    F::to_f64(a).partial_cmp(&F::to_f64(b))
}

/// A number from one format to another.
pub(super) fn convert<From: Format, To: Format>(bits: u64, env: &mut Env) -> u64 {
    if let Some(nan) = propagated::<From>(bits, bits, env) {
        let payload = rescale(
            nan & From::FRACTION,
            To::FRACTION_BITS - From::FRACTION_BITS,
        );
        return signed::<To>(nan & From::SIGN != 0, To::INFINITY | payload);
    }
    match number::<From>(admit::<From>(bits, env)) {
        Finite(x) => round::<To>(x, env),
        Infinite { negative } => signed::<To>(negative, To::INFINITY),
    }
}

/// A NaN's payload keeps its upper bits.
const fn rescale(fraction: u64, by: i32) -> u64 {
    if by < 0 {
        fraction >> -by
    } else {
        fraction << by
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exactness {
    Exact,
    Inexact,
}

/// How many times `2^unit` an exact value is, rounded.
fn multiple_of(x: Exact, unit: i32, rounding: Rounding) -> (u128, Exactness) {
    let down = unit - x.exponent;
    if down <= 0 {
        return (x.significand << -down, Exactness::Exact);
    }
    // Significands have at most 127 bits: shifted further, all that is left is "a little more".
    let (significand, down) = match down.cast_unsigned() {
        near @ ..128 => (x.significand, near),
        _ => (u128::from(x.significand != 0), 127),
    };
    let whole = significand >> down;
    let rest = significand & ((1 << down) - 1);
    if rest == 0 {
        return (whole, Exactness::Exact);
    }
    let away = match rounding {
        Rounding::Nearest => match rest.cmp(&(1 << (down - 1))) {
            Ordering::Less => false,
            Ordering::Equal => whole & 1 != 0,
            Ordering::Greater => true,
        },
        Rounding::Down => x.negative,
        Rounding::Up => !x.negative,
        Rounding::Zero => false,
    };
    (whole + u128::from(away), Exactness::Inexact)
}

/// Gives an exact value the form of a format: the one place of rounding, overflow and underflow.
pub(super) fn round<F: Format>(x: Exact, env: &mut Env) -> u64 {
    if x.significand == 0 {
        return signed::<F>(x.negative, 0);
    }
    let floor_log2 = x.exponent + 127 - x.significand.leading_zeros().cast_signed();
    // As if exponents had no bound: that decides about overflow and tininess.
    let (whole, exactness) = multiple_of(x, floor_log2 - F::FRACTION_BITS, env.rounding());
    let carried = i32::from(whole > u128::from(2 * F::HIDDEN - 1));
    let exponent = floor_log2 + carried;
    if exponent > F::EMAX {
        return overflow::<F>(x.negative, exactness, env);
    }
    if exponent < F::EMIN {
        return tiny::<F>(x, exactness, env);
    }
    if exactness == Exactness::Inexact {
        env.raise(Mxcsr::PE);
    }
    let fraction = low_quad(whole >> carried) & F::FRACTION;
    let field = u64::from((exponent + F::EMAX).cast_unsigned());
    signed::<F>(x.negative, field << F::FRACTION_BITS | fraction)
}

fn overflow<F: Format>(negative: bool, exactness: Exactness, env: &mut Env) -> u64 {
    env.raise(Mxcsr::OE);
    if exactness == Exactness::Inexact || env.is_masked(Mxcsr::OE) {
        env.raise(Mxcsr::PE);
    }
    let to_infinity = match env.rounding() {
        Rounding::Nearest => true,
        Rounding::Down => negative,
        Rounding::Up => !negative,
        Rounding::Zero => false,
    };
    signed::<F>(
        negative,
        if to_infinity {
            F::INFINITY
        } else {
            F::INFINITY - 1
        },
    )
}

/// A result below the normal numbers: denormal, or zero if flushed.
///
/// Masked underflow is reported only if the denormal result is inexact. Unmasked it
/// is reported always, and PE then tells whether the significand would have been
/// rounded if the exponent had no bound.
fn tiny<F: Format>(x: Exact, unbounded: Exactness, env: &mut Env) -> u64 {
    if env.flushes_to_zero() {
        env.raise(Mxcsr::UE | Mxcsr::PE);
        return signed::<F>(x.negative, 0);
    }
    let (whole, exactness) = multiple_of(x, F::EMIN - F::FRACTION_BITS, env.rounding());
    match (env.is_masked(Mxcsr::UE), exactness, unbounded) {
        (true, Exactness::Exact, _) => {}
        (true, Exactness::Inexact, _) | (false, _, Exactness::Inexact) => {
            env.raise(Mxcsr::UE | Mxcsr::PE)
        }
        (false, _, Exactness::Exact) => env.raise(Mxcsr::UE),
    }
    // Rounding up to the smallest normal number carries into the exponent by itself.
    signed::<F>(x.negative, low_quad(whole))
}
