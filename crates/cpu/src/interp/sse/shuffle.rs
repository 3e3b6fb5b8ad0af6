//! Rearranging elements: unpack, pack, byte shuffles, and choices by an immediate.
//!
//! **Spec:** SDM 1 "Intel SSE Shuffle and Unpack Instructions", "Intel SSE2 Shuffle and
//! Unpack Instructions"; SDM 2 "PACKSSWB/PACKSSDW", "PACKUSWB", "PSHUFB", "PALIGNR", "MPSADBW".

use super::Done;
use super::aes::key_step;
use super::lanes::Lane;
use super::operand::{ByForm, Form, by_form, lanes, low_quad};
use super::packed::{by_registers, packed_ops};
use crate::core::Core;
use crate::op::{Exec, Op};
use iced_x86::{Instruction, Mnemonic};
use std::marker::PhantomData;

pub(super) fn select(instr: &Instruction) -> Option<Exec> {
    unpack_low(instr)
        .or_else(|| unpack_high(instr))
        .or_else(|| pack(instr))
        .or_else(|| bytes(instr))
        .or_else(|| halves(instr))
}

packed_ops! { unpack_low(by_registers, Elements):
    Punpcklbw | Vpunpcklbw = |a, b| interleave::<8>(a, b);
    Punpcklwd | Vpunpcklwd = |a, b| interleave::<16>(a, b);
    Punpckldq | Unpcklps | Vpunpckldq | Vunpcklps = |a, b| interleave::<32>(a, b);
    Punpcklqdq | Unpcklpd | Vpunpcklqdq | Vunpcklpd = |a, b| interleave::<64>(a, b);
}

packed_ops! { unpack_high(by_registers, HighHalf):
    Punpckhbw | Vpunpckhbw = |a, b| interleave::<8>(a >> 64, b >> 64);
    Punpckhwd | Vpunpckhwd = |a, b| interleave::<16>(a >> 64, b >> 64);
    Punpckhdq | Unpckhps | Vpunpckhdq | Vunpckhps = |a, b| interleave::<32>(a >> 64, b >> 64);
    Punpckhqdq | Unpckhpd | Vpunpckhqdq | Vunpckhpd = |a, b| interleave::<64>(a >> 64, b >> 64);
}

/// Elements of `BITS` from the low halves of `a` and `b` in turn.
fn interleave<const BITS: usize>(a: u128, b: u128) -> u128 {
    let mask = (1 << BITS) - 1;
    (0..64 / BITS).fold(0, |out, i| {
        let pair = (a >> (i * BITS)) & mask | ((b >> (i * BITS)) & mask) << BITS;
        out | pair << (2 * i * BITS)
    })
}

packed_ops! { pack(by_registers, Joined):
    Packsswb | Vpacksswb = |a, b| narrow_words(a, b, |x| x.clamp(-0x80, 0x7f).cast_unsigned() as u8);
    Packuswb | Vpackuswb = |a, b| narrow_words(a, b, |x| x.clamp(0, 0xff) as u8);
    Packssdw | Vpackssdw = |a, b| narrow_dwords(a, b, |x| x.clamp(-0x8000, 0x7fff) as u16);
    Packusdw | Vpackusdw = |a, b| narrow_dwords(a, b, |x| x.clamp(0, 0xffff) as u16);
}

fn narrow_words(a: u128, b: u128, f: impl Fn(i16) -> u8) -> u128 {
    let (a, b) = (i16::split(a), i16::split(b));
    u8::join(std::array::from_fn(|i| {
        f(if i < 8 { a[i] } else { b[i - 8] })
    }))
}

fn narrow_dwords(a: u128, b: u128, f: impl Fn(i32) -> u16) -> u128 {
    let (a, b) = (i32::split(a), i32::split(b));
    u16::join(std::array::from_fn(|i| {
        f(if i < 4 { a[i] } else { b[i - 4] })
    }))
}

packed_ops! { bytes(by_registers, Repeated):
    Pshufb | Vpshufb = |a, b| shuffle_bytes(a, b);
}

/// PSHUFB: each byte of `b` is the position of a byte of `a`, or asks for 0 by its bit 7.
fn shuffle_bytes(a: u128, b: u128) -> u128 {
    let a = u8::split(a);
    u8::each(b, |at| {
        if at & 0x80 != 0 {
            0
        } else {
            a[usize::from(at & 15)]
        }
    })
}

packed_ops! {
    /// Moves of halves between registers, and duplicated elements.
    halves(by_registers, Elements):
    Movhlps | Vmovhlps = |a, b| b >> 64 | a >> 64 << 64;
    Movlhps | Vmovlhps = |a, b| u128::from(low_quad(a)) | b << 64;
    Movshdup | Vmovshdup = |_a, b| u64::each(b, |x| x >> 32 | x >> 32 << 32);
    Movsldup | Vmovsldup = |_a, b| u64::each(b, |x| x << 32 | x & 0xffff_ffff);
}

/// A choice of elements by an immediate.
trait Choice {
    /// Bits of the immediate each lane has for itself; with 0 all use the same.
    const BITS_PER_LANE: usize;

