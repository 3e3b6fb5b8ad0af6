//! Task switches in hardware: through a TSS descriptor or a task gate, and back by IRET.
//!
//! A switch has a point of no return. What is wrong before it is an exception of the instruction;
//! what is wrong after it is an exception in the new task, whose registers are loaded by then.
//!
//! Modelled: 16- and 32-bit TSS, busy bits, back link, NT, CR0.TS, LDT, CR3, the T bit, local
//! breakpoints. IA-32e mode has no task switches.
//!
//! **Spec:** SDM 3A "Task Management".

use crate::core::Core;
use crate::debug::DR6_BT;
use crate::exception::Exception;
use crate::inner_stack::{invalid_tss, is_32bit_tss};
use crate::segment::{SegReg, Segment};
use mmu::Accessor;
use x86::descriptor::{Descriptor, Selector, system_type};
use x86::fault::Access;
use x86::{Cr0, Rflags};

/// What happens in the new task once it is entered.
pub(crate) type InNewTask = Result<(), Exception>;

/// How a task is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TaskEntry {
    /// JMP: the old task is over.
    Jump,
    /// CALL, INT n, exception, interrupt: the new task links back to the old one.
    Nested,
    /// IRET with NT: back to the task that is linked.
    Return,
}

/// Busy, in a TSS descriptor.
pub(crate) const TSS_BUSY: u64 = 1 << 41;
/// DR7.L0–L3 and LE: breakpoints of the old task only.
const DR7_LOCAL: u64 = 0x155;
/// All flags a TSS image can set.
const FLAGS: u64 = 0x003f_7fd5;

/// Registers as a TSS holds them.
#[derive(Debug)]
struct TaskState {
    cr3: Option<u32>,
    eip: u32,
    eflags: u32,
    /// EAX to EDI.
    regs: [u32; 8],
    /// ES to GS, in the order of [`SegReg`].
    selectors: [Selector; 6],
    ldt: Selector,
    /// T: #DB as soon as the task is entered.
    trap: bool,
}

