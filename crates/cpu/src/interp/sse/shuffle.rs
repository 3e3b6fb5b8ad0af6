//! Rearranging elements: unpack, pack, shuffle, insert, extract, sign masks.
//!
//! **Spec:** SDM 1 "Intel SSE Shuffle and Unpack Instructions", "Intel SSE2 Shuffle and
//! Unpack Instructions"; SDM 2 "PACKSSWB/PACKSSDW", "PACKUSWB".

use super::Done;
use super::integer::{Binary, Packed, packed_ops};
use super::lanes::Lane;
use super::operand::{FromSource, Source, by_source};
use crate::core::Core;
use crate::op::{Exec, Op};
use iced_x86::{Code, Instruction, Mnemonic};
use std::marker::PhantomData;

pub(super) fn select(instr: &Instruction) -> Option<Exec> {
    match instr.mnemonic() {
        Mnemonic::Pshufd => by_source::<Shuffle<Pshufd>>(instr),
        Mnemonic::Pshuflw => by_source::<Shuffle<Pshuflw>>(instr),
        Mnemonic::Pshufhw => by_source::<Shuffle<Pshufhw>>(instr),
        Mnemonic::Shufps => by_source::<Shuffle<Shufps>>(instr),
        Mnemonic::Shufpd => by_source::<Shuffle<Shufpd>>(instr),
        Mnemonic::Pinsrw => by_source::<Pinsrw>(instr),
        // SSE4.1 has a form of PEXTRW that can write memory; it is another opcode.
        Mnemonic::Pextrw
            if matches!(
                instr.code(),
                Code::Pextrw_r32_xmm_imm8 | Code::Pextrw_r64_xmm_imm8
            ) =>
        {
            Some(pextrw)
        }
        Mnemonic::Pmovmskb => Some(move_mask::<8>),
        Mnemonic::Movmskps => Some(move_mask::<32>),
        Mnemonic::Movmskpd => Some(move_mask::<64>),
        _ => unpack(instr).or_else(|| pack(instr)),
    }
}

packed_ops! { unpack:
    Punpcklbw = |a, b| interleave::<8>(a, b);
    Punpcklwd = |a, b| interleave::<16>(a, b);
    Punpckldq | Unpcklps = |a, b| interleave::<32>(a, b);
    Punpcklqdq | Unpcklpd = |a, b| interleave::<64>(a, b);
    Punpckhbw = |a, b| interleave::<8>(a >> 64, b >> 64);
    Punpckhwd = |a, b| interleave::<16>(a >> 64, b >> 64);
    Punpckhdq | Unpckhps = |a, b| interleave::<32>(a >> 64, b >> 64);
    Punpckhqdq | Unpckhpd = |a, b| interleave::<64>(a >> 64, b >> 64);
}

/// Elements of `BITS` from the low halves of `a` and `b` in turn.
fn interleave<const BITS: usize>(a: u128, b: u128) -> u128 {
    let mask = (1 << BITS) - 1;
    (0..64 / BITS).fold(0, |out, i| {
        let pair = (a >> (i * BITS)) & mask | ((b >> (i * BITS)) & mask) << BITS;
        out | pair << (2 * i * BITS)
    })
}

packed_ops! { pack:
    Packsswb = |a, b| narrow_words(a, b, |x| u8::from_ne_bytes(saturate_i8(x).to_ne_bytes()));
    Packuswb = |a, b| narrow_words(a, b, saturate_u8);
    Packssdw = |a, b| narrow_dwords(a, b);
}

fn narrow_words(a: u128, b: u128, f: impl Fn(i16) -> u8) -> u128 {
    let (a, b) = (i16::split(a), i16::split(b));
    u8::join(std::array::from_fn(|i| {
        f(if i < 8 { a[i] } else { b[i - 8] })
    }))
}

