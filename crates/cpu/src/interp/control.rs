//! Near control transfer: JMP, CALL, RET, Jcc, LOOP, SETcc, ENTER, LEAVE, flag instructions, NOP.
//!
//! **Spec:** SDM 1 "Control Transfer Instructions".

use super::data::condition_number;
use super::operand::{Mem, Reg, Source, Target, operand_bytes};
use crate::core::Core;
use crate::exception::Exception;
use crate::flags::{self, CF, DF, ZF};
use crate::op::{Exec, Op};
use crate::segment::SegReg;
use crate::state::reg;
use crate::word::Word;
use iced_x86::{FlowControl, Instruction, Mnemonic, OpKind};
use x86::VirtAddr;
use x86::fault::Access;

type Done = Result<(), Exception>;

pub(super) fn select(instr: &Instruction) -> Option<Exec> {
    match instr.mnemonic() {
        Mnemonic::Jmp if instr.is_jmp_short_or_near() => relative(instr),
        Mnemonic::Jmp if instr.is_jmp_near_indirect() => indirect(instr),
        Mnemonic::Call if instr.is_call_near() => Some(call_size(instr)?),
        Mnemonic::Call if instr.is_call_near_indirect() => call_indirect_size(instr),
        Mnemonic::Ret => ret(instr),
        Mnemonic::Jcxz => Some(count_branch::<u16, Zero>),
        Mnemonic::Jecxz => Some(count_branch::<u32, Zero>),
        Mnemonic::Jrcxz => Some(count_branch::<u64, Zero>),
        Mnemonic::Loop => loops::<Always>(instr),
        Mnemonic::Loope => loops::<Equal>(instr),
        Mnemonic::Loopne => loops::<NotEqual>(instr),
        Mnemonic::Enter => enter(instr),
        Mnemonic::Leave => leave(instr),
        Mnemonic::Clc => Some(|c, _| flag(c, CF, false)),
        Mnemonic::Stc => Some(|c, _| flag(c, CF, true)),
        Mnemonic::Cmc => Some(complement_carry),
        Mnemonic::Cld => Some(|c, _| flag(c, DF, false)),
        Mnemonic::Std => Some(|c, _| flag(c, DF, true)),
        // Hints and barriers: one processor executes at a time, in order, so all are met.
        Mnemonic::Nop | Mnemonic::Pause | Mnemonic::Endbr64 | Mnemonic::Endbr32 => {
            Some(|_, _| Ok(()))
        }
        // Encodings kept free as NOPs, which newer processors gave to CET and cache hints.
        Mnemonic::Reservednop | Mnemonic::Rdsspd | Mnemonic::Rdsspq | Mnemonic::Cldemote => {
            Some(|_, _| Ok(()))
        }
        Mnemonic::Mfence | Mnemonic::Lfence | Mnemonic::Sfence => Some(|_, _| Ok(())),
        Mnemonic::Prefetcht0
        | Mnemonic::Prefetcht1
        | Mnemonic::Prefetcht2
        | Mnemonic::Prefetchnta
        | Mnemonic::Prefetchw
        | Mnemonic::Prefetchwt1
        | Mnemonic::Prefetch => Some(|_, _| Ok(())),
        Mnemonic::Clflush => Some(clflush),
        Mnemonic::Ud2 | Mnemonic::Ud1 | Mnemonic::Ud0 => Some(|_, _| Err(Exception::Ud)),
        _ if instr.flow_control() == FlowControl::ConditionalBranch => jcc(instr),
        _ if operand_bytes(instr, 0) == 1 => setcc(instr),
        _ => None,
    }
}

fn flag(c: &mut Core<'_>, bit: u64, on: bool) -> Done {
    flags::put(&mut c.cpu.flags, bit, on);
    Ok(())
}

fn complement_carry(c: &mut Core<'_>, _: &Op) -> Done {
    c.cpu.flags ^= CF;
    Ok(())
}

/// Reads the byte, as for access rights; there are no caches to flush.
fn clflush(c: &mut Core<'_>, op: &Op) -> Done {
    let va = c.linear(op.seg, c.ea(op), 1, Access::Read)?;
    c.translate(va, Access::Read, c.explicit()).map(drop)
}

impl Core<'_> {
    /// Sets RIP to a near target, if code could be there.
    ///
    /// # Errors
    ///
    /// #GP(0) for a target that is not canonical or beyond the limit of CS; RIP is unchanged.
    pub(crate) fn jump(&mut self, target: u64) -> Done {
        if self.cpu.is_64bit() {
            VirtAddr::new(target).map_err(|_| Exception::Gp(0))?;
        } else if target > u64::from(self.cpu.seg(SegReg::Cs).limit) {
            return Err(Exception::Gp(0));
        }
        self.cpu.set_rip(target);
        Ok(())
    }
}

/// Operand size of a near branch, as a mask of its target.
fn branch_bytes(instr: &Instruction) -> usize {
    match instr.op0_kind() {
        OpKind::NearBranch16 => 2,
        OpKind::NearBranch32 => 4,
        OpKind::NearBranch64 => 8,
        _ => operand_bytes(instr, 0),
    }
}

