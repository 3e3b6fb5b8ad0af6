//! Guest-physical memory: RAM, the address map that owns the bus rules, and DMA's window on it.
//!
//! Knows nothing of linear addresses, instructions or devices. [`Ram`] holds the
//! bytes and remembers where decoded code lies; [`AddressMap`] says what answers
//! at an address; [`Dma`] is the only way a device reaches RAM.

pub mod code;
pub mod dma;
pub mod map;
pub mod ram;

pub use dma::{Dma, DmaError};
pub use map::{AddressMap, Region, Width};
pub use ram::{Ram, RamError};
