//! Far returns: RETF and IRET, to the same level, to outer ones, to virtual-8086 mode, to a task.
//!
//! **Spec:** SDM 2 "RET", "IRET/IRETD/IRETQ"; SDM 3A "Task Linking".

use super::{Done, real_code};
use crate::core::Core;
use crate::exception::Exception;
use crate::inner_stack::invalid_tss;
use crate::op::{Exec, Op};
use crate::segment::{SegReg, Segment};
use crate::state::reg;
use crate::task::TaskEntry;
use crate::word::Word;
use cost::Category;
use iced_x86::{Code, Instruction, Mnemonic};
use x86::Rflags;
use x86::descriptor::{Selector, system_type};

pub(super) fn select(instr: &Instruction) -> Option<Exec> {
    Some(match instr.mnemonic() {
        Mnemonic::Retf => match instr.code() {
            Code::Retfw | Code::Retfw_imm16 => return_far::<u16>,
            Code::Retfd | Code::Retfd_imm16 => return_far::<u32>,
            _ => return_far::<u64>,
        },
        Mnemonic::Iret => iret::<u16>,
        Mnemonic::Iretd => iret::<u32>,
        Mnemonic::Iretq => iret::<u64>,
        _ => return None,
    })
}

impl Core<'_> {
    /// Runs `f`; if it fails RSP is as before.
    pub(super) fn with_stack_restored(&mut self, f: impl FnOnce(&mut Self) -> Done) -> Done {
        let old = self.cpu.regs[reg::RSP];
        let result = f(self);
        if result.is_err() {
            self.cpu.regs[reg::RSP] = old;
        }
        result
    }

    /// Reads the image an outer return finds: stack segment for the new privilege.
    fn outer_stack(
        &mut self,
        selector: Selector,
        cpl: u8,
        code: &Segment,
    ) -> Result<Segment, Exception> {
        let long = self.cpu.is_ia32e() && code.desc.is_long();
        if selector.is_null() {
            return if long && cpl < 3 && selector.rpl() == cpl {
                Ok(Segment::null(selector))
            } else {
                Err(Exception::Gp(0))
            };
        }
        let error = selector.error_code();
        let desc = self.read_descriptor(selector)?;
        if !desc.is_writable_data() || selector.rpl() != cpl || desc.dpl() != cpl {
            return Err(Exception::Gp(error));
        }
        if !desc.is_present() {
            return Err(Exception::Ss(error));
        }
        self.set_accessed(selector, desc)?;
        Ok(Segment::from_descriptor(selector, desc))
    }

    /// After a return to an outer level, data segments it may not hold become null.
    fn drop_inner_segments(&mut self) {
        for which in [SegReg::Es, SegReg::Ds, SegReg::Fs, SegReg::Gs] {
            let segment = *self.cpu.seg(which);
            let desc = segment.desc;
            if desc.dpl() < self.cpu.cpl && desc.is_code_or_data() && !desc.is_conforming_code() {
                self.cpu.load_segment(
                    which,
                    Segment {
                        base: segment.base,
                        ..Segment::null(Selector::NULL)
                    },
                );
            }
        }
    }
}

fn return_far<W: Word>(c: &mut Core<'_>, op: &Op) -> Done {
    c.with_stack_restored(|c| {
        let rip = c.pop::<W>()?.zx();
        let selector = Selector((c.pop::<W>()?.zx() & 0xffff) as u16);
        if !c.cpu.uses_descriptors() {
            let segment = real_code(c, selector);
            c.enter_code(segment, rip)?;
            c.cpu
                .set_stack_pointer(c.cpu.stack_pointer().wrapping_add(op.imm));
            return Ok(());
        }
        let cpl = selector.rpl();
        if cpl < c.cpu.cpl {
            return Err(Exception::Gp(selector.error_code()));
        }
        let segment = c.code_segment(selector, cpl)?;
        c.cpu
            .set_stack_pointer(c.cpu.stack_pointer().wrapping_add(op.imm));
        if cpl == c.cpu.cpl {
            return c.enter_code(segment, rip);
        }
        let rsp = c.pop::<W>()?.zx();
        let ss = Selector((c.pop::<W>()?.zx() & 0xffff) as u16);
        let stack = c.outer_stack(ss, cpl, &segment)?;
        c.enter_code(segment, rip)?;
        c.enter_outer(stack, cpl, rsp.wrapping_add(op.imm));
        Ok(())
    })
}

impl Core<'_> {
    fn enter_outer(&mut self, stack: Segment, cpl: u8, rsp: u64) {
        // What was executed so far was executed at the old level.
        self.settle();
        self.cpu.cpl = cpl;
        self.cpu.load_segment(SegReg::Ss, stack);
        if self.cpu.is_64bit() {
            self.cpu.regs[reg::RSP] = rsp;
        } else {
            self.cpu.set_stack_pointer(rsp);
        }
        self.drop_inner_segments();
    }
}

