//! RDMSR, WRMSR, the time-stamp counter, and the bases of FS and GS.
//!
//! **Spec:** SDM 2 "RDMSR", "WRMSR", "RDTSC", "RDTSCP", "RDPID", "RDPMC", "SWAPGS", "RDFSBASE/RDGSBASE".

use super::Done;
use crate::core::Core;
use crate::exception::Exception;
use crate::interp::operand::operand_bytes;
use crate::op::{Exec, Op};
use crate::segment::SegReg;
use crate::state::reg;
use crate::word::Word;
use iced_x86::{Instruction, Mnemonic};
use x86::{Cr4, VirtAddr};

pub(super) fn select(instr: &Instruction) -> Option<Exec> {
    Some(match instr.mnemonic() {
        Mnemonic::Rdmsr => rdmsr,
        Mnemonic::Wrmsr => wrmsr,
        Mnemonic::Rdtsc => rdtsc,
        Mnemonic::Rdtscp => rdtscp,
        Mnemonic::Rdpid => rdpid,
        Mnemonic::Rdpmc => rdpmc,
        Mnemonic::Swapgs => swapgs,
        Mnemonic::Rdfsbase => read_base(instr, SegReg::Fs),
        Mnemonic::Rdgsbase => read_base(instr, SegReg::Gs),
        Mnemonic::Wrfsbase => write_base(instr, SegReg::Fs),
        Mnemonic::Wrgsbase => write_base(instr, SegReg::Gs),
        _ => return None,
    })
}

fn set_pair(c: &mut Core<'_>, value: u64) {
    c.cpu.regs[reg::RAX] = value & 0xffff_ffff;
    c.cpu.regs[reg::RDX] = value >> 32;
}

fn rdmsr(c: &mut Core<'_>, _: &Op) -> Done {
    c.need_cpl0()?;
    let number = u32::low(c.cpu.regs[reg::RCX]);
    let value = c.read_msr(number)?;
    set_pair(c, value);
    Ok(())
}

fn wrmsr(c: &mut Core<'_>, _: &Op) -> Done {
    c.need_cpl0()?;
    let value = c.cpu.regs[reg::RDX] << 32 | c.cpu.regs[reg::RAX] & 0xffff_ffff;
    c.write_msr(u32::low(c.cpu.regs[reg::RCX]), value)
}

fn check_tsd(c: &Core<'_>) -> Done {
    let refused = c.cpu.cr4().contains(Cr4::TSD) && c.cpu.cpl > 0;
    if refused {
        Err(Exception::Gp(0))
    } else {
        Ok(())
    }
}

fn rdtsc(c: &mut Core<'_>, _: &Op) -> Done {
    check_tsd(c)?;
    let value = c.tsc();
    set_pair(c, value);
    Ok(())
}

fn rdtscp(c: &mut Core<'_>, op: &Op) -> Done {
    rdtsc(c, op)?;
    c.cpu.regs[reg::RCX] = c.cpu.msr.tsc_aux & 0xffff_ffff;
    Ok(())
}

fn swapgs(c: &mut Core<'_>, _: &Op) -> Done {
    if !c.cpu.is_64bit() {
        return Err(Exception::Ud);
    }
    c.need_cpl0()?;
    let old = c.cpu.seg(SegReg::Gs).base;
    let new = std::mem::replace(&mut c.cpu.msr.kernel_gs_base, old);
    c.cpu.set_segment_base(SegReg::Gs, new);
    Ok(())
}

/// RDPID writes all of the register whatever the operand size.
fn rdpid(c: &mut Core<'_>, op: &Op) -> Done {
    c.cpu.regs[usize::from(op.r[0])] = c.cpu.msr.tsc_aux & 0xffff_ffff;
    Ok(())
}

/// There are no performance counters, so no number in ECX is valid.
const fn rdpmc(_: &mut Core<'_>, _: &Op) -> Done {
    Err(Exception::Gp(0))
}

/// #UD outside 64-bit mode and without CR4.FSGSBASE.
fn need_fsgsbase(c: &Core<'_>) -> Done {
    if c.cpu.is_64bit() && c.cpu.cr4().contains(Cr4::FSGSBASE) {
        Ok(())
    } else {
        Err(Exception::Ud)
    }
}

fn read_base(instr: &Instruction, which: SegReg) -> Exec {
    fn exec<W: Word, const GS: bool>(c: &mut Core<'_>, op: &Op) -> Done {
        need_fsgsbase(c)?;
        let base = c.cpu.seg(base_register::<GS>()).base;
        W::set_reg(&mut c.cpu.regs, op.r[0], W::low(base));
        Ok(())
    }
    match (operand_bytes(instr, 0), which) {
        (4, SegReg::Gs) => exec::<u32, true>,
        (_, SegReg::Gs) => exec::<u64, true>,
        (4, _) => exec::<u32, false>,
        _ => exec::<u64, false>,
    }
}

fn write_base(instr: &Instruction, which: SegReg) -> Exec {
    fn exec<W: Word, const GS: bool>(c: &mut Core<'_>, op: &Op) -> Done {
        need_fsgsbase(c)?;
        let base =
            VirtAddr::new(W::reg(&c.cpu.regs, op.r[0]).zx()).map_err(|_| Exception::Gp(0))?;
        c.cpu.set_segment_base(base_register::<GS>(), base.get());
        Ok(())
    }
    match (operand_bytes(instr, 0), which) {
        (4, SegReg::Gs) => exec::<u32, true>,
        (_, SegReg::Gs) => exec::<u64, true>,
        (4, _) => exec::<u32, false>,
        _ => exec::<u64, false>,
    }
}

const fn base_register<const GS: bool>() -> SegReg {
    if GS { SegReg::Gs } else { SegReg::Fs }
}
