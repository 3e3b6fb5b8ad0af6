//! What is wired where: the answer to every access that is not RAM.
//!
//! | address | device |
//! |---|---|
//! | FEE00000h, 4 KiB, or where IA32_APIC_BASE says | local APIC of the asking processor |
//! | FEC00000h, 4 KiB | I/O APIC |
//! | BAR5 of 00:1f.2, 4 KiB | AHCI |
//! | ports CF8h–CFFh | PCI configuration |
//! | port F4h | exit |
//! | ports 4850h–485Fh | measuring port |
//! | further ports | [`Chipset`] |
//!
//! Everything else reads as ones and swallows writes. The board only collects
//! what accesses ask for; [`crate::Machine::run`] carries it out, because that
//! needs the processors and RAM.

use crate::chipset::Chipset;
use crate::run::MarkEvent;
use cost::{Profile, Ticks};
use cpu::Bus;
use devices::ahci::{Hba, hba};
use devices::apic::LocalApic;
use devices::apic::ipi::Ipi;
use devices::exit;
use devices::ioapic;
use devices::pci::{PciBus, PciEffect};
use devices::probe::ProbePort;
use memory::Width;
use memory::map::{Access, AddressMap, Region};
use x86::addr::PAGE_BYTES;
use x86::{PhysAddr, msr};

/// Windows of the address map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Window {
    IoApic,
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
    /// What each processor sees before all else: the page of its local APIC.
    apic_pages: Vec<AddressMap<()>>,
    pub(crate) hba: Hba,
    pub(crate) pci: PciBus,
    pub(crate) apics: Vec<LocalApic>,
    pub(crate) chipset: Chipset,
    probe: ProbePort,
    pub(crate) ipis: Vec<SentIpi>,
    pub(crate) marks: Vec<MarkEvent>,
    pub(crate) exit: Option<u32>,
    pub(crate) missing: Vec<MissingInstruction>,
}

/// The local APIC's timer counts nanoseconds, as QEMU's does.
const APIC_COUNT_NS: u64 = 1;
const SECOND_NS: u64 = 1_000_000_000;

/// Most missing instructions kept; a guest can meet one in a loop.
const MISSING_KEPT: usize = 64;

impl Board {
    pub(crate) fn new(cpus: u8, hba: Hba, ram_bytes: u64, profile: &Profile) -> Self {
        let mut map = AddressMap::new();
        let ioapic = PhysAddr::new(ioapic::BASE);
        map.place(
            Window::IoApic,
            ioapic,
            ioapic::WINDOW_BYTES,
            Access::DwordOnly,
        );
        let apic_count = profile.ns(APIC_COUNT_NS).0;
        let mut board = Self {
            map,
            apic_pages: (0..cpus).map(|_| AddressMap::new()).collect(),
            hba,
            pci: PciBus::new(),
            apics: (0..cpus).map(|id| LocalApic::new(id, apic_count)).collect(),
            chipset: Chipset::new(profile.ns(SECOND_NS).0, ram_bytes, cpus),
            probe: ProbePort::new(usize::from(cpus)),
            ipis: Vec::new(),
            marks: Vec::new(),
            exit: None,
            missing: Vec::new(),
        };
        (0..cpus).for_each(|cpu| board.place_apic(cpu));
        board
    }

    /// Follows IA32_APIC_BASE of processor `cpu`.
    fn place_apic(&mut self, cpu: u8) {
        let (page, map) = (
            self.apics[usize::from(cpu)].page(),
            &mut self.apic_pages[usize::from(cpu)],
        );
        match page {
            Some(base) => map.place((), base, PAGE_BYTES, Access::DwordOnly),
            None => map.remove(()),
        }
    }

    /// Whether processor `cpu` is to take an interrupt of the 8259.
    fn has_extint(&self, cpu: u8) -> bool {
        // The output is wired to LINT0 of the bootstrap processor only.
        cpu == 0 && self.chipset.pic.output() && self.apics[0].accepts_extint()
    }

