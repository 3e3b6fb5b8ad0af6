//! What is wired where: the answer to every access that is not RAM.
//!
//! | address | device |
//! |---|---|
//! | FEE00000h, 4 KiB | local APIC of the asking processor |
//! | BAR5 of 00:1f.2, 4 KiB | AHCI |
//! | ports CF8h–CFFh | PCI configuration |
//! | ports 3F8h–3FFh | UART |
//! | port F4h | exit |
//! | ports 4850h–485Fh | measuring port |
//!
//! Everything else reads as ones and swallows writes. The board only collects
//! what accesses ask for; [`crate::Machine::run`] carries it out, because that
//! needs the processors and RAM.

use crate::run::MarkEvent;
use cost::Ticks;
use cpu::Bus;
use devices::ahci::{Hba, hba};
use devices::apic::LocalApic;
use devices::apic::ipi::Ipi;
use devices::exit;
use devices::pci::{PciBus, PciEffect};
use devices::probe::ProbePort;
use devices::uart::Uart;
use memory::Width;
use memory::map::{Access, AddressMap};
use x86::PhysAddr;
use x86::apic::DEFAULT_BASE;

/// Windows of the address map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Window {
    LocalApic,
    Ahci,
}

/// An instruction the guest executed and this machine does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingInstruction {
    /// Processor.
    pub cpu: u8,
    /// Where.
    pub rip: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Disassembled.
    pub text: String,
}

/// An IPI on its way.
#[derive(Clone, Debug)]
pub(crate) struct SentIpi {
    pub(crate) from: u8,
    pub(crate) ipi: Ipi,
}

/// The devices, and what processors asked of them since the run loop last looked.
#[derive(Debug)]
pub struct Board {
    map: AddressMap<Window>,
    pub(crate) hba: Hba,
    pub(crate) pci: PciBus,
    pub(crate) apics: Vec<LocalApic>,
    pub(crate) uart: Uart,
    probe: ProbePort,
    pub(crate) ipis: Vec<SentIpi>,
    pub(crate) marks: Vec<MarkEvent>,
    pub(crate) exit: Option<u32>,
    pub(crate) missing: Vec<MissingInstruction>,
}

/// Most missing instructions kept; a guest can meet one in a loop.
const MISSING_KEPT: usize = 64;

impl Board {
    pub(crate) fn new(cpus: u8, hba: Hba, ticks_per_apic_count: u64) -> Self {
        let mut map = AddressMap::new();
        map.place(
            Window::LocalApic,
            PhysAddr::new(DEFAULT_BASE),
            0x1000,
            Access::DwordOnly,
        );
        Self {
            map,
            hba,
            pci: PciBus::new(),
            apics: (0..cpus)
                .map(|id| LocalApic::new(id, ticks_per_apic_count))
                .collect(),
            uart: Uart::new(),
            probe: ProbePort::new(usize::from(cpus)),
            ipis: Vec::new(),
            marks: Vec::new(),
            exit: None,
            missing: Vec::new(),
        }
    }

    fn place_ahci(&mut self) {
        match self.pci.ahci_window() {
            Some(base) => self
                .map
                .place(Window::Ahci, base, hba::WINDOW_BYTES, Access::DwordOnly),
            None => self.map.remove(Window::Ahci),
        }
    }
}

impl Bus for Board {
    fn mmio_read(&mut self, cpu: u8, at: PhysAddr, width: Width, now: Ticks) -> u64 {
        let (hba, apic) = (&self.hba, &self.apics[usize::from(cpu)]);
        self.map.read(at, width, |window, offset| match window {
            Window::LocalApic => apic.read(now.0, offset),
            Window::Ahci => hba.read(offset),
        })
    }

    fn mmio_write(&mut self, cpu: u8, at: PhysAddr, width: Width, value: u64, now: Ticks) {
        let (hba, apic, ipis) = (
            &mut self.hba,
            &mut self.apics[usize::from(cpu)],
            &mut self.ipis,
        );
        self.map
            .write(at, width, value, |window, offset, dword| match window {
                Window::LocalApic => {
                    let sent = apic
                        .write(now.0, offset, dword)
                        .map(|ipi| SentIpi { from: cpu, ipi });
                    ipis.extend(sent);
                }
                Window::Ahci => hba.write(now.0, offset, dword),
            });
    }

    fn port_read(&mut self, _: u8, port: u16, width: Width, _: Ticks) -> u32 {
        if PciBus::claims(port) {
            self.pci.read_port(port, width)
        } else if Uart::claims(port) && width == Width::Byte {
            u32::from(self.uart.read(port))
        } else {
            u32::try_from(width.ones()).unwrap_or(u32::MAX)
        }
    }

    fn port_write(&mut self, cpu: u8, port: u16, width: Width, value: u32, cr3: u64, now: Ticks) {
        if PciBus::claims(port) {
            if self.pci.write_port(port, width, value) == PciEffect::WindowChanged {
                self.place_ahci();
            }
        } else if Uart::claims(port) && width == Width::Byte {
            self.uart.write(port, (value & 0xff) as u8);
        } else if ProbePort::claims(port) {
            let mark = self.probe.write(usize::from(cpu), port, width, value);
            self.marks.extend(mark.map(|(mark, argument)| MarkEvent {
                cpu,
                mark,
                argument,
                cr3,
                at: now,
            }));
        } else if port == exit::PORT {
            self.exit.get_or_insert(value);
        }
    }

    fn acknowledge(&mut self, cpu: u8) -> Option<u8> {
        let apic = &mut self.apics[usize::from(cpu)];
        apic.pending().is_some().then(|| apic.acknowledge())
    }

    fn task_priority(&mut self, cpu: u8) -> u8 {
        self.apics[usize::from(cpu)].task_priority_class()
    }

    fn set_task_priority(&mut self, cpu: u8, class: u8) {
        self.apics[usize::from(cpu)].set_task_priority_class(class);
    }

    fn missing_instruction(&mut self, cpu: u8, rip: u64, bytes: &[u8], text: &str) {
        if self.missing.len() < MISSING_KEPT {
            self.missing.push(MissingInstruction {
                cpu,
                rip,
                bytes: bytes.to_vec(),
                text: text.to_owned(),
            });
        }
    }
}
