//! Delivery of exceptions and interrupts through the IDT.
//!
//! Modelled: real mode; interrupt, trap and task gates of protected mode, to the same level and to
//! inner ones, from virtual-8086 mode, too; IA-32e mode with stack switches by TSS and IST.
//! Not modelled: virtual-8086 mode extensions (CR4.VME is not there).
//!
//! **Spec:** SDM 3A "Exception and Interrupt Handling in Protected Mode", "… in 64-bit Mode"; SDM 2 "INT n/INTO/INT3/INT1".

use crate::core::Core;
use crate::exception::{Exception, Origin};
use crate::inner_stack::is_32bit_tss;
use crate::segment::{SegReg, Segment};
use crate::state::reg;
use crate::task::TaskEntry;
use crate::word::Word;
use mmu::Accessor;
use x86::descriptor::{self, Descriptor, Gate64, Selector, system_type};
use x86::fault::Access;
use x86::{Rflags, VirtAddr};

impl Core<'_> {
    pub(crate) fn deliver_real(&mut self, origin: Origin) -> Result<(), Exception> {
        let at = u64::from(origin.vector()) * 4;
        if at + 3 > u64::from(self.cpu.idtr.limit) {
            return Err(Exception::Gp(0));
        }
        let entry: u32 = self.read_system(self.cpu.idtr.base.wrapping_add(at))?;
        let frame = [
            self.cpu.flags & 0xffff,
            u64::from(self.cpu.seg(SegReg::Cs).selector.0),
            self.cpu.rip() & 0xffff,
        ];
        self.push_frame::<u16>(frame)?;
        self.cpu.flags &= !(Rflags::IF | Rflags::TF | Rflags::AC).bits();
        self.single_step = false;
        self.cpu
            .set_real_segment(SegReg::Cs, Selector((entry >> 16) as u16));
        self.cpu.set_rip(u64::from(entry & 0xffff));
        Ok(())
    }

    /// Pushes `values` in order on the current stack, moving RSP only if all fit.
    fn push_frame<W: Word>(
        &mut self,
        values: impl IntoIterator<Item = u64>,
    ) -> Result<(), Exception> {
        let mut sp = self.cpu.stack_pointer();
        for value in values {
            sp = sp.wrapping_sub(W::BYTES);
            self.write_stack::<W>(sp, W::low(value))?;
        }
        self.cpu.set_stack_pointer(sp);
        Ok(())
    }

    pub(crate) fn deliver_ia32e(&mut self, origin: Origin) -> Result<(), Exception> {
        let gate = self.read_gate64(origin)?;
        let target = self.gate_code_segment(gate.selector(), origin)?;
        if !target.desc.is_long() || target.desc.is_32bit() {
            return Err(Exception::Gp(gate.selector().error_code() | origin.ext()));
        }
        let cpl = target_privilege(&target, self.cpu.cpl);
        let rsp = self.ia32e_stack(gate, cpl, origin)? & !15;

        let old = [
            u64::from(self.cpu.seg(SegReg::Ss).selector.0),
            self.cpu.regs[reg::RSP],
            self.pushed_flags(origin),
            u64::from(self.cpu.seg(SegReg::Cs).selector.0),
            self.cpu.rip(),
        ];
        let who = if cpl == 3 {
            Accessor::USER
        } else {
            Accessor::SUPERVISOR
        };
        let mut sp = rsp;
        for value in old.into_iter().chain(origin.error_code().map(u64::from)) {
            sp = sp.wrapping_sub(8);
            let va = VirtAddr::new(sp).map_err(|_| Exception::Ss(origin.ext()))?;
            self.write_as::<u64>(va, value, who)?;
        }

        if cpl != self.cpu.cpl {
            self.cpu
                .load_segment(SegReg::Ss, Segment::null(Selector(u16::from(cpl))));
        }
        self.enter_gate(gate, gate.offset(), target, cpl);
        self.cpu.regs[reg::RSP] = sp;
        Ok(())
    }

    /// RFLAGS as pushed: faults push RF set, so that the handler's IRET does not
    /// meet the same instruction breakpoint again.
    fn pushed_flags(&self, origin: Origin) -> u64 {
        match origin {
            Origin::Exception(Exception::Bp | Exception::Db)
            | Origin::Software(_)
            | Origin::External(_) => self.cpu.flags,
            Origin::Exception(_) => self.cpu.flags | Rflags::RF.bits(),
        }
    }

    fn enter_gate(&mut self, gate: Gate64, offset: u64, mut target: Segment, cpl: u8) {
        let mut clear = Rflags::TF | Rflags::NT | Rflags::RF | Rflags::VM;
        // Bit 0 of the type tells a trap gate from an interrupt gate, in all sizes.
        if gate.kind() & 1 == 0 {
            clear |= Rflags::IF;
        }
        self.cpu.flags &= !clear.bits();
        self.single_step = false;
        target.selector = Selector(target.selector.error_code() | u16::from(cpl));
        self.cpu.cpl = cpl;
        self.cpu.load_segment(SegReg::Cs, target);
        self.cpu.set_rip(offset);
    }

    fn read_gate64(&mut self, origin: Origin) -> Result<Gate64, Exception> {
        let vector = u16::from(origin.vector());
        let error = (vector << 3) | 2 | origin.ext();
        if u64::from(vector) * 16 + 15 > u64::from(self.cpu.idtr.limit) {
            return Err(Exception::Gp(error));
        }
        let at = self.cpu.idtr.base.wrapping_add(u64::from(vector) * 16);
        let gate = Gate64 {
            low: self.read_system(at)?,
            high: self.read_system(at.wrapping_add(8))?,
        };
        if !matches!(
            gate.kind(),
            system_type::INTERRUPT_GATE | system_type::TRAP_GATE
        ) {
            return Err(Exception::Gp(error));
        }
        if matches!(origin, Origin::Software(_)) && gate.dpl() < self.cpu.cpl {
            return Err(Exception::Gp(error));
        }
        if gate.is_present() {
            Ok(gate)
        } else {
            Err(Exception::Np(error))
        }
    }

    /// Reads and checks the code segment a gate names.
    fn gate_code_segment(
        &mut self,
        selector: Selector,
        origin: Origin,
    ) -> Result<Segment, Exception> {
        let error = selector.error_code() | origin.ext();
        if selector.is_null() {
            return Err(Exception::Gp(origin.ext()));
        }
        let desc = self
            .read_descriptor(selector)
            .map_err(|e| with_ext(e, origin))?;
        if !desc.is_code() || desc.dpl() > self.cpu.cpl {
            return Err(Exception::Gp(error));
        }
        if !desc.is_present() {
            return Err(Exception::Np(error));
        }
        self.set_accessed(selector, desc)?;
        Ok(Segment::from_descriptor(selector, desc))
    }

    fn ia32e_stack(&mut self, gate: Gate64, cpl: u8, origin: Origin) -> Result<u64, Exception> {
        let offset = match gate.ist() {
            0 if cpl == self.cpu.cpl => return Ok(self.cpu.regs[reg::RSP]),
            0 => descriptor::TSS64_RSP0 + 8 * u64::from(cpl),
            ist => descriptor::TSS64_IST1 + 8 * (u64::from(ist) - 1),
        };
        if offset + 7 > u64::from(self.cpu.tr.limit) {
            return Err(Exception::Ts(
                self.cpu.tr.selector.error_code() | origin.ext(),
            ));
        }
        self.read_system(self.cpu.tr.base.wrapping_add(offset))
    }

    /// Through the 8-byte gates of protected mode.
    pub(crate) fn deliver_protected(&mut self, origin: Origin) -> Result<(), Exception> {
        let gate = self.read_gate32(origin)?;
        if gate.kind() == system_type::TASK_GATE {
            return self.deliver_to_task(gate.selector(), origin);
        }
        let target = self.gate_code_segment(gate.selector(), origin)?;
        let cpl = target_privilege(&target, self.cpu.cpl);
        if self.cpu.is_vm86() && cpl != 0 {
            return Err(Exception::Gp(gate.selector().error_code() | origin.ext()));
        }
        if gate.kind() & 8 == 0 {
            let offset = gate.offset() & 0xffff;
            self.push_legacy_frame::<u16>(origin, &target, offset, cpl)?;
            self.enter_gate(gate, offset, target, cpl);
        } else {
            self.push_legacy_frame::<u32>(origin, &target, gate.offset(), cpl)?;
            self.enter_gate(gate, gate.offset(), target, cpl);
        }
        Ok(())
    }

    fn read_gate32(&mut self, origin: Origin) -> Result<Gate64, Exception> {
        let vector = u16::from(origin.vector());
        let error = (vector << 3) | 2 | origin.ext();
        if u32::from(vector) * 8 + 7 > u32::from(self.cpu.idtr.limit) {
            return Err(Exception::Gp(error));
        }
        let low = self.read_system(self.cpu.idtr.base.wrapping_add(u64::from(vector) * 8))?;
        let gate = Gate64 { low, high: 0 };
        let known = matches!(
            gate.kind(),
            system_type::TASK_GATE
                | system_type::INTERRUPT_GATE16
                | system_type::TRAP_GATE16
                | system_type::INTERRUPT_GATE
                | system_type::TRAP_GATE
        );
        if !known || matches!(origin, Origin::Software(_)) && gate.dpl() < self.cpu.cpl {
            return Err(Exception::Gp(error));
        }
        if gate.is_present() {
            Ok(gate)
        } else {
            Err(Exception::Np(error))
        }
    }

    /// Pushes what the handler finds, on the current stack or on that of an inner level, which it enters.
    fn push_legacy_frame<W: Word>(
        &mut self,
        origin: Origin,
        target: &Segment,
        offset: u64,
        cpl: u8,
    ) -> Result<(), Exception> {
        let selector = |which| u64::from(self.cpu.seg(which).selector.0);
        let data = [SegReg::Gs, SegReg::Fs, SegReg::Ds, SegReg::Es].map(selector);
        let data = data.into_iter().filter(|_| self.cpu.is_vm86());
        let outer = [selector(SegReg::Ss), self.cpu.regs[reg::RSP]];
        let flags = self.pushed_flags(origin);
        let back = [flags, selector(SegReg::Cs), self.cpu.rip()];
        let back = back.into_iter().chain(origin.error_code().map(u64::from));
        let beyond = offset > u64::from(target.limit);
        if cpl == self.cpu.cpl {
            if beyond {
                return Err(Exception::Gp(origin.ext()));
            }
            return self.push_frame::<W>(back).map_err(|e| with_ext(e, origin));
        }
        let values = data
            .collect::<Vec<_>>()
            .into_iter()
            .chain(outer)
            .chain(back);
        let mut stack = self.inner_stack(cpl, origin.ext())?;
        if beyond {
            return Err(Exception::Gp(origin.ext()));
        }
        for value in values {
            self.push_inner::<W>(&mut stack, value)?;
        }
        self.leave_vm86();
        self.enter_inner(&stack);
        Ok(())
    }

    /// Data segments of virtual-8086 mode mean nothing to its monitor.
    fn leave_vm86(&mut self) {
        if !self.cpu.is_vm86() {
            return;
        }
        for which in [SegReg::Es, SegReg::Ds, SegReg::Fs, SegReg::Gs] {
            self.cpu.load_segment(which, Segment::null(Selector::NULL));
        }
    }

    /// A task gate of the IDT.
    fn deliver_to_task(&mut self, selector: Selector, origin: Origin) -> Result<(), Exception> {
        let desc = self
            .available_task(selector)
            .map_err(|e| with_ext(e, origin))?;
        let flags = self.pushed_flags(origin);
        let entered = self.switch_task(selector, desc, TaskEntry::Nested, flags, origin.ext())?;
        let begun = entered.and_then(|()| match origin.error_code() {
            Some(code) if is_32bit_tss(desc) => self.push(code),
            Some(code) => self.push(code as u16),
            None => Ok(()),
        });
        match (begun, origin) {
            // INT n itself is over: the fault is the new task's.
            (Err(e), Origin::Software(_)) => {
                self.raise(e);
                Ok(())
            }
            (begun, _) => begun.map_err(|e| with_ext(e, origin)),
        }
    }

    /// The TSS a task gate or a far transfer leads to: in the GDT, of a task that is not busy.
    pub(crate) fn available_task(&mut self, selector: Selector) -> Result<Descriptor, Exception> {
        let error = selector.error_code();
        if selector.is_local() || selector.is_null() {
            return Err(Exception::Gp(error));
        }
        let desc = self.read_descriptor(selector)?;
        let available = matches!(
            desc.kind(),
            system_type::TSS16_AVAILABLE | system_type::TSS_AVAILABLE
        );
        if desc.is_code_or_data() || !available {
            return Err(Exception::Gp(error));
        }
        if desc.is_present() {
            Ok(desc)
        } else {
            Err(Exception::Np(error))
        }
    }

    /// Reads a descriptor-table or TSS field: an implicit supervisor access.
    pub(crate) fn read_system<W: Word>(&mut self, linear: u64) -> Result<W, Exception> {
        let va = self.cpu.system_address(linear)?;
        self.read_as(va, Access::Read, Accessor::SUPERVISOR)
    }
}

fn with_ext(e: Exception, origin: Origin) -> Exception {
    match e {
        Exception::Gp(code) => Exception::Gp(code | origin.ext()),
        Exception::Ss(code) => Exception::Ss(code | origin.ext()),
        Exception::Np(code) => Exception::Np(code | origin.ext()),
        other => other,
    }
}

/// The level a gate's code segment runs at: conforming code stays where it is called.
pub(crate) const fn target_privilege(target: &Segment, cpl: u8) -> u8 {
    if target.desc.is_conforming_code() {
        cpl
    } else {
        target.desc.dpl()
    }
}
