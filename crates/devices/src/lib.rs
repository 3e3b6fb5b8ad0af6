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
//! | [`ioapic`] | the I/O APIC |
//! | [`pic`] | the pair of 8259 interrupt controllers |
//! | [`pit`] | the 8254 timer and port 61h |
//! | [`rtc`] | clock and CMOS memory |
//! | [`uart`] | the 16550 at COM1 |
//! | [`power`] | power-off, reset, ACPI's fixed registers |
//! | [`fw_cfg`] | facts for kernels that ask a hypervisor's firmware |
//! | [`clock`] | from the machine's ticks to a crystal's counts |
//! | [`exit`] | the port that ends the machine |
//! | [`probe`] | the measuring port |

pub mod ahci;
pub mod apic;
pub mod clock;
pub mod exit;
pub mod fw_cfg;
pub mod ioapic;
pub mod pci;
pub mod pic;
pub mod pit;
pub mod power;
pub mod probe;
pub mod rtc;
pub mod uart;
