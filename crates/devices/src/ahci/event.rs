//! What the HBA tells those who watch it; none of it is visible to the guest.
//!
//! Beside [`hba`](super::hba), whose `step` produces the events in order.

use super::prdt::Piece;
use ahci_spec::ata::{AtaError, AtaStatus};
use memory::DmaError;

/// Which way data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// A read command: from the disk to memory.
    ToMemory,
    /// A write command: from memory to the disk.
    ToDisk,
}

/// A transfer between disk and memory whose addresses are fixed: it was fetched and is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Port number.
    pub port: u32,
    /// Command slot.
    pub slot: u32,
    /// Which way.
    pub direction: Direction,
    /// First sector on the disk.
    pub lba: u64,
    /// Number of sectors of the whole command.
    pub sectors: u32,
    /// Sectors moved so far.
    pub moved: u32,
    /// Whether it waits to be [released](super::Hba::release).
    pub held: bool,
    /// Where in memory, in order; each piece lies in one 4 KiB frame.
    pub pieces: Vec<Piece>,
}

/// One thing the HBA did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AhciEvent {
    /// A command was fetched: from here on its addresses are fixed.
    CommandIssued {
        /// Port number.
        port: u32,
        /// Command slot.
        slot: u32,
        /// Opcode, from the command FIS.
        command: u8,
        /// First sector; 0 for commands without address.
        lba: u64,
        /// Sectors the command moves; 0 for commands without data.
        sectors: u32,
        /// Where in memory, in order.
        pieces: Vec<Piece>,
    },
    /// One sector was moved.
    Sector {
        /// Port number.
        port: u32,
        /// Command slot.
        slot: u32,
        /// Its address on the disk.
        lba: u64,
        /// Which way.
        direction: Direction,
        /// Its number in the command, from 0.
        index: u32,
        /// Where in memory; the first piece's address is where the sector begins.
        pieces: Vec<Piece>,
    },
    /// A command ended, well or not.
    Completed {
        /// Port number.
        port: u32,
        /// Command slot.
        slot: u32,
        /// The device's status.
        status: AtaStatus,
        /// The device's error register.
        error: AtaError,
    },
    /// The HBA could not reach memory; the command list has stopped.
    DmaFailed {
        /// Port number.
        port: u32,
        /// Command slot, unless the access was for no command.
        slot: Option<u32>,
        /// What was wrong.
        error: DmaError,
    },
    /// The host could not read or write the disk image; the guest is told of a bad sector.
    ImageFailed {
        /// Port number.
        port: u32,
        /// Sector, or the first of the command for a flush.
        lba: u64,
        /// The host's reason.
        kind: std::io::ErrorKind,
    },
    /// IS gained these bits while GHC.IE was set.
    Interrupt {
        /// One bit per port.
        ports: u32,
    },
}
