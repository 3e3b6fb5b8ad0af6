//! SSE and SSE2 on XMM registers, and the instructions that save their state.
//!
//! Every instruction first asks whether the operating system has enabled SSE;
//! 16-byte memory operands must be aligned unless the instruction is one of the
//! unaligned moves.
//!
//! Modelled: all of SSE and SSE2 that touches no MMX register. Not modelled, and
//! not declared by CPUID: MMX registers, SSE3 and later.
//!
//! **Spec:** SDM 1 "Programming with Intel Streaming SIMD Extensions (Intel SSE)",
//! "Programming with Intel Streaming SIMD Extensions 2 (Intel SSE2)".

mod convert;
mod float;
mod format;
mod integer;
mod lanes;
mod moves;
mod mxcsr;
mod operand;
mod shuffle;
mod soft;
mod state;

use crate::core::Core;
use crate::exception::Exception;
use crate::op::Exec;
use iced_x86::{Instruction, OpKind, Register};
use x86::{Cr0, Cr4};

type Done = Result<(), Exception>;

pub(super) fn select(instr: &Instruction) -> Option<Exec> {
    if instr.is_string_instruction() || names_mmx(instr) {
        return None;
    }
    moves::select(instr)
        .or_else(|| integer::select(instr))
        .or_else(|| float::select(instr))
        .or_else(|| convert::select(instr))
        .or_else(|| shuffle::select(instr))
        .or_else(|| state::select(instr))
}

/// Whether an operand is an MMX register.
fn names_mmx(instr: &Instruction) -> bool {
    (0..instr.op_count())
        .any(|i| instr.op_kind(i) == OpKind::Register && Register::is_mm(instr.op_register(i)))
}

impl Core<'_> {
    /// #UD or #NM unless the operating system lets SSE instructions run.
    #[inline]
    fn require_sse(&self) -> Done {
        let cr0 = self.cpu.cr0();
        if cr0.contains(Cr0::EM) || !self.cpu.cr4().contains(Cr4::OSFXSR) {
            Err(Exception::Ud)
        } else if cr0.contains(Cr0::TS) {
            Err(Exception::Nm)
        } else {
            Ok(())
        }
    }
}
