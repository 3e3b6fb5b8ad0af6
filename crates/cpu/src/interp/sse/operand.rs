//! The forms of SSE and AVX instructions as types: where operands are, and what is written.
//!
//! An operation is written once, over a [`Form`]. A legacy instruction overwrites its first
//! source, wants 16-byte memory operands aligned, and leaves the upper half of the YMM register
//! alone. A VEX instruction names its destination apart, takes memory at any alignment, and
//! clears what lies above its result. 256-bit forms mostly do the same in each 128-bit lane.
//!
//! **Spec:** SDM 2 "Exceptions Type" classes of SSE and AVX instructions, "The VEX Prefix";
//! SDM 1 "Alignment of Memory Operands" of SSE, "Programming with Intel AVX, FMA, and Intel AVX2".

use super::Done;
use super::location::{Gpr, Imm, Location, Mem, Xmm};
use crate::core::Core;
use crate::exception::Exception;
use crate::op::{Exec, Op};
use crate::word::Word;
use iced_x86::{EncodingKind, Instruction, OpKind};
use std::marker::PhantomData;
use x86::fault::Access;

/// A register as its two 128-bit lanes; 128-bit forms leave the second 0.
pub(in crate::interp) type Vector = [u128; 2];

/// What an instruction reads and writes.
pub(super) trait Form {
    /// 128-bit lanes an operand has.
    const LANES: usize;

