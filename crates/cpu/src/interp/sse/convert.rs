//! Conversions between integers, single and double precision.
//!
//! Conversions to integers give the most negative integer for what does not fit,
//! with IE; they know no denormal exception.
//!
//! **Spec:** SDM 1 "Intel SSE Conversion Instructions", "Intel SSE2 Conversion
//! Instructions"; SDM 2, the CVT instructions.

use super::Done;
use super::format::{Double, Format, Single};
use super::lanes::Lane;
use super::mxcsr::{Env, Rounding};
use super::operand::{ByForm, Form, by_form, by_general, lanes, with_low};
use super::soft;
use crate::core::Core;
use crate::interp::operand::operand_bytes;
use crate::op::{Exec, Op};
use crate::word::Word;
use iced_x86::{Instruction, Mnemonic as M};
use std::marker::PhantomData;

pub(super) fn select(instr: &Instruction) -> Option<Exec> {
    scalar(instr)
        .or_else(|| to_integer(instr))
        .or_else(|| match instr.mnemonic() {
            M::Cvtps2pd | M::Vcvtps2pd => by_form::<Widening<SingleToDouble>>(instr),
            M::Cvtdq2pd | M::Vcvtdq2pd => by_form::<Widening<IntegerToDouble>>(instr),
            M::Cvtdq2ps | M::Vcvtdq2ps => by_form::<Whole<IntegerToSingle>>(instr),
            M::Cvtpd2ps | M::Vcvtpd2ps => by_form::<Narrowing<DoubleToSingle>>(instr),
            M::Cvtps2dq | M::Vcvtps2dq => by_form::<Whole<SingleToInteger<Current>>>(instr),
            M::Cvttps2dq | M::Vcvttps2dq => by_form::<Whole<SingleToInteger<Truncating>>>(instr),
            M::Cvtpd2dq | M::Vcvtpd2dq => by_form::<Narrowing<DoubleToInteger<Current>>>(instr),
            M::Cvttpd2dq | M::Vcvttpd2dq => {
                by_form::<Narrowing<DoubleToInteger<Truncating>>>(instr)
            }
            _ => None,
        })
}

/// Scalars to floating point.
fn scalar(instr: &Instruction) -> Option<Exec> {
    match (instr.mnemonic(), general_bytes(instr)) {
        (M::Cvtss2sd | M::Vcvtss2sd, _) => by_form::<Between<Single, Double>>(instr),
        (M::Cvtsd2ss | M::Vcvtsd2ss, _) => by_form::<Between<Double, Single>>(instr),
        (M::Cvtsi2ss | M::Vcvtsi2ss, 4) => by_general::<FromInteger<u32, Single>>(instr),
        (M::Cvtsi2ss | M::Vcvtsi2ss, _) => by_general::<FromInteger<u64, Single>>(instr),
        (M::Cvtsi2sd | M::Vcvtsi2sd, 4) => by_general::<FromInteger<u32, Double>>(instr),
        (M::Cvtsi2sd | M::Vcvtsi2sd, _) => by_general::<FromInteger<u64, Double>>(instr),
        _ => None,
    }
}

/// Scalars to general registers.
fn to_integer(instr: &Instruction) -> Option<Exec> {
    use {Current as C, Double as D, Single as S, Truncating as T};
    match (instr.mnemonic(), instr.op0_register().size()) {
        (M::Cvtss2si | M::Vcvtss2si, 4) => by_form::<ToInteger<u32, S, C>>(instr),
        (M::Cvtss2si | M::Vcvtss2si, _) => by_form::<ToInteger<u64, S, C>>(instr),
        (M::Cvtsd2si | M::Vcvtsd2si, 4) => by_form::<ToInteger<u32, D, C>>(instr),
        (M::Cvtsd2si | M::Vcvtsd2si, _) => by_form::<ToInteger<u64, D, C>>(instr),
        (M::Cvttss2si | M::Vcvttss2si, 4) => by_form::<ToInteger<u32, S, T>>(instr),
        (M::Cvttss2si | M::Vcvttss2si, _) => by_form::<ToInteger<u64, S, T>>(instr),
        (M::Cvttsd2si | M::Vcvttsd2si, 4) => by_form::<ToInteger<u32, D, T>>(instr),
        (M::Cvttsd2si | M::Vcvttsd2si, _) => by_form::<ToInteger<u64, D, T>>(instr),
        _ => None,
    }
}

/// Width of the last operand, which is the integer where one is converted.
fn general_bytes(instr: &Instruction) -> usize {
    let last = instr.op_count().checked_sub(1);
    last.map_or(0, |i| operand_bytes(instr, i))
}

/// How a conversion to integers rounds.
pub(in crate::interp) trait Mode {
    fn rounding(env: &Env) -> Rounding;
}

/// As MXCSR says.
pub(in crate::interp) struct Current;
impl Mode for Current {
    fn rounding(env: &Env) -> Rounding {
        env.rounding()
    }
}

/// Toward zero: CVTT.
pub(in crate::interp) struct Truncating;
impl Mode for Truncating {
    fn rounding(_: &Env) -> Rounding {
        Rounding::Zero
    }
}

/// CVTSS2SD, CVTSD2SS: the rest of the destination stays.
struct Between<A, B>(PhantomData<(A, B)>);
impl<A: Format, B: Format> ByForm for Between<A, B> {
    fn exec<S: Form>(c: &mut Core<'_>, op: &Op) -> Done {
        S::require(c)?;
        let from = S::low::<A::Word>(c, op)?.zx();
        let mut env = c.env();
        let to = soft::convert::<A, B>(from, &mut env);
        c.commit(&env)?;
        S::put_128(c, op, with_low(S::first(c, op)[0], B::Word::low(to)));
        Ok(())
    }
}

