//! Firmware configuration: a selector port and a data port that kernels ask for facts.
//!
//! | item | what |
//! |---|---|
//! | 0 | signature `QEMU`, by which kernels know the interface |
//! | 1 | interface revision: ports only, no DMA |
//! | 3 | RAM in bytes, 64 bits |
//! | 5, 15 | number of processors, and how many there can be, 16 bits |
//! | 19h | file directory: empty |
//!
//! Every other item is empty, and past its end an item reads as 0.
//!
//! **Spec:** QEMU "Firmware Configuration (fw_cfg) Device".

/// Selector port, 16 bits.
pub const SELECTOR: u16 = 0x510;
/// Data port, 8 bits.
pub const DATA: u16 = 0x511;

/// The device.
#[derive(Clone, Debug)]
pub struct FwCfg {
    ram_bytes: u64,
    cpus: u8,
    selected: u16,
    offset: usize,
}

impl FwCfg {
    /// The facts of a machine with so much RAM and so many processors.
    #[must_use]
    pub const fn new(ram_bytes: u64, cpus: u8) -> Self {
        Self {
            ram_bytes,
            cpus,
            selected: 0,
            offset: 0,
        }
    }

    /// Selects an item and begins at its first byte.
    pub const fn select(&mut self, item: u16) {
        (self.selected, self.offset) = (item, 0);
    }

    /// Reads the next byte of the selected item.
    pub fn read(&mut self) -> u8 {
        let value = self.item().get(self.offset).copied().unwrap_or(0);
        self.offset = self.offset.saturating_add(1);
        value
    }

    fn item(&self) -> [u8; 8] {
        match self.selected {
            0 => *b"QEMU\0\0\0\0",
            1 => 1_u64.to_le_bytes(),
            3 => self.ram_bytes.to_le_bytes(),
            5 | 15 => u64::from(self.cpus).to_le_bytes(),
            _ => [0; 8],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item<const N: usize>(device: &mut FwCfg, item: u16) -> [u8; N] {
        device.select(item);
        [(); N].map(|()| device.read())
    }

    #[test]
    fn items_are_read_byte_by_byte_and_end_in_zeros() {
        let mut device = FwCfg::new(256 << 20, 2);
        assert_eq!(item(&mut device, 0), *b"QEMU\0\0");
        assert_eq!(u64::from_le_bytes(item(&mut device, 3)), 256 << 20);
        assert_eq!(u16::from_le_bytes(item(&mut device, 5)), 2);
        assert_eq!(item(&mut device, 0x19), [0; 12]);
        assert_eq!(item(&mut device, 0x4000), [0; 3]);
    }
}
