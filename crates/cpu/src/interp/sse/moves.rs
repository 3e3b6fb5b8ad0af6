//! Moves between XMM registers, general registers and memory.
//!
//! Loads that leave part of the register out either clear it (from memory) or
//! keep it (from a register, and the half-register moves).
//! Non-temporal stores differ from plain ones only in what caches do.
//!
//! **Spec:** SDM 1 "Intel SSE Data Movement Instructions", "Intel SSE2 Data Movement
//! Instructions", "Cacheability Control".

use super::Done;
use super::operand::{FromSource, Source, by_source, high_quad, low_quad, with_low};
use crate::core::Core;
use crate::exception::Exception;
use crate::op::{Exec, Op};
use crate::state::reg;
use crate::word::Word;
use iced_x86::{Code, Instruction, Mnemonic, OpKind};
use x86::VirtAddr;
use x86::fault::Access;

pub(super) fn select(instr: &Instruction) -> Option<Exec> {
    let to_memory = instr.op0_kind() == OpKind::Memory;
    match instr.mnemonic() {
        Mnemonic::Movaps | Mnemonic::Movapd | Mnemonic::Movdqa if to_memory => Some(store_aligned),
        Mnemonic::Movaps | Mnemonic::Movapd | Mnemonic::Movdqa => by_source::<Load>(instr),
        Mnemonic::Movntps | Mnemonic::Movntpd | Mnemonic::Movntdq => Some(store_aligned),
        Mnemonic::Movups | Mnemonic::Movupd | Mnemonic::Movdqu => unaligned(instr),
        Mnemonic::Movss if to_memory => Some(store_low::<u32>),
        Mnemonic::Movsd if to_memory => Some(store_low::<u64>),
        Mnemonic::Movss => scalar::<u32>(instr),
        Mnemonic::Movsd => scalar::<u64>(instr),
        Mnemonic::Movd | Mnemonic::Movq => integer(instr),
        Mnemonic::Movnti => Some(if instr.code() == Code::Movnti_m64_r64 {
            movnti::<u64>
        } else {
            movnti::<u32>
        }),
        Mnemonic::Movlps | Mnemonic::Movlpd if to_memory => Some(store_low::<u64>),
        Mnemonic::Movlps | Mnemonic::Movlpd => Some(load_low_half),
        Mnemonic::Movhps | Mnemonic::Movhpd if to_memory => Some(store_high_half),
        Mnemonic::Movhps | Mnemonic::Movhpd => Some(load_high_half),
        Mnemonic::Movhlps => Some(movhlps),
        Mnemonic::Movlhps => Some(movlhps),
        Mnemonic::Maskmovdqu => Some(maskmovdqu),
        _ => None,
    }
}

/// Whole registers; memory must be aligned.
struct Load;
impl FromSource for Load {
    fn exec<S: Source>(c: &mut Core<'_>, op: &Op) -> Done {
        c.require_sse()?;
        let value = S::wide(c, op)?;
        c.set_xmm(op, value);
        Ok(())
    }
}

fn store_aligned(c: &mut Core<'_>, op: &Op) -> Done {
    c.require_sse()?;
    c.require_aligned(op, 16, Access::Write)?;
    c.store_128(op, c.xmm(op, 1))
}

fn unaligned(instr: &Instruction) -> Option<Exec> {
    Some(match (instr.op0_kind(), instr.op1_kind()) {
        (OpKind::Memory, _) => |c, op| {
            c.require_sse()?;
            c.store_128(op, c.xmm(op, 1))
        },
        (_, OpKind::Memory) => |c, op| {
            c.require_sse()?;
            let value = c.load_128(op)?;
            c.set_xmm(op, value);
            Ok(())
        },
        _ => return by_source::<Load>(instr),
    })
}

fn store_low<W: Word>(c: &mut Core<'_>, op: &Op) -> Done {
    c.require_sse()?;
    c.store(op, W::low(low_quad(c.xmm(op, 1))))
}

/// MOVSS and MOVSD between registers keep the rest of the destination.
fn scalar<W: Word>(instr: &Instruction) -> Option<Exec> {
    fn merge<W: Word>(c: &mut Core<'_>, op: &Op) -> Done {
        c.require_sse()?;
        let low = W::low(low_quad(c.xmm(op, 1)));
        c.set_xmm(op, with_low(c.xmm(op, 0), low));
        Ok(())
    }
    if instr.op1_kind() == OpKind::Register {
        Some(merge::<W>)
    } else {
        by_source::<ZeroExtend<W>>(instr)
    }
}

