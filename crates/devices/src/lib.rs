//! The devices of the board, each a plain struct without thread, clock or host handle.
//!
//! Time is a `u64` count of ticks handed in; memory is reached through a
//! [`memory::Dma`] lent for one step; whatever a device asks of the board comes
//! back as a value. No byte a guest writes can make a device panic: it ends as a
//! status bit or is ignored, as the manual says.
//!
//! | module | what |
//! |---|---|
//! | [`ahci`] | the SATA host bus adapter and its disks |
//! | [`pci`] | configuration mechanism 1 and the three functions behind it |
//! | [`apic`] | the local APIC, one per processor |
//! | [`uart`] | the 16550 at COM1 |
//! | [`exit`] | the port that ends the machine |
//! | [`probe`] | the measuring port |

pub mod ahci;
pub mod apic;
pub mod exit;
pub mod pci;
pub mod probe;
pub mod uart;