/// CVTSI2SS, CVTSI2SD: the rest of the destination stays.
struct FromInteger<W, F>(PhantomData<(W, F)>);
impl<W: Word, F: Format> ByForm for FromInteger<W, F> {
    fn exec<S: Form>(c: &mut Core<'_>, op: &Op) -> Done {
        S::require(c)?;
        let from = S::low::<W>(c, op)?.sx().cast_signed();
        let mut env = c.env();
        let to = soft::from_integer::<F>(from, &mut env);
        c.commit(&env)?;
        S::put_128(c, op, with_low(S::first(c, op)[0], F::Word::low(to)));
        Ok(())
    }
}

/// CVTSS2SI, CVTSD2SI and the truncating ones.
struct ToInteger<W, F, M>(PhantomData<(W, F, M)>);
impl<W: Word, F: Format, M: Mode> ByForm for ToInteger<W, F, M> {
    fn exec<S: Form>(c: &mut Core<'_>, op: &Op) -> Done {
        S::require(c)?;
        let from = S::low::<F::Word>(c, op)?.zx();
        let mut env = c.env();
        let rounding = M::rounding(&env);
        let to = soft::to_integer::<F>(from, W::BITS, rounding, &mut env);
        c.commit(&env)?;
        W::set_reg(&mut c.cpu.regs, op.r[0], W::low(to.cast_unsigned()));
        Ok(())
    }
}

/// A conversion of all elements.
pub(in crate::interp) trait PackedConversion {
    /// Of one lane, or of what becomes one lane.
    fn apply(from: u128, env: &mut Env) -> u128;
}

/// Conversions between elements of one width.
struct Whole<P>(PhantomData<P>);
impl<P: PackedConversion> ByForm for Whole<P> {
    fn exec<S: Form>(c: &mut Core<'_>, op: &Op) -> Done {
        S::require(c)?;
        let from = S::wide(c, op)?;
        let mut env = c.env();
        let to = lanes::<S>(|i| P::apply(from[i], &mut env));
        c.commit(&env)?;
        S::put(c, op, to);
        Ok(())
    }
}

/// Conversions to elements twice as wide; memory at any alignment.
struct Widening<P>(PhantomData<P>);
impl<P: PackedConversion> ByForm for Widening<P> {
    fn exec<S: Form>(c: &mut Core<'_>, op: &Op) -> Done {
        S::require(c)?;
        let from = S::half(c, op)?;
        let mut env = c.env();
        let to = lanes::<S>(|i| P::apply(from >> (64 * i), &mut env));
        c.commit(&env)?;
        S::put(c, op, to);
        Ok(())
    }
}

/// Conversions to elements half as wide, which fill the low half; above it is cleared.
struct Narrowing<P>(PhantomData<P>);
impl<P: PackedConversion> ByForm for Narrowing<P> {
    fn exec<S: Form>(c: &mut Core<'_>, op: &Op) -> Done {
        S::require(c)?;
        let from = S::wide(c, op)?;
        let mut env = c.env();
        let [low, high] = lanes::<S>(|i| P::apply(from[i], &mut env));
        c.commit(&env)?;
        S::put_128(c, op, low | high << 64);
        Ok(())
    }
}

/// Two singles in the low half.
pub(in crate::interp) struct SingleToDouble;
impl PackedConversion for SingleToDouble {
    fn apply(from: u128, env: &mut Env) -> u128 {
        let from = u32::split(from);
        u64::join(std::array::from_fn(|i| {
            soft::convert::<Single, Double>(u64::from(from[i]), env)
        }))
    }
}

/// Two integers in the low half.
pub(in crate::interp) struct IntegerToDouble;
impl PackedConversion for IntegerToDouble {
    fn apply(from: u128, env: &mut Env) -> u128 {
        let from = i32::split(from);
        u64::join(std::array::from_fn(|i| {
            soft::from_integer::<Double>(i64::from(from[i]), env)
        }))
    }
}

pub(in crate::interp) struct IntegerToSingle;
impl PackedConversion for IntegerToSingle {
    fn apply(from: u128, env: &mut Env) -> u128 {
        let to =
            i32::split(from).map(|x| u32::low(soft::from_integer::<Single>(i64::from(x), env)));
        u32::join(to)
    }
}

/// Two doubles become the low half; the high half is cleared.
fn narrow(from: u128, mut f: impl FnMut(u64) -> u64) -> u128 {
    let [low, high] = u64::split(from).map(|x| u32::low(f(x)));
    u32::join([low, high, 0, 0])
}

struct DoubleToSingle;
impl PackedConversion for DoubleToSingle {
    fn apply(from: u128, env: &mut Env) -> u128 {
        narrow(from, |x| soft::convert::<Double, Single>(x, env))
    }
}

pub(in crate::interp) struct DoubleToInteger<M>(PhantomData<M>);
impl<M: Mode> PackedConversion for DoubleToInteger<M> {
    fn apply(from: u128, env: &mut Env) -> u128 {
        let rounding = M::rounding(env);
        narrow(from, |x| {
            soft::to_integer::<Double>(x, 32, rounding, env).cast_unsigned()
        })
    }
}

pub(in crate::interp) struct SingleToInteger<M>(PhantomData<M>);
impl<M: Mode> PackedConversion for SingleToInteger<M> {
    fn apply(from: u128, env: &mut Env) -> u128 {
        let rounding = M::rounding(env);
        let convert = |x: u32| soft::to_integer::<Single>(u64::from(x), 32, rounding, env);
        u32::join(
            u32::split(from)
                .map(convert)
                .map(|x| u32::low(x.cast_unsigned())),
        )
    }
}
