//! One port's registers and the rules for reading and writing them.
//!
//! Knows nothing of memory, disks, time or interrupts: a write returns what the
//! rest of the HBA has to do ([`Effect`]), and the engine sets
//! what the hardware sets.
//!
//! Modelled: one device, always powered, link at 6 Gbit/s. Not modelled: PxSACT,
//! PxSNTF, PxFBS and PxDEVSLP (read 0), power states (PxCMD.ICC reads 0), posting
//! a signature that arrived while PxCMD.FRE was clear.
//!
//! **Spec:** AHCI 1.3.1 section 3.3 "Port Registers"; section 10.1 to 10.4 on start, stop and reset.

use ahci_spec::ata::AtaStatus;
use ahci_spec::port::{PortReg, PxCmd, PxIs, PxSerr, PxTfd, sctl, sig, ssts};

/// What the rest of the HBA must do after a register write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Effect {
    /// Nothing beyond the new register value.
    None,
    /// Recompute the interrupt line from PxIS and PxIE.
    UpdateInterrupt,
    /// PxCI gained these slots.
    IssueSlots(u32),
    /// ST rose: the command list may run, if PxCMD.CR says so.
    StartCommandList,
    /// ST fell: commands in flight are dropped (section 3.3.14, PxCI).
    StopCommandList,
    /// PxSCTL.DET left 0: the link is down, the device hears nothing.
    LinkDown,
    /// PxSCTL.DET came back to 0: the device, if there is one, will send its signature.
    LinkUp,
}

/// State of the link, as PxSSTS.DET tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    /// No device, or COMRESET is being sent.
    Down,
    /// PxSCTL.DET is 4.
    Offline,
    /// A device answers.
    Established,
}

/// Whether a device is plugged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// There is one.
    Present,
    /// The port is empty.
    Absent,
}

/// Whether a FIS asked for an interrupt, with its I bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attention {
    /// I = 0.
    Silent,
    /// I = 1.
    Interrupt,
}

/// PxTFD.STS while nothing is known of a device: DRDY and all below.
const STATUS_UNKNOWN: u8 = 0x7f;

/// Status of an idle disk.
pub const STATUS_IDLE: AtaStatus = AtaStatus::DRDY.union(AtaStatus::DSC);

/// Software-visible state of one port.
#[derive(Clone, Debug)]
pub struct PortRegs {
    clb: u64,
    fb: u64,
    is: PxIs,
    ie: PxIs,
    cmd: PxCmd,
    current_slot: u32,
    tfd: PxTfd,
    sig: u32,
    device: Device,
    link: Link,
    sctl: u32,
    serr: PxSerr,
    ci: u32,
}

impl PortRegs {
    /// Bits of PxCMD software may write and read back.
    const CMD_WRITABLE: PxCmd = PxCmd::ST
        .union(PxCmd::FRE)
        .union(PxCmd::ATAPI)
        .union(PxCmd::DLAE);
    /// Read only and 1: no staggered spin-up, no cold presence detection (section 3.3.7).
    const CMD_FIXED: PxCmd = PxCmd::SUD.union(PxCmd::POD);

    /// Registers as firmware leaves them: link up and signature received if a device is there.
    #[must_use]
    pub fn new(device: Device) -> Self {
        let mut regs = Self {
            clb: 0,
            fb: 0,
            is: PxIs::empty(),
            ie: PxIs::empty(),
            cmd: PxCmd::empty(),
            current_slot: 0,
            tfd: PxTfd::new(STATUS_UNKNOWN, 0),
            sig: sig::NONE,
            device,
            link: Link::Down,
            sctl: 0,
            serr: PxSerr::empty(),
            ci: 0,
        };
        if device == Device::Present {
            regs.link = Link::Established;
            regs.signature_received();
        }
        regs
    }

