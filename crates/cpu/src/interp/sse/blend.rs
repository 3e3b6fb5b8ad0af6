//! Choices by sign bits, sign masks, tests, and widening of integers.
//!
//! **Spec:** SDM 2 "PBLENDVB", "BLENDVPS", "PMOVMSKB", "MOVMSKPS", "PTEST", "VTESTPD/VTESTPS",
//! "PMOVSX", "PMOVZX".

use super::Done;
use super::lanes::Lane;
use super::operand::{ByForm, Form, by_form, lanes};
use crate::core::Core;
use crate::flags::{CF, ZF, set_status};
use crate::op::{Exec, Op};
use iced_x86::{Instruction, Mnemonic as M};
use std::marker::PhantomData;

pub(super) fn select(instr: &Instruction) -> Option<Exec> {
    match instr.mnemonic() {
        M::Pblendvb | M::Vpblendvb => by_form::<BlendBySign<i8>>(instr),
        M::Blendvps | M::Vblendvps => by_form::<BlendBySign<i32>>(instr),
        M::Blendvpd | M::Vblendvpd => by_form::<BlendBySign<i64>>(instr),
        M::Pmovmskb | M::Vpmovmskb => by_form::<MoveMask<8>>(instr),
        M::Movmskps | M::Vmovmskps => by_form::<MoveMask<32>>(instr),
        M::Movmskpd | M::Vmovmskpd => by_form::<MoveMask<64>>(instr),
        M::Ptest | M::Vptest => by_form::<Test<u128>>(instr),
        M::Vtestps => by_form::<Test<i32>>(instr),
        M::Vtestpd => by_form::<Test<i64>>(instr),
        _ => widening(instr),
    }
}

/// Which bits of a lane count as signs.
trait Signs {
    /// All ones where the sign bit is set.
    fn spread(lane: u128) -> u128;
    /// The bits that a test looks at.
    const TESTED: u128;
}

impl Signs for i8 {
    fn spread(lane: u128) -> u128 {
        Self::each(lane, |x| x >> 7)
    }
    const TESTED: u128 = (u128::MAX / 0xff) << 7;
}

impl Signs for i32 {
    fn spread(lane: u128) -> u128 {
        Self::each(lane, |x| x >> 31)
    }
    const TESTED: u128 = (u128::MAX / 0xffff_ffff) << 31;
}

impl Signs for i64 {
    fn spread(lane: u128) -> u128 {
        Self::each(lane, |x| x >> 63)
    }
    const TESTED: u128 = (u128::MAX / 0xffff_ffff_ffff_ffff) << 63;
}

impl Signs for u128 {
    fn spread(lane: u128) -> u128 {
        lane
    }
    const TESTED: u128 = Self::MAX;
}

/// Elements of the second source where the mask's are negative.
///
/// The mask is the fourth operand; legacy instructions name none, and use register 0.
struct BlendBySign<T>(PhantomData<T>);

impl<T: Signs> ByForm for BlendBySign<T> {
    fn exec<S: Form>(c: &mut Core<'_>, op: &Op) -> Done {
        S::require(c)?;
        let (a, b, mask) = (S::first(c, op), S::wide(c, op)?, S::register(c, op, 3));
        let result = lanes::<S>(|i| {
            let mask = T::spread(mask[i]);
            a[i] & !mask | b[i] & mask
        });
        S::put(c, op, result);
        Ok(())
    }
}

/// The sign bits of elements of `BITS`, in a general register.
struct MoveMask<const BITS: usize>;

impl<const BITS: usize> ByForm for MoveMask<BITS> {
    fn exec<S: Form>(c: &mut Core<'_>, op: &Op) -> Done {
        S::require(c)?;
        let value = S::wide(c, op)?;
        let per_lane = 128 / BITS;
        let mask = (0..per_lane * S::LANES).fold(0, |mask, i| {
            let lane = value[i / per_lane] >> (BITS * (i % per_lane) + BITS - 1);
            mask | ((lane & 1) as u64) << i
        });
        c.cpu.regs[usize::from(op.r[0])] = mask;
        Ok(())
    }
}

