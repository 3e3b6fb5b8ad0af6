//! PCI configuration mechanism 1, and the three functions behind it.
//!
//! | function | what |
//! |---|---|
//! | 00:00.0 | 8086:29C0, host bridge: identity only |
//! | 00:1f.0 | 8086:2918, ISA bridge: identity only |
//! | 00:1f.2 | 8086:2922, the [HBA](crate::ahci): BAR5, MSI with 64-bit addresses, INTA# |
//!
//! All other functions read as ones. BAR5 is preset as firmware would leave it,
//! with memory space and bus mastering off. A write that moves the window or
//! switches it says so ([`PciEffect`]), and the board maps it anew.
//!
//! Not modelled: further buses, expansion ROMs, power management, parity, ECAM.
//!
//! **Spec:** PCI Local Bus 3.0 sections 3.2.2.3.2, 6.1, 6.2, 6.8; AHCI 1.3.1 section 2.

use ahci_spec::pci::{
    Bdf, CLASS_HOST_BRIDGE, CLASS_ISA_BRIDGE, CLASS_SATA_AHCI, CONFIG_ADDRESS, CONFIG_DATA,
    Command, ConfigAddress, MULTI_FUNCTION, Status, bar_size_mask, capability, msi, offset,
};
use memory::Width;
use x86::PhysAddr;

/// Where BAR5 of the HBA stands at power-on.
pub const AHCI_WINDOW_BASE: u32 = 0xfebf_0000;

/// Where the HBA is.
pub const AHCI: Bdf = Bdf::new(0, 0x1f, 2);

/// Length of the HBA's window in bytes.
const AHCI_WINDOW_BYTES: u32 = 0x1000;
/// Where its MSI capability lies.
const MSI_AT: u8 = 0x80;

/// What the board must do after a configuration write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum PciEffect {
    /// Nothing.
    None,
    /// The HBA's window moved, or was switched on or off: see [`PciBus::ahci_window`].
    WindowChanged,
}

/// An interrupt message: a dword write a function makes to the address of a local APIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsiMessage {
    /// Where to.
    pub address: u64,
    /// What.
    pub data: u32,
}

/// The registers of one function, and which of their bits software may write.
#[derive(Clone, Debug)]
struct Config {
    bytes: [u8; 256],
    writable: [u8; 256],
}

impl Config {
    fn new(device_id: u16, class: u32, header_type: u8) -> Self {
        let mut config = Self {
            bytes: [0; 256],
            writable: [0; 256],
        };
        config.set16(offset::VENDOR_ID, 0x8086);
        config.set16(offset::DEVICE_ID, device_id);
        config.set32(offset::REVISION_ID, class << 8 | 2);
        config.bytes[usize::from(offset::HEADER_TYPE)] = header_type;
        config
    }

    /// The SATA function: command bits, BAR5, MSI, interrupt line and pin.
    fn ahci() -> Self {
        let mut config = Self::new(0x2922, CLASS_SATA_AHCI, 0);
        let command = Command::MEMORY_SPACE | Command::BUS_MASTER | Command::INTERRUPT_DISABLE;
        config.allow16(offset::COMMAND, command.bits());
        config.set16(offset::STATUS, Status::CAPABILITIES.bits());
        config.allow32(offset::BAR5, bar_size_mask(AHCI_WINDOW_BYTES));
        config.set32(offset::BAR5, AHCI_WINDOW_BASE);
        config.set16(offset::SUBSYSTEM_VENDOR_ID, 0x8086);
        config.set16(offset::SUBSYSTEM_ID, 0x2922);
        config.bytes[usize::from(offset::CAPABILITIES)] = MSI_AT;
        config.bytes[usize::from(offset::INTERRUPT_PIN)] = 1;
        config.writable[usize::from(offset::INTERRUPT_LINE)] = 0xff;
        config.bytes[usize::from(MSI_AT)] = capability::MSI;
        config.set16(MSI_AT + msi::CONTROL, msi::ADDRESS_64);
        config.allow16(MSI_AT + msi::CONTROL, msi::ENABLE);
        config.allow32(MSI_AT + msi::ADDRESS_LOW, !3);
        config.allow32(MSI_AT + msi::ADDRESS_HIGH, !0);
        config.allow16(MSI_AT + msi::DATA, !0);
        config
    }

    fn set16(&mut self, at: u8, value: u16) {
        self.bytes[usize::from(at)..][..2].copy_from_slice(&value.to_le_bytes());
    }

    fn set32(&mut self, at: u8, value: u32) {
        self.bytes[usize::from(at)..][..4].copy_from_slice(&value.to_le_bytes());
    }

    fn allow16(&mut self, at: u8, mask: u16) {
        self.writable[usize::from(at)..][..2].copy_from_slice(&mask.to_le_bytes());
    }

    fn allow32(&mut self, at: u8, mask: u32) {
        self.writable[usize::from(at)..][..4].copy_from_slice(&mask.to_le_bytes());
    }

    fn get16(&self, at: u8) -> u16 {
        let at = usize::from(at);
        u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]])
    }

    fn get32(&self, at: u8) -> u32 {
        u32::from(self.get16(at)) | u32::from(self.get16(at + 2)) << 16
    }

    fn write(&mut self, at: u8, value: u8) {
        let at = usize::from(at);
        let mask = self.writable[at];
        self.bytes[at] = self.bytes[at] & !mask | value & mask;
    }

    fn command(&self) -> Command {
        Command::from_bits_truncate(self.get16(offset::COMMAND))
    }
}

