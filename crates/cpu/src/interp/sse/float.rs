//! Floating-point arithmetic, scalar and packed.
//!
//! The host computes where it cannot be told from the definition in `soft`: normal
//! operands and results under the default modes, once PE is set.
//!
//! RCPPS, RCPSS, RSQRTPS and RSQRTSS are approximations whose relative error may
//! be up to 1.5 × 2^−12; this machine gives the exact value rounded to single precision.
//! Denormal operands count as zeros, tiny results become zeros, nothing is raised.
//!
//! **Spec:** SDM 1 "Intel SSE Arithmetic Instructions", "Intel SSE2 Packed and Scalar
//! Double Precision Floating-Point Instructions"; SDM 2 "MINPS", "RCPPS",
//! "ROUNDPS".

use super::Done;
use super::compare::select as comparison;
use super::format::{Double, Format, Single, is_nan, is_ordinary};
use super::mxcsr::{Env, Mxcsr, Rounding};
use super::operand::{ByForm, Form, by_form, lanes, low_quad, with_low};
use super::soft;
use crate::core::Core;
use crate::op::{Exec, Op};
use crate::word::Word;
use iced_x86::{Instruction, Mnemonic};
use std::cmp::Ordering;
use std::marker::PhantomData;

/// An operation on one element of the first and second source, and the immediate.
pub(super) trait Arithmetic {
    fn apply<F: Format>(a: u64, b: u64, imm: u8, env: &mut Env) -> u64;
}

/// The four shapes of an operation, by mnemonic: packed and scalar, single and double; then
/// the same with VEX.
macro_rules! shapes {
    ($instr:ident: $($op:ty = $ps:ident $pd:ident $ss:ident $sd:ident, $vps:ident $vpd:ident $vss:ident $vsd:ident;)*) => {
        match $instr.mnemonic() {
            $(
                Mnemonic::$ps | Mnemonic::$vps => by_form::<Packed<$op, Single>>($instr),
                Mnemonic::$pd | Mnemonic::$vpd => by_form::<Packed<$op, Double>>($instr),
                Mnemonic::$ss | Mnemonic::$vss => by_form::<Scalar<$op, Single>>($instr),
                Mnemonic::$sd | Mnemonic::$vsd => by_form::<Scalar<$op, Double>>($instr),
            )*
            _ => None,
        }
    };
}

pub(super) fn select(instr: &Instruction) -> Option<Exec> {
    comparison(instr)
        .or_else(|| approximation(instr))
        .or_else(|| {
            shapes!(instr:
                Sum = Addps Addpd Addss Addsd, Vaddps Vaddpd Vaddss Vaddsd;
                Difference = Subps Subpd Subss Subsd, Vsubps Vsubpd Vsubss Vsubsd;
                Product = Mulps Mulpd Mulss Mulsd, Vmulps Vmulpd Vmulss Vmulsd;
                Quotient = Divps Divpd Divss Divsd, Vdivps Vdivpd Vdivss Vdivsd;
                Root = Sqrtps Sqrtpd Sqrtss Sqrtsd, Vsqrtps Vsqrtpd Vsqrtss Vsqrtsd;
                Min = Minps Minpd Minss Minsd, Vminps Vminpd Vminss Vminsd;
                Max = Maxps Maxpd Maxss Maxsd, Vmaxps Vmaxpd Vmaxss Vmaxsd;
                Round = Roundps Roundpd Roundss Roundsd, Vroundps Vroundpd Vroundss Vroundsd;
            )
        })
}

fn approximation(instr: &Instruction) -> Option<Exec> {
    use Mnemonic as M;
    match instr.mnemonic() {
        M::Rcpps | M::Vrcpps => by_form::<Packed<Reciprocal, Single>>(instr),
        M::Rcpss | M::Vrcpss => by_form::<Scalar<Reciprocal, Single>>(instr),
        M::Rsqrtps | M::Vrsqrtps => by_form::<Packed<ReciprocalRoot, Single>>(instr),
        M::Rsqrtss | M::Vrsqrtss => by_form::<Scalar<ReciprocalRoot, Single>>(instr),
        _ => None,
    }
}

/// All elements.
pub(super) struct Packed<A, F>(PhantomData<(A, F)>);

impl<A: Arithmetic, F: Format> ByForm for Packed<A, F> {
    fn exec<S: Form>(c: &mut Core<'_>, op: &Op) -> Done {
        S::require(c)?;
        let (a, b) = (S::first(c, op), S::wide(c, op)?);
        let mut env = c.env();
        let imm = u8::low(op.imm);
        let result =
            lanes::<S>(|i| zip::<F>(a[i], b[i], |_, x, y| A::apply::<F>(x, y, imm, &mut env)));
        c.commit(&env)?;
        S::put(c, op, result);
        Ok(())
    }
}