    /// Reads a register; the whole dword.
    #[must_use]
    pub const fn read(&self, reg: PortReg) -> u32 {
        match reg {
            PortReg::Clb => low(self.clb),
            PortReg::Clbu => high(self.clb),
            PortReg::Fb => low(self.fb),
            PortReg::Fbu => high(self.fb),
            PortReg::Is => self.interrupt_status().bits(),
            PortReg::Ie => self.ie.bits(),
            PortReg::Cmd => self.cmd.union(Self::CMD_FIXED).bits() | self.current_slot << 8,
            PortReg::Tfd => self.tfd.0,
            PortReg::Sig => self.sig,
            PortReg::Ssts => match self.link {
                Link::Down => ssts::DET_NONE,
                Link::Offline => ssts::DET_OFFLINE,
                Link::Established => ssts::DET_ESTABLISHED | ssts::SPD_GEN3 | ssts::IPM_ACTIVE,
            },
            PortReg::Sctl => self.sctl,
            PortReg::Serr => self.serr.bits(),
            PortReg::Ci => self.ci,
            PortReg::Sact | PortReg::Sntf | PortReg::Fbs | PortReg::Devslp => 0,
        }
    }

    /// Applies a 32-bit write and says what follows from it.
    pub fn write(&mut self, reg: PortReg, value: u32) -> Effect {
        match reg {
            PortReg::Clb => set_low(&mut self.clb, value & !0x3ff),
            PortReg::Clbu => set_high(&mut self.clb, value),
            PortReg::Fb => set_low(&mut self.fb, value & !0xff),
            PortReg::Fbu => set_high(&mut self.fb, value),
            PortReg::Is => {
                self.is.remove(PxIs::from_bits_truncate(value));
                Effect::UpdateInterrupt
            }
            PortReg::Ie => {
                self.ie = PxIs::from_bits_truncate(value);
                Effect::UpdateInterrupt
            }
            PortReg::Cmd => self.write_cmd(PxCmd::from_bits_retain(value)),
            PortReg::Sctl => self.write_sctl(value & sctl::WRITABLE),
            PortReg::Serr => {
                self.serr.remove(PxSerr::from_bits_truncate(value));
                Effect::UpdateInterrupt
            }
            PortReg::Ci => self.write_ci(value),
            PortReg::Tfd | PortReg::Sig | PortReg::Ssts => Effect::None,
            PortReg::Sact | PortReg::Sntf | PortReg::Fbs | PortReg::Devslp => Effect::None,
        }
    }

    fn write_cmd(&mut self, value: PxCmd) -> Effect {
        let was_started = self.cmd.contains(PxCmd::ST);
        // CLO acts before a command list started by the same write (section 3.3.7, CLO).
        if value.contains(PxCmd::CLO) && !was_started {
            let busy = (AtaStatus::BSY | AtaStatus::DRQ).bits();
            self.tfd = PxTfd::new(self.tfd.status() & !busy, self.tfd.error());
        }
        let state = self.cmd & (PxCmd::CR | PxCmd::FR);
        self.cmd = value & Self::CMD_WRITABLE | state;
        self.cmd.set(PxCmd::FR, value.contains(PxCmd::FRE));
        match (was_started, value.contains(PxCmd::ST)) {
            (false, true) => {
                self.run_if_ready();
                Effect::StartCommandList
            }
            (true, false) => {
                self.cmd.remove(PxCmd::CR);
                self.current_slot = 0;
                self.ci = 0;
                Effect::StopCommandList
            }
            _ => Effect::None,
        }
    }

    /// P:NotRunning to P:Idle (section 5.3.2.3): ST is set and the device neither busy nor away.
    pub(super) fn run_if_ready(&mut self) {
        let status = AtaStatus::from_bits_retain(self.tfd.status());
        let is_free = !status.intersects(AtaStatus::BSY | AtaStatus::DRQ);
        if self.cmd.contains(PxCmd::ST) && self.link == Link::Established && is_free {
            self.cmd.insert(PxCmd::CR);
        }
    }

    fn write_sctl(&mut self, value: u32) -> Effect {
        let (old, new) = (self.sctl & sctl::DET_MASK, value & sctl::DET_MASK);
        self.sctl = value;
        if old == new {
            return Effect::None;
        }
        match new {
            sctl::DET_COMRESET => self.link_down(Link::Down),
            sctl::DET_DISABLE => self.link_down(Link::Offline),
            sctl::DET_NONE => self.link_up(),
            _ => Effect::None,
        }
    }

