//! SSE to SSE4.2, AES, SHA and carry-less multiplication, and the instructions that save
//! their state.
//!
//! Every instruction first asks whether the operating system has enabled it; 16-byte memory
//! operands of legacy instructions must be aligned unless the instruction is one of the unaligned
//! moves. Instructions on MMX registers are a family of their own (`mmx`) and share the
//! operations on packed integers.
//!
//! Modelled: all legacy instructions of these extensions; their VEX forms and those of AVX and
//! AVX2 that do the same in each lane, which no operating system can enable yet. Not modelled, and
//! not declared by CPUID: XSAVE, and what AVX and AVX2 add of their own.
//!
//! **Spec:** SDM 1 "Programming with Intel Streaming SIMD Extensions (Intel SSE)",
//! "Programming with Intel Streaming SIMD Extensions 2 (Intel SSE2)", "Programming with Intel SSE3,
//! SSSE3, Intel SSE4, and Intel AES-NI", "Programming with Intel AVX, FMA, and Intel AVX2".

mod aes;
mod blend;
mod compare;
pub(in crate::interp) mod convert;
mod element;
mod float;
mod format;
mod horizontal;
mod integer;
mod lanes;
mod location;
mod moves;
mod multiply;
mod mxcsr;
pub(in crate::interp) mod operand;
pub(in crate::interp) mod packed;
mod sha;
mod shift;
mod shuffle;
mod soft;
mod state;
mod text;

use crate::core::Core;
use crate::exception::Exception;
use crate::op::Exec;
use iced_x86::Instruction;
use x86::{Cr0, Cr4};

type Done = Result<(), Exception>;

pub(super) fn select(instr: &Instruction) -> Option<Exec> {
    if instr.is_string_instruction() {
        return None;
    }
    integer::select(instr)
        .or_else(|| multiply::select(instr))
        .or_else(|| shift::select(instr))
        .or_else(|| shuffle::select(instr))
        .or_else(|| wide(instr))
}

/// Instructions that have no form on MMX registers.
fn wide(instr: &Instruction) -> Option<Exec> {
    if super::mmx::is_named(instr) {
        return None;
    }
    shuffle::choice(instr)
        .or_else(|| moves::select(instr))
        .or_else(|| float::select(instr))
        .or_else(|| horizontal::select(instr))
        .or_else(|| convert::select(instr))
        .or_else(|| blend::select(instr))
        .or_else(|| element::select(instr))
        .or_else(|| text::select(instr))
        .or_else(|| aes::select(instr))
        .or_else(|| sha::select(instr))
        .or_else(|| state::select(instr))
}

impl Core<'_> {
    /// #UD or #NM unless the operating system lets SSE instructions run.
    #[inline]
    pub(super) fn require_sse(&self) -> Done {
        let cr0 = self.cpu.cr0();
        if cr0.contains(Cr0::EM) || !self.cpu.cr4().contains(Cr4::OSFXSR) {
            Err(Exception::Ud)
        } else if cr0.contains(Cr0::TS) {
            Err(Exception::Nm)
        } else {
            Ok(())
        }
    }

    /// #UD or #NM unless the operating system lets VEX-encoded vector instructions run.
    ///
    /// CR4.OSXSAVE can be set only where CPUID declares XSAVE, which it does not yet.
    #[inline]
    fn require_avx(&self) -> Done {
        if !self.cpu.cr4().contains(Cr4::OSXSAVE) {
            Err(Exception::Ud)
        } else if self.cpu.cr0().contains(Cr0::TS) {
            Err(Exception::Nm)
        } else {
            Ok(())
        }
    }
}
