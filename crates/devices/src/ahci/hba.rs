//! The host bus adapter: global registers, the ports behind them, time and interrupts.
//!
//! The board maps the window (4 KiB at BAR5 of the [PCI function](crate::pci)),
//! hands dwords to [`Hba::read`] and [`Hba::write`], and calls [`Hba::step`] when
//! [`Hba::next_event`] is due. A write never touches memory or a disk: all of
//! that happens in `step`.
//!
//! **Spec:** AHCI 1.3.1 section 3.1 "Generic Host Control", 10.4 "Reset", 10.7 "Interrupts".

use super::disk::DiskImage;
use super::engine::{Port, Step};
use super::event::{AhciEvent, Transfer};
use crate::pci::{MsiMessage, PciBus};
use ahci_spec::hba::{PORT_BYTES, PORT0_BASE, VERSION_1_3_1};
use ahci_spec::{Cap, Ghc, HbaReg, PortReg};
use memory::Dma;

/// Length of the HBA's window in bytes.
pub const WINDOW_BYTES: u64 = 0x1000;

/// Most ports this HBA can have.
pub const MAX_PORTS: u32 = 6;

/// How long the disk takes, in ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// From the fetch of a command to its first sector, or to its end if it has none.
    pub service_ticks: u64,
    /// From one sector to the next, and from the last to the end of the command.
    pub sector_ticks: u64,
}

/// What becomes of reads and writes issued from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewTransfers {
    /// They run by the [`Timing`].
    Run,
    /// They are fetched, so that their addresses are fixed, and wait for [`Hba::release`].
    Hold,
}

/// A host bus adapter.
pub struct Hba {
    ports: Vec<Port>,
    interrupt_enable: bool,
    is: u32,
    /// A message is due that has not been taken.
    message_due: bool,
    timing: Timing,
    new_transfers: NewTransfers,
}

impl std::fmt::Debug for Hba {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hba")
            .field("ports", &self.ports.len())
            .field("is", &self.is)
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

impl Hba {
    /// An HBA with `ports` empty ports.
    ///
    /// # Panics
    ///
    /// Unless `ports` is 1..=[`MAX_PORTS`].
    #[must_use]
    pub fn new(ports: u32, timing: Timing) -> Self {
        assert!(
            (1..=MAX_PORTS).contains(&ports),
            "{ports} ports: expected 1 to {MAX_PORTS}"
        );
        Self {
            ports: (0..ports).map(Port::new).collect(),
            interrupt_enable: false,
            is: 0,
            message_due: false,
            timing,
            new_transfers: NewTransfers::Run,
        }
    }

    /// Plugs `disk` into port `port`, as found at power-on; what the port held is gone.
    ///
    /// # Panics
    ///
    /// If there is no such port.
    pub fn attach(&mut self, port: u32, disk: Box<dyn DiskImage>) {
        self.ports[port as usize].attach(disk);
    }

    /// The disk on port `port`, to look at.
    #[must_use]
    pub fn disk(&self, port: u32) -> Option<&dyn DiskImage> {
        self.ports.get(port as usize)?.disk()
    }

    /// Sets how long the disks take, for commands and sectors that begin after this.
    pub const fn set_timing(&mut self, timing: Timing) {
        self.timing = timing;
    }

    /// Says what becomes of reads and writes issued from now on.
    pub const fn set_new_transfers(&mut self, mode: NewTransfers) {
        self.new_transfers = mode;
    }

    /// Lets all held transfers run: their first sector is due at `now`, or when
    /// it would have been without the hold, whichever is later.
    pub fn release(&mut self, now: u64) {
        for port in &mut self.ports {
            port.release(now);
        }
    }

    /// Reads and writes that have been fetched and are not done, by port.
    #[must_use]
    pub fn in_flight(&self) -> Vec<Transfer> {
        self.ports.iter().filter_map(Port::in_flight).collect()
    }

    /// Reads the dword at `offset` of the window. Nothing changes by it.
    #[must_use]
    pub fn read(&self, offset: u64) -> u32 {
        if let Some((port, offset)) = self.port_at(offset) {
            return PortReg::at(offset).map_or(0, |reg| self.ports[port].regs.read(reg));
        }
        match HbaReg::at(offset) {
            Some(HbaReg::Cap) => self.capabilities().bits(),
            Some(HbaReg::Ghc) => {
                let enable = if self.interrupt_enable {
                    Ghc::IE
                } else {
                    Ghc::empty()
                };
                (Ghc::AE | enable).bits()
            }
            Some(HbaReg::Is) => self.is,
            Some(HbaReg::Pi) => (1 << self.ports.len()) - 1,
            Some(HbaReg::Vs) => VERSION_1_3_1,
            // Command completion coalescing, enclosure management, handoff: absent.
            Some(
                HbaReg::CccCtl
                | HbaReg::CccPorts
                | HbaReg::EmLoc
                | HbaReg::EmCtl
                | HbaReg::Cap2
                | HbaReg::Bohc,
            )
            | None => 0,
        }
    }

