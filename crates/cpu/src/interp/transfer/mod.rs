//! Far control transfer: far JMP and CALL, INT n, and in the files below returns and system calls.
//!
//! Modelled: transfers to code segments, through call gates of 16, 32 and 64 bits, to tasks.
//!
//! **Spec:** SDM 1 "Procedure Calls, Interrupts, and Exceptions"; SDM 2 "JMP", "CALL", "INT n/INTO/INT3/INT1".

mod gate;
mod returns;
mod syscall;

use crate::core::Core;
use crate::exception::{Exception, Origin};
use crate::flags::OF;
use crate::op::{Exec, Op};
use crate::segment::{SegReg, Segment};
use crate::task::TaskEntry;
use crate::word::Word;
use iced_x86::{Instruction, Mnemonic, OpKind};
use x86::VirtAddr;
use x86::descriptor::{Descriptor, Gate64, Selector, system_type};

type Done = Result<(), Exception>;

pub(super) fn select(instr: &Instruction) -> Option<Exec> {
    let indirect = instr.op0_kind() == OpKind::Memory;
    Some(match instr.mnemonic() {
        Mnemonic::Jmp if instr.is_jmp_far() || instr.is_jmp_far_indirect() => {
            match far_bytes(instr) {
                _ if !indirect => far_direct::<Jump>,
                2 => far_indirect::<u16, Jump>,
                4 => far_indirect::<u32, Jump>,
                _ => far_indirect::<u64, Jump>,
            }
        }
        Mnemonic::Call if instr.is_call_far() || instr.is_call_far_indirect() => {
            match far_bytes(instr) {
                2 if !indirect => far_direct::<Call<u16>>,
                _ if !indirect => far_direct::<Call<u32>>,
                2 => far_indirect::<u16, Call<u16>>,
                4 => far_indirect::<u32, Call<u32>>,
                _ => far_indirect::<u64, Call<u64>>,
            }
        }
        Mnemonic::Int => software_interrupt,
        Mnemonic::Int1 => debug_trap,
        Mnemonic::Int3 => breakpoint,
        Mnemonic::Into => into,
        _ => return returns::select(instr).or_else(|| syscall::select(instr)),
    })
}

/// Size of the offset in a far pointer.
fn far_bytes(instr: &Instruction) -> usize {
    match instr.op0_kind() {
        OpKind::FarBranch16 => 2,
        OpKind::FarBranch32 => 4,
        _ => instr.memory_size().size() - 2,
    }
}

