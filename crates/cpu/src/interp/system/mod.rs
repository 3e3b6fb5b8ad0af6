//! System instructions: CPUID, HLT, interrupt flag, and the families of the files below.
//!
//! **Spec:** SDM 3A "System Instruction Summary", "Control Registers".

mod contexts;
mod control_regs;
mod msr_io;
mod ports;
mod tables;
mod verify;

use crate::core::Core;
use crate::exception::Exception;
use crate::op::{Exec, Op};
use crate::state::Activity;
use iced_x86::{Instruction, Mnemonic};
use trace::Event;
use x86::{Cr4, Rflags};

type Done = Result<(), Exception>;

pub(super) fn select(instr: &Instruction) -> Option<Exec> {
    control_regs::select(instr)
        .or_else(|| contexts::select(instr))
        .or_else(|| tables::select(instr))
        .or_else(|| verify::select(instr))
        .or_else(|| msr_io::select(instr))
        .or_else(|| ports::select(instr))
        .or_else(|| select_other(instr))
}

fn select_other(instr: &Instruction) -> Option<Exec> {
    Some(match instr.mnemonic() {
        Mnemonic::Wbinvd | Mnemonic::Invd => |c, _| c.need_cpl0(),
        Mnemonic::Cpuid => |c, _| {
            c.cpuid();
            Ok(())
        },
        Mnemonic::Hlt => hlt,
        Mnemonic::Cli => cli,
        Mnemonic::Sti => sti,
        Mnemonic::Clac => |c, _| set_ac(c, false),
        Mnemonic::Stac => |c, _| set_ac(c, true),
        _ => return None,
    })
}

impl Core<'_> {
    /// #GP(0) unless CPL is 0.
    fn need_cpl0(&self) -> Done {
        if self.cpu.cpl == 0 {
            Ok(())
        } else {
            Err(Exception::Gp(0))
        }
    }

    /// #UD in real and virtual-8086 mode: LLDT, LTR, SLDT, STR, LAR and their like.
    fn need_protected_mode(&self) -> Done {
        if self.cpu.uses_descriptors() {
            Ok(())
        } else {
            Err(Exception::Ud)
        }
    }

    /// SGDT, SIDT, SLDT, STR and SMSW at CPL 3 under CR4.UMIP.
    fn check_umip(&self) -> Done {
        let prevented = self.cpu.cpl > 0 && self.cpu.cr4().contains(Cr4::UMIP);
        if prevented {
            Err(Exception::Gp(0))
        } else {
            Ok(())
        }
    }

    /// Whether a device was accessed: events must be looked at before the next instruction.
    pub(crate) const fn must_leave(&self) -> bool {
        self.leave
    }
}

fn hlt(c: &mut Core<'_>, _: &Op) -> Done {
    c.need_cpl0()?;
    c.cpu.activity = Activity::Halted;
    c.settle();
    c.tracer
        .emit(c.cpu.ledger.now().cycles(), c.cpu.source(), Event::Halt);
    Ok(())
}

/// CLI and STI need CPL ≤ IOPL in protected mode.
fn check_iopl(c: &Core<'_>) -> Done {
    if c.cpu.is_protected() && c.cpu.cpl > c.cpu.iopl() {
        Err(Exception::Gp(0))
    } else {
        Ok(())
    }
}

fn cli(c: &mut Core<'_>, _: &Op) -> Done {
    check_iopl(c)?;
    c.cpu.flags &= !Rflags::IF.bits();
    Ok(())
}

/// STI holds interrupts off until after the next instruction, if IF was clear.
fn sti(c: &mut Core<'_>, _: &Op) -> Done {
    check_iopl(c)?;
    c.cpu.interrupt_shadow = c.cpu.flags & Rflags::IF.bits() == 0;
    c.cpu.flags |= Rflags::IF.bits();
    Ok(())
}

fn set_ac(c: &mut Core<'_>, on: bool) -> Done {
    if c.cpu.cpl != 0 {
        return Err(Exception::Ud);
    }
    crate::flags::put(&mut c.cpu.flags, Rflags::AC.bits(), on);
    Ok(())
}
