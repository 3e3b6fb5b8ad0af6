//! Floating-point comparison: predicates that give masks, and orders that give flags.
//!
//! **Spec:** SDM 2 "CMPPS" with its table of predicates, "COMISS", "UCOMISS".

use super::Done;
use super::float::{Arithmetic, Packed, Scalar};
use super::format::{Double, Format, Single, is_nan, is_signaling};
use super::mxcsr::{Env, Mxcsr};
use super::operand::{ByForm, Form, by_form, low_quad};
use super::soft;
use crate::core::Core;
use crate::flags::{CF, PF, ZF, set_status};
use crate::op::{Exec, Op};
use crate::word::Word;
use iced_x86::{Instruction, Mnemonic as M};
use std::cmp::Ordering;
use std::marker::PhantomData;

pub(super) fn select(instr: &Instruction) -> Option<Exec> {
    match instr.mnemonic() {
        M::Cmpps => by_form::<Packed<Compare<7>, Single>>(instr),
        M::Cmppd => by_form::<Packed<Compare<7>, Double>>(instr),
        M::Cmpss => by_form::<Scalar<Compare<7>, Single>>(instr),
        M::Cmpsd => by_form::<Scalar<Compare<7>, Double>>(instr),
        M::Vcmpps => by_form::<Packed<Compare<31>, Single>>(instr),
        M::Vcmppd => by_form::<Packed<Compare<31>, Double>>(instr),
        M::Vcmpss => by_form::<Scalar<Compare<31>, Single>>(instr),
        M::Vcmpsd => by_form::<Scalar<Compare<31>, Double>>(instr),
        M::Ucomiss | M::Vucomiss => by_form::<Comi<Single, Signaling>>(instr),
        M::Ucomisd | M::Vucomisd => by_form::<Comi<Double, Signaling>>(instr),
        M::Comiss | M::Vcomiss => by_form::<Comi<Single, AnyNan>>(instr),
        M::Comisd | M::Vcomisd => by_form::<Comi<Double, AnyNan>>(instr),
        _ => None,
    }
}

const LESS: u8 = 1;
const EQUAL: u8 = 2;
const GREATER: u8 = 4;
const UNORDERED: u8 = 8;

/// For which orders each predicate holds: EQ, LT, LE, UNORD and their negations, then the same
/// with the other answer for NaNs.
const PREDICATES: [u8; 16] = [
    EQUAL,
    LESS,
    LESS | EQUAL,
    UNORDERED,
    LESS | GREATER | UNORDERED,
    EQUAL | GREATER | UNORDERED,
    GREATER | UNORDERED,
    LESS | EQUAL | GREATER,
    EQUAL | UNORDERED,
    LESS | UNORDERED,
    LESS | EQUAL | UNORDERED,
    0,
    LESS | GREATER,
    EQUAL | GREATER,
    GREATER,
    LESS | EQUAL | GREATER | UNORDERED,
];

/// The predicate is the immediate, of which legacy instructions look at fewer bits.
struct Compare<const MASK: u8>;

impl<const MASK: u8> Arithmetic for Compare<MASK> {
    fn apply<F: Format>(a: u64, b: u64, imm: u8, env: &mut Env) -> u64 {
        let predicate = imm & MASK;
        // Predicates about order also reject quiet NaNs; bit 4 turns that round.
        let about_order = matches!(predicate & 3, 1 | 2);
        let refuses = if about_order != (predicate & 0x10 != 0) {
            AnyNan::refuses::<F>
        } else {
            Signaling::refuses::<F>
        };
        if refuses(a) || refuses(b) {
            env.raise(Mxcsr::IE);
        }
        let order = match soft::compare::<F>(a, b, env) {
            Some(Ordering::Less) => LESS,
            Some(Ordering::Equal) => EQUAL,
            Some(Ordering::Greater) => GREATER,
            None => UNORDERED,
        };
        if PREDICATES[usize::from(predicate & 15)] & order != 0 {
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

impl<F: Format, R: Refusal> ByForm for Comi<F, R> {
    fn exec<S: Form>(c: &mut Core<'_>, op: &Op) -> Done {
        S::require(c)?;
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