/// What happens once the target is known.
trait Transfer {
    /// How a task is entered.
    const TASK: TaskEntry;
    /// To a code segment that is named without a gate.
    fn to_code(c: &mut Core<'_>, segment: Segment, offset: u64) -> Done;
    /// Through a call gate that may be used.
    fn through(c: &mut Core<'_>, gate: Gate64) -> Done;
}

struct Jump;
impl Transfer for Jump {
    const TASK: TaskEntry = TaskEntry::Jump;

    fn to_code(c: &mut Core<'_>, segment: Segment, offset: u64) -> Done {
        c.enter_code(segment, offset)
    }

    fn through(c: &mut Core<'_>, gate: Gate64) -> Done {
        c.jump_through(gate)
    }
}

struct Call<W>(W);
impl<W: Word> Transfer for Call<W> {
    const TASK: TaskEntry = TaskEntry::Nested;

    fn to_code(c: &mut Core<'_>, segment: Segment, offset: u64) -> Done {
        c.call_code::<W>(segment, offset)
    }

    fn through(c: &mut Core<'_>, gate: Gate64) -> Done {
        c.call_through(gate)
    }
}

fn transfer<T: Transfer>(c: &mut Core<'_>, selector: Selector, offset: u64) -> Done {
    if !c.cpu.uses_descriptors() {
        let segment = real_code(c, selector);
        return T::to_code(c, segment, offset);
    }
    if selector.is_null() {
        return Err(Exception::Gp(0));
    }
    let desc = c.read_descriptor(selector)?;
    if desc.is_code_or_data() {
        let segment = c.code_segment(selector, c.cpu.cpl)?;
        if selector.rpl() > c.cpu.cpl && !segment.desc.is_conforming_code() {
            return Err(Exception::Gp(selector.error_code()));
        }
        return T::to_code(c, segment, offset);
    }
    through_system_descriptor::<T>(c, selector, desc)
}

/// Call gates, task gates and TSSs: DPL must admit CPL and RPL.
fn through_system_descriptor<T: Transfer>(
    c: &mut Core<'_>,
    selector: Selector,
    desc: Descriptor,
) -> Done {
    use system_type as t;
    let error = selector.error_code();
    let legacy = !c.cpu.is_ia32e();
    if desc.dpl() < c.cpu.cpl || desc.dpl() < selector.rpl() {
        return Err(Exception::Gp(error));
    }
    match desc.kind() {
        t::CALL_GATE => {
            let gate = c.call_gate(selector, desc)?;
            T::through(c, gate)
        }
        t::CALL_GATE16 if legacy => {
            let gate = c.call_gate(selector, desc)?;
            T::through(c, gate)
        }
        t::TASK_GATE if legacy => {
            if !desc.is_present() {
                return Err(Exception::Np(error));
            }
            let gate = Gate64 {
                low: desc.0,
                high: 0,
            };
            let tss = c.available_task(gate.selector())?;
            c.go_to_task(gate.selector(), tss, T::TASK)
        }
        t::TSS16_AVAILABLE | t::TSS_AVAILABLE if legacy => {
            let tss = c.available_task(selector)?;
            c.go_to_task(selector, tss, T::TASK)
        }
        _ => Err(Exception::Gp(error)),
    }
}

/// A code segment of real or virtual-8086 mode.
fn real_code(c: &Core<'_>, selector: Selector) -> Segment {
    Segment {
        selector,
        base: u64::from(selector.0) << 4,
        ..*c.cpu.seg(SegReg::Cs)
    }
}

fn far_direct<T: Transfer>(c: &mut Core<'_>, op: &Op) -> Done {
    transfer::<T>(c, Selector(op.imm2), op.imm)
}

fn far_indirect<W: Word, T: Transfer>(c: &mut Core<'_>, op: &Op) -> Done {
    let at = c.ea(op);
    let offset = c.load_at::<W>(op.seg, at)?.zx();
    let selector = c.load_at::<u16>(op.seg, at.wrapping_add(W::BYTES) & op.addr_mask)?;
    transfer::<T>(c, Selector(selector), offset)
}

impl Core<'_> {
    /// Loads CS and RIP together; RIP must suit the new segment.
    fn enter_code(&mut self, segment: Segment, rip: u64) -> Done {
        let long = self.cpu.is_ia32e() && segment.desc.is_long();
        let fits = if long {
            VirtAddr::new(rip).is_ok()
        } else {
            rip <= u64::from(segment.limit)
        };
        if !fits {
            return Err(Exception::Gp(0));
        }
        self.cpu.load_segment(SegReg::Cs, segment);
        self.cpu.set_rip(rip);
        Ok(())
    }

    /// Pushes the return address and enters the segment; both or neither.
    fn call_code<W: Word>(&mut self, segment: Segment, offset: u64) -> Done {
        self.with_stack_restored(|c| {
            let back = (u64::from(c.cpu.seg(SegReg::Cs).selector.0), c.cpu.rip());
            c.push(W::low(back.0))?;
            c.push(W::low(back.1))?;
            c.enter_code(segment, offset)
        })
    }

    /// Switches to another task. What is wrong once that runs is its own exception.
    fn go_to_task(&mut self, selector: Selector, desc: Descriptor, entry: TaskEntry) -> Done {
        let entered = self.switch_task(selector, desc, entry, self.cpu.flags, 0)?;
        if let Err(e) = entered {
            self.raise(e);
        }
        Ok(())
    }
}

/// INT n; virtual-8086 mode without its extensions asks IOPL first.
fn software_interrupt(c: &mut Core<'_>, op: &Op) -> Done {
    if c.cpu.is_vm86() && c.cpu.iopl() < 3 {
        return Err(Exception::Gp(0));
    }
    c.deliver(Origin::Software((op.imm & 0xff) as u8))
}

/// INT1 is a #DB that no DPL forbids and that leaves DR6.
fn debug_trap(c: &mut Core<'_>, _: &Op) -> Done {
    c.deliver(Origin::Exception(Exception::Db))
}

/// INT3 is checked like INT n against the gate's DPL.
fn breakpoint(c: &mut Core<'_>, _: &Op) -> Done {
    c.deliver(Origin::Software(x86::fault::Vector::Bp as u8))
}

fn into(c: &mut Core<'_>, _: &Op) -> Done {
    if c.cpu.flags & OF == 0 {
        return Ok(());
    }
    c.deliver(Origin::Software(x86::fault::Vector::Of as u8))
}
