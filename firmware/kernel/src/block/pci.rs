//! PCI configuration space, enough to find one function and have it send messages.
//!
//! Only bus 0 is searched: on a PC the controller of the chipset is there.
//!
//! Not modelled: bridges, ECAM, MSI-X, assigning address space, but for one
//! register block the firmware may have left out.
//!
//! **Spec:** PCI Local Bus 3.0 "Configuration Space", "Message Signaled Interrupts".

use ahci_spec::pci::{
    Bdf, CONFIG_ADDRESS, CONFIG_DATA, Command, ConfigAddress, MULTI_FUNCTION, capability, msi,
    offset,
};
use metal::port;
use x86::PhysAddr;

/// Where the register block goes if nobody placed it: below the I/O APIC and the
/// local APIC, in the part of the address space PCs keep for devices.
const DEFAULT_BAR: u32 = 0xfebf_0000;

/// Bits of a memory BAR that are not address.
const BAR_FLAGS: u32 = 0xf;

/// A function found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Function(Bdf);

impl Function {
    /// The first function of bus 0 with this class code.
    pub(super) fn by_class(class: u32) -> Option<Self> {
        (0..32).find_map(|device| {
            let first = Self(Bdf::new(0, device, 0));
            let functions = if first.is_multi_function() { 8 } else { 1 };
            (0..functions)
                .map(|function| Self(Bdf::new(0, device, function)))
                .find(|function| function.exists() && function.class() == class)
        })
    }

    fn exists(self) -> bool {
        self.read(offset::VENDOR_ID) & 0xffff != 0xffff
    }

    fn is_multi_function(self) -> bool {
        self.exists() && self.byte(offset::HEADER_TYPE) & MULTI_FUNCTION != 0
    }

    /// Base class, subclass, interface.
    fn class(self) -> u32 {
        self.read(offset::REVISION_ID) >> 8
    }

    /// Where the block of BAR5 is; places it if nobody has.
    pub(super) fn bar5(self) -> PhysAddr {
        let at = self.read(offset::BAR5) & !BAR_FLAGS;
        if at == 0 {
            self.write(offset::BAR5, DEFAULT_BAR);
        }
        PhysAddr::new(u64::from(self.read(offset::BAR5) & !BAR_FLAGS))
    }

    /// Lets it answer in memory space, master the bus, and use no interrupt pin.
    pub(super) fn enable(self) {
        let bits = Command::MEMORY_SPACE | Command::BUS_MASTER | Command::INTERRUPT_DISABLE;
        let command = self.read(offset::COMMAND) & 0xffff;
        // The upper half is the status register, whose bits are cleared by ones.
        self.write(offset::COMMAND, command | u32::from(bits.bits()));
    }

    /// Makes its interrupts messages with `vector` to the local APIC `apic_id`.
    ///
    /// # Panics
    ///
    /// If it has no MSI capability: without an I/O APIC there is no other way.
    pub(super) fn use_msi(self, apic_id: u32, vector: u8) {
        let at = self.capability(capability::MSI);
        let at = at.expect("the controller has an MSI capability");
        let destination = apic_id.to_le_bytes()[0];
        let address = msi::apic_address(destination).to_le_bytes();
        let [a, b, c, d, ..] = address;
        self.write(at + msi::ADDRESS_LOW, u32::from_le_bytes([a, b, c, d]));
        let control = self.read(at) >> 16;
        if control & u32::from(msi::ADDRESS_64) != 0 {
            self.write(at + msi::ADDRESS_HIGH, 0);
            self.write(at + msi::DATA, u32::from(vector));
        } else {
            // With a 32-bit address the data register takes the place of the upper half.
            self.write(at + msi::ADDRESS_HIGH, u32::from(vector));
        }
        // One message: multiple message enable, bits 6:4, stays 0.
        let control = control & !0x70 | u32::from(msi::ENABLE);
        self.write(at, control << 16);
    }

    fn capability(self, id: u8) -> Option<u8> {
        let mut at = self.byte(offset::CAPABILITIES) & !3;
        // A list in 256 bytes has at most this many elements, unless it is a loop.
        for _ in 0..48 {
            if at == 0 {
                return None;
            }
            if self.byte(at) == id {
                return Some(at);
            }
            at = self.byte(at + 1) & !3;
        }
        None
    }

    fn byte(self, at: u8) -> u8 {
        self.read(at).to_le_bytes()[usize::from(at & 3)]
    }

    /// The doubleword that holds the byte at `at`.
    fn read(self, at: u8) -> u32 {
        port::write32(CONFIG_ADDRESS, ConfigAddress::new(self.0, at).0);
        port::read32(CONFIG_DATA)
    }

    fn write(self, at: u8, value: u32) {
        port::write32(CONFIG_ADDRESS, ConfigAddress::new(self.0, at).0);
        port::write32(CONFIG_DATA, value);
    }
}
