//! Floating-point arithmetic and comparison, scalar and packed.
//!
//! The host computes where it cannot be told from the definition in `soft`: normal
//! operands and results under the default modes, once PE is set.
//!
//! RCPPS, RCPSS, RSQRTPS and RSQRTSS are approximations whose relative error may
//! be up to 1.5 × 2^−12; this machine gives the exact value rounded to single precision.
//! Denormal operands count as zeros, tiny results become zeros, nothing is raised.
//!
//! **Spec:** SDM 1 "Intel SSE Arithmetic Instructions", "Intel SSE2 Packed and Scalar
//! Double Precision Floating-Point Instructions"; SDM 2 "CMPPS", "COMISS", "MINPS", "RCPPS".

use super::Done;
use super::format::{Double, Format, Single, is_nan, is_ordinary, is_signaling};
use super::mxcsr::{Env, Mxcsr};
use super::operand::{FromSource, Source, by_source, low_quad, with_low};
use super::soft;
use crate::core::Core;
use crate::flags::{CF, PF, ZF, set_status};
use crate::op::{Exec, Op};
use crate::word::Word;
use iced_x86::{Instruction, Mnemonic};
use std::cmp::Ordering;
use std::marker::PhantomData;

/// An operation on one element of destination and source.
trait Arithmetic {
    fn apply<F: Format>(a: u64, b: u64, env: &mut Env) -> u64;
}

/// The four shapes of an operation, by mnemonic: packed and scalar, single and double.
macro_rules! shapes {
    ($instr:ident: $($op:ty = $ps:ident $pd:ident $ss:ident $sd:ident;)*) => {
        match $instr.mnemonic() {
            $(
                Mnemonic::$ps => by_source::<Packed<$op, Single>>($instr),
                Mnemonic::$pd => by_source::<Packed<$op, Double>>($instr),
                Mnemonic::$ss => by_source::<Scalar<$op, Single>>($instr),
                Mnemonic::$sd => by_source::<Scalar<$op, Double>>($instr),
            )*
            _ => None,
        }
    };
}

pub(super) fn select(instr: &Instruction) -> Option<Exec> {
    match instr.mnemonic() {
        Mnemonic::Cmpps | Mnemonic::Cmppd | Mnemonic::Cmpss | Mnemonic::Cmpsd => compare(instr),
        Mnemonic::Ucomiss => by_source::<Comi<Single, Signaling>>(instr),
        Mnemonic::Ucomisd => by_source::<Comi<Double, Signaling>>(instr),
        Mnemonic::Comiss => by_source::<Comi<Single, AnyNan>>(instr),
        Mnemonic::Comisd => by_source::<Comi<Double, AnyNan>>(instr),
        Mnemonic::Rcpps => by_source::<Packed<Reciprocal, Single>>(instr),
        Mnemonic::Rcpss => by_source::<Scalar<Reciprocal, Single>>(instr),
        Mnemonic::Rsqrtps => by_source::<Packed<ReciprocalRoot, Single>>(instr),
        Mnemonic::Rsqrtss => by_source::<Scalar<ReciprocalRoot, Single>>(instr),
        _ => shapes!(instr:
            Sum = Addps Addpd Addss Addsd;
            Difference = Subps Subpd Subss Subsd;
            Product = Mulps Mulpd Mulss Mulsd;
            Quotient = Divps Divpd Divss Divsd;
            Root = Sqrtps Sqrtpd Sqrtss Sqrtsd;
            Min = Minps Minpd Minss Minsd;
            Max = Maxps Maxpd Maxss Maxsd;
        ),
    }
}

/// All elements; memory must be aligned.
struct Packed<A, F>(PhantomData<(A, F)>);

impl<A: Arithmetic, F: Format> FromSource for Packed<A, F> {
    fn exec<S: Source>(c: &mut Core<'_>, op: &Op) -> Done {
        c.require_sse()?;
        let (a, b) = (c.xmm(op, 0), S::wide(c, op)?);
        let mut env = c.env();
        let lane = |value: u128, at: u32| F::Word::low(low_quad(value >> at)).zx();
        let result = (0..128).step_by(F::Word::BITS as usize).fold(0, |out, at| {
            out | u128::from(A::apply::<F>(lane(a, at), lane(b, at), &mut env)) << at
        });
        c.commit(&env)?;
        c.set_xmm(op, result);
        Ok(())
    }
}

/// The lowest element; the others stay.
struct Scalar<A, F>(PhantomData<(A, F)>);

