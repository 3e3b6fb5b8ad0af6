//! An AHCI host bus adapter that moves data sector by sector, each at its own point in time.
//!
//! ```text
//!  guest writes ──► hba ──► port (registers) ──► Effect
//!                                                  │
//!  step(now) ─────► hba ──► engine ──► command, prdt, ata ──► disk
//!                             │
//!                             └──► memory::Dma (physical addresses, no page table asked)
//! ```
//!
//! Modelled: 1 to 6 ports, 32 slots each, command list, FIS area, scatter lists
//! of any even length, DMA and PIO transfers, error states until software clears
//! PxCMD.ST, COMRESET, HBA reset, interrupts by message and by level.
//! Not modelled: native queuing (its commands abort, PxSACT reads 0), port
//! multipliers, ATAPI, power states, staggered spin-up, hot plug, command
//! completion coalescing, enclosure management (all of them absent from CAP).
//!
//! **Spec:** Serial ATA AHCI 1.3.1; ATA8-ACS.

pub mod ata;
mod command;
pub mod disk;
mod engine;
pub mod event;
#[cfg(unix)]
pub mod file_disk;
pub mod hba;
pub mod port;
pub mod prdt;
mod transfer;

#[cfg(test)]
mod tests;

pub use disk::{DiskImage, MemDisk};
pub use event::{AhciEvent, Direction, Transfer};
#[cfg(unix)]
pub use file_disk::{FileDisk, OpenError};
pub use hba::{Hba, NewTransfers, Timing};
pub use prdt::Piece;