    fn apply(a: u128, b: u128, imm: usize) -> u128;
}

struct Shuffle<P>(PhantomData<P>);

impl<P: Choice> ByForm for Shuffle<P> {
    fn exec<S: Form>(c: &mut Core<'_>, op: &Op) -> Done {
        S::require(c)?;
        let (a, b) = (S::first(c, op), S::wide(c, op)?);
        let imm = (op.imm & 0xff) as usize;
        let result = lanes::<S>(|i| P::apply(a[i], b[i], imm >> (i * P::BITS_PER_LANE)));
        S::put(c, op, result);
        Ok(())
    }
}

/// Two bits of the immediate: which of four elements goes to place `i`.
const fn selector(imm: usize, i: usize) -> usize {
    (imm >> (2 * i)) & 3
}

/// Defines choices, and the function that finds them by mnemonic.
macro_rules! choices {
    ($($name:ident $(| $more:ident)* takes $bits:literal = |$a:pat_param, $b:ident, $imm:ident| $body:expr;)*) => {
        pub(super) fn choice(instr: &Instruction) -> Option<Exec> {
            $(
                struct $name;
                impl Choice for $name {
                    const BITS_PER_LANE: usize = $bits;
                    fn apply($a: u128, $b: u128, $imm: usize) -> u128 { $body }
                }
            )*
            match instr.mnemonic() {
                $(Mnemonic::$name $(| Mnemonic::$more)* => by_form::<Shuffle<$name>>(instr),)*
                _ => None,
            }
        }
    };
}

choices! {
    Pshufd | Vpshufd takes 0 = |_, b, imm| {
        let b = u32::split(b);
        u32::join(std::array::from_fn(|i| b[selector(imm, i)]))
    };
    Pshuflw | Vpshuflw takes 0 = |_, b, imm| {
        let b = u16::split(b);
        u16::join(std::array::from_fn(|i| if i < 4 { b[selector(imm, i)] } else { b[i] }))
    };
    Pshufhw | Vpshufhw takes 0 = |_, b, imm| {
        let b = u16::split(b);
        u16::join(std::array::from_fn(|i| if i < 4 { b[i] } else { b[4 + selector(imm, i - 4)] }))
    };
    Shufps | Vshufps takes 0 = |a, b, imm| {
        let (a, b) = (u32::split(a), u32::split(b));
        u32::join(std::array::from_fn(|i| if i < 2 { a[selector(imm, i)] } else { b[selector(imm, i)] }))
    };
    Shufpd | Vshufpd takes 2 = |a, b, imm| {
        u64::join([u64::split(a)[imm & 1], u64::split(b)[(imm >> 1) & 1]])
    };
    Palignr | Vpalignr takes 0 = |a, b, imm| align(a, b, imm);
    Pblendw | Vpblendw takes 0 = |a, b, imm| blend::<16>(a, b, imm);
    Blendps | Vblendps | Vpblendd takes 4 = |a, b, imm| blend::<32>(a, b, imm);
    Blendpd | Vblendpd takes 2 = |a, b, imm| blend::<64>(a, b, imm);
    Mpsadbw | Vmpsadbw takes 3 = |a, b, imm| block_differences(a, b, imm);
    Pclmulqdq | Vpclmulqdq takes 0 = |a, b, imm| {
        carryless(u64::split(a)[imm & 1], u64::split(b)[(imm >> 4) & 1])
    };
    Aeskeygenassist | Vaeskeygenassist takes 0 = |_, b, imm| key_step(b, imm);
}

/// PALIGNR: 16 bytes of `a` above `b`, from byte `imm` on.
const fn align(a: u128, b: u128, imm: usize) -> u128 {
    match imm {
        0 => b,
        1..16 => b >> (8 * imm) | a << (128 - 8 * imm),
        16..32 => a >> (8 * (imm - 16)),
        _ => 0,
    }
}

/// Elements of `b` where the immediate has a bit, of `a` elsewhere.
fn blend<const BITS: usize>(a: u128, b: u128, imm: usize) -> u128 {
    let mask = (0..128 / BITS)
        .filter(|i| imm >> i & 1 != 0)
        .fold(0, |mask, i| {
            mask | (u128::MAX >> (128 - BITS)) << (i * BITS)
        });
    a & !mask | b & mask
}

/// MPSADBW: four bytes of `b` against the four bytes of `a` from each of eight positions on.
fn block_differences(a: u128, b: u128, imm: usize) -> u128 {
    let (a, b) = (u8::split(a), u8::split(b));
    let (from, block) = (imm & 4, 4 * (imm & 3));
    u16::join(std::array::from_fn(|i| {
        (0..4)
            .map(|k| u16::from(a[from + i + k].abs_diff(b[block + k])))
            .sum()
    }))
}

/// PCLMULQDQ: the product of polynomials over one bit.
fn carryless(a: u64, b: u64) -> u128 {
    (0..64)
        .filter(|i| b >> i & 1 != 0)
        .fold(0, |product, i| product ^ u128::from(a) << i)
}
