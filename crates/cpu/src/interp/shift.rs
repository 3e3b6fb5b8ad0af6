//! Shifts and rotates: ROL to SAR, SHLD, SHRD.
//!
//! Flags the manual leaves undefined (OF for counts above 1, AF) are set as
//! current processors do where that is known, and to 0 otherwise.
//!
//! **Spec:** SDM 2 "SAL/SAR/SHL/SHR", "RCL/RCR/ROL/ROR", "SHLD", "SHRD".

use super::operand::{Imm, Mem, Reg, Source, Target, operand_bytes};
use crate::core::Core;
use crate::exception::Exception;
use crate::flags::{self, CF, OF, put};
use crate::op::{Exec, Op};
use crate::state::reg;
use crate::word::Word;
use iced_x86::{Instruction, Mnemonic, OpKind};

type Done = Result<(), Exception>;

pub(super) fn select(instr: &Instruction) -> Option<Exec> {
    match instr.mnemonic() {
        Mnemonic::Shl | Mnemonic::Sal => shift::<Shl>(instr),
        Mnemonic::Shr => shift::<Shr>(instr),
        Mnemonic::Sar => shift::<Sar>(instr),
        Mnemonic::Rol => shift::<Rol>(instr),
        Mnemonic::Ror => shift::<Ror>(instr),
        Mnemonic::Rcl => shift::<Rcl>(instr),
        Mnemonic::Rcr => shift::<Rcr>(instr),
        Mnemonic::Shld => double::<Shld>(instr),
        Mnemonic::Shrd => double::<Shrd>(instr),
        _ => None,
    }
}

/// A shift by a count that is neither 0 nor above the masked range.
trait ShiftOp {
    fn apply<W: Word>(value: W, count: u32, flags: &mut u64) -> W;
}

/// The count as the processor uses it: five bits, six for quadwords.
fn masked<W: Word>(count: u64) -> u32 {
    (count & if W::BITS == 64 { 0x3f } else { 0x1f }) as u32
}

fn bit<W: Word>(value: W, n: u32) -> bool {
    value.zx() >> n & 1 != 0
}

fn top<W: Word>(value: W) -> bool {
    bit(value, W::BITS - 1)
}

struct Shl;
impl ShiftOp for Shl {
    fn apply<W: Word>(value: W, count: u32, flags: &mut u64) -> W {
        let wide = u128::from(value.zx()) << count;
        let result = W::low(wide as u64);
        let carry = wide >> W::BITS & 1 != 0;
        flags::logic(result, flags);
        put(flags, CF, carry);
        put(flags, OF, top(result) != carry);
        result
    }
}

struct Shr;
impl ShiftOp for Shr {
    fn apply<W: Word>(value: W, count: u32, flags: &mut u64) -> W {
        let result = W::low(value.zx().checked_shr(count).unwrap_or(0));
        let carry = value.zx().checked_shr(count - 1).unwrap_or(0) & 1 != 0;
        flags::logic(result, flags);
        put(flags, CF, carry);
        // For a count of 1 this is the old sign bit.
        put(flags, OF, top(result) != bit(result, W::BITS - 2));
        if count == 1 {
            put(flags, OF, top(value));
        }
        result
    }
}

struct Sar;
impl ShiftOp for Sar {
    fn apply<W: Word>(value: W, count: u32, flags: &mut u64) -> W {
        let signed = value.sx().cast_signed();
        let result = W::low((signed >> count.min(63)).cast_unsigned());
        let carry = signed >> (count - 1).min(63) & 1 != 0;
        flags::logic(result, flags);
        put(flags, CF, carry);
        result
    }
}

struct Rol;
impl ShiftOp for Rol {
    fn apply<W: Word>(value: W, count: u32, flags: &mut u64) -> W {
        let n = count % W::BITS;
        let wide = u128::from(value.zx());
        let result = W::low((wide << n | wide >> (W::BITS - n)) as u64);
        put(flags, CF, bit(result, 0));
        put(flags, OF, top(result) != bit(result, 0));
        result
    }
}

struct Ror;
impl ShiftOp for Ror {
    fn apply<W: Word>(value: W, count: u32, flags: &mut u64) -> W {
        let n = count % W::BITS;
        let wide = u128::from(value.zx());
        let result = W::low((wide >> n | wide << (W::BITS - n)) as u64);
        put(flags, CF, top(result));
        put(flags, OF, top(result) != bit(result, W::BITS - 2));
        result
    }
}

/// Rotates value and CF together, `BITS + 1` bits wide.
fn rotate_through<W: Word>(value: W, left: u32, flags: &mut u64) -> W {
    let width = W::BITS + 1;
    let wide = u128::from(value.zx()) | u128::from(*flags & CF) << W::BITS;
    let rotated = wide << left | wide >> (width - left);
    put(flags, CF, rotated >> W::BITS & 1 != 0);
    W::low(rotated as u64)
}