    /// Whether processor `cpu` is asked for an interrupt.
    pub(crate) fn asks_interrupt(&self, cpu: u8) -> bool {
        let apic = &self.apics[usize::from(cpu)];
        apic.pending().is_some() || self.has_extint(cpu)
    }

    /// Collects what a local APIC's write set off.
    fn after_apic_write(&mut self, cpu: u8, sent: Option<Ipi>) {
        self.ipis.extend(sent.map(|ipi| SentIpi { from: cpu, ipi }));
        if let Some(vector) = self.apics[usize::from(cpu)].take_ended() {
            self.chipset.ioapic.end_of_interrupt(vector);
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
        let page = &self.apic_pages[usize::from(cpu)];
        if page.region(at) != Region::Unclaimed {
            let apic = &self.apics[usize::from(cpu)];
            return page.read(at, width, |(), offset| apic.read(now.0, offset));
        }
        let (hba, ioapic) = (&self.hba, &self.chipset.ioapic);
        self.map.read(at, width, |window, offset| match window {
            Window::IoApic => ioapic.read(offset),
            Window::Ahci => hba.read(offset),
        })
    }

    fn mmio_write(&mut self, cpu: u8, at: PhysAddr, width: Width, value: u64, now: Ticks) {
        let page = &self.apic_pages[usize::from(cpu)];
        if page.region(at) != Region::Unclaimed {
            let (apic, mut sent) = (&mut self.apics[usize::from(cpu)], None);
            page.write(at, width, value, |(), offset, dword| {
                sent = apic.write(now.0, offset, dword);
            });
            return self.after_apic_write(cpu, sent);
        }
        let (hba, ioapic) = (&mut self.hba, &mut self.chipset.ioapic);
        self.map
            .write(at, width, value, |window, offset, dword| match window {
                Window::IoApic => ioapic.write(offset, dword),
                Window::Ahci => hba.write(now.0, offset, dword),
            });
    }

    fn port_read(&mut self, _: u8, port: u16, width: Width, now: Ticks) -> u32 {
        if Chipset::claims(port, width) {
            self.chipset.read(now.0, port, width)
        } else if PciBus::claims(port) {
            self.pci.read_port(port, width)
        } else {
            u32::try_from(width.ones()).unwrap_or(u32::MAX)
        }
    }

    fn port_write(&mut self, cpu: u8, port: u16, width: Width, value: u32, cr3: u64, now: Ticks) {
        if Chipset::claims(port, width) {
            self.chipset.write(now.0, port, width, value);
        } else if PciBus::claims(port) {
            if self.pci.write_port(port, width, value) == PciEffect::WindowChanged {
                self.place_ahci();
            }
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

    fn apic_msr_read(&mut self, cpu: u8, number: u32, now: Ticks) -> Option<u64> {
        let value = self.apics[usize::from(cpu)].read_msr(now.0, number).ok()?;
        // The deadline is kept in ticks; the processor counts cycles.
        Some(match number {
            msr::TSC_DEADLINE => Ticks(value).cycles(),
            _ => value,
        })
    }

    fn apic_msr_write(&mut self, cpu: u8, number: u32, value: u64, now: Ticks) -> bool {
        let value = match number {
            msr::TSC_DEADLINE => Ticks::from_cycles(value).0,
            _ => value,
        };
        let done = self.apics[usize::from(cpu)].write_msr(now.0, number, value);
        if let Ok(sent) = done {
            self.place_apic(cpu);
            self.after_apic_write(cpu, sent);
        }
        done.is_ok()
    }

    fn has_apic(&mut self, cpu: u8) -> bool {
        self.apics[usize::from(cpu)].is_globally_enabled()
    }

    fn acknowledge(&mut self, cpu: u8) -> Option<u8> {
        let apic = &mut self.apics[usize::from(cpu)];
        if apic.pending().is_some() {
            Some(apic.acknowledge())
        } else {
            self.has_extint(cpu).then(|| self.chipset.pic.acknowledge())
        }
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
