//! Single bits and bit scans: BT, BTS, BTR, BTC, BSF, BSR, POPCNT.
//!
//! TZCNT and LZCNT are in `bmi`.
//!
//! **Spec:** SDM 1 "Bit and Byte Instructions".

use super::operand::{Binary, Mem, Reg, Source, Target, binary, operand_bytes};
use crate::core::Core;
use crate::exception::Exception;
use crate::flags::{self, CF, ZF, put};
use crate::op::{Exec, Op};
use crate::word::Word;
use iced_x86::{Instruction, Mnemonic, OpKind};
use x86::fault::Access;

type Done = Result<(), Exception>;

pub(super) fn select(instr: &Instruction) -> Option<Exec> {
    match instr.mnemonic() {
        Mnemonic::Bt => bit_test::<Test>(instr),
        Mnemonic::Bts => bit_test::<Set>(instr),
        Mnemonic::Btr => bit_test::<Reset>(instr),
        Mnemonic::Btc => bit_test::<Complement>(instr),
        Mnemonic::Bsf => binary::<Bsf>(instr),
        Mnemonic::Bsr => binary::<Bsr>(instr),
        Mnemonic::Popcnt => binary::<Popcnt>(instr),
        _ => None,
    }
}

trait BitOp {
    const WRITES: bool;
    fn apply(value: u64, bit: u64) -> u64;
}

macro_rules! bit_ops {
    ($($name:ident, writes: $writes:literal, |$v:ident, $b:ident| $body:expr;)*) => { $(
        struct $name;
        impl BitOp for $name {
            const WRITES: bool = $writes;
            fn apply($v: u64, $b: u64) -> u64 { $body }
        }
    )* };
}

bit_ops! {
    Test, writes: false, |value, _bit| value;
    Set, writes: true, |value, bit| value | bit;
    Reset, writes: true, |value, bit| value & !bit;
    Complement, writes: true, |value, bit| value ^ bit;
}

/// The bit offset is taken modulo the operand width: registers, and immediates everywhere.
fn in_place<O: BitOp, W: Word, D: Target, S: Source>(c: &mut Core<'_>, op: &Op) -> Done {
    let bit = 1 << (S::get::<W>(c, op)?.zx() % u64::from(W::BITS));
    let mut carry = false;
    if O::WRITES {
        D::update::<W>(c, op, |_, value| {
            carry = value.zx() & bit != 0;
            W::low(O::apply(value.zx(), bit))
        })?;
    } else {
        carry = D::get::<W>(c, op)?.zx() & bit != 0;
    }
    put(&mut c.cpu.flags, CF, carry);
    Ok(())
}

/// A memory operand with the offset in a register is a bit string: the offset is
/// signed and reaches anywhere around the address.
fn in_string<O: BitOp, W: Word>(c: &mut Core<'_>, op: &Op) -> Done {
    let offset = W::reg(&c.cpu.regs, op.r[1]).sx().cast_signed();
    let words = offset.div_euclid(i64::from(W::BITS));
    let bit = 1 << offset.rem_euclid(i64::from(W::BITS));
    let at = c
        .ea(op)
        .wrapping_add((words * (i64::from(W::BITS) / 8)).cast_unsigned())
        & op.addr_mask;
    let access = if O::WRITES {
        Access::Write
    } else {
        Access::Read
    };
    let va = c.linear(op.seg, at, W::BYTES, access)?;
    let place = c.place(va, W::BYTES, access, c.explicit())?;
    let value = c.get::<W>(place).zx();
    if O::WRITES {
        c.put(place, W::low(O::apply(value, bit)));
    }
    put(&mut c.cpu.flags, CF, value & bit != 0);
    Ok(())
}

fn bit_test<O: BitOp>(instr: &Instruction) -> Option<Exec> {
    Some(match operand_bytes(instr, 0) {
        2 => bit_test_at::<O, u16>(instr),
        4 => bit_test_at::<O, u32>(instr),
        _ => bit_test_at::<O, u64>(instr),
    })
}

fn bit_test_at<O: BitOp, W: Word>(instr: &Instruction) -> Exec {
    use super::operand::Imm;
    match (instr.op0_kind(), instr.op1_kind()) {
        (OpKind::Register, OpKind::Register) => in_place::<O, W, Reg<0>, Reg<1>>,
        (OpKind::Register, _) => in_place::<O, W, Reg<0>, Imm>,
        (_, OpKind::Register) => in_string::<O, W>,
        _ => in_place::<O, W, Mem, Imm>,
    }
}

/// A source of 0 sets ZF and leaves the target, as processors do though the manual
/// calls it undefined. The other status flags, undefined, are those of the result's test.
fn scan<W: Word, D: Target, S: Source>(c: &mut Core<'_>, op: &Op, find: fn(u64) -> u32) -> Done {
    let value = S::get::<W>(c, op)?;
    flags::logic(value, &mut c.cpu.flags);
    if value.zx() == 0 {
        return Ok(());
    }
    D::set(c, op, W::low(u64::from(find(value.zx()))))
}

struct Bsf;
impl Binary for Bsf {
    fn exec<W: Word, D: Target, S: Source>(c: &mut Core<'_>, op: &Op) -> Done {
        scan::<W, D, S>(c, op, u64::trailing_zeros)
    }
}

struct Bsr;
impl Binary for Bsr {
    fn exec<W: Word, D: Target, S: Source>(c: &mut Core<'_>, op: &Op) -> Done {
        scan::<W, D, S>(c, op, |v| 63 - v.leading_zeros())
    }
}

struct Popcnt;
impl Binary for Popcnt {
    fn exec<W: Word, D: Target, S: Source>(c: &mut Core<'_>, op: &Op) -> Done {
        let value = S::get::<W>(c, op)?.zx();
        flags::set_status(&mut c.cpu.flags, if value == 0 { ZF } else { 0 });
        D::set(c, op, W::low(u64::from(value.count_ones())))
    }
}
