//! The HBA seen through its window and through memory, as a driver sees it.
//!
//! One file per subject; the numbers in comments are paragraphs of AHCI 1.3.1.

#![expect(
    clippy::cast_possible_truncation,
    reason = "the numbers of tests are small"
)]

mod errors;
mod noise;
mod registers;
mod transfers;

use super::*;
use ahci_spec::hba::port_base;
use ahci_spec::port::{PxSerr, PxTfd};
use ahci_spec::{CommandFlags, CommandHeader, HbaReg, PortReg, PrdtEntry, PxCmd, PxIs, RegH2d};
use memory::{Dma, Ram};
use x86::PhysAddr;
use zerocopy::{FromZeros, IntoBytes};

const LIST: u64 = 0x1000;
const FIS: u64 = 0x2000;
const TABLES: u64 = 0x3000;
const TABLE_BYTES: u64 = 0x800;
const BUFFER: u64 = 0x1_0000;
const RAM_BYTES: u64 = 2 << 20;
const DISK_SECTORS: usize = 64;
const TIMING: Timing = Timing {
    service_ticks: 1000,
    sector_ticks: 10,
};

/// Whether the function may master the bus.
#[derive(Clone, Copy, PartialEq, Eq)]
enum BusMaster {
    On,
    Off,
}

/// An HBA with a disk on port 0, RAM, and a clock.
struct Rig {
    ram: Ram,
    hba: Hba,
    now: u64,
    events: Vec<AhciEvent>,
    bus_master: BusMaster,
}

impl Rig {
    /// As found at power-on: nothing programmed.
    fn cold() -> Self {
        let mut hba = Hba::new(1, TIMING);
        let bytes = (0..DISK_SECTORS * 512)
            .map(|i| disk_byte(i as u64))
            .collect();
        hba.attach(0, Box::new(MemDisk::new(bytes)));
        let ram = Ram::new(RAM_BYTES).unwrap();
        Self {
            ram,
            hba,
            now: 0,
            events: Vec::new(),
            bus_master: BusMaster::On,
        }
    }

    /// With base addresses set, FIS reception and the command list running.
    fn started() -> Self {
        let mut rig = Self::cold();
        rig.set(PortReg::Clb, LIST as u32);
        rig.set(PortReg::Fb, FIS as u32);
        rig.set(PortReg::Cmd, PxCmd::FRE.bits());
        rig.set(PortReg::Cmd, (PxCmd::FRE | PxCmd::ST).bits());
        rig
    }

    fn get(&self, reg: PortReg) -> u32 {
        self.hba.read(port_base(0) + reg.offset())
    }

    fn set(&mut self, reg: PortReg, value: u32) {
        self.hba.write(self.now, port_base(0) + reg.offset(), value);
    }

    fn get_hba(&self, reg: HbaReg) -> u32 {
        self.hba.read(reg.offset())
    }

    fn set_hba(&mut self, reg: HbaReg, value: u32) {
        self.hba.write(self.now, reg.offset(), value);
    }

    fn is(&self) -> PxIs {
        PxIs::from_bits_retain(self.get(PortReg::Is))
    }

    fn serr(&self) -> PxSerr {
        PxSerr::from_bits_retain(self.get(PortReg::Serr))
    }

    fn cmd(&self) -> PxCmd {
        PxCmd::from_bits_retain(self.get(PortReg::Cmd))
    }

    fn tfd(&self) -> PxTfd {
        PxTfd(self.get(PortReg::Tfd))
    }

    /// Lays out header, FIS and PRDT of `slot` without issuing it.
    fn prepare(&mut self, slot: u32, fis: &RegH2d, regions: &[(u64, u32)]) {
        let entries: Vec<_> = regions
            .iter()
            .map(|&(a, l)| PrdtEntry::new(a, l).unwrap())
            .collect();
        self.prepare_entries(slot, fis, &entries);
    }

    fn prepare_entries(&mut self, slot: u32, fis: &RegH2d, entries: &[PrdtEntry]) {
        let table = table(slot);
        let count = u16::try_from(entries.len()).unwrap();
        let header = CommandHeader::new(CommandFlags::cfl(5), count, table);
        self.store(LIST + 32 * u64::from(slot), header.as_bytes());
        self.store(table, fis.as_bytes());
        self.store(table + 0x80, entries.as_bytes());
    }

    fn issue(&mut self, slot: u32, fis: &RegH2d, regions: &[(u64, u32)]) {
        self.prepare(slot, fis, regions);
        self.set(PortReg::Ci, 1 << slot);
    }

    /// Lets time pass up to `now`, event by event.
    fn run_to(&mut self, now: u64) {
        while let Some(at) = self.hba.next_event().filter(|&at| at <= now) {
            self.now = self.now.max(at);
            let dma = Dma::new(&self.ram, self.bus_master == BusMaster::On);
            self.hba.step(self.now, &dma, &mut self.events);
        }
        self.now = now;
    }

    /// Lets time pass until nothing is due.
    fn run(&mut self) {
        while let Some(at) = self.hba.next_event() {
            self.run_to(at.max(self.now));
        }
    }

    fn store(&self, at: u64, bytes: &[u8]) {
        assert!(self.ram.write_bytes(PhysAddr::new(at), bytes));
    }

    fn load(&self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        assert!(self.ram.read_bytes(PhysAddr::new(at), &mut bytes));
        bytes
    }

    fn load_u32(&self, at: u64) -> u32 {
        self.ram.read(PhysAddr::new(at)).unwrap()
    }

    /// PRDBC of `slot`.
    fn count(&self, slot: u32) -> u32 {
        self.load_u32(LIST + 32 * u64::from(slot) + 4)
    }

    fn disk_sector(&self, lba: u64) -> [u8; 512] {
        let mut out = [0; 512];
        self.hba.disk(0).unwrap().read(lba, &mut out).unwrap();
        out
    }

    /// Clears ST and all causes, as a driver does after a fatal error, and starts again.
    fn recover(&mut self) {
        self.set(PortReg::Cmd, PxCmd::FRE.bits());
        self.set(PortReg::Serr, u32::MAX);
        self.set(PortReg::Is, u32::MAX);
        if self.tfd().status() & 0x88 != 0 {
            self.set(PortReg::Cmd, (PxCmd::FRE | PxCmd::CLO).bits());
        }
        self.set(PortReg::Cmd, (PxCmd::FRE | PxCmd::ST).bits());
    }
}

fn table(slot: u32) -> u64 {
    TABLES + TABLE_BYTES * u64::from(slot)
}

/// Byte `at` of the disk as made: differs between neighbours, sectors and pages.
fn disk_byte(at: u64) -> u8 {
    (at ^ (at >> 9).wrapping_mul(37)).to_le_bytes()[0]
}

fn disk_bytes(lba: u64, sectors: u64) -> Vec<u8> {
    (lba * 512..(lba + sectors) * 512).map(disk_byte).collect()
}

fn read_dma(lba: u64, sectors: u16) -> RegH2d {
    RegH2d::lba48(ahci_spec::ata::opcode::READ_DMA_EXT, lba, sectors)
}

fn write_dma(lba: u64, sectors: u16) -> RegH2d {
    RegH2d::lba48(ahci_spec::ata::opcode::WRITE_DMA_EXT, lba, sectors)
}
