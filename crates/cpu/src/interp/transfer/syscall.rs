//! SYSCALL, SYSRET, SYSENTER, SYSEXIT: privilege changes without tables.
//!
//! **Spec:** SDM 2 "SYSCALL", "SYSRET", "SYSENTER", "SYSEXIT".

use super::Done;
use crate::core::Core;
use crate::exception::Exception;
use crate::op::{Exec, Op};
use crate::segment::{SegReg, Segment};
use crate::state::reg;
use crate::word::Word;
use cost::Category;
use iced_x86::{Instruction, Mnemonic};
use trace::Event;
use x86::descriptor::{Descriptor, Selector};
use x86::{Efer, Rflags, VirtAddr};

pub(super) fn select(instr: &Instruction) -> Option<Exec> {
    Some(match instr.mnemonic() {
        Mnemonic::Syscall => syscall,
        Mnemonic::Sysretq => sysret::<u64>,
        Mnemonic::Sysret => sysret::<u32>,
        Mnemonic::Sysenter => sysenter,
        Mnemonic::Sysexit => sysexit::<u32>,
        Mnemonic::Sysexitq => sysexit::<u64>,
        _ => return None,
    })
}

/// Flat 64-bit code, DPL 0, as SYSCALL loads it without reading a table.
const SYSCALL_CODE: Descriptor = Descriptor(0x00af_9b00_0000_ffff);
/// Flat data, DPL 0.
const SYSCALL_STACK: Descriptor = Descriptor(0x00cf_9300_0000_ffff);
/// DPL 3 in a descriptor.
const DPL3: u64 = 3 << 45;
/// Flat 32-bit code, DPL 0.
const CODE32: Descriptor = Descriptor(0x00cf_9b00_0000_ffff);

fn fixed(selector: u16, desc: Descriptor) -> Segment {
    Segment {
        base: 0,
        limit: u32::MAX,
        ..Segment::from_descriptor(Selector(selector), desc)
    }
}

fn syscall(c: &mut Core<'_>, _: &Op) -> Done {
    // Only 64-bit mode, as on Intel processors.
    if !c.cpu.is_64bit() || !c.cpu.efer().contains(Efer::SCE) {
        return Err(Exception::Ud);
    }
    let event = Event::Syscall {
        number: c.cpu.regs[reg::RAX],
    };
    c.charge(Category::Syscall, c.profile.syscall);
    c.tracer
        .emit(c.cpu.ledger.now().cycles(), c.cpu.source(), event);
    c.cpu.regs[reg::RCX] = c.cpu.rip();
    c.cpu.regs[reg::R11] = c.cpu.flags & !Rflags::RF.bits();
    c.cpu.set_rip(c.cpu.msr.lstar);
    c.cpu.flags &= !(c.cpu.msr.fmask | Rflags::RF.bits());
    c.cpu.flags |= Rflags::ALWAYS_1.bits();
    // A TF that FMASK clears traps no more; one it leaves does so here.
    c.single_step &= c.cpu.flags & Rflags::TF.bits() != 0;
    let selector = (c.cpu.msr.star >> 32 & 0xffff) as u16;
    c.cpu.cpl = 0;
    c.cpu
        .load_segment(SegReg::Cs, fixed(selector & !3, SYSCALL_CODE));
    c.cpu
        .load_segment(SegReg::Ss, fixed(selector.wrapping_add(8), SYSCALL_STACK));
    Ok(())
}

fn sysret<W: Word>(c: &mut Core<'_>, _: &Op) -> Done {
    if !c.cpu.is_64bit() || !c.cpu.efer().contains(Efer::SCE) {
        return Err(Exception::Ud);
    }
    let rip = W::low(c.cpu.regs[reg::RCX]).zx();
    if c.cpu.cpl != 0 || VirtAddr::new(rip).is_err() {
        // As on Intel: #GP is raised at CPL 0.
        return Err(Exception::Gp(0));
    }
    c.charge(Category::Syscall, c.profile.sysret);
    let base = (c.cpu.msr.star >> 48 & 0xffff) as u16;
    let (code, desc) = if W::BITS == 64 {
        (base.wrapping_add(16), SYSCALL_CODE)
    } else {
        (base, CODE32)
    };
    let changeable = !(Rflags::RF | Rflags::VM).bits() & 0x003f_7fd7;
    c.cpu.flags = c.cpu.regs[reg::R11] & changeable | Rflags::ALWAYS_1.bits();
    c.cpu.cpl = 3;
    c.cpu
        .load_segment(SegReg::Cs, fixed(code | 3, Descriptor(desc.0 | DPL3)));
    c.cpu.load_segment(
        SegReg::Ss,
        fixed(base.wrapping_add(8) | 3, Descriptor(SYSCALL_STACK.0 | DPL3)),
    );
    c.cpu.set_rip(rip);
    Ok(())
}

/// IA32_SYSENTER_CS, whose selector the others follow from; none means the instructions are off.
fn sysenter_selector(c: &Core<'_>) -> Result<u16, Exception> {
    let selector = (c.cpu.msr.sysenter[0] & 0xfffc) as u16;
    if c.cpu.is_protected() && selector != 0 {
        Ok(selector)
    } else {
        Err(Exception::Gp(0))
    }
}

/// Lets IA-32e mode have all of `value`, and protected mode the low half.
fn by_mode(c: &Core<'_>, value: u64) -> u64 {
    if c.cpu.is_ia32e() {
        value
    } else {
        value & 0xffff_ffff
    }
}

fn sysenter(c: &mut Core<'_>, _: &Op) -> Done {
    let selector = sysenter_selector(c)?;
    c.charge(Category::Syscall, c.profile.syscall);
    c.cpu.flags &= !(Rflags::VM | Rflags::IF | Rflags::RF).bits();
    let code = if c.cpu.is_ia32e() {
        SYSCALL_CODE
    } else {
        CODE32
    };
    let [_, esp, eip] = c.cpu.msr.sysenter;
    c.cpu.cpl = 0;
    c.cpu.load_segment(SegReg::Cs, fixed(selector, code));
    c.cpu
        .load_segment(SegReg::Ss, fixed(selector.wrapping_add(8), SYSCALL_STACK));
    c.cpu.regs[reg::RSP] = by_mode(c, esp);
    c.cpu.set_rip(by_mode(c, eip));
    Ok(())
}

fn sysexit<W: Word>(c: &mut Core<'_>, _: &Op) -> Done {
    let selector = sysenter_selector(c)?;
    let rip = W::low(c.cpu.regs[reg::RDX]).zx();
    let rsp = W::low(c.cpu.regs[reg::RCX]).zx();
    let canonical = VirtAddr::new(rip).is_ok() && VirtAddr::new(rsp).is_ok();
    if c.cpu.cpl != 0 || !canonical {
        return Err(Exception::Gp(0));
    }
    c.charge(Category::Syscall, c.profile.sysret);
    let (code, desc) = if W::BITS == 64 {
        (selector.wrapping_add(32), SYSCALL_CODE)
    } else {
        (selector.wrapping_add(16), CODE32)
    };
    let stack = fixed(code.wrapping_add(8) | 3, Descriptor(SYSCALL_STACK.0 | DPL3));
    c.cpu.cpl = 3;
    c.cpu
        .load_segment(SegReg::Cs, fixed(code | 3, Descriptor(desc.0 | DPL3)));
    c.cpu.load_segment(SegReg::Ss, stack);
    c.cpu.regs[reg::RSP] = rsp;
    c.cpu.set_rip(rip);
    Ok(())
}
