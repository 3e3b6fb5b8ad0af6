//! Exceptions, and the delivery of everything that goes through the IDT.
//!
//! Modelled: real mode, 32-bit and IA-32e delivery through interrupt and trap
//! gates, stack switches by TSS and IST, double fault and shutdown (triple
//! fault). Not modelled: task gates, virtual-8086 mode, and gates of 32-bit
//! protected mode that lead to an inner privilege level (they raise #GP).
//!
//! **Spec:** SDM 3A "Interrupt and Exception Handling", "Double Fault Exception".

use crate::core::Core;
use crate::segment::{SegReg, Segment};
use crate::state::{Activity, reg};
use cost::Category;
use mmu::Accessor;
use trace::Event;
use x86::descriptor::{self, Gate64, Selector, system_type};
use x86::fault::{Access, Vector};
use x86::{PageFault, Rflags, VirtAddr};

/// An exception an instruction ended with; the error code is part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exception {
    /// #DE.
    De,
    /// #DB.
    Db,
    /// #BP, from INT3: RIP is past it.
    Bp,
    /// #UD.
    Ud,
    /// #NM.
    Nm,
    /// #DF.
    Df,
    /// #TS with a selector.
    Ts(u16),
    /// #NP with a selector.
    Np(u16),
    /// #SS with a selector or 0.
    Ss(u16),
    /// #GP with a selector or 0.
    Gp(u16),
    /// #PF.
    Pf(PageFault),
    /// #MF.
    Mf,
    /// #XM.
    Xm,
}

impl Exception {
    /// Its vector.
    #[must_use]
    pub const fn vector(self) -> Vector {
        match self {
            Self::De => Vector::De,
            Self::Db => Vector::Db,
            Self::Bp => Vector::Bp,
            Self::Ud => Vector::Ud,
            Self::Nm => Vector::Nm,
            Self::Df => Vector::Df,
            Self::Ts(_) => Vector::Ts,
            Self::Np(_) => Vector::Np,
            Self::Ss(_) => Vector::Ss,
            Self::Gp(_) => Vector::Gp,
            Self::Pf(_) => Vector::Pf,
            Self::Mf => Vector::Mf,
            Self::Xm => Vector::Xm,
        }
    }

    /// Its error code, if it pushes one.
    #[must_use]
    pub const fn error_code(self) -> Option<u32> {
        match self {
            Self::Df => Some(0),
            Self::Ts(code) | Self::Np(code) | Self::Ss(code) | Self::Gp(code) => Some(code as u32),
            Self::Pf(fault) => Some(fault.code.bits()),
            _ => None,
        }
    }

    /// Whether a second exception of this kind during delivery makes a double fault.
    const fn class(self) -> Class {
        match self {
            Self::De | Self::Ts(_) | Self::Np(_) | Self::Ss(_) | Self::Gp(_) => Class::Contributory,
            Self::Pf(_) => Class::PageFault,
            _ => Class::Benign,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Benign,
    Contributory,
    PageFault,
}

/// What is being delivered; decides privilege checks, the error code and the EXT bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// An exception the CPU detected.
    Exception(Exception),
    /// INT n, INT3, INTO.
    Software(u8),
    /// An external interrupt or NMI.
    External(u8),
}

impl Origin {
    const fn vector(self) -> u8 {
        match self {
            Self::Exception(e) => e.vector() as u8,
            Self::Software(v) | Self::External(v) => v,
        }
    }

    const fn error_code(self) -> Option<u32> {
        match self {
            Self::Exception(e) => e.error_code(),
            Self::Software(_) | Self::External(_) => None,
        }
    }

