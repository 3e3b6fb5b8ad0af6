//! MMX: packed integers in the significands of the x87 registers.
//!
//! MMi is the significand of physical x87 register i. Every MMX instruction but EMMS makes the
//! x87 stack look full with its top at register 0, and a write sets the register's sign and
//! exponent to ones. What the instructions compute, where wider registers have the same
//! operation, is defined there.
//!
//! **Spec:** SDM 1 "Programming with Intel MMX Technology"; SDM 3A "Intel MMX Technology System
//! Programming"; SDM 2 "CVTPI2PS", "CVTPI2PD", "MASKMOVQ", "MOVDQ2Q".

use super::sse::convert::{
    Current, DoubleToInteger, IntegerToDouble, IntegerToSingle, PackedConversion, SingleToInteger,
    Truncating,
};
use super::sse::operand::{low_quad, with_low};
use super::sse::packed::Packed;
use crate::core::Core;
use crate::exception::Exception;
use crate::op::{Exec, Op};
use crate::word::Word;
use iced_x86::{Instruction, Mnemonic as M, OpKind, Register};
use std::marker::PhantomData;
use x86::Cr0;
use x86::fault::Access;

type Done = Result<(), Exception>;

/// Whether an operand is an MMX register.
pub(super) fn is_named(instr: &Instruction) -> bool {
    (0..instr.op_count())
        .any(|i| instr.op_kind(i) == OpKind::Register && Register::is_mm(instr.op_register(i)))
}

pub(super) fn select(instr: &Instruction) -> Option<Exec> {
    if instr.mnemonic() == M::Emms {
        return Some(emms);
    }
    conversions(instr).or_else(|| is_named(instr).then(|| named(instr)).flatten())
}

fn named(instr: &Instruction) -> Option<Exec> {
    moves(instr).or_else(|| {
        Some(match instr.mnemonic() {
            M::Pshufw => by_source::<Pshufw>(instr)?,
            M::Palignr => by_source::<Palignr>(instr)?,
            M::Pinsrw if instr.op1_kind() == OpKind::Memory => pinsrw::<Mem<u16>>,
            M::Pinsrw => pinsrw::<Gpr<u16>>,
            M::Pextrw => pextrw,
            M::Pmovmskb => pmovmskb,
            M::Maskmovq => maskmovq,
            _ => return None,
        })
    })
}

/// The handler of `P` on two MMX registers, or one and memory or an immediate.
pub(super) fn binary<P: Packed>(instr: &Instruction) -> Option<Exec> {
    by_source::<Binary<P>>(instr)
}