impl Core<'_> {
    /// Goes to the task of the TSS `desc`, which `selector` names. `flags` are those of the old task.
    ///
    /// # Errors
    ///
    /// Outside: the old task goes on. Inside: the new task begins with that exception.
    pub(crate) fn switch_task(
        &mut self,
        selector: Selector,
        desc: Descriptor,
        entry: TaskEntry,
        flags: u64,
        ext: u16,
    ) -> Result<InNewTask, Exception> {
        let tss = Segment::from_descriptor(selector, desc);
        let least = if is_32bit_tss(desc) { 103 } else { 43 };
        if tss.limit < least {
            return Err(Exception::Ts(selector.error_code() | ext));
        }
        self.settle();
        let state = self.read_task(&tss)?;
        self.leave_task(&tss, entry, flags)?;
        Ok(self.enter_task(tss, &state, entry, ext))
    }

    fn read_task(&mut self, tss: &Segment) -> Result<TaskState, Exception> {
        let base = tss.base;
        let mut regs = [0; 8];
        let mut selectors = [Selector::NULL; 6];
        if !is_32bit_tss(tss.desc) {
            for (at, r) in (18..).step_by(2).zip(&mut regs) {
                *r = 0xffff_0000 | u32::from(self.read_system::<u16>(base + at)?);
            }
            for (at, s) in (34..).step_by(2).zip(&mut selectors[..4]) {
                *s = Selector(self.read_system(base + at)?);
            }
            return Ok(TaskState {
                cr3: None,
                eip: self.read_system::<u16>(base + 14)?.into(),
                eflags: self.read_system::<u16>(base + 16)?.into(),
                regs,
                selectors,
                ldt: Selector(self.read_system(base + 42)?),
                trap: false,
            });
        }
        for (at, r) in (40..).step_by(4).zip(&mut regs) {
            *r = self.read_system(base + at)?;
        }
        for (at, s) in (72..).step_by(4).zip(&mut selectors) {
            *s = Selector(self.read_system(base + at)?);
        }
        Ok(TaskState {
            cr3: Some(self.read_system(base + 28)?),
            eip: self.read_system(base + 32)?,
            eflags: self.read_system(base + 36)?,
            regs,
            selectors,
            ldt: Selector(self.read_system(base + 96)?),
            trap: self.read_system::<u16>(base + 100)? & 1 != 0,
        })
    }

    /// Saves the old task in its TSS and marks who is busy; checks that all of it can be written first.
    fn leave_task(&mut self, new: &Segment, entry: TaskEntry, flags: u64) -> Result<(), Exception> {
        let old = self.cpu.tr;
        let len = if is_32bit_tss(old.desc) { 104 } else { 44 };
        let va = self.cpu.system_address(old.base)?;
        self.place(va, len, Access::Write, Accessor::SUPERVISOR)?;
        match entry {
            TaskEntry::Nested => {
                self.write_system(new.base, old.selector.0)?;
                self.set_busy(new.selector, true)?;
            }
            TaskEntry::Jump => {
                self.set_busy(old.selector, false)?;
                self.set_busy(new.selector, true)?;
            }
            TaskEntry::Return => self.set_busy(old.selector, false)?,
        }
        let kept = if entry == TaskEntry::Return {
            flags & !Rflags::NT.bits()
        } else {
            flags
        };
        self.save_task(&old, kept)
    }

    /// The busy bit of a TSS descriptor in the GDT.
    fn set_busy(&mut self, selector: Selector, busy: bool) -> Result<(), Exception> {
        let at = self.descriptor_address(selector, 8)?;
        let raw = self.read_system::<u64>(at)?;
        self.write_system(
            at,
            if busy {
                raw | TSS_BUSY
            } else {
                raw & !TSS_BUSY
            },
        )
    }

    fn save_task(&mut self, tss: &Segment, flags: u64) -> Result<(), Exception> {
        // TR may still hold a base of IA-32e mode; linear addresses have 32 bits here.
        let base = tss.base & 0xffff_ffff;
        let (regs, rip) = (self.cpu.regs, self.cpu.rip());
        let selectors = self.cpu.segs.map(|s| s.selector.0);
        if !is_32bit_tss(tss.desc) {
            self.write_system(base + 14, rip as u16)?;
            self.write_system(base + 16, flags as u16)?;
            for (at, r) in (18..).step_by(2).zip(&regs[..8]) {
                self.write_system(base + at, *r as u16)?;
            }
            for (at, s) in (34..).step_by(2).zip(&selectors[..4]) {
                self.write_system(base + at, *s)?;
            }
            return Ok(());
        }
        self.write_system(base + 32, rip as u32)?;
        self.write_system(base + 36, flags as u32)?;
        for (at, r) in (40..).step_by(4).zip(&regs[..8]) {
            self.write_system(base + at, *r as u32)?;
        }
        for (at, s) in (72..).step_by(4).zip(selectors) {
            self.write_system(base + at, s)?;
        }
        Ok(())
    }

    /// From here on it is the new task that runs, and faults.
    fn enter_task(
        &mut self,
        tss: Segment,
        state: &TaskState,
        entry: TaskEntry,
        ext: u16,
    ) -> InNewTask {
        let cpu = &mut *self.cpu;
        cpu.tr = Segment {
            desc: Descriptor(tss.desc.0 | TSS_BUSY),
            ..tss
        };
        cpu.mmu.write_cr0(cpu.mmu.regs().cr0 | Cr0::TS);
        cpu.flags = u64::from(state.eflags) & FLAGS | Rflags::ALWAYS_1.bits();
        if u64::from(state.eflags) & Rflags::VM.bits() != 0 {
            cpu.flags |= Rflags::VM.bits();
        }
        if entry == TaskEntry::Nested {
            cpu.flags |= Rflags::NT.bits();
        }
        for (register, value) in cpu.regs.iter_mut().zip(state.regs) {
            *register = u64::from(value);
        }
        cpu.set_rip(u64::from(state.eip));
        cpu.set_dr7(cpu.dr[7] & !DR7_LOCAL);
        self.single_step = false;
        if state.trap {
            self.cpu.debug.pending |= DR6_BT;
        }
        self.load_task_segments(state, ext)?;
        if u64::from(state.eip) > u64::from(self.cpu.seg(SegReg::Cs).limit) {
            return Err(Exception::Gp(ext));
        }
        Ok(())
    }

    fn load_task_segments(&mut self, state: &TaskState, ext: u16) -> InNewTask {
        let code = state.selectors[SegReg::Cs as usize];
        let vm86 = self.cpu.is_vm86();
        self.cpu.cpl = if vm86 { 3 } else { code.rpl() };
        // Until its descriptor is loaded a register names a segment that cannot be used.
        for (which, selector) in SegReg::ALL.into_iter().zip(state.selectors) {
            self.cpu.load_segment(which, Segment::null(selector));
        }
        self.cpu.ldtr = Segment::null(state.ldt);
        if let Some(cr3) = state.cr3
            && self.cpu.cr0().contains(Cr0::PG)
        {
            self.write_cr3(u64::from(cr3))?;
        }
        self.load_task_ldt(state.ldt, ext)?;
        if vm86 {
            for (which, selector) in SegReg::ALL.into_iter().zip(state.selectors) {
                self.cpu.load_segment(which, Segment::vm86(selector));
            }
            return Ok(());
        }
        self.load_task_code(code, ext)?;
        self.load_task_stack(state.selectors[SegReg::Ss as usize], ext)?;
        for which in [SegReg::Ds, SegReg::Es, SegReg::Fs, SegReg::Gs] {
            self.load_data_segment(which, state.selectors[which as usize])
                .map_err(|e| in_new_task(e, ext))?;
        }
        Ok(())
    }

    fn load_task_ldt(&mut self, selector: Selector, ext: u16) -> InNewTask {
        let error = Exception::Ts(selector.error_code() | ext);
        if selector.is_null() {
            return Ok(());
        }
        if selector.is_local() {
            return Err(error);
        }
        let desc = self
            .read_descriptor(selector)
            .map_err(|e| invalid_tss(e, ext))?;
        if desc.is_code_or_data() || desc.kind() != system_type::LDT || !desc.is_present() {
            return Err(error);
        }
        self.cpu.ldtr = Segment::from_descriptor(selector, desc);
        Ok(())
    }

    fn load_task_code(&mut self, selector: Selector, ext: u16) -> InNewTask {
        let segment = self
            .code_segment(selector, selector.rpl())
            .map_err(|e| in_new_task(e, ext))?;
        self.cpu.load_segment(SegReg::Cs, segment);
        Ok(())
    }

    fn load_task_stack(&mut self, selector: Selector, ext: u16) -> InNewTask {
        if selector.is_null() {
            return Err(Exception::Ts(ext));
        }
        self.load_data_segment(SegReg::Ss, selector)
            .map_err(|e| in_new_task(e, ext))
    }
}

/// What a plain load reports as #GP a task switch reports as #TS.
const fn in_new_task(e: Exception, ext: u16) -> Exception {
    match e {
        Exception::Np(code) => Exception::Np(code | ext),
        Exception::Ss(code) => Exception::Ss(code | ext),
        other => invalid_tss(other, ext),
    }
}
