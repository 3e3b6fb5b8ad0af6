//! Moves between XMM or YMM registers, general registers and memory.
//!
//! Loads that leave part of the register out either clear it (from memory) or
//! keep it (from a register, and the half-register moves).
//! Non-temporal moves differ from plain ones only in what caches do.
//!
//! **Spec:** SDM 1 "Intel SSE Data Movement Instructions", "Intel SSE2 Data Movement
//! Instructions", "Cacheability Control"; SDM 2 "MOVDDUP", "LDDQU".

use super::Done;
use super::operand::{
    Alignment, ByForm, Encoding, Form, by_encoding, by_form, by_general, high_quad, lanes,
    low_quad, with_low,
};
use crate::core::Core;
use crate::exception::Exception;
use crate::op::{Exec, Op};
use crate::state::reg;
use crate::word::Word;
use iced_x86::{Code, Instruction, Mnemonic as M, OpKind};
use x86::VirtAddr;
use x86::fault::Access;

pub(super) fn select(instr: &Instruction) -> Option<Exec> {
    whole(instr)
        .or_else(|| scalar(instr))
        .or_else(|| half(instr))
        .or_else(|| match instr.code() {
            Code::Movnti_m32_r32 => Some(movnti::<u32> as Exec),
            Code::Movnti_m64_r64 => Some(movnti::<u64>),
            _ if matches!(instr.mnemonic(), M::Maskmovdqu | M::Vmaskmovdqu) => {
                by_encoding!(instr, maskmovdqu)
            }
            _ => None,
        })
}

/// Moves of whole registers; the aligned ones want memory operands aligned with VEX, too.
fn whole(instr: &Instruction) -> Option<Exec> {
    use Alignment::{Any, Natural};
    let alignment = match instr.mnemonic() {
        M::Movaps | M::Movapd | M::Movdqa | M::Vmovaps | M::Vmovapd | M::Vmovdqa => Natural,
        M::Movntps | M::Movntpd | M::Movntdq | M::Vmovntps | M::Vmovntpd | M::Vmovntdq => Natural,
        M::Movntdqa | M::Vmovntdqa => Natural,
        M::Movups | M::Movupd | M::Movdqu | M::Vmovups | M::Vmovupd | M::Vmovdqu => Any,
        M::Lddqu | M::Vlddqu => Any,
        _ => return None,
    };
    match (instr.op0_kind(), instr.op1_kind(), alignment) {
        (OpKind::Memory, _, Natural) => by_encoding!(instr, store_aligned),
        (OpKind::Memory, _, Any) => by_encoding!(instr, store),
        (_, OpKind::Memory, Natural) => by_encoding!(instr, load_aligned),
        (_, OpKind::Memory, Any) => by_encoding!(instr, load),
        _ => by_form::<Copy>(instr),
    }
}

struct Copy;
impl ByForm for Copy {
    fn exec<S: Form>(c: &mut Core<'_>, op: &Op) -> Done {
        S::require(c)?;
        let value = S::wide(c, op)?;
        S::put(c, op, value);
        Ok(())
    }
}

fn load<E: Encoding>(c: &mut Core<'_>, op: &Op) -> Done {
    E::require(c)?;
    let value = c.load_vector::<E>(op)?;
    E::put(c, op, value);
    Ok(())
}

fn load_aligned<E: Encoding>(c: &mut Core<'_>, op: &Op) -> Done {
    E::require(c)?;
    c.require_aligned(op, 16 * E::LANES as u64, Access::Read)?;
    load::<E>(c, op)
}

fn store<E: Encoding>(c: &mut Core<'_>, op: &Op) -> Done {
    E::require(c)?;
    c.store_vector::<E>(op, c.vector::<E>(op, 1))
}

fn store_aligned<E: Encoding>(c: &mut Core<'_>, op: &Op) -> Done {
    E::require(c)?;
    c.require_aligned(op, 16 * E::LANES as u64, Access::Write)?;
    store::<E>(c, op)
}