fn iret<W: Word>(c: &mut Core<'_>, _: &Op) -> Done {
    c.charge(Category::ExcReturn, c.profile.iretq);
    // Even an IRET that faults lets the next NMI in.
    c.cpu.nmi_blocked = false;
    if c.cpu.is_vm86() && c.cpu.iopl() < 3 {
        return Err(Exception::Gp(0));
    }
    if c.cpu.flags & Rflags::NT.bits() != 0 && c.cpu.uses_descriptors() {
        return return_to_task(c);
    }
    c.with_stack_restored(|c| {
        let rip = c.pop::<W>()?.zx();
        let selector = Selector((c.pop::<W>()?.zx() & 0xffff) as u16);
        let image = c.pop::<W>()?.zx();
        if !c.cpu.uses_descriptors() {
            let segment = real_code(c, selector);
            c.enter_code(segment, rip)?;
            c.load_flags(image, W::BITS);
            c.load_resume_flag(image, W::BITS);
            return Ok(());
        }
        if image & Rflags::VM.bits() != 0 && c.cpu.cpl == 0 && !c.cpu.is_ia32e() {
            return return_to_vm86(c, rip, selector, image);
        }
        iret_protected::<W>(c, rip, selector, image)
    })
}

fn iret_protected<W: Word>(c: &mut Core<'_>, rip: u64, selector: Selector, image: u64) -> Done {
    let cpl = selector.rpl();
    if cpl < c.cpu.cpl {
        return Err(Exception::Gp(selector.error_code()));
    }
    let segment = c.code_segment(selector, cpl)?;
    // 64-bit mode pops SS:RSP always, the other modes only for an outer level.
    let pops_stack = c.cpu.is_64bit() || cpl != c.cpu.cpl;
    let outer = if pops_stack {
        let rsp = c.pop::<W>()?.zx();
        let ss = Selector((c.pop::<W>()?.zx() & 0xffff) as u16);
        Some((c.outer_stack(ss, cpl, &segment)?, rsp))
    } else {
        None
    };
    c.enter_code(segment, rip)?;
    // Flags are those the old privilege may change.
    c.load_flags(image, W::BITS);
    c.load_resume_flag(image, W::BITS);
    if let Some((stack, rsp)) = outer {
        c.enter_outer(stack, cpl, rsp);
    }
    Ok(())
}

/// The rest of the frame holds all segment registers; they come as real mode has them, at CPL 3.
fn return_to_vm86(c: &mut Core<'_>, rip: u64, code: Selector, image: u64) -> Done {
    let mut popped = [0_u32; 6];
    for value in &mut popped {
        *value = c.pop()?;
    }
    if rip > 0xffff {
        return Err(Exception::Gp(0));
    }
    c.settle();
    // CPL 0 may change every flag.
    c.load_flags(image, 32);
    c.load_resume_flag(image, 32);
    c.cpu.flags |= Rflags::VM.bits();
    c.cpu.cpl = 3;
    let [esp, ss, es, ds, fs, gs] = popped;
    let data = [
        (SegReg::Ss, ss),
        (SegReg::Es, es),
        (SegReg::Ds, ds),
        (SegReg::Fs, fs),
        (SegReg::Gs, gs),
        (SegReg::Cs, u32::from(code.0)),
    ];
    for (which, selector) in data {
        let selector = Selector((selector & 0xffff) as u16);
        c.cpu.load_segment(which, Segment::vm86(selector));
    }
    c.cpu.set_rip(rip);
    c.cpu.regs[reg::RSP] = u64::from(esp);
    Ok(())
}

/// IRET of a nested task: to the task its TSS links to. IA-32e mode has none.
fn return_to_task(c: &mut Core<'_>) -> Done {
    if c.cpu.is_ia32e() {
        return Err(Exception::Gp(0));
    }
    let selector = Selector(c.read_system(c.cpu.tr.base)?);
    let error = selector.error_code();
    if selector.is_local() || selector.is_null() {
        return Err(Exception::Ts(error));
    }
    let desc = c.read_descriptor(selector).map_err(|e| invalid_tss(e, 0))?;
    let busy = matches!(desc.kind(), system_type::TSS16_BUSY | system_type::TSS_BUSY);
    if desc.is_code_or_data() || !busy {
        return Err(Exception::Ts(error));
    }
    if !desc.is_present() {
        return Err(Exception::Np(error));
    }
    c.go_to_task(selector, desc, TaskEntry::Return)
}