    /// Section 3.3.8: while PxSCTL.DET is 1 the status is 7Fh and PxSSTS.DET 0.
    const fn link_down(&mut self, link: Link) -> Effect {
        self.link = link;
        self.tfd = PxTfd::new(STATUS_UNKNOWN, 0);
        self.cmd = self.cmd.difference(PxCmd::CR);
        Effect::LinkDown
    }

    /// State P:ComInit: the device's COMINIT sets BSY, its signature will clear it.
    fn link_up(&mut self) -> Effect {
        match self.device {
            Device::Absent => self.link = Link::Down,
            Device::Present => {
                self.link = Link::Established;
                self.tfd = PxTfd::new(AtaStatus::BSY.bits() | STATUS_UNKNOWN, 0);
                self.sig = sig::NONE;
                self.serr |= PxSerr::DIAG_X | PxSerr::DIAG_N;
            }
        }
        Effect::LinkUp
    }

    const fn write_ci(&mut self, value: u32) -> Effect {
        // Section 3.3.14: to be set only while PxCMD.ST is 1.
        if !self.cmd.contains(PxCmd::ST) {
            return Effect::None;
        }
        let new = value & !self.ci;
        self.ci |= new;
        Effect::IssueSlots(new)
    }

    /// Brings everything to its reset value except the base addresses (section 10.4.3).
    pub(super) fn reset(&mut self) -> Effect {
        let mut fresh = Self::new(self.device);
        fresh.clb = self.clb;
        fresh.fb = self.fb;
        *self = fresh;
        self.link_up()
    }

    /// PxIS with the bits that mirror PxSERR, which are not stored and so cannot be cleared (section 3.3.5).
    #[must_use]
    pub const fn interrupt_status(&self) -> PxIs {
        let mut is = self.is;
        if self.serr.contains(PxSerr::DIAG_X) {
            is = is.union(PxIs::PCS);
        }
        if self.serr.contains(PxSerr::DIAG_N) {
            is = is.union(PxIs::PRCS);
        }
        is
    }

    /// Whether an enabled cause stands.
    #[must_use]
    pub const fn interrupts(&self) -> bool {
        self.interrupt_status().intersects(self.ie)
    }

    pub(super) const fn is_running(&self) -> bool {
        self.cmd.contains(PxCmd::CR)
    }

    pub(super) const fn is_linked(&self) -> bool {
        matches!(self.link, Link::Established)
    }

    /// Where received FISes go, if they go anywhere.
    pub(super) const fn fis_area(&self) -> Option<u64> {
        if self.cmd.contains(PxCmd::FR) {
            Some(self.fb)
        } else {
            None
        }
    }

    pub(super) const fn command_list(&self) -> u64 {
        self.clb
    }

    pub(super) const fn issued(&self) -> u32 {
        self.ci
    }

    pub(super) const fn raise(&mut self, cause: PxIs) {
        self.is = self.is.union(cause);
    }

    pub(super) const fn link_error(&mut self, error: PxSerr) {
        self.serr = self.serr.union(error);
    }

    /// CCS names the slot whose command is being issued (section 3.3.7).
    pub(super) const fn select(&mut self, slot: u32) {
        self.current_slot = slot;
    }

    pub(super) const fn clear_issued(&mut self, slot: u32) {
        self.ci &= !(1 << slot);
    }

    pub(super) const fn set_task_file(&mut self, status: AtaStatus, error: u8) {
        self.tfd = PxTfd::new(status.bits(), error);
    }

    pub(super) const fn signature_received(&mut self) {
        self.sig = sig::ATA;
        self.set_task_file(STATUS_IDLE, ahci_spec::ata::DIAGNOSTICS_PASSED);
    }
}

const fn low(value: u64) -> u32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

const fn high(value: u64) -> u32 {
    low(value >> 32)
}

const fn set_low(base: &mut u64, value: u32) -> Effect {
    *base = *base >> 32 << 32 | value as u64;
    Effect::None
}

const fn set_high(base: &mut u64, value: u32) -> Effect {
    *base = low(*base) as u64 | (value as u64) << 32;
    Effect::None
}
