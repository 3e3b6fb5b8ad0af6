//! Layouts of AHCI, of ATA and of the PCI function they hang on, with no logic beyond encode and decode.
//!
//! Shared by the emulated host bus adapter and by drivers that run on it, so
//! neither can disagree with the other about a bit; `no_std`, no allocation.
//! Structs that lie in memory are `#[repr(C)]`, little-endian whatever the host,
//! and checked for size; each register bit's doc begins with its access class
//! (RO, RW, RW1C, RW1S, RWC: cleared by the HBA).
//!
//! **Spec:** Serial ATA AHCI 1.3.1, Serial ATA 3.x "FIS Types", ATA8-ACS, PCI Local Bus 3.0.

#![no_std]

pub mod ata;
pub mod command;
pub mod fis;
pub mod hba;
pub mod pci;
pub mod port;

pub use command::{CommandFlags, CommandHeader, CommandTable, PrdtEntry};
pub use fis::{FisType, ReceivedFis, RegD2h, RegH2d};
pub use hba::{Cap, Ghc, HbaReg};
pub use port::{PortReg, PxCmd, PxIs};
