//! One AHCI port with a disk: its memory, its slots, its errors.
//!
//! Command list, received FISes and one command table per slot are allocated once.
//! Commands are the unqueued DMA ones: up to all slots are issued together, the
//! device does them one after the other.
//!
//! ```text
//!   lists page                     tables, a page per slot
//!   000h command list, 32 × 32     000h CFIS
//!   400h received FISes            080h PRDT, 248 × 16
//! ```
//!
//! Not modelled: native queuing, port multipliers, power management, hot plug.
//!
//! **Spec:** AHCI 1.3.1 sections 5.3 "HBA Port State Machine" (as software sees it),
//! 6.2.2 "Software Error Recovery", 10.1.2 "System Software Specific Initialization",
//! 10.3 "Software Manipulation of Port DMA Engines".

use super::{Command, Completion, Direction, DiskError};
use ahci_spec::ata::AtaStatus;
use ahci_spec::command::{CommandFlags, CommandHeader, CommandTable, PrdtEntry};
use ahci_spec::fis::RegH2d;
use ahci_spec::hba::{MAX_SLOTS, port_base};
use ahci_spec::port::{PortReg, PxCmd, PxIs, PxTfd, sctl, sig, ssts};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use metal::dma::DmaBuffer;
use metal::mmio::Registers;
use x86::PhysAddr;
use zerocopy::IntoBytes;

const PAGE: usize = 4096;
const RECEIVED_FIS_OFFSET: u64 = 0x400;
const PRDT: usize = size_of::<CommandTable>();
const HEADER: usize = size_of::<CommandHeader>();
const ENTRY: usize = size_of::<PrdtEntry>();

/// PRDT entries of one command table.
pub(super) const MAX_SEGMENTS: usize = (PAGE - PRDT) / ENTRY;

/// Register reads to wait for the port to do what it was told; hardware takes at most
/// 500 ms, and one read at least 100 ns.
const PATIENCE: u32 = 5_000_000;

/// Register reads that take 1 ms at least, on hardware.
const COMRESET_READS: u32 = 10_000;

/// Causes that interrupt.
const CAUSES: PxIs = PxIs::DHRS
    .union(PxIs::PSS)
    .union(PxIs::DSS)
    .union(PxIs::SDBS)
    .union(PxIs::OFS)
    .union(PxIs::FATAL);

/// Commands that are done, for the caller to complete without a lock.
pub(super) type Finished = Vec<(Completion, Result<(), DiskError>)>;

/// A port and what it is doing.
pub(super) struct Port {
    registers: Registers,
    number: u32,
    lists: DmaBuffer,
    tables: DmaBuffer,
    /// Commands the HBA has; `None` where a slot is free.
    slots: Vec<Option<Command>>,
    /// Commands that wait for a slot.
    waiting: VecDeque<Command>,
}

impl Port {
    /// Whether port `number` has an ATA disk whose link is up.
    pub(super) fn has_disk(registers: Registers, number: u32) -> bool {
        let read = |reg: PortReg| registers.read32(port_base(number) + reg.offset());
        read(PortReg::Ssts) & ssts::DET_MASK == ssts::DET_ESTABLISHED
            && matches!(read(PortReg::Sig), sig::ATA | sig::NONE)
    }

    /// Takes over port `number`, whatever state firmware left it in.
    pub(super) fn new(registers: Registers, number: u32, slots: u32) -> Self {
        let slots = slots.min(MAX_SLOTS) as usize;
        let memory = |bytes| DmaBuffer::new(bytes).expect("the heap is fresh");
        let port = Self {
            registers,
            number,
            lists: memory(PAGE),
            tables: memory(PAGE * slots),
            slots: (0..slots).map(|_| None).collect(),
            waiting: VecDeque::new(),
        };
        port.stop();
        port.write_cmd(port.cmd() & !PxCmd::FRE);
        port.wait_until(|port| !port.cmd().contains(PxCmd::FR));
        port.set_base(PortReg::Clb, PortReg::Clbu, port.lists.physical());
        let received = port.lists.physical().add(RECEIVED_FIS_OFFSET);
        port.set_base(PortReg::Fb, PortReg::Fbu, received);
        port.write_cmd(port.cmd() | PxCmd::FRE | PxCmd::SUD | PxCmd::POD);
        port.start();
        port.write(PortReg::Ie, CAUSES.bits());
        port
    }

    /// Issues a command, or keeps it until a slot is free.
    pub(super) fn submit(&mut self, command: Command) {
        self.waiting.push_back(command);
        self.fill_slots();
    }

    /// Collects what is done, after an interrupt or without one, and issues what waited.
    pub(super) fn service(&mut self) -> Finished {
        let causes = PxIs::from_bits_truncate(self.read(PortReg::Is));
        // Cleared before PxCI is read: a command done in between interrupts again.
        self.write(PortReg::Is, causes.bits());
        let mut finished = Finished::new();
        if causes.intersects(PxIs::FATAL) {
            self.recover(&mut finished);
        } else {
            let issued = self.read(PortReg::Ci);
            self.collect(&mut finished, |slot| issued & 1 << slot == 0);
        }
        self.fill_slots();
        finished
    }

