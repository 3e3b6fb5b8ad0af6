//! Source operands of SSE instructions as types, and the alignment of memory.
//!
//! **Spec:** SDM 2 "Exceptions Type" classes of SSE instructions, SDM 1 "Alignment
//! of Memory Operands" of SSE.

use crate::core::Core;
use crate::exception::Exception;
use crate::op::{Exec, Op};
use crate::word::Word;
use iced_x86::{Instruction, OpKind};
use x86::fault::Access;

/// What an instruction reads besides its destination register.
pub(super) trait Source {
    /// All 16 bytes; memory must be aligned.
    fn wide(c: &mut Core<'_>, op: &Op) -> Result<u128, Exception>;

    /// The low bytes only; memory at any alignment.
    fn low<W: Word>(c: &mut Core<'_>, op: &Op) -> Result<W, Exception>;
}

/// Operand 1, an XMM register.
pub(super) struct Xmm;

impl Source for Xmm {
    #[inline]
    fn wide(c: &mut Core<'_>, op: &Op) -> Result<u128, Exception> {
        Ok(c.xmm(op, 1))
    }

    #[inline]
    fn low<W: Word>(c: &mut Core<'_>, op: &Op) -> Result<W, Exception> {
        Ok(W::low(low_quad(c.xmm(op, 1))))
    }
}

/// Operand 1, a general register.
pub(super) struct Gpr;

impl Source for Gpr {
    #[inline]
    fn wide(c: &mut Core<'_>, op: &Op) -> Result<u128, Exception> {
        Self::low::<u64>(c, op).map(u128::from)
    }

    #[inline]
    fn low<W: Word>(c: &mut Core<'_>, op: &Op) -> Result<W, Exception> {
        Ok(W::reg(&c.cpu.regs, op.r[1]))
    }
}

/// The memory operand.
pub(super) struct Mem;

impl Source for Mem {
    #[inline]
    fn wide(c: &mut Core<'_>, op: &Op) -> Result<u128, Exception> {
        c.require_aligned(op, 16, Access::Read)?;
        c.load_128(op)
    }

    #[inline]
    fn low<W: Word>(c: &mut Core<'_>, op: &Op) -> Result<W, Exception> {
        c.load(op)
    }
}

/// The immediate byte.
pub(super) struct Imm;

impl Source for Imm {
    #[inline]
    fn wide(_: &mut Core<'_>, op: &Op) -> Result<u128, Exception> {
        Ok(u128::from(op.imm & 0xff))
    }

    #[inline]
    fn low<W: Word>(_: &mut Core<'_>, op: &Op) -> Result<W, Exception> {
        Ok(W::low(op.imm & 0xff))
    }
}

/// A handler generic over its source.
pub(super) trait FromSource {
    fn exec<S: Source>(c: &mut Core<'_>, op: &Op) -> Result<(), Exception>;
}

/// The handler `H` for the kind of operand 1.
pub(super) fn by_source<H: FromSource>(instr: &Instruction) -> Option<Exec> {
    Some(match instr.op1_kind() {
        OpKind::Register if instr.op1_register().is_xmm() => H::exec::<Xmm>,
        OpKind::Register => H::exec::<Gpr>,
        OpKind::Memory => H::exec::<Mem>,
        OpKind::Immediate8 => H::exec::<Imm>,
        _ => return None,
    })
}

/// The low quadword.
#[inline]
pub(super) const fn low_quad(value: u128) -> u64 {
    (value & 0xffff_ffff_ffff_ffff) as u64
}

/// The high quadword.
#[inline]
pub(super) const fn high_quad(value: u128) -> u64 {
    (value >> 64) as u64
}

/// `value` with its low `W` replaced.
#[inline]
pub(super) fn with_low<W: Word>(value: u128, low: W) -> u128 {
    (value >> W::BITS) << W::BITS | u128::from(low.zx())
}

impl Core<'_> {
    /// The XMM register that is operand `i`.
    #[inline]
    pub(super) const fn xmm(&self, op: &Op, i: usize) -> u128 {
        self.cpu.sse.xmm[op.r[i] as usize]
    }

    /// Writes the XMM register that is operand 0.
    #[inline]
    pub(super) const fn set_xmm(&mut self, op: &Op, value: u128) {
        self.cpu.sse.xmm[op.r[0] as usize] = value;
    }

    /// #GP(0) if the linear address of the memory operand is no multiple of 16.
    #[inline]
    pub(super) fn require_aligned(
        &self,
        op: &Op,
        len: u64,
        access: Access,
    ) -> Result<(), Exception> {
        let va = self.linear(op.seg, self.ea(op), len, access)?;
        if va.get().is_multiple_of(16) {
            Ok(())
        } else {
            Err(Exception::Gp(0))
        }
    }
}
