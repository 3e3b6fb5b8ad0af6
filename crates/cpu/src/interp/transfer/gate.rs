//! Call gates of 16, 32 and 64 bits.
//!
//! **Spec:** SDM 3A "Accessing a Code Segment Through a Call Gate", "Stack Switching in IA-32e Mode".

use super::Done;
use crate::core::Core;
use crate::delivery::target_privilege;
use crate::exception::Exception;
use crate::segment::{SegReg, Segment};
use crate::state::reg;
use crate::word::Word;
use mmu::Accessor;
use x86::VirtAddr;
use x86::descriptor::{self, Descriptor, Gate64, Selector, system_type};

impl Core<'_> {
    /// The gate `selector` names, whose first half is `low`.
    pub(super) fn call_gate(
        &mut self,
        selector: Selector,
        low: Descriptor,
    ) -> Result<Gate64, Exception> {
        let error = selector.error_code();
        let mut gate = Gate64 {
            low: low.0,
            high: 0,
        };
        if self.cpu.is_ia32e() {
            let at = self.descriptor_address(selector, 16)?;
            gate.high = self.read_system(at.wrapping_add(8))?;
            // The upper half has a type field, too: zero, so that it is no descriptor of its own.
            if gate.high >> 40 & 0x1f != 0 {
                return Err(Exception::Gp(error));
            }
        }
        if !gate.is_present() {
            return Err(Exception::Np(error));
        }
        if gate.kind() == system_type::CALL_GATE16 {
            gate.low &= 0x0000_ffff_ffff_ffff;
        }
        Ok(gate)
    }

    /// JMP cannot change the privilege.
    pub(super) fn jump_through(&mut self, gate: Gate64) -> Done {
        let segment = self.code_segment(gate.selector(), self.cpu.cpl)?;
        self.check_gate_target(gate, segment.desc)?;
        self.enter_code(segment, gate.offset())
    }

    pub(super) fn call_through(&mut self, gate: Gate64) -> Done {
        let selector = gate.selector();
        if selector.is_null() {
            return Err(Exception::Gp(0));
        }
        let desc = self.read_descriptor(selector)?;
        if !desc.is_code() || desc.dpl() > self.cpu.cpl {
            return Err(Exception::Gp(selector.error_code()));
        }
        self.check_gate_target(gate, desc)?;
        let target = Segment::from_descriptor(selector, desc);
        let segment = self.code_segment(selector, target_privilege(&target, self.cpu.cpl))?;
        let inner = segment.selector.rpl() != self.cpu.cpl;
        match (self.cpu.is_ia32e(), gate.kind(), inner) {
            (true, _, true) => self.call_inner_64(segment, gate.offset()),
            (true, _, false) => self.call_code::<u64>(segment, gate.offset()),
            (_, system_type::CALL_GATE16, true) => self.call_inner::<u16>(gate, segment),
            (_, system_type::CALL_GATE16, false) => self.call_code::<u16>(segment, gate.offset()),
            (_, _, true) => self.call_inner::<u32>(gate, segment),
            (_, _, false) => self.call_code::<u32>(segment, gate.offset()),
        }
    }

    /// A 64-bit gate leads to 64-bit code only.
    fn check_gate_target(&self, gate: Gate64, desc: Descriptor) -> Done {
        if self.cpu.is_ia32e() && (!desc.is_long() || desc.is_32bit()) {
            Err(Exception::Gp(gate.selector().error_code()))
        } else {
            Ok(())
        }
    }

    /// Parameters are copied from the old stack to the new one, between SS:ESP and CS:EIP.
    fn call_inner<W: Word>(&mut self, gate: Gate64, segment: Segment) -> Done {
        let old = self.cpu.stack_pointer();
        let count = u64::from(gate.parameter_count());
        let mut stack = self.inner_stack(segment.selector.rpl(), 0)?;
        if gate.offset() > u64::from(segment.limit) {
            return Err(Exception::Gp(0));
        }
        let ss = u64::from(self.cpu.seg(SegReg::Ss).selector.0);
        self.push_inner::<W>(&mut stack, ss)?;
        self.push_inner::<W>(&mut stack, self.cpu.regs[reg::RSP])?;
        for i in (0..count).rev() {
            let parameter = self.read_stack::<W>(old.wrapping_add(i * W::BYTES))?;
            self.push_inner::<W>(&mut stack, parameter.zx())?;
        }
        let cs = u64::from(self.cpu.seg(SegReg::Cs).selector.0);
        self.push_inner::<W>(&mut stack, cs)?;
        self.push_inner::<W>(&mut stack, self.cpu.rip())?;
        self.enter_inner(&stack);
        self.enter_code(segment, gate.offset())
    }

    /// IA-32e mode: RSP from the TSS, a null SS, and no parameters.
    fn call_inner_64(&mut self, segment: Segment, offset: u64) -> Done {
        let cpl = segment.selector.rpl();
        let tr = self.cpu.tr;
        let at = descriptor::TSS64_RSP0 + 8 * u64::from(cpl);
        if at + 7 > u64::from(tr.limit) {
            return Err(Exception::Ts(tr.selector.error_code()));
        }
        let mut sp = self.read_system::<u64>(tr.base.wrapping_add(at))?;
        VirtAddr::new(offset).map_err(|_| Exception::Gp(0))?;
        let frame = [
            u64::from(self.cpu.seg(SegReg::Ss).selector.0),
            self.cpu.regs[reg::RSP],
            u64::from(self.cpu.seg(SegReg::Cs).selector.0),
            self.cpu.rip(),
        ];
        for value in frame {
            sp = sp.wrapping_sub(8);
            let va = VirtAddr::new(sp).map_err(|_| Exception::Ss(0))?;
            self.write_as::<u64>(va, value, Accessor::SUPERVISOR)?;
        }
        self.settle();
        self.cpu.cpl = cpl;
        self.cpu
            .load_segment(SegReg::Ss, Segment::null(Selector(u16::from(cpl))));
        self.cpu.regs[reg::RSP] = sp;
        self.enter_code(segment, offset)
    }
}