/// Bus 0 as seen through ports CF8h to CFFh.
#[derive(Clone, Debug)]
pub struct PciBus {
    address: ConfigAddress,
    host_bridge: Config,
    isa_bridge: Config,
    ahci: Config,
}

impl Default for PciBus {
    fn default() -> Self {
        Self::new()
    }
}

impl PciBus {
    /// The bus at power-on.
    #[must_use]
    pub fn new() -> Self {
        Self {
            address: ConfigAddress::default(),
            host_bridge: Config::new(0x29c0, CLASS_HOST_BRIDGE, 0),
            isa_bridge: Config::new(0x2918, CLASS_ISA_BRIDGE, MULTI_FUNCTION),
            ahci: Config::ahci(),
        }
    }

    /// Whether I/O port `port` is one of this bus's (CF8h to CFFh).
    #[must_use]
    pub const fn claims(port: u16) -> bool {
        port & !7 == CONFIG_ADDRESS
    }

    /// Reads `width` (at most a dword) at I/O port `port`.
    #[must_use]
    pub fn read_port(&self, port: u16, width: Width) -> u32 {
        if port == CONFIG_ADDRESS && width == Width::Dword {
            return self.address.0;
        }
        let mut bytes = [0xff; 4];
        for (byte, port) in bytes.iter_mut().zip(ports(port, width)) {
            *byte = self.read_byte(port);
        }
        let value = u32::from_le_bytes(bytes);
        value & u32::try_from(width.ones()).unwrap_or(u32::MAX)
    }

    /// Writes `width` (at most a dword) at I/O port `port`.
    pub fn write_port(&mut self, port: u16, width: Width, value: u32) -> PciEffect {
        if port == CONFIG_ADDRESS && width == Width::Dword {
            self.address = ConfigAddress(value & ConfigAddress::WRITABLE);
            return PciEffect::None;
        }
        let before = self.ahci_window();
        for (byte, port) in value.to_le_bytes().into_iter().zip(ports(port, width)) {
            self.write_byte(port, byte);
        }
        if self.ahci_window() == before {
            PciEffect::None
        } else {
            PciEffect::WindowChanged
        }
    }

    fn read_byte(&self, port: u16) -> u8 {
        let Some(at) = self.selected(port) else {
            return 0xff;
        };
        self.function(self.address.bdf())
            .map_or(0xff, |config| config.bytes[usize::from(at)])
    }

    fn write_byte(&mut self, port: u16, value: u8) {
        let Some(at) = self.selected(port) else {
            return;
        };
        if let Some(config) = self.function_mut(self.address.bdf()) {
            config.write(at, value);
        }
    }

    /// Offset in configuration space that the data port `port` leads to.
    fn selected(&self, port: u16) -> Option<u8> {
        let in_dword = u8::try_from(port.checked_sub(CONFIG_DATA)?)
            .ok()
            .filter(|&o| o < 4)?;
        self.address
            .is_enabled()
            .then_some(self.address.dword() + in_dword)
    }

    const fn function(&self, bdf: Bdf) -> Option<&Config> {
        match (bdf.bus, bdf.device, bdf.function) {
            (0, 0, 0) => Some(&self.host_bridge),
            (0, 0x1f, 0) => Some(&self.isa_bridge),
            (0, 0x1f, 2) => Some(&self.ahci),
            _ => None,
        }
    }

    const fn function_mut(&mut self, bdf: Bdf) -> Option<&mut Config> {
        match (bdf.bus, bdf.device, bdf.function) {
            (0, 0, 0) => Some(&mut self.host_bridge),
            (0, 0x1f, 0) => Some(&mut self.isa_bridge),
            (0, 0x1f, 2) => Some(&mut self.ahci),
            _ => None,
        }
    }

    /// Where the HBA answers, or `None` while its memory space is off.
    #[must_use]
    pub fn ahci_window(&self) -> Option<PhysAddr> {
        let is_on = self.ahci.command().contains(Command::MEMORY_SPACE);
        is_on.then(|| PhysAddr::truncate(u64::from(self.ahci.get32(offset::BAR5) & !0xf)))
    }

    /// Whether the HBA may reach memory: what its [`memory::Dma`] is to be made with.
    #[must_use]
    pub fn ahci_bus_master(&self) -> bool {
        self.ahci.command().contains(Command::BUS_MASTER)
    }

    /// The message the HBA sends, if messages are enabled and it may master the bus.
    #[must_use]
    pub fn ahci_message(&self) -> Option<MsiMessage> {
        let is_enabled = self.ahci.get16(MSI_AT + msi::CONTROL) & msi::ENABLE != 0;
        (is_enabled && self.ahci_bus_master()).then(|| MsiMessage {
            address: u64::from(self.ahci.get32(MSI_AT + msi::ADDRESS_LOW))
                | u64::from(self.ahci.get32(MSI_AT + msi::ADDRESS_HIGH)) << 32,
            data: u32::from(self.ahci.get16(MSI_AT + msi::DATA)),
        })
    }

    /// Whether the HBA may pull INTA#: neither disabled nor replaced by messages.
    #[must_use]
    pub fn ahci_may_assert_intx(&self) -> bool {
        let by_message = self.ahci.get16(MSI_AT + msi::CONTROL) & msi::ENABLE != 0;
        !by_message && !self.ahci.command().contains(Command::INTERRUPT_DISABLE)
    }
}

/// The I/O ports an access of `width` at `port` touches; there is none above FFFFh.
fn ports(port: u16, width: Width) -> impl Iterator<Item = u16> {
    (port..=u16::MAX).take(usize::try_from(width.bytes()).unwrap_or(4))
}

#[cfg(test)]
mod tests;