impl<A: Arithmetic, F: Format> FromSource for Scalar<A, F> {
    fn exec<S: Source>(c: &mut Core<'_>, op: &Op) -> Done {
        c.require_sse()?;
        let a = c.xmm(op, 0);
        let b = S::low::<F::Word>(c, op)?;
        let mut env = c.env();
        let result = A::apply::<F>(F::Word::low(low_quad(a)).zx(), b.zx(), &mut env);
        c.commit(&env)?;
        c.set_xmm(op, with_low(a, F::Word::low(result)));
        Ok(())
    }
}

/// Operations the host has too.
macro_rules! host_ops {
    ($($name:ident = $soft:path, |$a:ident, $b:ident| $host:expr;)*) => { $(
        struct $name;
        impl Arithmetic for $name {
            #[inline]
            fn apply<F: Format>(a: u64, b: u64, env: &mut Env) -> u64 {
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
    fn apply<F: Format>(_: u64, b: u64, env: &mut Env) -> u64 {
        if env.is_like_host() && is_ordinary::<F>(b) && b & F::SIGN == 0 {
            return F::from_host(F::host_sqrt(F::to_host(b)));
        }
        soft::sqrt::<F>(b, env)
    }
}

struct Reciprocal;
impl Arithmetic for Reciprocal {
    fn apply<F: Format>(_: u64, b: u64, _: &mut Env) -> u64 {
        approximate::<F>(b, |x| 1.0 / x)
    }
}

struct ReciprocalRoot;
impl Arithmetic for ReciprocalRoot {
    fn apply<F: Format>(_: u64, b: u64, _: &mut Env) -> u64 {
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
    fn apply<F: Format>(a: u64, b: u64, env: &mut Env) -> u64 {
        select_by::<F>(a, b, Ordering::Less, env)
    }
}

struct Max;
impl Arithmetic for Max {
    fn apply<F: Format>(a: u64, b: u64, env: &mut Env) -> u64 {
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

/// CMPPS and its kin: the predicate is the low three bits of the immediate.
fn compare(instr: &Instruction) -> Option<Exec> {
    macro_rules! by_predicate {
        ($($n:literal)*) => {
            match instr.immediate8() & 7 {
                $($n => shapes!(instr: Compare<$n> = Cmpps Cmppd Cmpss Cmpsd;),)*
                _ => None,
            }
        };
    }
    by_predicate!(0 1 2 3 4 5 6 7)
}

/// EQ, LT, LE, UNORD; 4–7 are their negations.
struct Compare<const PREDICATE: u8>;

impl<const PREDICATE: u8> Arithmetic for Compare<PREDICATE> {
    fn apply<F: Format>(a: u64, b: u64, env: &mut Env) -> u64 {
        // The predicates about order also reject quiet NaNs.
        let nans = if matches!(PREDICATE & 3, 1 | 2) {
            AnyNan::refuses::<F>
        } else {
            Signaling::refuses::<F>
        };
        if nans(a) || nans(b) {
            env.raise(Mxcsr::IE);
        }
        let order = soft::compare::<F>(a, b, env);
        let holds = match PREDICATE & 3 {
            0 => order == Some(Ordering::Equal),
            1 => order == Some(Ordering::Less),
            2 => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            _ => order.is_none(),
        };
        let negated = PREDICATE & 4 != 0;
        if holds != negated {
            F::Word::low(u64::MAX).zx()
        } else {
            0
        }
    }
}

/// Which NaNs raise IE in a comparison.
trait Refusal {
    fn refuses<F: Format>(bits: u64) -> bool;
}

struct Signaling;
impl Refusal for Signaling {
    fn refuses<F: Format>(bits: u64) -> bool {
        is_signaling::<F>(bits)
    }
}

struct AnyNan;
impl Refusal for AnyNan {
    fn refuses<F: Format>(bits: u64) -> bool {
        is_nan::<F>(bits)
    }
}

/// COMISS and UCOMISS: the order goes to ZF, PF and CF; OF, SF and AF are cleared.
struct Comi<F, R>(PhantomData<(F, R)>);

impl<F: Format, R: Refusal> FromSource for Comi<F, R> {
    fn exec<S: Source>(c: &mut Core<'_>, op: &Op) -> Done {
        c.require_sse()?;
        let a = F::Word::low(low_quad(c.xmm(op, 0))).zx();
        let b = S::low::<F::Word>(c, op)?.zx();
        let mut env = c.env();
        if R::refuses::<F>(a) || R::refuses::<F>(b) {
            env.raise(Mxcsr::IE);
        }
        let order = soft::compare::<F>(a, b, &mut env);
        c.commit(&env)?;
        let status = match order {
            None => ZF | PF | CF,
            Some(Ordering::Less) => CF,
            Some(Ordering::Equal) => ZF,
            Some(Ordering::Greater) => 0,
        };
        set_status(&mut c.cpu.flags, status);
        Ok(())
    }
}
