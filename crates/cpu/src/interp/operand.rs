//! Operand kinds as types, so that a handler is written once and specialised for each.

use crate::core::Core;
use crate::exception::Exception;
use crate::op::{Exec, Op};
use crate::word::Word;
use iced_x86::{Instruction, OpKind};

/// Something an instruction reads.
pub(crate) trait Source {
    fn get<W: Word>(c: &mut Core<'_>, op: &Op) -> Result<W, Exception>;
}

/// Something an instruction writes.
pub(crate) trait Target: Source {
    fn set<W: Word>(c: &mut Core<'_>, op: &Op, value: W) -> Result<(), Exception>;

    /// Replaces the operand by `f` of it; a memory operand needs write permission from the start.
    fn update<W: Word>(
        c: &mut Core<'_>,
        op: &Op,
        f: impl FnOnce(&mut Core<'_>, W) -> W,
    ) -> Result<(), Exception>;
}

/// Operand number `N`, a general register.
pub(crate) struct Reg<const N: usize>;

impl<const N: usize> Source for Reg<N> {
    #[inline]
    fn get<W: Word>(c: &mut Core<'_>, op: &Op) -> Result<W, Exception> {
        Ok(W::reg(&c.cpu.regs, op.r[N]))
    }
}

impl<const N: usize> Target for Reg<N> {
    #[inline]
    fn set<W: Word>(c: &mut Core<'_>, op: &Op, value: W) -> Result<(), Exception> {
        W::set_reg(&mut c.cpu.regs, op.r[N], value);
        Ok(())
    }

    #[inline]
    fn update<W: Word>(
        c: &mut Core<'_>,
        op: &Op,
        f: impl FnOnce(&mut Core<'_>, W) -> W,
    ) -> Result<(), Exception> {
        let old = W::reg(&c.cpu.regs, op.r[N]);
        let new = f(c, old);
        W::set_reg(&mut c.cpu.regs, op.r[N], new);
        Ok(())
    }
}

/// The memory operand.
pub(crate) struct Mem;

impl Source for Mem {
    #[inline]
    fn get<W: Word>(c: &mut Core<'_>, op: &Op) -> Result<W, Exception> {
        c.load(op)
    }
}

impl Target for Mem {
    #[inline]
    fn set<W: Word>(c: &mut Core<'_>, op: &Op, value: W) -> Result<(), Exception> {
        c.store(op, value)
    }

    #[inline]
    fn update<W: Word>(
        c: &mut Core<'_>,
        op: &Op,
        f: impl FnOnce(&mut Core<'_>, W) -> W,
    ) -> Result<(), Exception> {
        let place = c.place_rmw::<W>(op)?;
        let old = c.get(place);
        let new = f(c, old);
        c.put(place, new);
        Ok(())
    }
}

/// The immediate.
pub(crate) struct Imm;

impl Source for Imm {
    #[inline]
    fn get<W: Word>(_: &mut Core<'_>, op: &Op) -> Result<W, Exception> {
        Ok(W::low(op.imm))
    }
}

/// A handler generic over width, target and source.
pub(crate) trait Binary {
    fn exec<W: Word, D: Target, S: Source>(c: &mut Core<'_>, op: &Op) -> Result<(), Exception>;
}

/// A handler generic over width and target.
pub(crate) trait Unary {
    fn exec<W: Word, D: Target>(c: &mut Core<'_>, op: &Op) -> Result<(), Exception>;
}

/// Width of operand `i` in bytes.
pub(crate) fn operand_bytes(instr: &Instruction, i: u32) -> usize {
    match instr.op_kind(i) {
        OpKind::Register => instr.op_register(i).size(),
        _ => instr.memory_size().size(),
    }
}

/// The handler `B` for the kinds of operands 0 and 1 and the width of operand 0.
pub(crate) fn binary<B: Binary>(instr: &Instruction) -> Option<Exec> {
    Some(match operand_bytes(instr, 0) {
        1 => binary_at::<B, u8>(instr)?,
        2 => binary_at::<B, u16>(instr)?,
        4 => binary_at::<B, u32>(instr)?,
        8 => binary_at::<B, u64>(instr)?,
        _ => return None,
    })
}

fn binary_at<B: Binary, W: Word>(instr: &Instruction) -> Option<Exec> {
    Some(match (instr.op0_kind(), instr.op1_kind()) {
        (OpKind::Register, OpKind::Register) => B::exec::<W, Reg<0>, Reg<1>>,
        (OpKind::Register, OpKind::Memory) => B::exec::<W, Reg<0>, Mem>,
        (OpKind::Memory, OpKind::Register) => B::exec::<W, Mem, Reg<1>>,
        (OpKind::Register, _) => B::exec::<W, Reg<0>, Imm>,
        (OpKind::Memory, _) => B::exec::<W, Mem, Imm>,
        _ => return None,
    })
}

/// The handler `U` for the kind and width of operand 0.
pub(crate) fn unary<U: Unary>(instr: &Instruction) -> Option<Exec> {
    Some(match (instr.op0_kind(), operand_bytes(instr, 0)) {
        (OpKind::Register, 1) => U::exec::<u8, Reg<0>>,
        (OpKind::Register, 2) => U::exec::<u16, Reg<0>>,
        (OpKind::Register, 4) => U::exec::<u32, Reg<0>>,
        (OpKind::Register, 8) => U::exec::<u64, Reg<0>>,
        (OpKind::Memory, 1) => U::exec::<u8, Mem>,
        (OpKind::Memory, 2) => U::exec::<u16, Mem>,
        (OpKind::Memory, 4) => U::exec::<u32, Mem>,
        (OpKind::Memory, 8) => U::exec::<u64, Mem>,
        _ => return None,
    })
}
