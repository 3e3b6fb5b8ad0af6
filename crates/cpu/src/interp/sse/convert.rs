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
use super::operand::{FromSource, Source, by_source, with_low};
use super::soft;
use crate::core::Core;
use crate::op::{Exec, Op};
use crate::word::Word;
use iced_x86::{Code, Instruction, Mnemonic};
use std::marker::PhantomData;

pub(super) fn select(instr: &Instruction) -> Option<Exec> {
    scalar(instr).or_else(|| match instr.mnemonic() {
        Mnemonic::Cvtps2pd => by_source::<Widening<SingleToDouble>>(instr),
        Mnemonic::Cvtdq2pd => by_source::<Widening<IntegerToDouble>>(instr),
        Mnemonic::Cvtdq2ps => by_source::<Whole<IntegerToSingle>>(instr),
        Mnemonic::Cvtpd2ps => by_source::<Whole<DoubleToSingle>>(instr),
        Mnemonic::Cvtps2dq => by_source::<Whole<SingleToInteger<Current>>>(instr),
        Mnemonic::Cvttps2dq => by_source::<Whole<SingleToInteger<Truncating>>>(instr),
        Mnemonic::Cvtpd2dq => by_source::<Whole<DoubleToInteger<Current>>>(instr),
        Mnemonic::Cvttpd2dq => by_source::<Whole<DoubleToInteger<Truncating>>>(instr),
        _ => None,
    })
}

fn scalar(instr: &Instruction) -> Option<Exec> {
    match instr.code() {
        Code::Cvtss2sd_xmm_xmmm32 => by_source::<Between<Single, Double>>(instr),
        Code::Cvtsd2ss_xmm_xmmm64 => by_source::<Between<Double, Single>>(instr),
        Code::Cvtsi2ss_xmm_rm32 => by_source::<FromInteger<u32, Single>>(instr),
        Code::Cvtsi2ss_xmm_rm64 => by_source::<FromInteger<u64, Single>>(instr),
        Code::Cvtsi2sd_xmm_rm32 => by_source::<FromInteger<u32, Double>>(instr),
        Code::Cvtsi2sd_xmm_rm64 => by_source::<FromInteger<u64, Double>>(instr),
        Code::Cvtss2si_r32_xmmm32 => by_source::<ToInteger<u32, Single, Current>>(instr),
        Code::Cvtss2si_r64_xmmm32 => by_source::<ToInteger<u64, Single, Current>>(instr),
        Code::Cvtsd2si_r32_xmmm64 => by_source::<ToInteger<u32, Double, Current>>(instr),
        Code::Cvtsd2si_r64_xmmm64 => by_source::<ToInteger<u64, Double, Current>>(instr),
        Code::Cvttss2si_r32_xmmm32 => by_source::<ToInteger<u32, Single, Truncating>>(instr),
        Code::Cvttss2si_r64_xmmm32 => by_source::<ToInteger<u64, Single, Truncating>>(instr),
        Code::Cvttsd2si_r32_xmmm64 => by_source::<ToInteger<u32, Double, Truncating>>(instr),
        Code::Cvttsd2si_r64_xmmm64 => by_source::<ToInteger<u64, Double, Truncating>>(instr),
        _ => None,
    }
}

/// How a conversion to integers rounds.
trait Mode {
    fn rounding(env: &Env) -> Rounding;
}

/// As MXCSR says.
struct Current;
impl Mode for Current {
    fn rounding(env: &Env) -> Rounding {
        env.rounding()
    }
}

/// Toward zero: CVTT.
struct Truncating;
impl Mode for Truncating {
    fn rounding(_: &Env) -> Rounding {
        Rounding::Zero
    }
}

/// CVTSS2SD, CVTSD2SS: the rest of the destination stays.
struct Between<A, B>(PhantomData<(A, B)>);
impl<A: Format, B: Format> FromSource for Between<A, B> {
    fn exec<S: Source>(c: &mut Core<'_>, op: &Op) -> Done {
        c.require_sse()?;
        let from = S::low::<A::Word>(c, op)?.zx();
        let mut env = c.env();
        let to = soft::convert::<A, B>(from, &mut env);
        c.commit(&env)?;
        c.set_xmm(op, with_low(c.xmm(op, 0), B::Word::low(to)));
        Ok(())
    }
}

/// CVTSI2SS, CVTSI2SD: the rest of the destination stays.
struct FromInteger<W, F>(PhantomData<(W, F)>);
impl<W: Word, F: Format> FromSource for FromInteger<W, F> {
    fn exec<S: Source>(c: &mut Core<'_>, op: &Op) -> Done {
        c.require_sse()?;
        let from = S::low::<W>(c, op)?.sx().cast_signed();
        let mut env = c.env();
        let to = soft::from_integer::<F>(from, &mut env);
        c.commit(&env)?;
        c.set_xmm(op, with_low(c.xmm(op, 0), F::Word::low(to)));
        Ok(())
    }
}

/// CVTSS2SI, CVTSD2SI and the truncating ones.
struct ToInteger<W, F, M>(PhantomData<(W, F, M)>);
impl<W: Word, F: Format, M: Mode> FromSource for ToInteger<W, F, M> {
    fn exec<S: Source>(c: &mut Core<'_>, op: &Op) -> Done {
        c.require_sse()?;
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
trait PackedConversion {
    fn apply(from: u128, env: &mut Env) -> u128;
}

/// Conversions that read 16 bytes; memory must be aligned.
struct Whole<P>(PhantomData<P>);
impl<P: PackedConversion> FromSource for Whole<P> {
    fn exec<S: Source>(c: &mut Core<'_>, op: &Op) -> Done {
        c.require_sse()?;
        let from = S::wide(c, op)?;
        finish::<P>(c, op, from)
    }
}

/// Conversions of two elements in 8 bytes to 16 bytes; memory at any alignment.
struct Widening<P>(PhantomData<P>);
impl<P: PackedConversion> FromSource for Widening<P> {
    fn exec<S: Source>(c: &mut Core<'_>, op: &Op) -> Done {
        c.require_sse()?;
        let from = u128::from(S::low::<u64>(c, op)?);
        finish::<P>(c, op, from)
    }
}

fn finish<P: PackedConversion>(c: &mut Core<'_>, op: &Op, from: u128) -> Done {
    let mut env = c.env();
    let to = P::apply(from, &mut env);
    c.commit(&env)?;
    c.set_xmm(op, to);
    Ok(())
}

struct SingleToDouble;
impl PackedConversion for SingleToDouble {
    fn apply(from: u128, env: &mut Env) -> u128 {
        let from = u32::split(from);
        u64::join(std::array::from_fn(|i| {
            soft::convert::<Single, Double>(u64::from(from[i]), env)
        }))
    }
}

struct IntegerToDouble;
impl PackedConversion for IntegerToDouble {
    fn apply(from: u128, env: &mut Env) -> u128 {
        let from = i32::split(from);
        u64::join(std::array::from_fn(|i| {
            soft::from_integer::<Double>(i64::from(from[i]), env)
        }))
    }
}

struct IntegerToSingle;
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

struct DoubleToInteger<M>(PhantomData<M>);
impl<M: Mode> PackedConversion for DoubleToInteger<M> {
    fn apply(from: u128, env: &mut Env) -> u128 {
        let rounding = M::rounding(env);
        narrow(from, |x| {
            soft::to_integer::<Double>(x, 32, rounding, env).cast_unsigned()
        })
    }
}

struct SingleToInteger<M>(PhantomData<M>);
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
