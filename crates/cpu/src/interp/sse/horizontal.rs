//! Floating-point operations across elements: sums of neighbours, alternating sums, dot products.
//!
//! **Spec:** SDM 2 "HADDPS", "HSUBPS", "ADDSUBPS", "DPPS", "DPPD".

use super::Done;
use super::float::zip;
use super::format::{Double, Format, Single};
use super::mxcsr::Env;
use super::operand::{ByForm, Form, by_form, lanes};
use super::soft;
use crate::core::Core;
use crate::op::{Exec, Op};
use crate::word::Word;
use iced_x86::{Instruction, Mnemonic as M};
use std::marker::PhantomData;

pub(super) fn select(instr: &Instruction) -> Option<Exec> {
    match instr.mnemonic() {
        M::Haddps | M::Vhaddps => by_form::<Across<Hadd, Single>>(instr),
        M::Haddpd | M::Vhaddpd => by_form::<Across<Hadd, Double>>(instr),
        M::Hsubps | M::Vhsubps => by_form::<Across<Hsub, Single>>(instr),
        M::Hsubpd | M::Vhsubpd => by_form::<Across<Hsub, Double>>(instr),
        M::Addsubps | M::Vaddsubps => by_form::<Across<AddSub, Single>>(instr),
        M::Addsubpd | M::Vaddsubpd => by_form::<Across<AddSub, Double>>(instr),
        M::Dpps | M::Vdpps => by_form::<Across<Dot, Single>>(instr),
        M::Dppd | M::Vdppd => by_form::<Across<Dot, Double>>(instr),
        _ => None,
    }
}

/// An operation on one lane of both sources.
trait LaneOp {
    fn apply<F: Format>(a: u128, b: u128, imm: u8, env: &mut Env) -> u128;
}

struct Across<O, F>(PhantomData<(O, F)>);

impl<O: LaneOp, F: Format> ByForm for Across<O, F> {
    fn exec<S: Form>(c: &mut Core<'_>, op: &Op) -> Done {
        S::require(c)?;
        let (a, b) = (S::first(c, op), S::wide(c, op)?);
        let mut env = c.env();
        let imm = u8::low(op.imm);
        let result = lanes::<S>(|i| O::apply::<F>(a[i], b[i], imm, &mut env));
        c.commit(&env)?;
        S::put(c, op, result);
        Ok(())
    }
}

/// Elements of a lane.
const fn count<F: Format>() -> usize {
    128 / <F::Word as Word>::BITS as usize
}

/// Element `i` of a lane.
fn element<F: Format>(lane: u128, i: usize) -> u64 {
    F::Word::low((lane >> (i * <F::Word as Word>::BITS as usize)) as u64).zx()
}

/// `f` of neighbours: those of `a` first, then those of `b`.
fn neighbours<F: Format>(a: u128, b: u128, mut f: impl FnMut(u64, u64) -> u64) -> u128 {
    let half = count::<F>() / 2;
    zip::<F>(0, 0, |i, _, _| {
        let (lane, at) = if i < half {
            (a, 2 * i)
        } else {
            (b, 2 * (i - half))
        };
        f(element::<F>(lane, at), element::<F>(lane, at + 1))
    })
}

struct Hadd;
impl LaneOp for Hadd {
    fn apply<F: Format>(a: u128, b: u128, _: u8, env: &mut Env) -> u128 {
        neighbours::<F>(a, b, |x, y| soft::add::<F>(x, y, env))
    }
}

struct Hsub;
impl LaneOp for Hsub {
    fn apply<F: Format>(a: u128, b: u128, _: u8, env: &mut Env) -> u128 {
        neighbours::<F>(a, b, |x, y| soft::sub::<F>(x, y, env))
    }
}

/// Even elements are subtracted, odd ones added.
struct AddSub;
impl LaneOp for AddSub {
    fn apply<F: Format>(a: u128, b: u128, _: u8, env: &mut Env) -> u128 {
        zip::<F>(a, b, |i, x, y| {
            if i % 2 == 0 {
                soft::sub::<F>(x, y, env)
            } else {
                soft::add::<F>(x, y, env)
            }
        })
    }
}

/// Bits 7:4 of the immediate choose the products, bits 3:0 where their sum goes; the rest is 0.
///
/// Every step rounds; an unmasked exception of one step keeps the following from happening.
struct Dot;
impl LaneOp for Dot {
    fn apply<F: Format>(a: u128, b: u128, imm: u8, env: &mut Env) -> u128 {
        let product = |i: usize, env: &mut Env| {
            if imm >> (4 + i) & 1 != 0 {
                soft::mul::<F>(element::<F>(a, i), element::<F>(b, i), env)
            } else {
                0
            }
        };
        let mut products = [0; 4];
        for (i, p) in products.iter_mut().enumerate().take(count::<F>()) {
            *p = product(i, env);
        }
        if env.traps() {
            return 0;
        }
        let mut total = soft::add::<F>(products[0], products[1], env);
        if count::<F>() == 4 {
            let upper = soft::add::<F>(products[2], products[3], env);
            if env.traps() {
                return 0;
            }
            total = soft::add::<F>(total, upper, env);
        }
        zip::<F>(0, 0, |i, _, _| if imm >> i & 1 != 0 { total } else { 0 })
    }
}