/// MOVSS, MOVSD, MOVD, MOVQ.
fn scalar(instr: &Instruction) -> Option<Exec> {
    let to_memory = instr.op0_kind() == OpKind::Memory;
    match instr.mnemonic() {
        M::Movss | M::Vmovss if to_memory => by_encoding!(instr, store_low::<u32>),
        M::Movsd | M::Vmovsd if to_memory => by_encoding!(instr, store_low::<u64>),
        M::Movss | M::Vmovss if !has_memory(instr) => by_form::<Merge<u32>>(instr),
        M::Movsd | M::Vmovsd if !has_memory(instr) => by_form::<Merge<u64>>(instr),
        M::Movss | M::Vmovss => by_form::<ZeroExtend<u32>>(instr),
        M::Movsd | M::Vmovsd => by_form::<ZeroExtend<u64>>(instr),
        M::Movd | M::Vmovd => integer::<u32>(instr),
        M::Movq | M::Vmovq => integer::<u64>(instr),
        _ => None,
    }
}

fn has_memory(instr: &Instruction) -> bool {
    instr.op_kinds().any(|kind| kind == OpKind::Memory)
}

fn store_low<W: Word, E: Encoding>(c: &mut Core<'_>, op: &Op) -> Done {
    E::require(c)?;
    c.store(op, W::low(low_quad(c.xmm(op, 1))))
}

/// MOVSS and MOVSD between registers keep the rest of the first source.
struct Merge<W>(W);
impl<W: Word> ByForm for Merge<W> {
    fn exec<S: Form>(c: &mut Core<'_>, op: &Op) -> Done {
        S::require(c)?;
        let low = S::low::<W>(c, op)?;
        S::put_128(c, op, with_low(S::first(c, op)[0], low));
        Ok(())
    }
}

/// The low bits into a register, the others cleared.
struct ZeroExtend<W>(W);
impl<W: Word> ByForm for ZeroExtend<W> {
    fn exec<S: Form>(c: &mut Core<'_>, op: &Op) -> Done {
        S::require(c)?;
        let value = S::low::<W>(c, op)?;
        S::put_128(c, op, u128::from(value.zx()));
        Ok(())
    }
}

/// MOVD and MOVQ. Between XMM registers the store form means the same as the load form.
fn integer<W: Word>(instr: &Instruction) -> Option<Exec> {
    match (instr.op0_kind(), instr.op1_kind()) {
        (OpKind::Memory, _) => by_encoding!(instr, store_low::<W>),
        (_, OpKind::Memory) => by_form::<ZeroExtend<W>>(instr),
        _ if instr.op0_register().is_gpr() => by_encoding!(instr, to_general::<W>),
        _ if instr.op1_register().is_gpr() => by_general::<ZeroExtend<W>>(instr),
        _ => by_form::<ZeroExtend<W>>(instr),
    }
}

fn to_general<W: Word, E: Encoding>(c: &mut Core<'_>, op: &Op) -> Done {
    E::require(c)?;
    let value = W::low(low_quad(c.xmm(op, 1)));
    W::set_reg(&mut c.cpu.regs, op.r[0], value);
    Ok(())
}

/// MOVNTI uses no SSE state, so CR0 and CR4 do not forbid it.
fn movnti<W: Word>(c: &mut Core<'_>, op: &Op) -> Done {
    let value = W::reg(&c.cpu.regs, op.r[1]);
    c.store(op, value)
}

/// Moves of half registers from and to memory, and MOVDDUP.
fn half(instr: &Instruction) -> Option<Exec> {
    let to_memory = instr.op0_kind() == OpKind::Memory;
    match instr.mnemonic() {
        M::Movlps | M::Movlpd | M::Vmovlps | M::Vmovlpd if to_memory => {
            by_encoding!(instr, store_low::<u64>)
        }
        M::Movhps | M::Movhpd | M::Vmovhps | M::Vmovhpd if to_memory => {
            by_encoding!(instr, store_high)
        }
        M::Movlps | M::Movlpd | M::Vmovlps | M::Vmovlpd => by_form::<Merge<u64>>(instr),
        M::Movhps | M::Movhpd | M::Vmovhps | M::Vmovhpd => by_form::<LoadHigh>(instr),
        M::Movddup | M::Vmovddup => by_form::<Movddup>(instr),
        _ => None,
    }
}

