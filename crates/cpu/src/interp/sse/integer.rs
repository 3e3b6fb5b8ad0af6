//! Packed integers: arithmetic, comparison, logic, shifts.
//!
//! The bitwise instructions for floating-point types do the same as those for integers.
//!
//! **Spec:** SDM 1 "Intel SSE2 64-Bit and 128-Bit SIMD Integer Instructions",
//! "Intel SSE Logical Instructions".

use super::Done;
use super::lanes::Lane;
use super::operand::{FromSource, Source, by_source, low_quad};
use crate::core::Core;
use crate::op::{Exec, Op};
use iced_x86::{Instruction, Mnemonic};
use std::marker::PhantomData;

pub(super) fn select(instr: &Instruction) -> Option<Exec> {
    bitwise(instr)
        .or_else(|| arithmetic(instr))
        .or_else(|| shift(instr))
}

/// An operation on destination and source.
pub(super) trait Packed {
    fn apply(a: u128, b: u128) -> u128;
}

/// Its instruction.
pub(super) struct Binary<P>(PhantomData<P>);

impl<P: Packed> FromSource for Binary<P> {
    fn exec<S: Source>(c: &mut Core<'_>, op: &Op) -> Done {
        c.require_sse()?;
        let b = S::wide(c, op)?;
        c.set_xmm(op, P::apply(c.xmm(op, 0), b));
        Ok(())
    }
}