    /// #UD or #NM unless the operating system lets the instruction run.
    fn require(c: &Core<'_>) -> Done;

    /// Operand `i`, a register.
    fn register(c: &Core<'_>, op: &Op, i: usize) -> Vector;

    /// The first source, a register.
    fn first(c: &Core<'_>, op: &Op) -> Vector;

    /// The second source, all of it; memory must be aligned in legacy forms.
    fn wide(c: &mut Core<'_>, op: &Op) -> Result<Vector, Exception>;

    /// The low half of the second source; memory at any alignment.
    fn half(c: &mut Core<'_>, op: &Op) -> Result<u128, Exception>;

    /// The low bytes of the second source only; memory at any alignment.
    fn low<W: Word>(c: &mut Core<'_>, op: &Op) -> Result<W, Exception>;

    /// Single-precision element `i` of a register, or the one in memory.
    fn single(c: &mut Core<'_>, op: &Op, i: usize) -> Result<u32, Exception>;

    /// Writes the destination.
    fn put(c: &mut Core<'_>, op: &Op, value: Vector);

    /// Writes a destination of 128 bits.
    #[inline]
    fn put_128(c: &mut Core<'_>, op: &Op, value: u128) {
        Self::put(c, op, [value, 0]);
    }
}

/// How the instruction is encoded.
pub(super) trait Encoding {
    const LANES: usize;
    /// Number of the operand that is the first source.
    const FIRST: usize;
    const ALIGNMENT: Alignment;

    fn require(c: &Core<'_>) -> Done;

    /// Writes register `number`, and what lies above it as the encoding does.
    fn put_in(c: &mut Core<'_>, number: u8, value: Vector);

    /// Writes the register that is operand 0.
    #[inline]
    fn put(c: &mut Core<'_>, op: &Op, value: Vector) {
        Self::put_in(c, op.r[0], value);
    }
}

/// What is asked of memory operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alignment {
    /// Their own size.
    Natural,
    Any,
}

/// Without VEX prefix.
pub(super) struct Legacy;
/// VEX.128, and scalar VEX instructions.
pub(super) struct Vex128;
/// VEX.256.
pub(super) struct Vex256;

impl Encoding for Legacy {
    const LANES: usize = 1;
    const FIRST: usize = 0;
    const ALIGNMENT: Alignment = Alignment::Natural;

    #[inline]
    fn require(c: &Core<'_>) -> Done {
        c.require_sse()
    }

    #[inline]
    fn put_in(c: &mut Core<'_>, number: u8, value: Vector) {
        c.cpu.sse.xmm[usize::from(number)] = value[0];
    }
}

macro_rules! vex {
    ($($name:ident has $lanes:literal),*) => { $(
        impl Encoding for $name {
            const LANES: usize = $lanes;
            const FIRST: usize = 1;
            const ALIGNMENT: Alignment = Alignment::Any;

            #[inline]
            fn require(c: &Core<'_>) -> Done {
                c.require_avx()
            }

            #[inline]
            fn put_in(c: &mut Core<'_>, number: u8, value: Vector) {
                c.set_ymm(number, value);
            }
        }
    )* };
}
vex!(Vex128 has 1, Vex256 has 2);

/// The operands of an instruction encoded as `E` with its second source at `L`.
struct Operands<E, L>(PhantomData<(E, L)>);

impl<E: Encoding, L: Location> Form for Operands<E, L> {
    const LANES: usize = E::LANES;

    #[inline]
    fn require(c: &Core<'_>) -> Done {
        E::require(c)
    }

    #[inline]
    fn register(c: &Core<'_>, op: &Op, i: usize) -> Vector {
        c.vector::<E>(op, i)
    }

    #[inline]
    fn first(c: &Core<'_>, op: &Op) -> Vector {
        c.vector::<E>(op, E::FIRST)
    }

    #[inline]
    fn wide(c: &mut Core<'_>, op: &Op) -> Result<Vector, Exception> {
        L::wide::<E>(c, op)
    }

    #[inline]
    fn half(c: &mut Core<'_>, op: &Op) -> Result<u128, Exception> {
        L::half::<E>(c, op)
    }

    #[inline]
    fn low<W: Word>(c: &mut Core<'_>, op: &Op) -> Result<W, Exception> {
        L::low(c, op)
    }

    #[inline]
    fn single(c: &mut Core<'_>, op: &Op, i: usize) -> Result<u32, Exception> {
        L::single(c, op, i)
    }

    #[inline]
    fn put(c: &mut Core<'_>, op: &Op, value: Vector) {
        E::put(c, op, value);
    }
}

/// A handler generic over its form.
pub(super) trait ByForm {
    fn exec<S: Form>(c: &mut Core<'_>, op: &Op) -> Done;
}

/// Which of the encodings an instruction has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoded {
    Legacy,
    Vex128,
    Vex256,
}

pub(super) fn encoded(instr: &Instruction) -> Encoded {
    let ymm = |i| instr.op_kind(i) == OpKind::Register && instr.op_register(i).is_ymm();
    if instr.code().encoding() == EncodingKind::Legacy {
        Encoded::Legacy
    } else if (0..instr.op_count()).any(ymm) || instr.memory_size().size() == 32 {
        Encoded::Vex256
    } else {
        Encoded::Vex128
    }
}

/// Number of the operand that is the second source, or the only one.
fn second_source(instr: &Instruction) -> u32 {
    let legacy = instr.code().encoding() == EncodingKind::Legacy;
    let third = matches!(instr.op2_kind(), OpKind::Register | OpKind::Memory);
    if !legacy && instr.op_count() > 2 && third {
        2
    } else {
        1
    }
}

/// The handler `H` for a source in an XMM or YMM register or in memory.
pub(super) fn by_form<H: ByForm>(instr: &Instruction) -> Option<Exec> {
    Some(match encoded(instr) {
        Encoded::Legacy => by_location::<H, Legacy>(instr)?,
        Encoded::Vex128 => by_location::<H, Vex128>(instr)?,
        Encoded::Vex256 => by_location::<H, Vex256>(instr)?,
    })
}

fn by_location<H: ByForm, E: Encoding>(instr: &Instruction) -> Option<Exec> {
    let i = second_source(instr);
    Some(match (instr.op_kind(i), i) {
        (OpKind::Memory, _) => H::exec::<Operands<E, Mem>>,
        (OpKind::Register, 1) => H::exec::<Operands<E, Xmm<1>>>,
        (OpKind::Register, _) => H::exec::<Operands<E, Xmm<2>>>,
        _ => return None,
    })
}

/// The handler `H` for a source in a general register or in memory; never 256 bits.
pub(super) fn by_general<H: ByForm>(instr: &Instruction) -> Option<Exec> {
    let i = second_source(instr);
    let memory = instr.op_kind(i) == OpKind::Memory;
    Some(match (encoded(instr), i) {
        (Encoded::Legacy, _) if memory => H::exec::<Operands<Legacy, Mem>>,
        (Encoded::Legacy, _) => H::exec::<Operands<Legacy, Gpr<1>>>,
        _ if memory => H::exec::<Operands<Vex128, Mem>>,
        (_, 1) => H::exec::<Operands<Vex128, Gpr<1>>>,
        _ => H::exec::<Operands<Vex128, Gpr<2>>>,
    })
}

/// The handler `H` for a source that is an immediate.
pub(super) fn by_immediate<H: ByForm>(instr: &Instruction) -> Option<Exec> {
    Some(match encoded(instr) {
        Encoded::Legacy => H::exec::<Operands<Legacy, Imm>>,
        Encoded::Vex128 => H::exec::<Operands<Vex128, Imm>>,
        Encoded::Vex256 => H::exec::<Operands<Vex256, Imm>>,
    })
}

/// The function generic over the encoding, for that of an instruction.
macro_rules! by_encoding {
    ($instr:ident, $f:ident $(::<$t:ty>)?) => {
        Some(match crate::interp::sse::operand::encoded($instr) {
            crate::interp::sse::operand::Encoded::Legacy => $f::<$($t,)? crate::interp::sse::operand::Legacy>,
            crate::interp::sse::operand::Encoded::Vex128 => $f::<$($t,)? crate::interp::sse::operand::Vex128>,
            crate::interp::sse::operand::Encoded::Vex256 => $f::<$($t,)? crate::interp::sse::operand::Vex256>,
        })
    };
}
pub(super) use by_encoding;

/// Computes each lane the form has.
#[inline]
pub(super) fn lanes<S: Form>(mut f: impl FnMut(usize) -> u128) -> Vector {
    [f(0), if S::LANES == 2 { f(1) } else { 0 }]
}

/// The low quadword.
#[inline]
pub(in crate::interp) const fn low_quad(value: u128) -> u64 {
    (value & 0xffff_ffff_ffff_ffff) as u64
}

/// The high quadword.
#[inline]
pub(super) const fn high_quad(value: u128) -> u64 {
    (value >> 64) as u64
}

/// `value` with its low `W` replaced.
#[inline]
pub(in crate::interp) fn with_low<W: Word>(value: u128, low: W) -> u128 {
    (value >> W::BITS) << W::BITS | u128::from(low.zx())
}

impl Core<'_> {
    /// The XMM register that is operand `i`.
    #[inline]
    pub(in crate::interp) const fn xmm(&self, op: &Op, i: usize) -> u128 {
        self.cpu.sse.xmm[op.r[i] as usize]
    }

    /// Writes the XMM register that is operand 0, and leaves what lies above it.
    #[inline]
    pub(in crate::interp) const fn set_xmm(&mut self, op: &Op, value: u128) {
        self.cpu.sse.xmm[op.r[0] as usize] = value;
    }

    /// The register that is operand `i`, as wide as the encoding says.
    #[inline]
    pub(super) const fn vector<E: Encoding>(&self, op: &Op, i: usize) -> Vector {
        let low = self.xmm(op, i);
        if E::LANES == 1 {
            [low, 0]
        } else {
            [low, self.cpu.sse.ymm_high[op.r[i] as usize]]
        }
    }

    /// Writes all of YMM register `number`.
    #[inline]
    pub(super) const fn set_ymm(&mut self, number: u8, value: Vector) {
        self.cpu.sse.xmm[number as usize] = value[0];
        self.cpu.sse.ymm_high[number as usize] = value[1];
    }

    /// Reads a memory operand as wide as the encoding says.
    pub(super) fn load_vector<E: Encoding>(&mut self, op: &Op) -> Result<Vector, Exception> {
        if E::LANES == 1 {
            Ok([self.load_128(op)?, 0])
        } else {
            self.load_256(op)
        }
    }

    /// Writes a memory operand as wide as the encoding says.
    pub(super) fn store_vector<E: Encoding>(&mut self, op: &Op, value: Vector) -> Done {
        if E::LANES == 1 {
            self.store_128(op, value[0])
        } else {
            self.store_256(op, value)
        }
    }

    /// #GP(0) if the linear address of the memory operand is no multiple of `alignment`.
    pub(in crate::interp) fn require_aligned(
        &mut self,
        op: &Op,
        alignment: u64,
        access: Access,
    ) -> Result<(), Exception> {
        let va = self.linear(op.seg, self.ea(op), alignment, access)?;
        if va.get().is_multiple_of(alignment) {
            Ok(())
        } else {
            Err(Exception::Gp(0))
        }
    }
}
