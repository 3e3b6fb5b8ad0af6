//! MOV to and from control and debug registers, CLTS, SMSW, LMSW.
//!
//! **Spec:** SDM 3A "Control Registers", "Debug Registers", "Initializing IA-32e Mode".

use super::Done;
use crate::core::Core;
use crate::cpuid::CR4_SUPPORTED;
use crate::debug::{DR6_BD, DR7_GD};
use crate::exception::Exception;
use crate::interp::operand::{Mem, Reg, Source, Target, operand_bytes};
use crate::op::{Exec, Op};
use crate::segment::SegReg;
use crate::word::Word;
use cost::Category;
use iced_x86::{Instruction, Mnemonic, OpKind};
use mmu::{PagingRegs, ReservedPdpte};
use trace::Event;
use x86::paging::Format;
use x86::{Cr0, Cr4, Efer, Pcid, Rflags};

pub(super) fn select(instr: &Instruction) -> Option<Exec> {
    Some(match instr.mnemonic() {
        Mnemonic::Mov if instr.op0_register().is_cr() => mov_to_cr,
        Mnemonic::Mov if instr.op1_register().is_cr() => mov_from_cr,
        Mnemonic::Mov if instr.op0_register().is_dr() => mov_to_dr,
        Mnemonic::Mov if instr.op1_register().is_dr() => mov_from_dr,
        Mnemonic::Clts => clts,
        Mnemonic::Smsw => smsw(instr),
        Mnemonic::Lmsw => {
            if instr.op0_kind() == OpKind::Register {
                lmsw::<Reg<0>>
            } else {
                lmsw::<Mem>
            }
        }
        _ => return None,
    })
}

impl Core<'_> {
    /// MOV to CR0 and LMSW.
    ///
    /// **Spec:** SDM 3A "Control Registers"; SDM 3A "Initializing IA-32e Mode".
    fn write_cr0(&mut self, raw: u64) -> Done {
        if raw >> 32 != 0 {
            return Err(Exception::Gp(0));
        }
        let new = Cr0::from_bits_truncate(raw) | Cr0::ET;
        let old = self.cpu.cr0();
        let contradiction = new.contains(Cr0::PG) && !new.contains(Cr0::PE)
            || new.contains(Cr0::NW) && !new.contains(Cr0::CD);
        if contradiction {
            return Err(Exception::Gp(0));
        }
        let mut wanted = PagingRegs {
            cr0: new,
            ..*self.cpu.mmu.regs()
        };
        if new.contains(Cr0::PG) && !old.contains(Cr0::PG) {
            if wanted.efer.contains(Efer::LME) {
                if !self.cpu.cr4().contains(Cr4::PAE) || self.cpu.seg(SegReg::Cs).desc.is_long() {
                    return Err(Exception::Gp(0));
                }
                wanted.efer |= Efer::LMA;
            }
        } else if old.contains(Cr0::PG) && !new.contains(Cr0::PG) {
            if self.cpu.is_64bit() || self.cpu.cr4().contains(Cr4::PCIDE) {
                return Err(Exception::Gp(0));
            }
            wanted.efer -= Efer::LMA;
        }
        self.reload_pdptes(&wanted)?;
        self.cpu.mmu.write_efer(wanted.efer);
        self.cpu.mmu.write_cr0(new);
        self.cpu.update_code_size();
        Ok(())
    }

    /// MOV to CR3: under PAE paging it loads the PDPTEs, under CR4.PCIDE bit 63 keeps what is cached.
    pub(crate) fn write_cr3(&mut self, operand: u64) -> Done {
        let value = self.cpu.mmu.regs().cr3_after(operand);
        if self.cpu.is_ia32e() && value >> crate::MAXPHYADDR != 0 {
            return Err(Exception::Gp(0));
        }
        if self.cpu.mmu.regs().format() == Some(Format::Pae) {
            self.load_pdptes(value)?;
        }
        self.charge(Category::Flush, self.profile.mov_cr3);
        self.cpu.mmu.write_cr3(operand);
        let event = Event::Cr3 { value };
        self.tracer
            .emit(self.cpu.ledger.now().cycles(), self.cpu.source(), event);
        Ok(())
    }

    fn write_cr4(&mut self, raw: u64) -> Done {
        let new = Cr4::from_bits(raw)
            .filter(|v| CR4_SUPPORTED.contains(*v))
            .ok_or(Exception::Gp(0))?;
        if self.cpu.is_ia32e() && !new.contains(Cr4::PAE) {
            return Err(Exception::Gp(0));
        }
        let regs = *self.cpu.mmu.regs();
        let pcide_rises = new.contains(Cr4::PCIDE) && !regs.cr4.contains(Cr4::PCIDE);
        if pcide_rises && (!self.cpu.is_ia32e() || Pcid::truncate(regs.cr3) != Pcid::ZERO) {
            return Err(Exception::Gp(0));
        }
        self.reload_pdptes(&PagingRegs { cr4: new, ..regs })?;
        self.cpu.mmu.write_cr4(new);
        Ok(())
    }

    /// Loads the PDPTEs if the change to `wanted`, by MOV to CR0 or CR4, does.
    ///
    /// **Spec:** SDM 3A "PDPTE Registers".
    fn reload_pdptes(&mut self, wanted: &PagingRegs) -> Done {
        let regs = self.cpu.mmu.regs();
        if regs.reloads_pdptes(wanted) {
            self.load_pdptes(regs.cr3)
        } else {
            Ok(())
        }
    }

    /// #GP(0), before anything has changed, if a present PDPTE has a reserved bit set.
    fn load_pdptes(&mut self, cr3: u64) -> Done {
        let loaded = self.cpu.mmu.load_pdptes(self.ram, cr3);
        loaded.map_err(|ReservedPdpte| Exception::Gp(0))
    }
}