struct LoadHigh;
impl ByForm for LoadHigh {
    fn exec<S: Form>(c: &mut Core<'_>, op: &Op) -> Done {
        S::require(c)?;
        let high = u128::from(S::low::<u64>(c, op)?) << 64;
        S::put_128(c, op, u128::from(low_quad(S::first(c, op)[0])) | high);
        Ok(())
    }
}

fn store_high<E: Encoding>(c: &mut Core<'_>, op: &Op) -> Done {
    E::require(c)?;
    c.store(op, high_quad(c.xmm(op, 1)))
}

/// The low quadword of each lane twice; the 128-bit form reads no more than that.
struct Movddup;
impl ByForm for Movddup {
    fn exec<S: Form>(c: &mut Core<'_>, op: &Op) -> Done {
        S::require(c)?;
        let from = if S::LANES == 1 {
            [S::half(c, op)?, 0]
        } else {
            S::wide(c, op)?
        };
        let twice = |x: u128| u128::from(low_quad(x)) | x << 64;
        S::put(c, op, lanes::<S>(|i| twice(from[i])));
        Ok(())
    }
}

/// MASKMOVDQU: stores the bytes whose mask bytes have bit 7 set, at DS:rDI.
fn maskmovdqu<E: Encoding>(c: &mut Core<'_>, op: &Op) -> Done {
    E::require(c)?;
    let (bytes, mask) = (c.xmm(op, 1).to_le_bytes(), c.xmm(op, 2).to_le_bytes());
    c.store_masked_bytes(op, &bytes, &mask)
}

impl Core<'_> {
    /// Stores the bytes whose mask bytes have bit 7 set, at DS:rDI.
    ///
    /// All bytes must be writable even if none is selected; the manual leaves that open.
    pub(in crate::interp) fn store_masked_bytes(
        &mut self,
        op: &Op,
        bytes: &[u8],
        mask: &[u8],
    ) -> Done {
        let len = bytes.len() as u64;
        let offset = self.cpu.regs[reg::RDI] & op.addr_mask;
        let va = self.linear(op.seg, offset, len, Access::Write)?;
        self.place(va, len, Access::Write, self.explicit())?;
        for (i, (byte, _)) in (0..)
            .zip(bytes.iter().zip(mask))
            .filter(|(_, (_, mask))| **mask & 0x80 != 0)
        {
            let at = self.sse_address(va, i)?;
            self.write_as(at, *byte, self.explicit())?;
        }
        Ok(())
    }

    /// The linear address `bytes` after `va`, within an operand already found accessible.
    pub(in crate::interp) fn sse_address(
        &self,
        va: VirtAddr,
        bytes: u64,
    ) -> Result<VirtAddr, Exception> {
        self.cpu.system_address(va.get().wrapping_add(bytes))
    }

    /// Reads 32 bytes.
    pub(super) fn load_256(&mut self, op: &Op) -> Result<[u128; 2], Exception> {
        let va = self.linear(op.seg, self.ea(op), 32, Access::Read)?;
        self.place(va, 32, Access::Read, self.explicit())?;
        let mut quads = [0; 4];
        for (i, quad) in (0..).zip(&mut quads) {
            let at = self.sse_address(va, 8 * i)?;
            *quad = self.read_as::<u64>(at, Access::Read, self.explicit())?;
        }
        let [a, b, c, d] = quads.map(u128::from);
        Ok([a | b << 64, c | d << 64])
    }

    /// Writes 32 bytes; all or none.
    pub(super) fn store_256(&mut self, op: &Op, value: [u128; 2]) -> Done {
        let va = self.linear(op.seg, self.ea(op), 32, Access::Write)?;
        self.place(va, 32, Access::Write, self.explicit())?;
        let quads = value.map(|lane| [low_quad(lane), high_quad(lane)]);
        for (i, quad) in (0..).zip(quads.into_iter().flatten()) {
            let at = self.sse_address(va, 8 * i)?;
            self.write_as(at, quad, self.explicit())?;
        }
        Ok(())
    }
}