/// The low bits into a register, the others cleared.
struct ZeroExtend<W>(W);
impl<W: Word> FromSource for ZeroExtend<W> {
    fn exec<S: Source>(c: &mut Core<'_>, op: &Op) -> Done {
        c.require_sse()?;
        let value = S::low::<W>(c, op)?;
        c.set_xmm(op, u128::from(value.zx()));
        Ok(())
    }
}

/// MOVD and MOVQ.
fn integer(instr: &Instruction) -> Option<Exec> {
    match instr.code() {
        Code::Movd_xmm_rm32 => by_source::<ZeroExtend<u32>>(instr),
        Code::Movq_xmm_rm64 | Code::Movq_xmm_xmmm64 => by_source::<ZeroExtend<u64>>(instr),
        Code::Movd_rm32_xmm if instr.op0_kind() == OpKind::Register => Some(to_general::<u32>),
        Code::Movq_rm64_xmm if instr.op0_kind() == OpKind::Register => Some(to_general::<u64>),
        // Between registers the store form means the same as the load form.
        Code::Movq_xmmm64_xmm if instr.op0_kind() == OpKind::Register => {
            by_source::<ZeroExtend<u64>>(instr)
        }
        Code::Movd_rm32_xmm => Some(store_low::<u32>),
        Code::Movq_rm64_xmm | Code::Movq_xmmm64_xmm => Some(store_low::<u64>),
        _ => None,
    }
}

fn to_general<W: Word>(c: &mut Core<'_>, op: &Op) -> Done {
    c.require_sse()?;
    let value = W::low(low_quad(c.xmm(op, 1)));
    W::set_reg(&mut c.cpu.regs, op.r[0], value);
    Ok(())
}

/// MOVNTI uses no SSE state, so CR0 and CR4 do not forbid it.
fn movnti<W: Word>(c: &mut Core<'_>, op: &Op) -> Done {
    let value = W::reg(&c.cpu.regs, op.r[1]);
    c.store(op, value)
}

fn load_low_half(c: &mut Core<'_>, op: &Op) -> Done {
    c.require_sse()?;
    let half = c.load::<u64>(op)?;
    c.set_xmm(op, with_low(c.xmm(op, 0), half));
    Ok(())
}

fn load_high_half(c: &mut Core<'_>, op: &Op) -> Done {
    c.require_sse()?;
    let half = c.load::<u64>(op)?;
    c.set_xmm(op, halves(low_quad(c.xmm(op, 0)), half));
    Ok(())
}

fn store_high_half(c: &mut Core<'_>, op: &Op) -> Done {
    c.require_sse()?;
    c.store(op, high_quad(c.xmm(op, 1)))
}

fn movhlps(c: &mut Core<'_>, op: &Op) -> Done {
    c.require_sse()?;
    c.set_xmm(op, halves(high_quad(c.xmm(op, 1)), high_quad(c.xmm(op, 0))));
    Ok(())
}

fn movlhps(c: &mut Core<'_>, op: &Op) -> Done {
    c.require_sse()?;
    c.set_xmm(op, halves(low_quad(c.xmm(op, 0)), low_quad(c.xmm(op, 1))));
    Ok(())
}

const fn halves(low: u64, high: u64) -> u128 {
    low as u128 | (high as u128) << 64
}

/// MASKMOVDQU: stores the bytes whose mask bytes have bit 7 set, at DS:rDI.
///
/// All 16 bytes must be writable even if none is selected; the manual leaves that open.
fn maskmovdqu(c: &mut Core<'_>, op: &Op) -> Done {
    c.require_sse()?;
    let offset = c.cpu.regs[reg::RDI] & op.addr_mask;
    let va = c.linear(op.seg, offset, 16, Access::Write)?;
    c.place(va, 16, Access::Write, c.explicit())?;
    let (bytes, mask) = (c.xmm(op, 1).to_le_bytes(), c.xmm(op, 2).to_le_bytes());
    for (i, (byte, _)) in (0..)
        .zip(bytes.into_iter().zip(mask))
        .filter(|(_, (_, mask))| mask & 0x80 != 0)
    {
        let at = c.sse_address(va, i)?;
        c.write_as(at, byte, c.explicit())?;
    }
    Ok(())
}

impl Core<'_> {
    /// The linear address `bytes` after `va`, within an operand already found accessible.
    pub(super) fn sse_address(&self, va: VirtAddr, bytes: u64) -> Result<VirtAddr, Exception> {
        self.cpu.system_address(va.get().wrapping_add(bytes))
    }
}
