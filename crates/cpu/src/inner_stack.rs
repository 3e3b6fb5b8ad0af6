//! The stack of an inner privilege level, as a gate of protected mode finds it in the TSS.
//!
//! It is pushed to before it is the current one: a fault on the way leaves the registers as they were.
//!
//! **Spec:** SDM 3A "Stack Switching", "Task-State Segment (TSS)".

use crate::core::Core;
use crate::exception::Exception;
use crate::linear::segment_allows;
use crate::segment::{SegReg, Segment};
use crate::word::Word;
use mmu::Accessor;
use x86::VirtAddr;
use x86::descriptor::{Descriptor, Selector};
use x86::fault::Access;

/// A stack checked for use at `cpl`.
#[derive(Debug)]
pub(crate) struct InnerStack {
    segment: Segment,
    sp: u64,
    cpl: u8,
    /// The EXT bit of error codes.
    ext: u16,
}

/// Whether a TSS descriptor is that of a 32-bit TSS.
pub(crate) const fn is_32bit_tss(desc: Descriptor) -> bool {
    desc.kind() & 8 != 0
}

/// A descriptor that lies outside its table: #TS where plain loads have #GP.
pub(crate) const fn invalid_tss(e: Exception, ext: u16) -> Exception {
    match e {
        Exception::Gp(code) => Exception::Ts(code | ext),
        other => other,
    }
}

impl Core<'_> {
    /// The stack the TSS holds for `cpl`.
    ///
    /// # Errors
    ///
    /// #TS or #SS with what is wrong; the registers are unchanged.
    pub(crate) fn inner_stack(&mut self, cpl: u8, ext: u16) -> Result<InnerStack, Exception> {
        let (selector, sp) = self.tss_stack(cpl, ext)?;
        let error = selector.error_code() | ext;
        if selector.is_null() {
            return Err(Exception::Ts(ext));
        }
        let desc = self
            .read_descriptor(selector)
            .map_err(|e| invalid_tss(e, ext))?;
        if !desc.is_writable_data() || selector.rpl() != cpl || desc.dpl() != cpl {
            return Err(Exception::Ts(error));
        }
        if !desc.is_present() {
            return Err(Exception::Ss(error));
        }
        self.set_accessed(selector, desc)?;
        let segment = Segment::from_descriptor(selector, desc);
        Ok(InnerStack {
            segment,
            sp,
            cpl,
            ext,
        })
    }

    /// SS and ESP for `cpl` as the TSS has them.
    fn tss_stack(&mut self, cpl: u8, ext: u16) -> Result<(Selector, u64), Exception> {
        let tr = self.cpu.tr;
        let wide = is_32bit_tss(tr.desc);
        let (offset, last) = if wide {
            (u64::from(cpl) * 8 + 4, 5)
        } else {
            (u64::from(cpl) * 4 + 2, 3)
        };
        if offset + last > u64::from(tr.limit) {
            return Err(Exception::Ts(tr.selector.error_code() | ext));
        }
        let at = tr.base.wrapping_add(offset) & 0xffff_ffff;
        if wide {
            let esp = self.read_system::<u32>(at)?;
            Ok((Selector(self.read_system(at + 4)?), u64::from(esp)))
        } else {
            let sp = self.read_system::<u16>(at)?;
            Ok((Selector(self.read_system(at + 2)?), u64::from(sp)))
        }
    }

    /// Pushes on `stack`.
    pub(crate) fn push_inner<W: Word>(
        &mut self,
        stack: &mut InnerStack,
        value: u64,
    ) -> Result<(), Exception> {
        let mask = if stack.segment.desc.is_32bit() {
            0xffff_ffff
        } else {
            0xffff
        };
        let sp = stack.sp.wrapping_sub(W::BYTES) & mask;
        if !segment_allows(&stack.segment, sp, W::BYTES, Access::Write) {
            let error = stack.segment.selector.error_code() | stack.ext;
            return Err(Exception::Ss(error));
        }
        let linear = stack.segment.base.wrapping_add(sp) & 0xffff_ffff;
        let who = if stack.cpl == 3 {
            Accessor::USER
        } else {
            Accessor::SUPERVISOR
        };
        self.write_as(VirtAddr::from_u32(linear as u32), W::low(value), who)?;
        stack.sp = stack.sp & !mask | sp;
        Ok(())
    }

    /// Makes `stack` the current one, at its privilege.
    pub(crate) fn enter_inner(&mut self, stack: &InnerStack) {
        // What was executed so far was executed at the old level.
        self.settle();
        self.cpu.cpl = stack.cpl;
        self.cpu.load_segment(SegReg::Ss, stack.segment);
        self.cpu.set_stack_pointer(stack.sp);
    }
}
