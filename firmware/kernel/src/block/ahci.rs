//! The AHCI controller: found by class code, one disk, interrupts by message.
//!
//! **Spec:** AHCI 1.3.1 sections 3.1 "Generic Host Control", 10.1.2 "System Software
//! Specific Initialization", 10.7 "Interrupts".

use super::pci::Function;
use super::port::{Finished, Port};
use super::{Command, Segment, wait_for};
use ahci_spec::ata::{SECTOR_BYTES, identify};
use ahci_spec::hba::{Cap, Ghc, HbaReg, MAX_PORTS};
use ahci_spec::pci::CLASS_SATA_AHCI;
use metal::dma::DmaBuffer;
use metal::mmio::Registers;
use metal::{CpuIndex, SpinLock, apic, paging};

struct Controller {
    registers: Registers,
    port: Port,
}

static CONTROLLER: SpinLock<Option<Controller>> = SpinLock::new(None);

/// Finds the controller and its first disk, and makes both ready; returns the disk's
/// sectors.
pub(super) fn init() -> u64 {
    let function = Function::by_class(CLASS_SATA_AHCI).expect("there is an AHCI controller");
    let base = function.bar5();
    function.enable();
    function.use_msi(apic::id_of(CpuIndex::FIRST), apic::VECTOR_DISK);
    let registers = paging::map_registers(base);
    *CONTROLLER.lock() = Some(start(registers));
    identify_sectors()
}

fn start(registers: Registers) -> Controller {
    let ghc = || Ghc::from_bits_truncate(registers.read32(HbaReg::Ghc.offset()));
    registers.write32(HbaReg::Ghc.offset(), (ghc() | Ghc::AE).bits());
    let implemented = registers.read32(HbaReg::Pi.offset());
    let number = (0..MAX_PORTS)
        .filter(|port| implemented & 1 << port != 0)
        .find(|port| Port::has_disk(registers, *port))
        .expect("a port has a disk");
    let cap = Cap::from_bits_retain(registers.read32(HbaReg::Cap.offset()));
    let port = Port::new(registers, number, cap.slots());
    registers.write32(HbaReg::Is.offset(), u32::MAX);
    registers.write32(HbaReg::Ghc.offset(), (ghc() | Ghc::IE).bits());
    Controller { registers, port }
}

fn identify_sectors() -> u64 {
    let buffer = DmaBuffer::new(SECTOR_BYTES).expect("the heap is fresh");
    let into = Segment::sector(buffer.physical());
    wait_for(|done| Command::identify(into, done)).expect("a disk identifies itself");
    let mut bytes = [0; SECTOR_BYTES];
    buffer.read(0, &mut bytes);
    let mut words = [0; identify::WORDS];
    for (word, pair) in words.iter_mut().zip(bytes.chunks_exact(2)) {
        *word = u16::from_le_bytes([pair[0], pair[1]]);
    }
    identify::sectors_48(&words)
}

/// Starts a command.
pub(super) fn submit(command: Command) {
    let mut controller = CONTROLLER.lock();
    let controller = controller.as_mut().expect("the disk is found at boot");
    controller.port.submit(command);
}

/// The controller's message arrived.
pub(crate) fn interrupt() {
    poll();
}

/// Completes what is done.
pub(super) fn poll() {
    for (done, result) in service() {
        done(result);
    }
}

fn service() -> Finished {
    let mut controller = CONTROLLER.lock();
    let Some(controller) = controller.as_mut() else {
        return Finished::new();
    };
    // The port's causes before the controller's summary (section 10.7.2.1): a cause
    // that comes in between sets the summary, and sends a message, again.
    let finished = controller.port.service();
    let summary = controller.registers.read32(HbaReg::Is.offset());
    controller.registers.write32(HbaReg::Is.offset(), summary);
    finished
}
