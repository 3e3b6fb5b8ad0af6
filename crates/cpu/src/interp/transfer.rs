//! Far control transfer: far JMP, CALL and RET, INT n, IRET, SYSCALL, SYSRET.
//!
//! Modelled: transfers to code segments, RETF and IRET to outer privilege levels.
//! Not modelled: call gates, task gates, virtual-8086 mode, SYSENTER (all raise
//! #GP or #UD).
//!
//! **Spec:** SDM 1 "Procedure Calls, Interrupts, and Exceptions"; SDM 2 "IRET/IRETD/IRETQ", "SYSCALL", "SYSRET".

use crate::core::Core;
use crate::exception::{Exception, Origin};
use crate::flags::OF;
use crate::op::{Exec, Op};
use crate::segment::{SegReg, Segment};
use crate::state::reg;
use crate::word::Word;
use cost::Category;
use iced_x86::{Code, Instruction, Mnemonic, OpKind};
use trace::Event;
use x86::descriptor::{Descriptor, Selector};
use x86::{Efer, Rflags, VirtAddr};

type Done = Result<(), Exception>;

pub(super) fn select(instr: &Instruction) -> Option<Exec> {
    Some(match instr.mnemonic() {
        Mnemonic::Jmp if instr.is_jmp_far() || instr.is_jmp_far_indirect() => {
            match far_bytes(instr) {
                _ if instr.op0_kind() != OpKind::Memory => far_direct::<Jump>,
                2 => far_indirect::<u16, Jump>,
                4 => far_indirect::<u32, Jump>,
                _ => far_indirect::<u64, Jump>,
            }
        }
        Mnemonic::Call if instr.is_call_far() || instr.is_call_far_indirect() => {
            match far_bytes(instr) {
                2 if instr.op0_kind() != OpKind::Memory => far_direct::<Call<u16>>,
                _ if instr.op0_kind() != OpKind::Memory => far_direct::<Call<u32>>,
                2 => far_indirect::<u16, Call<u16>>,
                4 => far_indirect::<u32, Call<u32>>,
                _ => far_indirect::<u64, Call<u64>>,
            }
        }
        Mnemonic::Retf => match instr.code() {
            Code::Retfw | Code::Retfw_imm16 => return_far::<u16>,
            Code::Retfd | Code::Retfd_imm16 => return_far::<u32>,
            _ => return_far::<u64>,
        },
        Mnemonic::Int => software_interrupt,
        Mnemonic::Int3 => breakpoint,
        Mnemonic::Into => into,
        Mnemonic::Iret => iret::<u16>,
        Mnemonic::Iretd => iret::<u32>,
        Mnemonic::Iretq => iret::<u64>,
        Mnemonic::Syscall => syscall,
        Mnemonic::Sysretq => sysret::<u64>,
        Mnemonic::Sysret => sysret::<u32>,
        _ => return None,
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
    fn go(c: &mut Core<'_>, selector: Selector, offset: u64) -> Done;
}

struct Jump;
impl Transfer for Jump {
    fn go(c: &mut Core<'_>, selector: Selector, offset: u64) -> Done {
        let segment = far_target(c, selector)?;
        c.enter_code(segment, offset)
    }
}

struct Call<W>(W);
impl<W: Word> Transfer for Call<W> {
    fn go(c: &mut Core<'_>, selector: Selector, offset: u64) -> Done {
        let segment = far_target(c, selector)?;
        let old = c.cpu.regs[reg::RSP];
        let back = (u64::from(c.cpu.seg(SegReg::Cs).selector.0), c.cpu.rip());
        let pushed = c.push(W::low(back.0)).and_then(|()| c.push(W::low(back.1)));
        let result = pushed.and_then(|()| c.enter_code(segment, offset));
        if result.is_err() {
            c.cpu.regs[reg::RSP] = old;
        }
        result
    }
}

/// The code segment a far jump or call goes to.
fn far_target(c: &mut Core<'_>, selector: Selector) -> Result<Segment, Exception> {
    if !c.cpu.is_protected() {
        return Ok(real_code(c, selector));
    }
    let segment = c.code_segment(selector, c.cpu.cpl)?;
    if selector.rpl() > c.cpu.cpl && !segment.desc.is_conforming_code() {
        return Err(Exception::Gp(selector.error_code()));
    }
    Ok(segment)
}

fn real_code(c: &Core<'_>, selector: Selector) -> Segment {
    Segment {
        selector,
        base: u64::from(selector.0) << 4,
        ..*c.cpu.seg(SegReg::Cs)
    }
}

fn far_direct<T: Transfer>(c: &mut Core<'_>, op: &Op) -> Done {
    T::go(c, Selector(op.imm2), op.imm)
}

fn far_indirect<W: Word, T: Transfer>(c: &mut Core<'_>, op: &Op) -> Done {
    let at = c.ea(op);
    let offset = c.load_at::<W>(op.seg, at)?.zx();
    let selector = c.load_at::<u16>(op.seg, at.wrapping_add(W::BYTES) & op.addr_mask)?;
    T::go(c, Selector(selector), offset)
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

    /// Runs `f`; if it fails RSP is as before.
    fn with_stack_restored(&mut self, f: impl FnOnce(&mut Self) -> Done) -> Done {
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
        if !c.cpu.is_protected() {
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
        self.cpu.regs[reg::RSP] = rsp;
        self.drop_inner_segments();
    }
}

fn software_interrupt(c: &mut Core<'_>, op: &Op) -> Done {
    c.deliver(Origin::Software((op.imm & 0xff) as u8))
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

fn iret<W: Word>(c: &mut Core<'_>, _: &Op) -> Done {
    c.charge(Category::ExcReturn, c.profile.iretq);
    if c.cpu.flags & Rflags::NT.bits() != 0 && c.cpu.is_protected() {
        // A nested task returns by a task switch, which IA-32e mode refuses with #GP(0).
        return Err(Exception::Gp(0));
    }
    c.with_stack_restored(|c| {
        let rip = c.pop::<W>()?.zx();
        let selector = Selector((c.pop::<W>()?.zx() & 0xffff) as u16);
        let image = c.pop::<W>()?.zx();
        if !c.cpu.is_protected() {
            let segment = real_code(c, selector);
            c.enter_code(segment, rip)?;
            c.load_flags(image, W::BITS);
            return Ok(());
        }
        iret_protected::<W>(c, rip, selector, image)
    })
}

fn iret_protected<W: Word>(c: &mut Core<'_>, rip: u64, selector: Selector, image: u64) -> Done {
    let cpl = selector.rpl();
    if image & Rflags::VM.bits() != 0 && !c.cpu.is_ia32e() || cpl < c.cpu.cpl {
        return Err(Exception::Gp(selector.error_code()));
    }
    let segment = c.code_segment(selector, cpl)?;
    // 64-bit mode pops SS:RSP always, the other modes only for an outer level.
    if c.cpu.is_64bit() || cpl != c.cpu.cpl {
        let rsp = c.pop::<W>()?.zx();
        let ss = Selector((c.pop::<W>()?.zx() & 0xffff) as u16);
        let stack = c.outer_stack(ss, cpl, &segment)?;
        c.enter_code(segment, rip)?;
        // Flags are those the old privilege may change.
        c.load_flags(image, W::BITS);
        c.enter_outer(stack, cpl, rsp);
        return Ok(());
    }
    c.enter_code(segment, rip)?;
    c.load_flags(image, W::BITS);
    Ok(())
}

/// Flat 64-bit code, DPL 0, as SYSCALL loads it without reading a table.
const SYSCALL_CODE: Descriptor = Descriptor(0x00af_9b00_0000_ffff);
/// Flat data, DPL 0.
const SYSCALL_STACK: Descriptor = Descriptor(0x00cf_9300_0000_ffff);
/// DPL 3 in a descriptor.
const DPL3: u64 = 3 << 45;
/// Flat 32-bit code, DPL 0: for SYSRET to compatibility mode.
const SYSRET_CODE32: Descriptor = Descriptor(0x00cf_9b00_0000_ffff);

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
        (base, SYSRET_CODE32)
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
