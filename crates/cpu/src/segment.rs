//! Segment registers with their hidden parts, and the descriptor tables.
//!
//! Modelled: loading in real, protected and 64-bit mode with the checks of the
//! manual. Gates are in `interp::transfer`, task switches in [`task`](crate::task).
//!
//! **Spec:** SDM 3A "Segment Registers", "Segment Descriptors"; SDM 2 "MOV", "Far transfers".

use crate::core::Core;
use crate::exception::Exception;
use x86::descriptor::{Descriptor, Selector};

/// A segment register, in the order of its encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "the registers' own names")]
pub enum SegReg {
    Es = 0,
    Cs = 1,
    Ss = 2,
    Ds = 3,
    Fs = 4,
    Gs = 5,
}

impl SegReg {
    /// All of them, in the order of their encoding, which is that of a TSS.
    pub(crate) const ALL: [Self; 6] = [Self::Es, Self::Cs, Self::Ss, Self::Ds, Self::Fs, Self::Gs];

    /// The register with this encoding.
    pub(crate) const fn from_number(n: u8) -> Option<Self> {
        Some(match n {
            0 => Self::Es,
            1 => Self::Cs,
            2 => Self::Ss,
            3 => Self::Ds,
            4 => Self::Fs,
            5 => Self::Gs,
            _ => return None,
        })
    }
}

/// A segment register: the visible selector and the hidden descriptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Visible part.
    pub selector: Selector,
    /// Base address; 64 bits, because FS and GS take theirs from MSRs.
    pub base: u64,
    /// Last valid offset.
    pub limit: u32,
    /// Attributes as in the descriptor.
    pub desc: Descriptor,
}

/// Attributes of a writable, present data segment with a 16-bit stack.
const REAL_DATA: Descriptor = Descriptor(0x0000_9300_0000_ffff);
/// Attributes of a writable, present data segment with a 16-bit stack, of privilege 3.
const VM86_DATA: Descriptor = Descriptor(0x0000_f300_0000_ffff);
/// Attributes of a flat 32-bit code segment.
const FLAT_CODE32: Descriptor = Descriptor(0x00cf_9b00_0000_ffff);
/// Attributes of a 64-bit code segment.
const FLAT_CODE64: Descriptor = Descriptor(0x00af_9b00_0000_ffff);
/// Attributes of a flat 32-bit data segment.
const FLAT_DATA32: Descriptor = Descriptor(0x00cf_9300_0000_ffff);

impl Segment {
    /// The register after loading `selector`, whose descriptor is `desc`.
    #[must_use]
    pub const fn from_descriptor(selector: Selector, desc: Descriptor) -> Self {
        Self {
            selector,
            base: desc.base() as u64,
            limit: desc.limit_bytes(),
            desc,
        }
    }

    /// A null selector in 64-bit mode: unusable outside it.
    #[must_use]
    pub const fn null(selector: Selector) -> Self {
        Self {
            selector,
            base: 0,
            limit: 0,
            desc: Descriptor(0),
        }
    }

    /// A real-mode segment.
    #[must_use]
    pub const fn real(selector: Selector) -> Self {
        Self {
            selector,
            base: (selector.0 as u64) << 4,
            limit: 0xffff,
            desc: REAL_DATA,
        }
    }

    /// A segment of virtual-8086 mode.
    #[must_use]
    pub const fn vm86(selector: Selector) -> Self {
        Self {
            desc: VM86_DATA,
            ..Self::real(selector)
        }
    }

    /// Flat 32-bit code, as boot protocols want it.
    #[must_use]
    pub const fn flat_code32(selector: Selector) -> Self {
        Self::from_descriptor(selector, FLAT_CODE32)
    }

    /// 64-bit code.
    #[must_use]
    pub const fn flat_code64(selector: Selector) -> Self {
        Self::from_descriptor(selector, FLAT_CODE64)
    }

    /// Flat 32-bit data.
    #[must_use]
    pub const fn flat_data32(selector: Selector) -> Self {
        Self::from_descriptor(selector, FLAT_DATA32)
    }
}

/// GDTR or IDTR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableRegister {
    /// Linear address of the table.
    pub base: u64,
    /// Offset of its last byte.
    pub limit: u16,
}