fn narrow_dwords(a: u128, b: u128) -> u128 {
    let (a, b) = (i32::split(a), i32::split(b));
    i16::join(std::array::from_fn(|i| {
        saturate_i16(if i < 4 { a[i] } else { b[i - 4] })
    }))
}

fn saturate_i8(x: i16) -> i8 {
    i8::try_from(x).unwrap_or(if x < 0 { i8::MIN } else { i8::MAX })
}

fn saturate_u8(x: i16) -> u8 {
    u8::try_from(x).unwrap_or(if x < 0 { u8::MIN } else { u8::MAX })
}

fn saturate_i16(x: i32) -> i16 {
    i16::try_from(x).unwrap_or(if x < 0 { i16::MIN } else { i16::MAX })
}

/// A choice of elements by an immediate.
trait Choice {
    fn apply(a: u128, b: u128, imm: usize) -> u128;
}

struct Shuffle<P>(PhantomData<P>);

impl<P: Choice> FromSource for Shuffle<P> {
    fn exec<S: Source>(c: &mut Core<'_>, op: &Op) -> Done {
        c.require_sse()?;
        let b = S::wide(c, op)?;
        c.set_xmm(op, P::apply(c.xmm(op, 0), b, (op.imm & 0xff) as usize));
        Ok(())
    }
}

/// Two bits of the immediate: which of four elements goes to place `i`.
const fn selector(imm: usize, i: usize) -> usize {
    (imm >> (2 * i)) & 3
}

macro_rules! choices {
    ($($name:ident = |$a:pat_param, $b:ident, $imm:ident| $body:expr;)*) => { $(
        struct $name;
        impl Choice for $name {
            fn apply($a: u128, $b: u128, $imm: usize) -> u128 { $body }
        }
    )* };
}

choices! {
    Pshufd = |_, b, imm| {
        let b = u32::split(b);
        u32::join(std::array::from_fn(|i| b[selector(imm, i)]))
    };
    Pshuflw = |_, b, imm| {
        let b = u16::split(b);
        u16::join(std::array::from_fn(|i| if i < 4 { b[selector(imm, i)] } else { b[i] }))
    };
    Pshufhw = |_, b, imm| {
        let b = u16::split(b);
        u16::join(std::array::from_fn(|i| if i < 4 { b[i] } else { b[4 + selector(imm, i - 4)] }))
    };
    Shufps = |a, b, imm| {
        let (a, b) = (u32::split(a), u32::split(b));
        u32::join(std::array::from_fn(|i| if i < 2 { a[selector(imm, i)] } else { b[selector(imm, i)] }))
    };
    Shufpd = |a, b, imm| u64::join([u64::split(a)[imm & 1], u64::split(b)[(imm >> 1) & 1]]);
}

struct Pinsrw;
impl FromSource for Pinsrw {
    fn exec<S: Source>(c: &mut Core<'_>, op: &Op) -> Done {
        c.require_sse()?;
        let word = S::low::<u16>(c, op)?;
        let mut row = u16::split(c.xmm(op, 0));
        row[(op.imm & 7) as usize] = word;
        c.set_xmm(op, u16::join(row));
        Ok(())
    }
}

fn pextrw(c: &mut Core<'_>, op: &Op) -> Done {
    c.require_sse()?;
    let word = u16::split(c.xmm(op, 1))[(op.imm & 7) as usize];
    c.cpu.regs[usize::from(op.r[0])] = u64::from(word);
    Ok(())
}

/// PMOVMSKB, MOVMSKPS, MOVMSKPD: the sign bits of elements of `BITS`.
fn move_mask<const BITS: u32>(c: &mut Core<'_>, op: &Op) -> Done {
    c.require_sse()?;
    let value = c.xmm(op, 1);
    let mask = (0..128 / BITS).fold(0, |mask, i| {
        mask | ((value >> (BITS * i + BITS - 1)) & 1) << i
    });
    c.cpu.regs[usize::from(op.r[0])] = (mask & 0xffff) as u64;
    Ok(())
}