    /// The EXT bit of error codes that arise while delivering this.
    const fn ext(self) -> u16 {
        !matches!(self, Self::Software(_)) as u16
    }
}

impl Core<'_> {
    /// Delivers `exception`; what goes wrong on the way becomes #DF, then shutdown.
    pub(crate) fn raise(&mut self, exception: Exception) {
        let mut current = exception;
        loop {
            let outcome = self.deliver(Origin::Exception(current));
            if let Err(Exception::Pf(fault)) = outcome {
                // CR2 names the latest #PF even if it only helps to make a #DF.
                self.cpu.cr2 = fault.linear.get();
            }
            match outcome {
                Ok(()) => return,
                Err(_) if current == Exception::Df => {
                    self.cpu.activity = Activity::Shutdown;
                    return;
                }
                Err(second) => current = combine(current, second),
            }
        }
    }

    /// Delivers an external interrupt.
    pub(crate) fn interrupt(&mut self, vector: u8) {
        self.cpu.activity = Activity::Running;
        self.tracer.emit(
            self.cpu.ledger.now().cycles(),
            self.cpu.source(),
            Event::Interrupt {
                vector,
                rip: self.cpu.rip(),
            },
        );
        if let Err(second) = self.deliver(Origin::External(vector)) {
            self.raise(second);
        }
    }

    /// Goes through the IDT.
    ///
    /// # Errors
    ///
    /// The exception met on the way; registers are unchanged.
    pub(crate) fn deliver(&mut self, origin: Origin) -> Result<(), Exception> {
        self.charge_delivery(origin);
        if let Origin::Exception(e) = origin {
            self.note_exception(e);
        }
        if !self.cpu.is_protected() {
            return self.deliver_real(origin);
        }
        if self.cpu.is_ia32e() {
            self.deliver_ia32e(origin)
        } else {
            self.deliver_32(origin)
        }
    }

    fn charge_delivery(&mut self, origin: Origin) {
        let (category, price) = match origin {
            Origin::External(_) => (Category::MmioIrq, self.profile.irq),
            _ => (Category::ExcEntry, self.profile.exception),
        };
        self.charge(category, price);
    }

    fn note_exception(&mut self, e: Exception) {
        let (at, source) = (self.cpu.ledger.now().cycles(), self.cpu.source());
        if let Exception::Pf(fault) = e {
            self.cpu.cr2 = fault.linear.get();
            self.tracer.emit(at, source, Event::PageFault(fault));
        }
        let event = Event::Exception {
            vector: e.vector() as u8,
            code: e.error_code(),
            rip: self.cpu.rip(),
            cpl: self.cpu.cpl,
        };
        self.tracer.emit(at, source, event);
    }

    fn deliver_real(&mut self, origin: Origin) -> Result<(), Exception> {
        let at = u64::from(origin.vector()) * 4;
        if at + 3 > u64::from(self.cpu.idtr.limit) {
            return Err(Exception::Gp(0));
        }
        let entry: u32 = self.read_system(self.cpu.idtr.base + at)?;
        let frame = [
            self.cpu.flags & 0xffff,
            u64::from(self.cpu.seg(SegReg::Cs).selector.0),
            self.cpu.rip() & 0xffff,
        ];
        self.push_frame::<u16>(&frame)?;
        self.cpu.flags &= !(Rflags::IF | Rflags::TF | Rflags::AC).bits();
        self.single_step = false;
        self.cpu
            .set_real_segment(SegReg::Cs, Selector((entry >> 16) as u16));
        self.cpu.set_rip(u64::from(entry & 0xffff));
        Ok(())
    }

    /// Pushes `values` in order on the current stack, moving RSP only if all fit.
    fn push_frame<W: crate::word::Word>(&mut self, values: &[u64]) -> Result<(), Exception> {
        let mut sp = self.cpu.stack_pointer();
        for &value in values {
            sp = sp.wrapping_sub(W::BYTES);
            self.write_stack::<W>(sp, W::low(value))?;
        }
        self.cpu.set_stack_pointer(sp);
        Ok(())
    }

