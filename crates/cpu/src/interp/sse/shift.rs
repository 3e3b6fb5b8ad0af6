//! Packed shifts: one count for all elements, or one for each.
//!
//! **Spec:** SDM 2 "PSLLW/PSLLD/PSLLQ", "PSRAW/PSRAD/PSRAQ", "PSLLDQ", "VPSLLVW/VPSLLVD/VPSLLVQ".

use super::Done;
use super::lanes::Lane;
use super::operand::{ByForm, Form, by_form, by_immediate, lanes, low_quad};
use super::packed::{Packed, by_registers, packed_ops};
use crate::core::Core;
use crate::interp::mmx;
use crate::op::{Exec, Op};
use iced_x86::{Instruction, OpKind};
use std::marker::PhantomData;

pub(super) fn select(instr: &Instruction) -> Option<Exec> {
    uniform(instr).or_else(|| variable(instr))
}

packed_ops! {
    /// The count is the low quadword of the source, or the immediate.
    uniform(by_count, Elements):
    Psllw | Vpsllw = |a, b| u16::each(a, |x| count(b).and_then(|n| x.checked_shl(n)).unwrap_or(0));
    Pslld | Vpslld = |a, b| u32::each(a, |x| count(b).and_then(|n| x.checked_shl(n)).unwrap_or(0));
    Psllq | Vpsllq = |a, b| u64::each(a, |x| count(b).and_then(|n| x.checked_shl(n)).unwrap_or(0));
    Psrlw | Vpsrlw = |a, b| u16::each(a, |x| count(b).and_then(|n| x.checked_shr(n)).unwrap_or(0));
    Psrld | Vpsrld = |a, b| u32::each(a, |x| count(b).and_then(|n| x.checked_shr(n)).unwrap_or(0));
    Psrlq | Vpsrlq = |a, b| u64::each(a, |x| count(b).and_then(|n| x.checked_shr(n)).unwrap_or(0));
    Psraw | Vpsraw = |a, b| i16::each(a, |x| count(b).and_then(|n| x.checked_shr(n)).unwrap_or(x >> 15));
    Psrad | Vpsrad = |a, b| i32::each(a, |x| count(b).and_then(|n| x.checked_shr(n)).unwrap_or(x >> 31));
    Pslldq | Vpslldq = |a, b| bytes(b).and_then(|n| a.checked_shl(n)).unwrap_or(0);
    Psrldq | Vpsrldq = |a, b| bytes(b).and_then(|n| a.checked_shr(n)).unwrap_or(0);
}

/// Bits to shift by, if that many can be said at all.
fn count(source: u128) -> Option<u32> {
    u32::try_from(low_quad(source)).ok()
}

/// The same for a count of bytes.
fn bytes(source: u128) -> Option<u32> {
    count(source)?.checked_mul(8)
}

fn by_count<P: Packed>(instr: &Instruction) -> Option<Exec> {
    let last = instr.op_kind(instr.op_count() - 1);
    if mmx::is_named(instr) {
        mmx::binary::<P>(instr)
    } else if last == OpKind::Immediate8 {
        by_immediate::<Uniform<P>>(instr)
    } else {
        by_form::<Uniform<P>>(instr)
    }
}

/// A count in a register or in memory has 128 bits in all forms.
struct Uniform<P>(PhantomData<P>);

impl<P: Packed> ByForm for Uniform<P> {
    fn exec<S: Form>(c: &mut Core<'_>, op: &Op) -> Done {
        S::require(c)?;
        let count = if S::LANES == 1 {
            S::wide(c, op)?[0]
        } else {
            S::half(c, op)?
        };
        let a = S::first(c, op);
        S::put(c, op, lanes::<S>(|i| P::apply(a[i], count)));
        Ok(())
    }
}

packed_ops! { variable(by_registers, Elements):
    Vpsllvd = |a, b| u32::zip(a, b, |x, n| x.checked_shl(n).unwrap_or(0));
    Vpsrlvd = |a, b| u32::zip(a, b, |x, n| x.checked_shr(n).unwrap_or(0));
    Vpsravd = |a, b| i32::zip(a, b, |x, n| x >> n.cast_unsigned().min(31));
    Vpsllvq = |a, b| u64::zip(a, b, |x, n| if n < 64 { x << n } else { 0 });
    Vpsrlvq = |a, b| u64::zip(a, b, |x, n| if n < 64 { x >> n } else { 0 });
}