/// Applies `f` to each position and the elements there.
#[inline]
pub(super) fn zip<F: Format>(a: u128, b: u128, mut f: impl FnMut(usize, u64, u64) -> u64) -> u128 {
    let lane = |value: u128, at: u32| F::Word::low(low_quad(value >> at)).zx();
    (0..128 / F::Word::BITS).fold(0, |out, i| {
        let at = i * F::Word::BITS;
        out | u128::from(f(i as usize, lane(a, at), lane(b, at))) << at
    })
}

/// The lowest element; the others are those of the first source.
pub(super) struct Scalar<A, F>(PhantomData<(A, F)>);

impl<A: Arithmetic, F: Format> ByForm for Scalar<A, F> {
    fn exec<S: Form>(c: &mut Core<'_>, op: &Op) -> Done {
        S::require(c)?;
        let a = S::first(c, op)[0];
        let b = S::low::<F::Word>(c, op)?;
        let mut env = c.env();
        let low = F::Word::low(low_quad(a)).zx();
        let result = A::apply::<F>(low, b.zx(), u8::low(op.imm), &mut env);
        c.commit(&env)?;
        S::put_128(c, op, with_low(a, F::Word::low(result)));
        Ok(())
    }
}

/// Operations the host has too.
macro_rules! host_ops {
    ($($name:ident = $soft:path, |$a:ident, $b:ident| $host:expr;)*) => { $(
        struct $name;
        impl Arithmetic for $name {
            fn apply<F: Format>(a: u64, b: u64, _: u8, env: &mut Env) -> u64 {
                if env.is_like_host() && is_ordinary::<F>(a) && is_ordinary::<F>(b) {
                    let ($a, $b) = (F::to_host(a), F::to_host(b));
                    let result = F::from_host($host);
                    if is_ordinary::<F>(result) {
                        return result;
                    }
                }
                $soft(a, b, env)
            }
        }
    )* };
}

host_ops! {
    Sum = soft::add::<F>, |a, b| a + b;
    Difference = soft::sub::<F>, |a, b| a - b;
    Product = soft::mul::<F>, |a, b| a * b;
    Quotient = soft::div::<F>, |a, b| a / b;
}

struct Root;
impl Arithmetic for Root {
    fn apply<F: Format>(_: u64, b: u64, _: u8, env: &mut Env) -> u64 {
        if env.is_like_host() && is_ordinary::<F>(b) && b & F::SIGN == 0 {
            return F::from_host(F::host_sqrt(F::to_host(b)));
        }
        soft::sqrt::<F>(b, env)
    }
}

/// ROUNDPS and its kin: bits 1:0 of the immediate say how, unless bit 2 leaves it to MXCSR;
/// bit 3 keeps quiet about what was lost.
struct Round;
impl Arithmetic for Round {
    fn apply<F: Format>(_: u64, b: u64, imm: u8, env: &mut Env) -> u64 {
        let rounding = if imm & 4 != 0 {
            env.rounding()
        } else {
            Rounding::from_bits(u32::from(imm & 3))
        };
        let mut own = env.without_flags();
        let result = soft::to_integral::<F>(b, rounding, &mut own);
        env.raise(if imm & 8 != 0 {
            own.raised() - Mxcsr::PE
        } else {
            own.raised()
        });
        result
    }
}

struct Reciprocal;
impl Arithmetic for Reciprocal {
    fn apply<F: Format>(_: u64, b: u64, _: u8, _: &mut Env) -> u64 {
        approximate::<F>(b, |x| 1.0 / x)
    }
}

struct ReciprocalRoot;
impl Arithmetic for ReciprocalRoot {
    fn apply<F: Format>(_: u64, b: u64, _: u8, _: &mut Env) -> u64 {
        // Negative zero gives −∞, other negative numbers the indefinite.
        approximate::<F>(b, |x| {
            if x < 0.0 {
                f64::from_bits(Double::INDEFINITE)
            } else {
                1.0 / x.sqrt()
            }
        })
    }
}

/// `f` without exceptions and without denormals on either side.
fn approximate<F: Format>(b: u64, f: impl Fn(f64) -> f64) -> u64 {
    let mut env = Env::quiet();
    if is_nan::<F>(b) {
        return b | F::QUIET;
    }
    let result = f(F::to_f64(soft::admit::<F>(b, &mut env))).to_bits();
    soft::convert::<Double, F>(result, &mut env)
}

struct Min;
impl Arithmetic for Min {
    fn apply<F: Format>(a: u64, b: u64, _: u8, env: &mut Env) -> u64 {
        select_by::<F>(a, b, Ordering::Less, env)
    }
}

struct Max;
impl Arithmetic for Max {
    fn apply<F: Format>(a: u64, b: u64, _: u8, env: &mut Env) -> u64 {
        select_by::<F>(a, b, Ordering::Greater, env)
    }
}

/// The first operand if it compares as wanted; the second also if they are equal or one is a NaN.
fn select_by<F: Format>(a: u64, b: u64, wanted: Ordering, env: &mut Env) -> u64 {
    match soft::compare::<F>(a, b, env) {
        None => {
            env.raise(Mxcsr::IE);
            soft::flushed::<F>(b, env)
        }
        Some(order) => soft::flushed::<F>(if order == wanted { a } else { b }, env),
    }
}