/// Defines operations, and the function that finds them by mnemonic.
macro_rules! packed_ops {
    ($(#[$doc:meta])* $select:ident: $($($name:ident)|+ = |$a:ident, $b:ident| $body:expr;)*) => {
        $(#[$doc])*
        fn $select(instr: &Instruction) -> Option<Exec> {
            $(packed_ops!(@type [$($name)|+] $a $b $body);)*
            match instr.mnemonic() {
                $($(Mnemonic::$name)|+ => by_source::<Binary<packed_ops!(@first $($name)|+)>>(instr),)*
                _ => None,
            }
        }
    };
    (@type [$first:ident $(| $more:ident)*] $a:ident $b:ident $body:expr) => {
        struct $first;
        impl Packed for $first {
            #[inline]
            fn apply($a: u128, $b: u128) -> u128 { $body }
        }
    };
    (@first $first:ident $(| $more:ident)*) => { $first };
}
pub(super) use packed_ops;

packed_ops! { bitwise:
    Pand | Andps | Andpd = |a, b| a & b;
    Pandn | Andnps | Andnpd = |a, b| !a & b;
    Por | Orps | Orpd = |a, b| a | b;
    Pxor | Xorps | Xorpd = |a, b| a ^ b;
}

packed_ops! {
    /// The averages round up: what the operands share, and half of where they differ.
    arithmetic:
    Paddb = |a, b| u8::zip(a, b, u8::wrapping_add);
    Paddw = |a, b| u16::zip(a, b, u16::wrapping_add);
    Paddd = |a, b| u32::zip(a, b, u32::wrapping_add);
    Paddq = |a, b| u64::zip(a, b, u64::wrapping_add);
    Psubb = |a, b| u8::zip(a, b, u8::wrapping_sub);
    Psubw = |a, b| u16::zip(a, b, u16::wrapping_sub);
    Psubd = |a, b| u32::zip(a, b, u32::wrapping_sub);
    Psubq = |a, b| u64::zip(a, b, u64::wrapping_sub);
    Paddsb = |a, b| i8::zip(a, b, i8::saturating_add);
    Paddsw = |a, b| i16::zip(a, b, i16::saturating_add);
    Paddusb = |a, b| u8::zip(a, b, u8::saturating_add);
    Paddusw = |a, b| u16::zip(a, b, u16::saturating_add);
    Psubsb = |a, b| i8::zip(a, b, i8::saturating_sub);
    Psubsw = |a, b| i16::zip(a, b, i16::saturating_sub);
    Psubusb = |a, b| u8::zip(a, b, u8::saturating_sub);
    Psubusw = |a, b| u16::zip(a, b, u16::saturating_sub);
    Pmullw = |a, b| i16::zip(a, b, i16::wrapping_mul);
    Pmulhw = |a, b| i16::zip(a, b, |x, y| high_half(i32::from(x) * i32::from(y)));
    Pmulhuw = |a, b| u16::zip(a, b, |x, y| ((u32::from(x) * u32::from(y)) >> 16) as u16);
    Pmuludq = |a, b| u64::zip(a, b, |x, y| (x & 0xffff_ffff) * (y & 0xffff_ffff));
    Pmaddwd = |a, b| multiply_and_add(a, b);
    Psadbw = |a, b| sum_of_differences(a, b);
    Pavgb = |a, b| u8::zip(a, b, |x, y| (x | y) - ((x ^ y) >> 1));
    Pavgw = |a, b| u16::zip(a, b, |x, y| (x | y) - ((x ^ y) >> 1));
    Pminub = |a, b| u8::zip(a, b, u8::min);
    Pmaxub = |a, b| u8::zip(a, b, u8::max);
    Pminsw = |a, b| i16::zip(a, b, i16::min);
    Pmaxsw = |a, b| i16::zip(a, b, i16::max);
    Pcmpeqb = |a, b| u8::zip(a, b, |x, y| if x == y { u8::MAX } else { 0 });
    Pcmpeqw = |a, b| u16::zip(a, b, |x, y| if x == y { u16::MAX } else { 0 });
    Pcmpeqd = |a, b| u32::zip(a, b, |x, y| if x == y { u32::MAX } else { 0 });
    Pcmpgtb = |a, b| i8::zip(a, b, |x, y| if x > y { -1 } else { 0 });
    Pcmpgtw = |a, b| i16::zip(a, b, |x, y| if x > y { -1 } else { 0 });
    Pcmpgtd = |a, b| i32::zip(a, b, |x, y| if x > y { -1 } else { 0 });
}

/// Bits 31:16.
const fn high_half(product: i32) -> i16 {
    (product >> 16) as i16
}

/// PMADDWD. Only −32768² twice overflows; the sum then wraps.
fn multiply_and_add(a: u128, b: u128) -> u128 {
    let (a, b) = (i16::split(a), i16::split(b));
    let product = |i: usize| i32::from(a[i]) * i32::from(b[i]);
    i32::join(std::array::from_fn(|i| {
        product(2 * i).wrapping_add(product(2 * i + 1))
    }))
}

/// PSADBW: one sum per quadword.
fn sum_of_differences(a: u128, b: u128) -> u128 {
    let (a, b) = (u8::split(a), u8::split(b));
    let sum = |from: usize| {
        (from..from + 8)
            .map(|i| u64::from(a[i].abs_diff(b[i])))
            .sum()
    };
    u64::join([sum(0), sum(8)])
}

packed_ops! {
    /// Shifts take one count for all elements: the low quadword of the source, or the immediate.
    shift:
    Psllw = |a, b| u16::zip(a, 0, |x, _| count(b).and_then(|n| x.checked_shl(n)).unwrap_or(0));
    Pslld = |a, b| u32::zip(a, 0, |x, _| count(b).and_then(|n| x.checked_shl(n)).unwrap_or(0));
    Psllq = |a, b| u64::zip(a, 0, |x, _| count(b).and_then(|n| x.checked_shl(n)).unwrap_or(0));
    Psrlw = |a, b| u16::zip(a, 0, |x, _| count(b).and_then(|n| x.checked_shr(n)).unwrap_or(0));
    Psrld = |a, b| u32::zip(a, 0, |x, _| count(b).and_then(|n| x.checked_shr(n)).unwrap_or(0));
    Psrlq = |a, b| u64::zip(a, 0, |x, _| count(b).and_then(|n| x.checked_shr(n)).unwrap_or(0));
    Psraw = |a, b| i16::zip(a, 0, |x, _| count(b).and_then(|n| x.checked_shr(n)).unwrap_or(x >> 15));
    Psrad = |a, b| i32::zip(a, 0, |x, _| count(b).and_then(|n| x.checked_shr(n)).unwrap_or(x >> 31));
    Pslldq = |a, b| bytes(b).and_then(|n| a.checked_shl(n)).unwrap_or(0);
    Psrldq = |a, b| bytes(b).and_then(|n| a.checked_shr(n)).unwrap_or(0);
}

/// Bits to shift by, if that many can be said at all.
fn count(source: u128) -> Option<u32> {
    u32::try_from(low_quad(source)).ok()
}

/// The same for a count of bytes.
fn bytes(source: u128) -> Option<u32> {
    count(source)?.checked_mul(8)
}
