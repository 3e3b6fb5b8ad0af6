//! RDMSR and WRMSR.
//!
//! Modelled: the registers named in [`x86::msr`]. Any other number raises #GP(0),
//! as on a processor that does not have it.
//!
//! **Spec:** SDM 4 "Architectural MSRs"; SDM 2 "WRMSR".

use crate::core::Core;
use crate::exception::Exception;
use crate::segment::SegReg;
use x86::{Cr0, Efer, VirtAddr, msr};

const GP: Exception = Exception::Gp(0);

impl Core<'_> {
    /// Value of MSR `number`.
    pub(crate) fn read_msr(&mut self, number: u32) -> Result<u64, Exception> {
        let m = &self.cpu.msr;
        Ok(match number {
            msr::TSC => self.tsc(),
            msr::APIC_BASE => m.apic_base,
            msr::SYSENTER_CS => m.sysenter[0],
            msr::SYSENTER_ESP => m.sysenter[1],
            msr::SYSENTER_EIP => m.sysenter[2],
            msr::PAT => m.pat,
            msr::EFER => self.cpu.efer().bits(),
            msr::STAR => m.star,
            msr::LSTAR => m.lstar,
            msr::CSTAR => m.cstar,
            msr::FMASK => m.fmask,
            msr::FS_BASE => self.cpu.seg(SegReg::Fs).base,
            msr::GS_BASE => self.cpu.seg(SegReg::Gs).base,
            msr::KERNEL_GS_BASE => m.kernel_gs_base,
            msr::TSC_AUX => m.tsc_aux,
            // No microcode, no MTRRs, nothing to enable.
            msr::BIOS_SIGN_ID | msr::MTRRCAP | msr::MISC_ENABLE => 0,
            _ => return Err(GP),
        })
    }

    /// Writes MSR `number`.
    pub(crate) fn write_msr(&mut self, number: u32, value: u64) -> Result<(), Exception> {
        match number {
            msr::TSC => {
                let now = self.cycles();
                self.cpu.msr.tsc_offset = value.wrapping_sub(now);
            }
            msr::APIC_BASE => self.write_apic_base(value)?,
            msr::SYSENTER_CS => self.cpu.msr.sysenter[0] = value,
            msr::SYSENTER_ESP => self.cpu.msr.sysenter[1] = canonical(value)?,
            msr::SYSENTER_EIP => self.cpu.msr.sysenter[2] = canonical(value)?,
            msr::PAT => self.cpu.msr.pat = valid_pat(value)?,
            msr::EFER => self.write_efer(value)?,
            msr::STAR => self.cpu.msr.star = value,
            msr::LSTAR => self.cpu.msr.lstar = canonical(value)?,
            msr::CSTAR => self.cpu.msr.cstar = canonical(value)?,
            msr::FMASK => self.cpu.msr.fmask = value & 0xffff_ffff,
            msr::FS_BASE => self.cpu.set_segment_base(SegReg::Fs, canonical(value)?),
            msr::GS_BASE => self.cpu.set_segment_base(SegReg::Gs, canonical(value)?),
            msr::KERNEL_GS_BASE => self.cpu.msr.kernel_gs_base = canonical(value)?,
            msr::TSC_AUX => self.cpu.msr.tsc_aux = value & 0xffff_ffff,
            msr::BIOS_SIGN_ID | msr::MISC_ENABLE => {}
            _ => return Err(GP),
        }
        Ok(())
    }

    // DEPARTS: the local APIC stays at its reset address and enabled; a write that
    // would move or disable it raises #GP, where a processor would do it.
    fn write_apic_base(&self, value: u64) -> Result<(), Exception> {
        if value == self.cpu.msr.apic_base {
            Ok(())
        } else {
            Err(GP)
        }
    }

    fn write_efer(&mut self, value: u64) -> Result<(), Exception> {
        let new = Efer::from_bits(value & !Efer::LMA.bits()).ok_or(GP)?;
        let old = self.cpu.efer();
        let paging = self.cpu.cr0().contains(Cr0::PG);
        if paging && (new ^ old).contains(Efer::LME) {
            return Err(GP);
        }
        self.cpu.mmu.write_efer(new | (old & Efer::LMA));
        Ok(())
    }

    /// Core cycles since power-on, this instruction included.
    pub(crate) fn cycles(&mut self) -> u64 {
        self.settle();
        self.cpu.ledger.now().cycles()
    }

    /// The time-stamp counter.
    pub(crate) fn tsc(&mut self) -> u64 {
        let now = self.cycles();
        now.wrapping_add(self.cpu.msr.tsc_offset)
    }
}

fn canonical(value: u64) -> Result<u64, Exception> {
    VirtAddr::new(value).map(VirtAddr::get).map_err(|_| GP)
}

/// Each of the eight memory types must be one that exists (0, 1, 4–7).
fn valid_pat(value: u64) -> Result<u64, Exception> {
    let ok = value
        .to_le_bytes()
        .into_iter()
        .all(|t| matches!(t, 0 | 1 | 4..=7));
    if ok { Ok(value) } else { Err(GP) }
}