impl Core<'_> {
    /// Reads the 8-byte descriptor `selector` names.
    ///
    /// # Errors
    ///
    /// #GP with the selector if it lies outside its table.
    pub(crate) fn read_descriptor(&mut self, selector: Selector) -> Result<Descriptor, Exception> {
        let at = self.descriptor_address(selector, 8)?;
        Ok(Descriptor(self.read_system(at)?))
    }

    /// Linear address of the descriptor `selector` names, if `bytes` of it are inside the table.
    pub(crate) fn descriptor_address(
        &self,
        selector: Selector,
        bytes: u32,
    ) -> Result<u64, Exception> {
        let (base, limit) = if selector.is_local() {
            (self.cpu.ldtr.base, self.cpu.ldtr.limit)
        } else {
            (self.cpu.gdtr.base, u32::from(self.cpu.gdtr.limit))
        };
        let offset = u32::from(selector.table_offset());
        if offset + bytes - 1 > limit {
            return Err(Exception::Gp(selector.error_code()));
        }
        Ok(base.wrapping_add(u64::from(offset)))
    }

    /// MOV, POP or a far load to a data-segment register.
    ///
    /// # Errors
    ///
    /// #GP, #NP or #SS with the selector; the register is unchanged.
    pub(crate) fn load_data_segment(
        &mut self,
        which: SegReg,
        selector: Selector,
    ) -> Result<(), Exception> {
        if !self.cpu.uses_descriptors() {
            self.cpu.set_real_segment(which, selector);
            return Ok(());
        }
        if which == SegReg::Ss {
            return self.load_ss(selector);
        }
        if selector.is_null() {
            self.cpu.load_segment(which, Segment::null(selector));
            return Ok(());
        }
        let desc = self.read_descriptor(selector)?;
        let conforming = desc.is_conforming_code();
        let outranked = selector.rpl() > desc.dpl() || self.cpu.cpl > desc.dpl();
        if !desc.is_readable() || (!conforming && outranked) {
            return Err(Exception::Gp(selector.error_code()));
        }
        if !desc.is_present() {
            return Err(Exception::Np(selector.error_code()));
        }
        self.set_accessed(selector, desc)?;
        self.cpu
            .load_segment(which, Segment::from_descriptor(selector, desc));
        Ok(())
    }

    fn load_ss(&mut self, selector: Selector) -> Result<(), Exception> {
        let cpl = self.cpu.cpl;
        if selector.is_null() {
            // 64-bit mode lets CPL 0–2 run on a null stack segment with RPL = CPL.
            if self.cpu.is_64bit() && cpl < 3 && selector.rpl() == cpl {
                self.cpu.load_segment(SegReg::Ss, Segment::null(selector));
                return Ok(());
            }
            return Err(Exception::Gp(0));
        }
        let desc = self.read_descriptor(selector)?;
        if !desc.is_writable_data() || selector.rpl() != cpl || desc.dpl() != cpl {
            return Err(Exception::Gp(selector.error_code()));
        }
        if !desc.is_present() {
            return Err(Exception::Ss(selector.error_code()));
        }
        self.set_accessed(selector, desc)?;
        self.cpu
            .load_segment(SegReg::Ss, Segment::from_descriptor(selector, desc));
        Ok(())
    }

    /// Sets the Accessed bit of a code or data descriptor in its table.
    pub(crate) fn set_accessed(
        &mut self,
        selector: Selector,
        desc: Descriptor,
    ) -> Result<(), Exception> {
        const ACCESSED: u64 = 1 << 40;
        if desc.0 & ACCESSED != 0 {
            return Ok(());
        }
        let at = self.descriptor_address(selector, 8)?;
        self.write_system::<u64>(at, desc.0 | ACCESSED)
    }

    /// JMP, CALL, RETF or IRET to a code segment without a gate: checks, then the loaded register.
    ///
    /// `cpl` is the privilege the target will run at.
    ///
    /// # Errors
    ///
    /// #GP or #NP with the selector; nothing is changed.
    pub(crate) fn code_segment(
        &mut self,
        selector: Selector,
        cpl: u8,
    ) -> Result<Segment, Exception> {
        if selector.is_null() {
            return Err(Exception::Gp(0));
        }
        let error = selector.error_code();
        let desc = self.read_descriptor(selector)?;
        let rights_ok = if desc.is_conforming_code() {
            desc.dpl() <= cpl
        } else {
            desc.dpl() == cpl
        };
        // L and D together are reserved while IA-32e mode is active.
        let both = self.cpu.is_ia32e() && desc.is_long() && desc.is_32bit();
        if !desc.is_code() || !rights_ok || both {
            return Err(Exception::Gp(error));
        }
        if !desc.is_present() {
            return Err(Exception::Np(error));
        }
        self.set_accessed(selector, desc)?;
        let selector = Selector(error | u16::from(cpl));
        Ok(Segment::from_descriptor(selector, desc))
    }
}
