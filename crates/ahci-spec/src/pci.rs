//! PCI configuration space, as far as an AHCI function and those beside it need it.
//!
//! **Spec:** PCI Local Bus 3.0 chapter 6 "Configuration Space" and section 6.8 "Message Signaled
//! Interrupts"; section 3.2.2.3.2 "Software Generation of Configuration Transactions";
//! AHCI 1.3.1 section 2 "HBA Configuration Registers".

use bitflags::bitflags;

/// I/O port of the address register of configuration mechanism 1 (dword only).
pub const CONFIG_ADDRESS: u16 = 0xcf8;
/// First of the four I/O ports of the data window of configuration mechanism 1.
pub const CONFIG_DATA: u16 = 0xcfc;

/// Offsets in the configuration header, type 0.
pub mod offset {
    /// Vendor ID, 16 bits, RO; FFFFh: nobody there.
    pub const VENDOR_ID: u8 = 0x00;
    /// Device ID, 16 bits, RO.
    pub const DEVICE_ID: u8 = 0x02;
    /// Command, 16 bits, a [`Command`](super::Command).
    pub const COMMAND: u8 = 0x04;
    /// Status, 16 bits, a [`Status`](super::Status).
    pub const STATUS: u8 = 0x06;
    /// Revision ID, 8 bits, RO.
    pub const REVISION_ID: u8 = 0x08;
    /// Class code, 24 bits, RO.
    pub const CLASS_CODE: u8 = 0x09;
    /// Cache line size, 8 bits, RW.
    pub const CACHE_LINE: u8 = 0x0c;
    /// Latency timer, 8 bits.
    pub const LATENCY: u8 = 0x0d;
    /// Header type, 8 bits, RO; bit 7: the device has more than one function.
    pub const HEADER_TYPE: u8 = 0x0e;
    /// First of six base address registers, 32 bits each.
    pub const BAR0: u8 = 0x10;
    /// Base address register 5: ABAR of an AHCI function.
    pub const BAR5: u8 = 0x24;
    /// Subsystem vendor ID, 16 bits, RO.
    pub const SUBSYSTEM_VENDOR_ID: u8 = 0x2c;
    /// Subsystem ID, 16 bits, RO.
    pub const SUBSYSTEM_ID: u8 = 0x2e;
    /// Expansion ROM base address, 32 bits.
    pub const EXPANSION_ROM: u8 = 0x30;
    /// Offset of the first capability, 8 bits, RO.
    pub const CAPABILITIES: u8 = 0x34;
    /// Interrupt line, 8 bits, RW: software's own note.
    pub const INTERRUPT_LINE: u8 = 0x3c;
    /// Interrupt pin, 8 bits, RO: 1 is INTA#.
    pub const INTERRUPT_PIN: u8 = 0x3d;
}

bitflags! {
    /// Command register, offset 04h.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Command: u16 {
        /// RW: answers in I/O space.
        const IO_SPACE = 1 << 0;
        /// RW: answers in memory space.
        const MEMORY_SPACE = 1 << 1;
        /// RW: may master the bus (DMA and MSI).
        const BUS_MASTER = 1 << 2;
        /// RW: reports parity errors.
        const PARITY_ERROR = 1 << 6;
        /// RW: may drive SERR#.
        const SERR = 1 << 8;
        /// RW: must not assert INTx#.
        const INTERRUPT_DISABLE = 1 << 10;
    }
}

bitflags! {
    /// Status register, offset 06h.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Status: u16 {
        /// RO: an INTx# interrupt is pending, whether or not it may be asserted.
        const INTERRUPT = 1 << 3;
        /// RO: there is a list of capabilities.
        const CAPABILITIES = 1 << 4;
    }
}

/// Class code of a SATA controller with an AHCI 1.0 interface: base 01h, sub 06h, interface 01h.
pub const CLASS_SATA_AHCI: u32 = 0x01_06_01;
/// Class code of a host bridge.
pub const CLASS_HOST_BRIDGE: u32 = 0x06_00_00;
/// Class code of an ISA bridge.
pub const CLASS_ISA_BRIDGE: u32 = 0x06_01_00;

