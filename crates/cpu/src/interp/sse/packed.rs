//! Operations on two packed values: one definition for MMX, XMM and YMM registers.
//!
//! [`packed_ops!`] names an operation after its legacy mnemonic, lists the mnemonics that
//! execute it, and makes the function that finds it.
//!
//! **Spec:** SDM 2, the "Operation" sections of packed instructions.

use super::Done;
use super::operand::{ByForm, Form, by_form, lanes, low_quad};
use crate::core::Core;
use crate::interp::mmx;
use crate::op::{Exec, Op};
use iced_x86::Instruction;
use std::marker::PhantomData;

/// How the 64-bit form follows from the 128-bit one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mmx {
    /// Element by element: the low half of the result.
    Elements,
    /// Elements of one operand are combined: both operands side by side are one wide operand.
    Joined,
    /// The second operand counts elements of the first, modulo their number.
    Repeated,
    /// What the wide form takes from the high halves are the high halves of the low ones.
    HighHalf,
}

/// An operation on first and second source.
pub(in crate::interp) trait Packed {
    /// In one 128-bit lane.
    fn apply(a: u128, b: u128) -> u128;
    /// On MMX registers.
    fn apply_64(a: u64, b: u64) -> u64;
}

/// The handler of `P` for the registers an instruction names.
pub(super) fn by_registers<P: Packed>(instr: &Instruction) -> Option<Exec> {
    if mmx::is_named(instr) {
        mmx::binary::<P>(instr)
    } else {
        by_form::<Binary<P>>(instr)
    }
}

/// An instruction that does `P` in every lane.
struct Binary<P>(PhantomData<P>);

impl<P: Packed> ByForm for Binary<P> {
    fn exec<S: Form>(c: &mut Core<'_>, op: &Op) -> Done {
        S::require(c)?;
        let (a, b) = (S::first(c, op), S::wide(c, op)?);
        S::put(c, op, lanes::<S>(|i| P::apply(a[i], b[i])));
        Ok(())
    }
}

/// The 64-bit form of `f`.
pub(super) fn narrow(how: Mmx, f: fn(u128, u128) -> u128, a: u64, b: u64) -> u64 {
    let (a, b) = (u128::from(a), u128::from(b));
    match how {
        Mmx::Elements => low_quad(f(a, b)),
        Mmx::Joined => low_quad(f(a | b << 64, 0)),
        Mmx::Repeated => low_quad(f(a | a << 64, b)),
        Mmx::HighHalf => low_quad(f(a << 32, b << 32)),
    }
}

/// Defines operations, and the function that finds them by mnemonic.
macro_rules! packed_ops {
    ($(#[$doc:meta])* $vis:vis $select:ident($by:path, $mmx:ident): $($first:ident $(| $more:ident)* = |$a:ident, $b:ident| $body:expr;)*) => {
        $(#[$doc])*
        $vis fn $select(instr: &iced_x86::Instruction) -> Option<crate::op::Exec> {
            use $by as by;
            $(
                struct $first;
                impl super::packed::Packed for $first {
                    fn apply($a: u128, $b: u128) -> u128 { $body }
                    fn apply_64(a: u64, b: u64) -> u64 {
                        super::packed::narrow(super::packed::Mmx::$mmx, Self::apply, a, b)
                    }
                }
            )*
            match instr.mnemonic() {
                $(iced_x86::Mnemonic::$first $(| iced_x86::Mnemonic::$more)* => by::<$first>(instr),)*
                _ => None,
            }
        }
    };
}
pub(super) use packed_ops;