    fn deliver_ia32e(&mut self, origin: Origin) -> Result<(), Exception> {
        let gate = self.read_gate64(origin)?;
        let target = self.gate_code_segment(gate.selector(), origin)?;
        if !target.desc.is_long() || target.desc.is_32bit() {
            return Err(Exception::Gp(gate.selector().error_code() | origin.ext()));
        }
        let cpl = if target.desc.is_conforming_code() {
            self.cpu.cpl
        } else {
            target.desc.dpl()
        };
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
        self.enter_gate(gate, target, cpl);
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

    fn enter_gate(&mut self, gate: Gate64, mut target: Segment, cpl: u8) {
        let mut clear = Rflags::TF | Rflags::NT | Rflags::RF | Rflags::VM;
        if gate.kind() == system_type::INTERRUPT_GATE {
            clear |= Rflags::IF;
        }
        self.cpu.flags &= !clear.bits();
        self.single_step = false;
        target.selector = Selector(target.selector.error_code() | u16::from(cpl));
        self.cpu.cpl = cpl;
        self.cpu.load_segment(SegReg::Cs, target);
        self.cpu.set_rip(gate.offset());
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

    fn deliver_32(&mut self, origin: Origin) -> Result<(), Exception> {
        let vector = u16::from(origin.vector());
        let error = (vector << 3) | 2 | origin.ext();
        if u32::from(vector) * 8 + 7 > u32::from(self.cpu.idtr.limit) {
            return Err(Exception::Gp(error));
        }
        let raw: u64 = self.read_system(self.cpu.idtr.base + u64::from(vector) * 8)?;
        let gate = Gate64 { low: raw, high: 0 };
        if !matches!(
            gate.kind(),
            6 | 7 | system_type::INTERRUPT_GATE | system_type::TRAP_GATE
        ) {
            return Err(Exception::Gp(error));
        }
        if matches!(origin, Origin::Software(_)) && gate.dpl() < self.cpu.cpl {
            return Err(Exception::Gp(error));
        }
        if !gate.is_present() {
            return Err(Exception::Np(error));
        }
        let target = self.gate_code_segment(gate.selector(), origin)?;
        let cpl = if target.desc.is_conforming_code() {
            self.cpu.cpl
        } else {
            target.desc.dpl()
        };
        if cpl != self.cpu.cpl {
            return Err(Exception::Gp(error));
        }
        let frame = [
            self.pushed_flags(origin),
            u64::from(self.cpu.seg(SegReg::Cs).selector.0),
            self.cpu.rip(),
        ];
        let mut values: Vec<u64> = frame.to_vec();
        values.extend(origin.error_code().map(u64::from));
        let short = gate.kind() & 8 == 0;
        if short {
            self.push_frame::<u16>(&values)?
        } else {
            self.push_frame::<u32>(&values)?
        }
        // A 16-bit gate is one whose offset has no upper half; its type differs in bit 3 only.
        let low = if short {
            raw & 0x0000_ffff_ffff_ffff | 8 << 40
        } else {
            raw
        };
        self.enter_gate(Gate64 { low, high: 0 }, target, cpl);
        Ok(())
    }

    /// Reads a descriptor-table or TSS field: an implicit supervisor access.
    pub(crate) fn read_system<W: crate::word::Word>(
        &mut self,
        linear: u64,
    ) -> Result<W, Exception> {
        let va = self.cpu.system_address(linear)?;
        self.read_as(va, Access::Read, Accessor::SUPERVISOR)
    }
}

fn with_ext(e: Exception, origin: Origin) -> Exception {
    match e {
        Exception::Gp(code) => Exception::Gp(code | origin.ext()),
        Exception::Np(code) => Exception::Np(code | origin.ext()),
        other => other,
    }
}

/// SDM 3A table "Conditions for Generating a Double Fault".
const fn combine(first: Exception, second: Exception) -> Exception {
    match (first.class(), second.class()) {
        (Class::Contributory, Class::Contributory)
        | (Class::PageFault, Class::Contributory | Class::PageFault) => Exception::Df,
        _ if matches!(first, Exception::Df) => Exception::Df,
        _ => second,
    }
}