/// Header type bit 7: more than one function.
pub const MULTI_FUNCTION: u8 = 1 << 7;

/// Capability IDs: first byte of a capability; the second is the offset of the next, 0 for none.
pub mod capability {
    /// Power management.
    pub const POWER_MANAGEMENT: u8 = 0x01;
    /// Message signalled interrupts.
    pub const MSI: u8 = 0x05;
    /// Serial ATA index-data pair.
    pub const SATA: u8 = 0x12;
}

/// The MSI capability with 64-bit addresses: offsets from its first byte.
pub mod msi {
    /// Message control, 16 bits.
    pub const CONTROL: u8 = 2;
    /// Message address, bits 31:2, RW.
    pub const ADDRESS_LOW: u8 = 4;
    /// Message address, bits 63:32, RW.
    pub const ADDRESS_HIGH: u8 = 8;
    /// Message data, 16 bits, RW.
    pub const DATA: u8 = 12;
    /// Length in bytes.
    pub const BYTES: u8 = 14;
    /// Message control bit 0, RW: MSI is on, INTx# is off.
    pub const ENABLE: u16 = 1 << 0;
    /// Message control bit 7, RO: 64-bit addresses.
    pub const ADDRESS_64: u16 = 1 << 7;
    /// Message address of the local APIC with ID `destination`: FEEh in bits 31:20, ID in bits 19:12.
    #[must_use]
    pub const fn apic_address(destination: u8) -> u64 {
        0xfee0_0000 | (destination as u64) << 12
    }
}

/// A base address register of which all ones were written reads `!(len - 1)`, low bits the type.
#[must_use]
pub const fn bar_size_mask(len_bytes: u32) -> u32 {
    !(len_bytes - 1)
}

/// A function on a PCI bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bdf {
    /// Bus number.
    pub bus: u8,
    /// Device number, 0..=31.
    pub device: u8,
    /// Function number, 0..=7.
    pub function: u8,
}

impl Bdf {
    /// Function `function` (0..=7) of device `device` (0..=31) of bus `bus`.
    #[must_use]
    pub const fn new(bus: u8, device: u8, function: u8) -> Self {
        Self {
            bus,
            device: device & 0x1f,
            function: function & 7,
        }
    }
}

/// Value of [`CONFIG_ADDRESS`]: enable in bit 31, bus 23:16, device 15:11, function 10:8, dword 7:2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConfigAddress(pub u32);

impl ConfigAddress {
    /// Bit 31: [`CONFIG_DATA`] leads to configuration space.
    pub const ENABLE: u32 = 1 << 31;
    /// Bits that hold what is written to them.
    pub const WRITABLE: u32 = 0x80ff_fffc;

    /// Selects the dword at `offset` of `bdf`.
    #[must_use]
    pub const fn new(bdf: Bdf, offset: u8) -> Self {
        let devfn = bdf.device << 3 | bdf.function;
        Self(Self::ENABLE | u32::from_le_bytes([offset & !3, devfn, bdf.bus, 0]))
    }

    /// Whether [`CONFIG_DATA`] leads to configuration space.
    #[must_use]
    pub const fn is_enabled(self) -> bool {
        self.0 & Self::ENABLE != 0
    }

    /// The function selected.
    #[must_use]
    pub const fn bdf(self) -> Bdf {
        let [_, devfn, bus, _] = self.0.to_le_bytes();
        Bdf::new(bus, devfn >> 3, devfn & 7)
    }

    /// Offset of the dword selected.
    #[must_use]
    pub const fn dword(self) -> u8 {
        self.0.to_le_bytes()[0] & !3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn config_address_holds_what_it_was_made_of() {
        let bdf = Bdf::new(2, 0x1f, 2);
        let address = ConfigAddress::new(bdf, offset::BAR5);
        assert_eq!(address.0, 0x8002_fa24);
        assert_eq!((address.bdf(), address.dword()), (bdf, 0x24));
        assert!(address.is_enabled());
    }
}