struct Rcl;
impl ShiftOp for Rcl {
    fn apply<W: Word>(value: W, count: u32, flags: &mut u64) -> W {
        let n = count % (W::BITS + 1);
        if n == 0 {
            return value;
        }
        let result = rotate_through(value, n, flags);
        let carry = *flags & CF != 0;
        put(flags, OF, top(result) != carry);
        result
    }
}

struct Rcr;
impl ShiftOp for Rcr {
    fn apply<W: Word>(value: W, count: u32, flags: &mut u64) -> W {
        let n = count % (W::BITS + 1);
        if n == 0 {
            return value;
        }
        let result = rotate_through(value, W::BITS + 1 - n, flags);
        put(flags, OF, top(result) != bit(result, W::BITS - 2));
        result
    }
}

/// A count of 0 changes no flag; a memory operand is still written.
fn shift_by<O: ShiftOp, W: Word, D: Target, S: Source>(c: &mut Core<'_>, op: &Op) -> Done {
    let count = masked::<W>(S::get::<u8>(c, op)?.zx());
    D::update::<W>(c, op, |c, value| {
        if count == 0 {
            value
        } else {
            O::apply(value, count, &mut c.cpu.flags)
        }
    })
}

fn shift<O: ShiftOp>(instr: &Instruction) -> Option<Exec> {
    Some(match operand_bytes(instr, 0) {
        1 => shift_at::<O, u8>(instr),
        2 => shift_at::<O, u16>(instr),
        4 => shift_at::<O, u32>(instr),
        _ => shift_at::<O, u64>(instr),
    })
}

fn shift_at<O: ShiftOp, W: Word>(instr: &Instruction) -> Exec {
    match (instr.op0_kind(), instr.op1_kind()) {
        (OpKind::Register, OpKind::Register) => shift_by::<O, W, Reg<0>, Reg<1>>,
        (OpKind::Register, _) => shift_by::<O, W, Reg<0>, Imm>,
        (_, OpKind::Register) => shift_by::<O, W, Mem, Reg<1>>,
        _ => shift_by::<O, W, Mem, Imm>,
    }
}

/// SHLD and SHRD: bits come in from a second operand.
trait DoubleOp {
    fn apply<W: Word>(value: W, filler: W, count: u32, flags: &mut u64) -> W;
}

struct Shld;
impl DoubleOp for Shld {
    fn apply<W: Word>(value: W, filler: W, count: u32, flags: &mut u64) -> W {
        let wide = u128::from(value.zx()) << W::BITS | u128::from(filler.zx());
        // Counts above 16 on words are undefined; rotating the pair is what many processors do.
        let shifted = wide.checked_shl(count).unwrap_or(0);
        let result = W::low((shifted >> W::BITS) as u64);
        finish(value, result, bit_of(wide, 2 * W::BITS - count), flags)
    }
}

struct Shrd;
impl DoubleOp for Shrd {
    fn apply<W: Word>(value: W, filler: W, count: u32, flags: &mut u64) -> W {
        let wide = u128::from(filler.zx()) << W::BITS | u128::from(value.zx());
        let result = W::low((wide >> count) as u64);
        finish(value, result, bit_of(wide, count - 1), flags)
    }
}

fn bit_of(wide: u128, n: u32) -> bool {
    wide.checked_shr(n).unwrap_or(0) & 1 != 0
}

fn finish<W: Word>(old: W, result: W, carry: bool, flags: &mut u64) -> W {
    flags::logic(result, flags);
    put(flags, CF, carry);
    put(flags, OF, top(old) != top(result));
    result
}

fn double_by<O: DoubleOp, W: Word, D: Target, const BY_CL: bool>(
    c: &mut Core<'_>,
    op: &Op,
) -> Done {
    let count = masked::<W>(if BY_CL { c.cpu.regs[reg::RCX] } else { op.imm });
    let filler = W::reg(&c.cpu.regs, op.r[1]);
    D::update::<W>(c, op, |c, value| {
        if count == 0 {
            value
        } else {
            O::apply(value, filler, count, &mut c.cpu.flags)
        }
    })
}

fn double<O: DoubleOp>(instr: &Instruction) -> Option<Exec> {
    Some(match operand_bytes(instr, 1) {
        2 => double_at::<O, u16>(instr),
        4 => double_at::<O, u32>(instr),
        _ => double_at::<O, u64>(instr),
    })
}

fn double_at<O: DoubleOp, W: Word>(instr: &Instruction) -> Exec {
    match (instr.op0_kind(), instr.op2_kind()) {
        (OpKind::Register, OpKind::Register) => double_by::<O, W, Reg<0>, true>,
        (OpKind::Register, _) => double_by::<O, W, Reg<0>, false>,
        (_, OpKind::Register) => double_by::<O, W, Mem, true>,
        _ => double_by::<O, W, Mem, false>,
    }
}