    /// Takes commands out of the slots that `is_done` names.
    fn collect(&mut self, finished: &mut Finished, is_done: impl Fn(usize) -> bool) {
        for (number, slot) in self.slots.iter_mut().enumerate() {
            if is_done(number)
                && let Some(command) = slot.take()
            {
                finished.push((command.done, Ok(())));
            }
        }
    }

    /// After an error: the command at fault fails, those the device had done are done,
    /// those it had not begun are issued again.
    fn recover(&mut self, finished: &mut Finished) {
        let issued = self.read(PortReg::Ci);
        let culprit = self.cmd().current_slot() as usize;
        self.collect(finished, |slot| issued & 1 << slot == 0 && slot != culprit);
        if let Some(command) = self.slots.get_mut(culprit).and_then(Option::take) {
            finished.push((command.done, Err(DiskError)));
        }
        self.stop();
        let status = AtaStatus::from_bits_truncate(PxTfd(self.read(PortReg::Tfd)).status());
        if status.intersects(AtaStatus::BSY | AtaStatus::DRQ) {
            self.reset_link();
        }
        self.start();
        // Clearing ST cleared PxCI.
        let again: Vec<Command> = self.slots.iter_mut().filter_map(Option::take).collect();
        for command in again.into_iter().rev() {
            self.waiting.push_front(command);
        }
    }

    fn fill_slots(&mut self) {
        while let Some(slot) = self.slots.iter().position(Option::is_none)
            && let Some(command) = self.waiting.pop_front()
        {
            self.build(slot, &command);
            self.slots[slot] = Some(command);
            self.write(PortReg::Ci, 1 << slot);
        }
    }

    /// Writes command table and header of a slot.
    fn build(&self, slot: usize, command: &Command) {
        let table = slot * PAGE;
        self.tables.write(table, command.fis.as_bytes());
        for (i, segment) in command.segments.iter().enumerate() {
            let entry = PrdtEntry::new(segment.base.get(), segment.len_bytes)
                .expect("segments are even and shorter than 4 MiB");
            self.tables
                .write(table + PRDT + i * ENTRY, entry.as_bytes());
        }
        let dwords = u16::try_from(RegH2d::DWORDS).expect("a FIS is a few dwords");
        let mut flags = CommandFlags::cfl(dwords);
        if command.direction == Direction::Write && !command.segments.is_empty() {
            flags |= CommandFlags::W;
        }
        let prdtl = u16::try_from(command.segments.len()).expect("at most MAX_SEGMENTS");
        let ctba = self.tables.physical().add(table as u64);
        let header = CommandHeader::new(flags, prdtl, ctba.get());
        self.lists.write(slot * HEADER, header.as_bytes());
    }

    /// Stops the command list (section 10.3.2).
    fn stop(&self) {
        self.write_cmd(self.cmd() & !PxCmd::ST);
        self.wait_until(|port| !port.cmd().contains(PxCmd::CR));
    }

    /// Starts the command list (section 10.3.1), the device being ready.
    fn start(&self) {
        self.write(PortReg::Serr, u32::MAX);
        self.write(PortReg::Is, u32::MAX);
        self.wait_until(|port| {
            let status = PxTfd(port.read(PortReg::Tfd)).status();
            let status = AtaStatus::from_bits_truncate(status);
            !status.intersects(AtaStatus::BSY | AtaStatus::DRQ)
        });
        self.write_cmd(self.cmd() | PxCmd::ST);
    }

    /// COMRESET (section 10.4.2): the device forgets what it was doing.
    fn reset_link(&self) {
        let control = self.read(PortReg::Sctl) & !sctl::DET_MASK;
        self.write(PortReg::Sctl, control | sctl::DET_COMRESET);
        // The interface wants 1 ms of it.
        for _ in 0..COMRESET_READS {
            let _ = self.read(PortReg::Ssts);
        }
        self.write(PortReg::Sctl, control | sctl::DET_NONE);
        self.wait_until(|port| port.read(PortReg::Ssts) & ssts::DET_MASK == ssts::DET_ESTABLISHED);
    }

    /// Waits for `condition`, not for ever: a port that is stuck fails its commands.
    fn wait_until(&self, condition: impl Fn(&Self) -> bool) {
        for _ in 0..PATIENCE {
            if condition(self) {
                return;
            }
            core::hint::spin_loop();
        }
    }

    fn set_base(&self, low: PortReg, high: PortReg, base: PhysAddr) {
        let [a, b, c, d, e, f, g, h] = base.get().to_le_bytes();
        self.write(low, u32::from_le_bytes([a, b, c, d]));
        self.write(high, u32::from_le_bytes([e, f, g, h]));
    }

    fn cmd(&self) -> PxCmd {
        PxCmd::from_bits_retain(self.read(PortReg::Cmd))
    }

    fn write_cmd(&self, cmd: PxCmd) {
        self.write(PortReg::Cmd, cmd.bits());
    }

    fn read(&self, reg: PortReg) -> u32 {
        self.registers.read32(port_base(self.number) + reg.offset())
    }

    fn write(&self, reg: PortReg, value: u32) {
        self.registers
            .write32(port_base(self.number) + reg.offset(), value);
    }
}
