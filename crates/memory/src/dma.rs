//! A device's window on memory.
//!
//! DMA goes to guest-physical addresses. It asks no page table and no TLB:
//! that is the whole point of this machine.

use crate::Ram;
use x86::PhysAddr;

/// Why a device could not reach memory. Becomes a status bit, never a panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DmaError {
    /// The PCI command register has Bus Master Enable clear.
    #[error("bus mastering is disabled")]
    MasterDisabled,
    /// Part of the transfer lies outside RAM.
    #[error("{len} bytes at {at:#x} are not all RAM")]
    NotRam {
        /// First byte of the transfer, as the device put it on the bus.
        at: u64,
        /// Length in bytes.
        len: u64,
    },
}

/// A device's window on memory, lent for the length of one step of the device.
#[derive(Clone, Copy, Debug)]
pub struct Dma<'m> {
    ram: &'m Ram,
    bus_master_enable: bool,
}

impl<'m> Dma<'m> {
    /// A window on `ram`, open while the device's PCI Bus Master Enable bit is set.
    #[must_use]
    pub const fn new(ram: &'m Ram, bus_master_enable: bool) -> Self {
        Self {
            ram,
            bus_master_enable,
        }
    }

    /// Fills `out` from memory at `at`.
    ///
    /// # Errors
    ///
    /// [`DmaError`]; `out` is unchanged.
    pub fn read(&self, at: u64, out: &mut [u8]) -> Result<(), DmaError> {
        let to = self.check(at, out.len() as u64)?;
        if self.ram.read_bytes(to, out) {
            Ok(())
        } else {
            Err(not_ram(at, out.len() as u64))
        }
    }

    /// Stores `bytes` to memory at `at`.
    ///
    /// # Errors
    ///
    /// [`DmaError`]; memory is unchanged: a transfer across the end of RAM is
    /// refused, not clipped.
    pub fn write(&self, at: u64, bytes: &[u8]) -> Result<(), DmaError> {
        let to = self.check(at, bytes.len() as u64)?;
        if self.ram.write_bytes(to, bytes) {
            Ok(())
        } else {
            Err(not_ram(at, bytes.len() as u64))
        }
    }

    fn check(&self, at: u64, len: u64) -> Result<PhysAddr, DmaError> {
        if !self.bus_master_enable {
            return Err(DmaError::MasterDisabled);
        }
        PhysAddr::try_new(at).ok_or_else(|| not_ram(at, len))
    }
}

const fn not_ram(at: u64, len: u64) -> DmaError {
    DmaError::NotRam { at, len }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dma_across_the_end_of_ram_is_refused_not_clipped() {
        let ram = Ram::new(2 << 20).unwrap();
        let dma = Dma::new(&ram, true);
        let at = (2 << 20) - 2;
        assert_eq!(dma.write(at, b"abcd"), Err(DmaError::NotRam { at, len: 4 }));
        assert_eq!(ram.read::<u16>(PhysAddr::new(at)), Some(0));
        assert_eq!(
            dma.write(u64::MAX, b"a"),
            Err(DmaError::NotRam {
                at: u64::MAX,
                len: 1
            })
        );
    }

    #[test]
    fn a_device_that_is_no_bus_master_reaches_nothing() {
        let ram = Ram::new(2 << 20).unwrap();
        assert_eq!(
            Dma::new(&ram, false).write(0, b"a"),
            Err(DmaError::MasterDisabled)
        );
        assert_eq!(ram.read::<u8>(PhysAddr::new(0)), Some(0));
    }
}
