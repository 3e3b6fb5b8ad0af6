//! The board: what is wired where, how a kernel gets into memory, and how time goes on.
//!
//! [`Machine`] owns processors, RAM and devices, on one host thread. Whoever drives
//! it calls [`Machine::run`] and gets control back at a [`Pause`]: a mark from the
//! measuring port, something the disk did, the end. Between pauses a driver
//! may look at everything and change what only a driver can (hold a transfer,
//! type on the console). It sees no guest concepts: page tables and frames, no processes.

mod acpi;
mod board;
mod build;
mod chipset;
mod inspect;
pub mod loader;
mod run;
mod schedule;

pub use board::{Board, MissingInstruction};
pub use build::{BuildError, Config, Machine};
pub use devices::ahci::disk::Sector;
pub use devices::ahci::{
    AhciEvent, Direction, DiskImage, FileDisk, MemDisk, OpenError, Piece, Timing, Transfer,
};
pub use inspect::GuestMemoryError;
pub use loader::{Format, Image, LoadError, Module};
pub use run::{MarkEvent, Pause, Stopped};