fn target<W: Word>(c: &Core<'_>, op: &Op) -> u64 {
    W::low(c.cpu.rip().wrapping_add(op.imm)).zx()
}

fn jump_relative<W: Word>(c: &mut Core<'_>, op: &Op) -> Done {
    c.jump(target::<W>(c, op))
}

fn relative(instr: &Instruction) -> Option<Exec> {
    Some(match branch_bytes(instr) {
        2 => jump_relative::<u16>,
        4 => jump_relative::<u32>,
        _ => jump_relative::<u64>,
    })
}

fn jump_to<W: Word, S: Source>(c: &mut Core<'_>, op: &Op) -> Done {
    let to = S::get::<W>(c, op)?.zx();
    c.jump(to)
}

fn indirect(instr: &Instruction) -> Option<Exec> {
    Some(match (instr.op0_kind(), operand_bytes(instr, 0)) {
        (OpKind::Register, 2) => jump_to::<u16, Reg<0>>,
        (OpKind::Register, 4) => jump_to::<u32, Reg<0>>,
        (OpKind::Register, _) => jump_to::<u64, Reg<0>>,
        (_, 2) => jump_to::<u16, Mem>,
        (_, 4) => jump_to::<u32, Mem>,
        _ => jump_to::<u64, Mem>,
    })
}

/// Pushes the return address and jumps; both or neither.
fn call_to<W: Word>(c: &mut Core<'_>, to: u64) -> Done {
    let back = c.cpu.rip();
    c.jump(to)?;
    c.push(W::low(back))
}

fn call_relative<W: Word>(c: &mut Core<'_>, op: &Op) -> Done {
    call_to::<W>(c, target::<W>(c, op))
}

fn call_size(instr: &Instruction) -> Option<Exec> {
    Some(match branch_bytes(instr) {
        2 => call_relative::<u16>,
        4 => call_relative::<u32>,
        _ => call_relative::<u64>,
    })
}

fn call_indirect<W: Word, S: Source>(c: &mut Core<'_>, op: &Op) -> Done {
    let to = S::get::<W>(c, op)?.zx();
    call_to::<W>(c, to)
}

fn call_indirect_size(instr: &Instruction) -> Option<Exec> {
    Some(match (instr.op0_kind(), operand_bytes(instr, 0)) {
        (OpKind::Register, 2) => call_indirect::<u16, Reg<0>>,
        (OpKind::Register, 4) => call_indirect::<u32, Reg<0>>,
        (OpKind::Register, _) => call_indirect::<u64, Reg<0>>,
        (_, 2) => call_indirect::<u16, Mem>,
        (_, 4) => call_indirect::<u32, Mem>,
        _ => call_indirect::<u64, Mem>,
    })
}

/// RET and RET imm16.
fn return_near<W: Word>(c: &mut Core<'_>, op: &Op) -> Done {
    let old = c.cpu.regs[reg::RSP];
    let to = c.pop::<W>()?.zx();
    if let Err(e) = c.jump(to) {
        c.cpu.regs[reg::RSP] = old;
        return Err(e);
    }
    let sp = c.cpu.stack_pointer().wrapping_add(op.imm);
    c.cpu.set_stack_pointer(sp);
    Ok(())
}

fn ret(instr: &Instruction) -> Option<Exec> {
    let popped = instr.stack_pointer_increment()
        - if instr.op_count() == 1 {
            i32::from(instr.immediate16())
        } else {
            0
        };
    Some(match popped {
        2 => return_near::<u16>,
        4 => return_near::<u32>,
        _ => return_near::<u64>,
    })
}

fn branch_if<const CODE: u8>(c: &mut Core<'_>, op: &Op) -> Done {
    if flags::condition(c.cpu.flags, CODE) {
        jump_relative::<u64>(c, op)
    } else {
        Ok(())
    }
}

fn branch_if_narrow<const CODE: u8, W: Word>(c: &mut Core<'_>, op: &Op) -> Done {
    if flags::condition(c.cpu.flags, CODE) {
        jump_relative::<W>(c, op)
    } else {
        Ok(())
    }
}

fn jcc(instr: &Instruction) -> Option<Exec> {
    let (code, bytes) = (condition_number(instr)?, branch_bytes(instr));
    macro_rules! by_condition {
        ($($n:literal)*) => { match (code, bytes) {
            $(($n, 8) => Some(branch_if::<$n>),
              ($n, 4) => Some(branch_if_narrow::<$n, u32>),
              ($n, _) => Some(branch_if_narrow::<$n, u16>),)*
            _ => None,
        } };
    }
    by_condition!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
}

fn set_if<const CODE: u8, D: Target>(c: &mut Core<'_>, op: &Op) -> Done {
    let value = u8::from(flags::condition(c.cpu.flags, CODE));
    D::set(c, op, value)
}

fn setcc(instr: &Instruction) -> Option<Exec> {
    let (code, kind) = (condition_number(instr)?, instr.op0_kind());
    macro_rules! by_condition {
        ($($n:literal)*) => { match (code, kind) {
            $(($n, OpKind::Register) => Some(set_if::<$n, Reg<0>>),
              ($n, _) => Some(set_if::<$n, Mem>),)*
            _ => None,
        } };
    }
    by_condition!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
}

