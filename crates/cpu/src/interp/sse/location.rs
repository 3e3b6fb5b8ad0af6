//! Where the second source of an SSE or AVX instruction is: register, memory, immediate.
//!
//! **Spec:** SDM 2 "Exceptions Type" classes of SSE and AVX instructions; SDM 1 "Alignment of
//! Memory Operands" of SSE.

use super::operand::{Alignment, Encoding, Vector, low_quad};
use crate::core::Core;
use crate::exception::Exception;
use crate::op::Op;
use crate::word::Word;
use x86::fault::Access;

/// Where the second source is.
pub(super) trait Location {
    fn wide<E: Encoding>(c: &mut Core<'_>, op: &Op) -> Result<Vector, Exception>;
    fn half<E: Encoding>(c: &mut Core<'_>, op: &Op) -> Result<u128, Exception>;
    fn low<W: Word>(c: &mut Core<'_>, op: &Op) -> Result<W, Exception>;

    /// Only registers have more than one element.
    fn single(c: &mut Core<'_>, op: &Op, _: usize) -> Result<u32, Exception> {
        Self::low(c, op)
    }
}

/// Operand `N`, an XMM or YMM register.
pub(super) struct Xmm<const N: usize>;

impl<const N: usize> Location for Xmm<N> {
    #[inline]
    fn wide<E: Encoding>(c: &mut Core<'_>, op: &Op) -> Result<Vector, Exception> {
        Ok(c.vector::<E>(op, N))
    }

    #[inline]
    fn half<E: Encoding>(c: &mut Core<'_>, op: &Op) -> Result<u128, Exception> {
        let value = c.xmm(op, N);
        Ok(if E::LANES == 1 {
            u128::from(low_quad(value))
        } else {
            value
        })
    }

    #[inline]
    fn low<W: Word>(c: &mut Core<'_>, op: &Op) -> Result<W, Exception> {
        Ok(W::low(low_quad(c.xmm(op, N))))
    }

    #[inline]
    fn single(c: &mut Core<'_>, op: &Op, i: usize) -> Result<u32, Exception> {
        Ok((c.xmm(op, N) >> (32 * i)) as u32)
    }
}

/// Operand `N`, a general register.
pub(super) struct Gpr<const N: usize>;

impl<const N: usize> Location for Gpr<N> {
    #[inline]
    fn wide<E: Encoding>(c: &mut Core<'_>, op: &Op) -> Result<Vector, Exception> {
        Ok([Self::half::<E>(c, op)?, 0])
    }

    #[inline]
    fn half<E: Encoding>(c: &mut Core<'_>, op: &Op) -> Result<u128, Exception> {
        Self::low::<u64>(c, op).map(u128::from)
    }

    #[inline]
    fn low<W: Word>(c: &mut Core<'_>, op: &Op) -> Result<W, Exception> {
        Ok(W::reg(&c.cpu.regs, op.r[N]))
    }
}

/// The memory operand.
pub(super) struct Mem;

impl Location for Mem {
    fn wide<E: Encoding>(c: &mut Core<'_>, op: &Op) -> Result<Vector, Exception> {
        if E::ALIGNMENT == Alignment::Natural {
            c.require_aligned(op, 16, Access::Read)?;
        }
        c.load_vector::<E>(op)
    }

    fn half<E: Encoding>(c: &mut Core<'_>, op: &Op) -> Result<u128, Exception> {
        if E::LANES == 1 {
            c.load::<u64>(op).map(u128::from)
        } else {
            c.load_128(op)
        }
    }

    fn low<W: Word>(c: &mut Core<'_>, op: &Op) -> Result<W, Exception> {
        c.load(op)
    }
}

/// The immediate byte, as the count of a shift.
pub(super) struct Imm;

impl Location for Imm {
    #[inline]
    fn wide<E: Encoding>(_: &mut Core<'_>, op: &Op) -> Result<Vector, Exception> {
        Ok([u128::from(op.imm & 0xff); 2])
    }

    #[inline]
    fn half<E: Encoding>(_: &mut Core<'_>, op: &Op) -> Result<u128, Exception> {
        Ok(u128::from(op.imm & 0xff))
    }

    #[inline]
    fn low<W: Word>(_: &mut Core<'_>, op: &Op) -> Result<W, Exception> {
        Ok(W::low(op.imm & 0xff))
    }
}
