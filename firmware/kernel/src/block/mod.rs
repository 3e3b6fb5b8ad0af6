//! Transfers between disk and memory.
//!
//! A [`Command`] names physical ranges and carries what to do when it is done, which is
//! called from the interrupt or from whoever polls, with no lock held. [`transfer`]
//! waits instead: asleep in a thread, polling before there are threads.

mod ahci;
mod pci;
mod port;

use crate::sched::{self, Outcome};
use ahci_spec::ata::opcode;
use ahci_spec::fis::RegH2d;
use alloc::boxed::Box;
use alloc::vec::Vec;
use x86::PhysAddr;

pub(crate) use ahci::interrupt;

/// Bytes in a sector.
pub(crate) const SECTOR_BYTES: u64 = 512;
/// Most segments of one command: what fits in the page of a command table.
pub(crate) const MAX_SEGMENTS: usize = port::MAX_SEGMENTS;
/// Most bytes of one command: the 16-bit sector count, 0 left out.
pub(crate) const MAX_COMMAND_BYTES: u64 = 0xffff * SECTOR_BYTES;

/// The device could not do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DiskError;

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From disk to memory.
    Read,
    /// From memory to disk.
    Write,
}

/// A run of physical memory; base and length are even.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// First byte.
    pub(crate) base: PhysAddr,
    /// Length.
    pub(crate) len_bytes: u32,
}

impl Segment {
    /// One sector at `base`.
    pub(crate) const fn sector(base: PhysAddr) -> Self {
        Self {
            base,
            len_bytes: 512,
        }
    }
}

/// Called once, when the device is done.
pub(crate) type Completion = Box<dyn FnOnce(Result<(), DiskError>) + Send>;

/// One command for the device.
pub(crate) struct Command {
    fis: RegH2d,
    direction: Direction,
    segments: Vec<Segment>,
    done: Completion,
}

impl Command {
    /// Moves the sectors from `lba` on; the segments add up to whole sectors, at
    /// most [`MAX_COMMAND_BYTES`].
    pub(crate) fn sectors(
        direction: Direction,
        lba: u64,
        segments: Vec<Segment>,
        done: Completion,
    ) -> Self {
        let bytes: u64 = segments.iter().map(|s| u64::from(s.len_bytes)).sum();
        assert!(
            bytes.is_multiple_of(SECTOR_BYTES) && segments.len() <= MAX_SEGMENTS,
            "{bytes} bytes in {} segments are no transfer",
            segments.len()
        );
        let count = u16::try_from(bytes / SECTOR_BYTES).expect("the caller splits transfers");
        let command = match direction {
            Direction::Read => opcode::READ_DMA_EXT,
            Direction::Write => opcode::WRITE_DMA_EXT,
        };
        Self {
            fis: RegH2d::lba48(command, lba, count),
            direction,
            segments,
            done,
        }
    }

    /// Reads IDENTIFY DEVICE into one segment of a sector.
    fn identify(into: Segment, done: Completion) -> Self {
        Self {
            fis: RegH2d::without_data(opcode::IDENTIFY_DEVICE, 0),
            direction: Direction::Read,
            segments: Vec::from([into]),
            done,
        }
    }

    fn flush_cache(done: Completion) -> Self {
        Self {
            fis: RegH2d::without_data(opcode::FLUSH_CACHE_EXT, 0),
            direction: Direction::Write,
            segments: Vec::new(),
            done,
        }
    }
}

/// Finds the disk and makes it ready; returns its sectors.
///
/// # Panics
///
/// If there is none: there is nothing to run then.
pub(crate) fn init() -> u64 {
    ahci::init()
}

/// Starts a command, now or when a slot is free.
pub(crate) fn submit(command: Command) {
    ahci::submit(command);
}

/// Moves sectors and waits for it.
pub(crate) fn transfer(
    direction: Direction,
    lba: u64,
    segments: Vec<Segment>,
) -> Result<(), DiskError> {
    wait_for(|done| Command::sectors(direction, lba, segments, done))
}

/// Has the disk write its cache.
pub(crate) fn flush() -> Result<(), DiskError> {
    wait_for(Command::flush_cache)
}

fn wait_for(make: impl FnOnce(Completion) -> Command) -> Result<(), DiskError> {
    let outcome = Outcome::new();
    let theirs = outcome.clone();
    submit(make(Box::new(move |result| theirs.set(result))));
    if sched::try_current().is_some() {
        return outcome.wait();
    }
    loop {
        if let Some(result) = outcome.get() {
            return result;
        }
        ahci::poll();
    }
}