    /// Writes the dword at `offset` of the window at time `now`.
    pub fn write(&mut self, now: u64, offset: u64, value: u32) {
        if let Some((port, offset)) = self.port_at(offset) {
            if let Some(reg) = PortReg::at(offset) {
                self.ports[port].write(now, reg, value, self.new_transfers, self.timing);
            }
        } else {
            match HbaReg::at(offset) {
                Some(HbaReg::Ghc) => self.write_ghc(now, Ghc::from_bits_truncate(value)),
                Some(HbaReg::Is) => self.write_is(value),
                _ => {}
            }
        }
        self.update_interrupt();
    }

    /// When [`Hba::step`] has something to do next; in the past if it is late.
    #[must_use]
    pub fn next_event(&self) -> Option<u64> {
        self.ports.iter().filter_map(Port::next_event).min()
    }

    /// Does all that is due at or before `now`, in order of time, then of port number.
    pub fn step(&mut self, now: u64, dma: &Dma<'_>, events: &mut Vec<AhciEvent>) {
        while let Some(due) = self.next_event().filter(|&at| at <= now) {
            let mut step = Step {
                dma,
                events,
                timing: self.timing,
            };
            if let Some(port) = self.ports.iter_mut().find(|p| p.next_event() == Some(due)) {
                port.step(&mut step);
            }
            let gained = self.update_interrupt();
            if gained != 0 && self.interrupt_enable {
                events.push(AhciEvent::Interrupt { ports: gained });
            }
        }
    }

    /// Takes the interrupt message that is due, if `pci` has messages enabled for the HBA.
    ///
    /// While they are disabled the message is lost and [`Hba::intx`] speaks instead.
    pub fn interrupt(&mut self, pci: &PciBus) -> Option<MsiMessage> {
        let is_due = std::mem::take(&mut self.message_due);
        pci.ahci_message().filter(|_| is_due)
    }

    /// Level of the function's INTA# pin: low-active in hardware, here `true` for asserted.
    #[must_use]
    pub fn intx(&self, pci: &PciBus) -> bool {
        self.interrupt_enable && self.is != 0 && pci.ahci_may_assert_intx()
    }

    fn port_at(&self, offset: u64) -> Option<(usize, u64)> {
        let above = offset.checked_sub(PORT0_BASE)?;
        let port = usize::try_from(above / PORT_BYTES).ok()?;
        (port < self.ports.len()).then_some((port, above % PORT_BYTES))
    }

    fn capabilities(&self) -> Cap {
        let ports = u32::try_from(self.ports.len()).unwrap_or(MAX_PORTS);
        Cap::fields(ports, 32, 3) | Cap::S64A | Cap::SCLO | Cap::SAM | Cap::PMD
    }

    fn write_ghc(&mut self, now: u64, value: Ghc) {
        if value.contains(Ghc::HR) {
            return self.reset(now);
        }
        let enable = value.contains(Ghc::IE);
        // Causes that stood while interrupts were off are announced when they come on.
        self.message_due |= enable && !self.interrupt_enable && self.is != 0;
        self.interrupt_enable = enable;
    }

    /// Section 10.4.3 "HBA Reset"; GHC.HR reads 0 again at once.
    fn reset(&mut self, now: u64) {
        self.interrupt_enable = false;
        self.is = 0;
        self.message_due = false;
        for port in &mut self.ports {
            port.reset(now, self.timing);
        }
    }

    /// Section 10.7.2 "HBA/SW Interaction": a message is sent again if software clears some bits of IS and others stand.
    fn write_is(&mut self, value: u32) {
        self.is &= !value;
        self.message_due |= self.interrupt_enable && self.is | self.pending_ports() != 0;
    }

    /// IS.IPS follows PxIS and PxIE of each port. Returns the bits gained.
    fn update_interrupt(&mut self) -> u32 {
        let gained = self.pending_ports() & !self.is;
        self.is |= gained;
        self.message_due |= self.interrupt_enable && gained != 0;
        gained
    }

    fn pending_ports(&self) -> u32 {
        let bits = self
            .ports
            .iter()
            .zip(0..)
            .filter(|(p, _)| p.regs.interrupts());
        bits.fold(0, |is, (_, n)| is | 1 << n)
    }
}