/// What an instruction reads besides its destination.
trait Source {
    fn get(c: &mut Core<'_>, op: &Op) -> Result<u64, Exception>;
}

/// Operand 1, an MMX register.
struct Mm;
impl Source for Mm {
    fn get(c: &mut Core<'_>, op: &Op) -> Result<u64, Exception> {
        Ok(c.mm(op.r[1]))
    }
}

/// Memory of a width.
struct Mem<W>(PhantomData<W>);
impl<W: Word> Source for Mem<W> {
    fn get(c: &mut Core<'_>, op: &Op) -> Result<u64, Exception> {
        c.load::<W>(op).map(Word::zx)
    }
}

/// Operand 1, a general register.
struct Gpr<W>(PhantomData<W>);
impl<W: Word> Source for Gpr<W> {
    fn get(c: &mut Core<'_>, op: &Op) -> Result<u64, Exception> {
        Ok(W::reg(&c.cpu.regs, op.r[1]).zx())
    }
}

/// The immediate byte.
struct Imm;
impl Source for Imm {
    fn get(_: &mut Core<'_>, op: &Op) -> Result<u64, Exception> {
        Ok(op.imm & 0xff)
    }
}

/// A value for the destination from what it was and the source.
trait Compute {
    fn apply(a: u64, b: u64, imm: u64) -> u64;
}

struct Binary<P>(PhantomData<P>);
impl<P: Packed> Compute for Binary<P> {
    fn apply(a: u64, b: u64, _: u64) -> u64 {
        P::apply_64(a, b)
    }
}

/// Two bits of the immediate for each word.
struct Pshufw;
impl Compute for Pshufw {
    fn apply(_: u64, b: u64, imm: u64) -> u64 {
        (0..4).fold(0, |out, i| {
            let from = (imm >> (2 * i)) & 3;
            out | ((b >> (16 * from)) & 0xffff) << (16 * i)
        })
    }
}

/// 8 bytes of `a` above `b`, from byte `imm` on.
struct Palignr;
impl Compute for Palignr {
    fn apply(a: u64, b: u64, imm: u64) -> u64 {
        let both = u128::from(a) << 64 | u128::from(b);
        low_quad(both.checked_shr(8 * imm as u32).unwrap_or(0))
    }
}

struct Identity;
impl Compute for Identity {
    fn apply(_: u64, b: u64, _: u64) -> u64 {
        b
    }
}

fn compute<O: Compute, S: Source>(c: &mut Core<'_>, op: &Op) -> Done {
    c.require_mmx()?;
    let b = S::get(c, op)?;
    let result = O::apply(c.mm(op.r[0]), b, op.imm & 0xff);
    c.set_mm(op.r[0], result);
    Ok(())
}

/// The handler `O` for the kind of operand 1 and the width of memory (PUNPCKL reads 4 bytes).
fn by_source<O: Compute>(instr: &Instruction) -> Option<Exec> {
    Some(match (instr.op1_kind(), instr.memory_size().size()) {
        (OpKind::Register, _) => compute::<O, Mm>,
        (OpKind::Memory, 4) => compute::<O, Mem<u32>>,
        (OpKind::Memory, _) => compute::<O, Mem<u64>>,
        (OpKind::Immediate8, _) => compute::<O, Imm>,
        _ => return None,
    })
}

fn moves(instr: &Instruction) -> Option<Exec> {
    let to_memory = instr.op0_kind() == OpKind::Memory;
    Some(match instr.mnemonic() {
        M::Movd if to_memory => store::<u32>,
        M::Movq | M::Movntq if to_memory => store::<u64>,
        M::Movd if instr.op0_register().is_gpr() => to_general::<u32>,
        M::Movq if instr.op0_register().is_gpr() => to_general::<u64>,
        M::Movd if instr.op1_register().is_gpr() => compute::<Identity, Gpr<u32>>,
        M::Movq if instr.op1_register().is_gpr() => compute::<Identity, Gpr<u64>>,
        M::Movd | M::Movq => by_source::<Identity>(instr)?,
        M::Movdq2q => movdq2q,
        M::Movq2dq => movq2dq,
        _ => return None,
    })
}

fn store<W: Word>(c: &mut Core<'_>, op: &Op) -> Done {
    c.require_mmx()?;
    c.store(op, W::low(c.mm(op.r[1])))?;
    c.enter_mmx();
    Ok(())
}

fn to_general<W: Word>(c: &mut Core<'_>, op: &Op) -> Done {
    c.require_mmx()?;
    c.enter_mmx();
    let value = W::low(c.mm(op.r[1]));
    W::set_reg(&mut c.cpu.regs, op.r[0], value);
    Ok(())
}

fn movdq2q(c: &mut Core<'_>, op: &Op) -> Done {
    c.require_sse_and_mmx()?;
    c.set_mm(op.r[0], low_quad(c.xmm(op, 1)));
    Ok(())
}

fn movq2dq(c: &mut Core<'_>, op: &Op) -> Done {
    c.require_sse_and_mmx()?;
    c.enter_mmx();
    c.set_xmm(op, u128::from(c.mm(op.r[1])));
    Ok(())
}

fn pinsrw<S: Source>(c: &mut Core<'_>, op: &Op) -> Done {
    c.require_mmx()?;
    let at = 16 * (op.imm & 3);
    let rest = c.mm(op.r[0]) & !(0xffff << at);
    let word = S::get(c, op)?;
    c.set_mm(op.r[0], rest | word << at);
    Ok(())
}

fn pextrw(c: &mut Core<'_>, op: &Op) -> Done {
    c.require_mmx()?;
    c.enter_mmx();
    c.cpu.regs[usize::from(op.r[0])] = (c.mm(op.r[1]) >> (16 * (op.imm & 3))) & 0xffff;
    Ok(())
}

/// The sign bits of the bytes.
fn pmovmskb(c: &mut Core<'_>, op: &Op) -> Done {
    c.require_mmx()?;
    c.enter_mmx();
    let value = c.mm(op.r[1]);
    c.cpu.regs[usize::from(op.r[0])] =
        (0..8).fold(0, |mask, i| mask | (value >> (8 * i + 7) & 1) << i);
    Ok(())
}

fn maskmovq(c: &mut Core<'_>, op: &Op) -> Done {
    c.require_mmx()?;
    let (bytes, mask) = (c.mm(op.r[1]).to_le_bytes(), c.mm(op.r[2]).to_le_bytes());
    c.store_masked_bytes(op, &bytes, &mask)?;
    c.enter_mmx();
    Ok(())
}

/// EMMS: all x87 registers count as empty.
fn emms(c: &mut Core<'_>, _: &Op) -> Done {
    c.require_mmx()?;
    c.cpu.x87.ftw = 0;
    Ok(())
}

/// Conversions between integers in MMX registers and floating point in XMM registers.
fn conversions(instr: &Instruction) -> Option<Exec> {
    let memory = instr.op1_kind() == OpKind::Memory;
    Some(match instr.mnemonic() {
        M::Cvtpi2ps if memory => to_singles::<Mem<u64>>,
        M::Cvtpi2ps => to_singles::<Mm>,
        M::Cvtpi2pd if memory => memory_to_doubles,
        M::Cvtpi2pd => register_to_doubles,
        M::Cvtps2pi if memory => to_integers::<SingleToInteger<Current>, Mem<u64>>,
        M::Cvtps2pi => to_integers::<SingleToInteger<Current>, XmmHalf>,
        M::Cvttps2pi if memory => to_integers::<SingleToInteger<Truncating>, Mem<u64>>,
        M::Cvttps2pi => to_integers::<SingleToInteger<Truncating>, XmmHalf>,
        M::Cvtpd2pi if memory => to_integers::<DoubleToInteger<Current>, AlignedMem>,
        M::Cvtpd2pi => to_integers::<DoubleToInteger<Current>, Xmm>,
        M::Cvttpd2pi if memory => to_integers::<DoubleToInteger<Truncating>, AlignedMem>,
        M::Cvttpd2pi => to_integers::<DoubleToInteger<Truncating>, Xmm>,
        _ => return None,
    })
}

/// CVTPI2PS: the upper half of the destination stays.
fn to_singles<S: Source>(c: &mut Core<'_>, op: &Op) -> Done {
    c.require_sse_and_mmx()?;
    let from = u128::from(S::get(c, op)?);
    let mut env = c.env();
    let to = IntegerToSingle::apply(from, &mut env);
    c.enter_mmx();
    c.commit(&env)?;
    c.set_xmm(op, with_low(c.xmm(op, 0), low_quad(to)));
    Ok(())
}

/// CVTPI2PD from memory touches no MMX state. The conversion is exact.
fn memory_to_doubles(c: &mut Core<'_>, op: &Op) -> Done {
    c.require_sse()?;
    let from = u128::from(c.load::<u64>(op)?);
    c.set_xmm(op, IntegerToDouble::apply(from, &mut c.env()));
    Ok(())
}

fn register_to_doubles(c: &mut Core<'_>, op: &Op) -> Done {
    c.require_sse_and_mmx()?;
    c.enter_mmx();
    let from = u128::from(c.mm(op.r[1]));
    c.set_xmm(op, IntegerToDouble::apply(from, &mut c.env()));
    Ok(())
}

/// Floating-point operands of conversions to MMX registers.
trait Floats {
    fn get(c: &mut Core<'_>, op: &Op) -> Result<u128, Exception>;
}

/// Operand 1, an XMM register.
struct Xmm;
impl Floats for Xmm {
    fn get(c: &mut Core<'_>, op: &Op) -> Result<u128, Exception> {
        Ok(c.xmm(op, 1))
    }
}

/// The low half of operand 1, an XMM register.
struct XmmHalf;
impl Floats for XmmHalf {
    fn get(c: &mut Core<'_>, op: &Op) -> Result<u128, Exception> {
        // Zeros above convert without exceptions.
        Ok(u128::from(low_quad(c.xmm(op, 1))))
    }
}

impl Floats for Mem<u64> {
    fn get(c: &mut Core<'_>, op: &Op) -> Result<u128, Exception> {
        c.load::<u64>(op).map(u128::from)
    }
}

/// 16 bytes of memory, aligned.
struct AlignedMem;
impl Floats for AlignedMem {
    fn get(c: &mut Core<'_>, op: &Op) -> Result<u128, Exception> {
        c.require_aligned(op, 16, Access::Read)?;
        c.load_128(op)
    }
}

/// CVTPS2PI and CVTPD2PI, rounding and truncating.
fn to_integers<P: PackedConversion, S: Floats>(c: &mut Core<'_>, op: &Op) -> Done {
    c.require_sse_and_mmx()?;
    let from = S::get(c, op)?;
    let mut env = c.env();
    let to = P::apply(from, &mut env);
    c.commit(&env)?;
    c.set_mm(op.r[0], low_quad(to));
    Ok(())
}

impl Core<'_> {
    /// #UD, #NM or #MF unless MMX instructions can run.
    fn require_mmx(&self) -> Done {
        let cr0 = self.cpu.cr0();
        if cr0.contains(Cr0::EM) {
            Err(Exception::Ud)
        } else if cr0.contains(Cr0::TS) {
            Err(Exception::Nm)
        } else {
            self.require_no_x87_error()
        }
    }

    /// The same for instructions that use XMM registers, too.
    fn require_sse_and_mmx(&self) -> Done {
        self.require_sse()?;
        self.require_no_x87_error()
    }

    /// The x87 stack is full, its top at register 0.
    const fn enter_mmx(&mut self) {
        const TOP: u16 = 7 << 11;
        self.cpu.x87.fsw &= !TOP;
        self.cpu.x87.ftw = 0xff;
    }

    const fn mm(&self, number: u8) -> u64 {
        low_quad(self.cpu.x87.st[(number & 7) as usize])
    }

    fn set_mm(&mut self, number: u8, value: u64) {
        self.enter_mmx();
        self.cpu.x87.st[usize::from(number & 7)] = 0xffff << 64 | u128::from(value);
    }
}