/// When a counted branch is taken, given ZF and the count after the instruction.
trait Test {
    const COUNTS: bool;
    fn taken(count: u64, zero_flag: bool) -> bool;
}

macro_rules! tests {
    ($($name:ident, counts: $counts:literal, $test:expr;)*) => { $(
        struct $name;
        impl Test for $name {
            const COUNTS: bool = $counts;
            fn taken(count: u64, zero_flag: bool) -> bool {
                let test: fn(u64, bool) -> bool = $test;
                test(count, zero_flag)
            }
        }
    )* };
}

tests! {
    Zero, counts: false, |count, _| count == 0;
    Always, counts: true, |count, _| count != 0;
    Equal, counts: true, |count, zero| count != 0 && zero;
    NotEqual, counts: true, |count, zero| count != 0 && !zero;
}

/// JrCXZ and LOOPcc; the counter's width is the address size.
fn count_branch<W: Word, T: Test>(c: &mut Core<'_>, op: &Op) -> Done {
    let old = W::reg(&c.cpu.regs, reg::RCX as u8);
    let count = if T::COUNTS {
        W::low(old.zx().wrapping_sub(1))
    } else {
        old
    };
    if T::taken(count.zx(), c.cpu.flags & ZF != 0) {
        let to = match c.cpu.code_size {
            crate::state::CodeSize::Bits16 => target::<u16>(c, op),
            crate::state::CodeSize::Bits32 => target::<u32>(c, op),
            crate::state::CodeSize::Bits64 => target::<u64>(c, op),
        };
        c.jump(to)?;
    }
    if T::COUNTS {
        W::set_reg(&mut c.cpu.regs, reg::RCX as u8, count);
    }
    Ok(())
}

fn loops<T: Test>(instr: &Instruction) -> Option<Exec> {
    use iced_x86::Code;
    Some(match instr.code() {
        Code::Loop_rel8_16_CX
        | Code::Loop_rel8_32_CX
        | Code::Loope_rel8_16_CX
        | Code::Loope_rel8_32_CX
        | Code::Loopne_rel8_16_CX
        | Code::Loopne_rel8_32_CX => count_branch::<u16, T>,
        Code::Loop_rel8_64_RCX
        | Code::Loop_rel8_16_RCX
        | Code::Loope_rel8_64_RCX
        | Code::Loope_rel8_16_RCX
        | Code::Loopne_rel8_64_RCX
        | Code::Loopne_rel8_16_RCX => count_branch::<u64, T>,
        _ => count_branch::<u32, T>,
    })
}

/// ENTER: frames above level 0 copy the display.
fn enter_frame<W: Word>(c: &mut Core<'_>, op: &Op) -> Done {
    let old = c.cpu.regs[reg::RSP];
    let result = enter_steps::<W>(c, op);
    if result.is_err() {
        c.cpu.regs[reg::RSP] = old;
    }
    result
}

fn enter_steps<W: Word>(c: &mut Core<'_>, op: &Op) -> Done {
    let level = u64::from(op.imm2) % 32;
    let frame_pointer = c.cpu.regs[reg::RBP];
    c.push(W::low(frame_pointer))?;
    let frame = c.cpu.stack_pointer();
    for i in 1..level {
        let link = c.read_stack::<W>(frame_pointer.wrapping_sub(i * W::BYTES))?;
        c.push(link)?;
    }
    if level > 0 {
        c.push(W::low(frame))?;
    }
    let sp = c.cpu.stack_pointer().wrapping_sub(op.imm & 0xffff);
    // The new top of the stack must be writable; nothing is written.
    let va = c.linear(c.stack_seg(), sp & c.cpu.stack_mask(), 1, Access::Write)?;
    c.translate(va, Access::Write, c.explicit())?;
    c.cpu.set_stack_pointer(sp);
    W::set_reg(&mut c.cpu.regs, reg::RBP as u8, W::low(frame));
    Ok(())
}

fn enter(instr: &Instruction) -> Option<Exec> {
    use iced_x86::Code;
    Some(match instr.code() {
        Code::Enterw_imm16_imm8 => enter_frame::<u16>,
        Code::Enterd_imm16_imm8 => enter_frame::<u32>,
        _ => enter_frame::<u64>,
    })
}

fn leave_frame<W: Word>(c: &mut Core<'_>, _: &Op) -> Done {
    let frame = c.cpu.regs[reg::RBP] & c.cpu.stack_mask();
    let value = c.read_stack::<W>(frame)?;
    c.cpu.set_stack_pointer(frame.wrapping_add(W::BYTES));
    W::set_reg(&mut c.cpu.regs, reg::RBP as u8, value);
    Ok(())
}

fn leave(instr: &Instruction) -> Option<Exec> {
    use iced_x86::Code;
    Some(match instr.code() {
        Code::Leavew => leave_frame::<u16>,
        Code::Leaved => leave_frame::<u32>,
        _ => leave_frame::<u64>,
    })
}
