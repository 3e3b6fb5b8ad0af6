//! What each instruction does, one file per family.
//!
//! A family's `select` names the handler for an instruction, specialised for its
//! operand kinds and widths, or says it is not one of its own. What no family
//! claims is missing from this machine: #UD, with a line in the machine's log.
//!
//! **Spec:** SDM 2 "Instruction Set Reference".

mod arith;
mod bcd;
mod bits;
mod bmi;
mod control;
mod convert;
mod data;
mod mmx;
mod operand;
mod pointers;
mod shift;
mod sse;
mod string;
mod system;
#[cfg(test)]
mod tests;
mod transfer;

use crate::core::Core;
use crate::exception::Exception;
use crate::op::{Exec, Op};
use iced_x86::{FlowControl, Instruction, Mnemonic};

/// Lowers one decoded instruction.
pub(crate) fn lower(instr: &Instruction) -> Op {
    let exec = if instr.is_invalid() {
        undefined
    } else {
        select(instr).unwrap_or(missing)
    };
    Op::lower(instr, exec)
}

fn select(instr: &Instruction) -> Option<Exec> {
    if instr.has_lock_prefix() && !matches!(instr.op0_kind(), iced_x86::OpKind::Memory) {
        return Some(undefined);
    }
    arith::select(instr)
        .or_else(|| data::select(instr))
        .or_else(|| control::select(instr))
        .or_else(|| shift::select(instr))
        .or_else(|| bits::select(instr))
        .or_else(|| bmi::select(instr))
        .or_else(|| convert::select(instr))
        .or_else(|| bcd::select(instr))
        .or_else(|| pointers::select(instr))
        .or_else(|| string::select(instr))
        .or_else(|| transfer::select(instr))
        .or_else(|| system::select(instr))
        .or_else(|| sse::select(instr))
        .or_else(|| mmx::select(instr))
}

/// Whether the instruction after this one must be looked up anew.
pub(crate) fn ends_block(instr: &Instruction) -> bool {
    !matches!(instr.flow_control(), FlowControl::Next)
        || matches!(
            instr.mnemonic(),
            Mnemonic::Mov if instr.op0_register().is_cr() || instr.op0_register().is_dr() || instr.op0_register().is_segment_register()
        )
        || matches!(
            instr.mnemonic(),
            Mnemonic::Sti
                | Mnemonic::Cli
                | Mnemonic::Popf
                | Mnemonic::Popfd
                | Mnemonic::Popfq
                | Mnemonic::Pop
                | Mnemonic::Hlt
                | Mnemonic::Invlpg
                | Mnemonic::Invpcid
                | Mnemonic::Wrmsr
                | Mnemonic::Lmsw
                | Mnemonic::Clts
                | Mnemonic::Swapgs
                | Mnemonic::Lss
                | Mnemonic::In
                | Mnemonic::Out
                | Mnemonic::Insb
                | Mnemonic::Insw
                | Mnemonic::Insd
                | Mnemonic::Outsb
                | Mnemonic::Outsw
                | Mnemonic::Outsd
                | Mnemonic::Stac
                | Mnemonic::Clac
        ) && !is_plain_pop(instr)
        || instr.has_rep_prefix() && instr.is_string_instruction()
        || instr.has_repne_prefix() && instr.is_string_instruction()
}

/// Whether after this instruction, which ended a block or filled it, only RIP is new:
/// translation, privilege, interrupts and code size are what they were.
pub(crate) fn chains(instr: &Instruction) -> bool {
    match instr.flow_control() {
        FlowControl::Next => !ends_block(instr),
        FlowControl::ConditionalBranch => true,
        FlowControl::UnconditionalBranch => instr.is_jmp_short_or_near(),
        FlowControl::IndirectBranch => instr.is_jmp_near_indirect(),
        FlowControl::Call => instr.is_call_near(),
        FlowControl::IndirectCall => instr.is_call_near_indirect(),
        FlowControl::Return => instr.mnemonic() == Mnemonic::Ret,
        _ => false,
    }
}

/// POP to a general register or memory; POP to a segment register may change SS.
fn is_plain_pop(instr: &Instruction) -> bool {
    instr.mnemonic() == Mnemonic::Pop && !instr.op0_register().is_segment_register()
}

/// An encoding that is no instruction.
fn undefined(_: &mut Core<'_>, _: &Op) -> Result<(), Exception> {
    Err(Exception::Ud)
}

/// A real instruction this machine does not have.
fn missing(c: &mut Core<'_>, op: &Op) -> Result<(), Exception> {
    c.report_missing(op);
    Err(Exception::Ud)
}