/// Operand width of control-register moves: 64 bits in 64-bit mode, else 32.
fn cr_operand(c: &Core<'_>, value: u64) -> u64 {
    if c.cpu.is_64bit() {
        value
    } else {
        value & 0xffff_ffff
    }
}

/// #UD, at any privilege, for numbers that name no register.
fn check_control_register(number: u8) -> Done {
    if matches!(number, 0 | 2 | 3 | 4 | 8) {
        Ok(())
    } else {
        Err(Exception::Ud)
    }
}

fn mov_to_cr(c: &mut Core<'_>, op: &Op) -> Done {
    check_control_register(op.r[0])?;
    c.need_cpl0()?;
    let value = cr_operand(c, c.cpu.regs[usize::from(op.r[1])]);
    match op.r[0] {
        0 => c.write_cr0(value),
        2 => {
            c.cpu.cr2 = value;
            Ok(())
        }
        3 => c.write_cr3(value),
        4 => c.write_cr4(value),
        8 if value <= 15 => {
            c.bus.set_task_priority(c.cpu.id, value as u8);
            c.leave = true;
            Ok(())
        }
        8 => Err(Exception::Gp(0)),
        _ => Err(Exception::Ud),
    }
}

fn mov_from_cr(c: &mut Core<'_>, op: &Op) -> Done {
    check_control_register(op.r[1])?;
    c.need_cpl0()?;
    let value = match op.r[1] {
        0 => c.cpu.cr0().bits(),
        2 => c.cpu.cr2,
        3 => c.cpu.mmu.regs().cr3,
        4 => c.cpu.cr4().bits(),
        8 => u64::from(c.bus.task_priority(c.cpu.id)),
        _ => return Err(Exception::Ud),
    };
    c.cpu.regs[usize::from(op.r[0])] = cr_operand(c, value);
    Ok(())
}

/// DR4 and DR5 are DR6 and DR7 unless CR4.DE makes them #UD.
fn debug_register(c: &Core<'_>, number: u8) -> Result<usize, Exception> {
    match number {
        4 | 5 if c.cpu.cr4().contains(Cr4::DE) => Err(Exception::Ud),
        4 | 5 => Ok(usize::from(number) + 2),
        n if n < 8 => Ok(usize::from(n)),
        _ => Err(Exception::Ud),
    }
}

/// General detect: under DR7.GD the access itself is a debug exception, before it happens.
///
/// It is a fault not of an instruction breakpoint, so RF is pushed set.
fn check_general_detect(c: &mut Core<'_>) -> Done {
    if c.cpu.dr[7] & DR7_GD == 0 {
        return Ok(());
    }
    c.cpu.dr[6] |= DR6_BD;
    c.cpu.flags |= Rflags::RF.bits();
    Err(Exception::Db)
}

fn mov_to_dr(c: &mut Core<'_>, op: &Op) -> Done {
    let number = debug_register(c, op.r[0])?;
    c.need_cpl0()?;
    check_general_detect(c)?;
    let value = cr_operand(c, c.cpu.regs[usize::from(op.r[1])]);
    if number >= 6 && value >> 32 != 0 {
        return Err(Exception::Gp(0));
    }
    match number {
        6 => c.cpu.dr[6] = value & 0xe00f | 0xffff_0ff0,
        7 => c.cpu.set_dr7(value),
        _ => c.cpu.dr[number] = value,
    }
    Ok(())
}

fn mov_from_dr(c: &mut Core<'_>, op: &Op) -> Done {
    let number = debug_register(c, op.r[1])?;
    c.need_cpl0()?;
    check_general_detect(c)?;
    c.cpu.regs[usize::from(op.r[0])] = cr_operand(c, c.cpu.dr[number]);
    Ok(())
}

fn clts(c: &mut Core<'_>, _: &Op) -> Done {
    c.need_cpl0()?;
    let cr0 = c.cpu.cr0() - Cr0::TS;
    c.cpu.mmu.write_cr0(cr0);
    Ok(())
}

fn smsw(instr: &Instruction) -> Exec {
    fn exec<W: Word, D: Target>(c: &mut Core<'_>, op: &Op) -> Done {
        c.check_umip()?;
        D::set(c, op, W::low(c.cpu.cr0().bits()))
    }
    match (instr.op0_kind(), operand_bytes(instr, 0)) {
        (OpKind::Memory, _) => exec::<u16, Mem>,
        (_, 2) => exec::<u16, Reg<0>>,
        (_, 4) => exec::<u32, Reg<0>>,
        _ => exec::<u64, Reg<0>>,
    }
}

/// LMSW changes PE, MP, EM and TS, and cannot clear PE.
fn lmsw<S: Source>(c: &mut Core<'_>, op: &Op) -> Done {
    c.need_cpl0()?;
    let value = u64::from(S::get::<u16>(c, op)?) & 0xf;
    let old = c.cpu.cr0().bits();
    c.write_cr0(old & !0xe | value)
}
