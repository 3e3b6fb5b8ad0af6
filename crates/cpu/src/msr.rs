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
            msr::TSC_DEADLINE => self.read_tsc_deadline()?,
            msr::APIC_BASE | msr::X2APIC_FIRST..=msr::X2APIC_LAST => self.read_apic_msr(number)?,
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
            msr::TSC_DEADLINE => self.write_tsc_deadline(value)?,
            msr::APIC_BASE | msr::X2APIC_FIRST..=msr::X2APIC_LAST => {
                self.write_apic_msr(number, value)?
            }
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

    fn read_apic_msr(&mut self, number: u32) -> Result<u64, Exception> {
        self.settle();
        let now = self.cpu.ledger.now();
        self.bus.apic_msr_read(self.cpu.id, number, now).ok_or(GP)
    }

    /// Interrupts may be asked for, sent or ended by it: the board has to look.
    fn write_apic_msr(&mut self, number: u32, value: u64) -> Result<(), Exception> {
        self.settle();
        let now = self.cpu.ledger.now();
        self.leave = true;
        if self.bus.apic_msr_write(self.cpu.id, number, value, now) {
            Ok(())
        } else {
            Err(GP)
        }
    }

    /// The APIC keeps the deadline in cycles since power-on; software names it in counts of the TSC.
    // DEPARTS: a deadline that is armed does not move when IA32_TIME_STAMP_COUNTER is written.
    fn read_tsc_deadline(&mut self) -> Result<u64, Exception> {
        let cycles = self.read_apic_msr(msr::TSC_DEADLINE)?;
        Ok(if cycles == 0 {
            0
        } else {
            cycles.wrapping_add(self.cpu.msr.tsc_offset)
        })
    }

    /// A deadline that has passed is one that fires at once.
    fn write_tsc_deadline(&mut self, value: u64) -> Result<(), Exception> {
        let tsc = self.tsc();
        let now = self.cycles();
        let cycles = now.saturating_add(value.saturating_sub(tsc)).max(1);
        self.write_apic_msr(msr::TSC_DEADLINE, if value == 0 { 0 } else { cycles })
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