/// ZF: nothing is set in both sources; CF: nothing is set in the second alone.
struct Test<T>(PhantomData<T>);

impl<T: Signs> ByForm for Test<T> {
    fn exec<S: Form>(c: &mut Core<'_>, op: &Op) -> Done {
        S::require(c)?;
        let (a, b) = (S::register(c, op, 0), S::wide(c, op)?);
        let none = |f: fn(u128, u128) -> u128| (0..2).all(|i| f(a[i], b[i]) & T::TESTED == 0);
        let zf = if none(|a, b| a & b) { ZF } else { 0 };
        let cf = if none(|a, b| !a & b) { CF } else { 0 };
        set_status(&mut c.cpu.flags, zf | cf);
        Ok(())
    }
}

fn widening(instr: &Instruction) -> Option<Exec> {
    match instr.mnemonic() {
        M::Pmovsxbw | M::Vpmovsxbw => by_form::<Widen<8, 16, true>>(instr),
        M::Pmovsxbd | M::Vpmovsxbd => by_form::<Widen<8, 32, true>>(instr),
        M::Pmovsxbq | M::Vpmovsxbq => by_form::<Widen<8, 64, true>>(instr),
        M::Pmovsxwd | M::Vpmovsxwd => by_form::<Widen<16, 32, true>>(instr),
        M::Pmovsxwq | M::Vpmovsxwq => by_form::<Widen<16, 64, true>>(instr),
        M::Pmovsxdq | M::Vpmovsxdq => by_form::<Widen<32, 64, true>>(instr),
        M::Pmovzxbw | M::Vpmovzxbw => by_form::<Widen<8, 16, false>>(instr),
        M::Pmovzxbd | M::Vpmovzxbd => by_form::<Widen<8, 32, false>>(instr),
        M::Pmovzxbq | M::Vpmovzxbq => by_form::<Widen<8, 64, false>>(instr),
        M::Pmovzxwd | M::Vpmovzxwd => by_form::<Widen<16, 32, false>>(instr),
        M::Pmovzxwq | M::Vpmovzxwq => by_form::<Widen<16, 64, false>>(instr),
        M::Pmovzxdq | M::Vpmovzxdq => by_form::<Widen<32, 64, false>>(instr),
        _ => None,
    }
}

/// Elements of `FROM` bits become `TO` bits; the source is as much smaller than the destination.
struct Widen<const FROM: usize, const TO: usize, const SIGNED: bool>;

impl<const FROM: usize, const TO: usize, const SIGNED: bool> Widen<FROM, TO, SIGNED> {
    fn source<S: Form>(c: &mut Core<'_>, op: &Op) -> Result<u128, crate::Exception> {
        match 128 * S::LANES * FROM / TO {
            16 => S::low::<u16>(c, op).map(u128::from),
            32 => S::low::<u32>(c, op).map(u128::from),
            64 => S::low::<u64>(c, op).map(u128::from),
            _ => S::half(c, op),
        }
    }

    const fn element(raw: u128) -> u128 {
        let top = 128 - FROM as u32;
        let wide = if SIGNED {
            ((raw << top).cast_signed() >> top).cast_unsigned()
        } else {
            raw << top >> top
        };
        wide & (u128::MAX >> (128 - TO as u32))
    }
}

impl<const FROM: usize, const TO: usize, const SIGNED: bool> ByForm for Widen<FROM, TO, SIGNED> {
    fn exec<S: Form>(c: &mut Core<'_>, op: &Op) -> Done {
        S::require(c)?;
        let from = Self::source::<S>(c, op)?;
        let per_lane = 128 / TO;
        let result = lanes::<S>(|lane| {
            (0..per_lane).fold(0, |out, i| {
                out | Self::element(from >> ((lane * per_lane + i) * FROM)) << (i * TO)
            })
        });
        S::put(c, op, result);
        Ok(())
    }
}
