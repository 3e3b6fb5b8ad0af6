//! Frame information structures: what host and device say to each other.
//!
//! The H2D Register FIS is the first thing in a [command table](crate::command);
//! the others arrive in the received-FIS area at PxFB.
//!
//! **Spec:** Serial ATA "FIS Types"; AHCI 1.3.1 section 4.2.1 "Received FIS Structure".

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// First byte of a FIS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FisType {
    /// Register, host to device.
    RegH2d = 0x27,
    /// Register, device to host.
    RegD2h = 0x34,
    /// DMA activate, device to host.
    DmaActivate = 0x39,
    /// DMA setup, both ways.
    DmaSetup = 0x41,
    /// Data, both ways.
    Data = 0x46,
    /// BIST activate, both ways.
    Bist = 0x58,
    /// PIO setup, device to host.
    PioSetup = 0x5f,
    /// Set device bits, device to host.
    SetDeviceBits = 0xa1,
}

/// Byte 1 of an H2D Register FIS, bit 7: C, the FIS carries a command (clear: device control).
pub const H2D_COMMAND: u8 = 1 << 7;
/// Byte 1 of a D2H FIS, bit 6: I, interrupt.
pub const D2H_INTERRUPT: u8 = 1 << 6;
/// Byte 1 of a PIO Setup FIS, bit 5: D, data goes from device to host.
pub const PIO_DEVICE_TO_HOST: u8 = 1 << 5;
/// Device register, bit 6: the address is an LBA.
pub const DEVICE_LBA: u8 = 1 << 6;
/// Control register, bit 2: SRST, software reset.
pub const CONTROL_SRST: u8 = 1 << 2;

/// Register FIS, host to device: a command for the disk.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    KnownLayout,
    Immutable,
    Unaligned,
)]
#[repr(C)]
pub struct RegH2d {
    /// [`FisType::RegH2d`].
    pub fis_type: u8,
    /// [`H2D_COMMAND`], port multiplier port in bits 3:0.
    pub flags: u8,
    /// Command register: an opcode of [`ata`](crate::ata).
    pub command: u8,
    /// Features, bits 7:0.
    pub features: u8,
    /// LBA bits 23:0.
    pub lba_low: [u8; 3],
    /// Device register: [`DEVICE_LBA`], and LBA bits 27:24 in 28-bit commands.
    pub device: u8,
    /// LBA bits 47:24 (48-bit commands).
    pub lba_high: [u8; 3],
    /// Features, bits 15:8.
    pub features_exp: u8,
    /// Sector count; 8 bits in 28-bit commands.
    pub count: U16,
    /// Isochronous command completion.
    pub icc: u8,
    /// Control register.
    pub control: u8,
    /// Reserved or auxiliary.
    pub auxiliary: U32,
}
const _: () = assert!(size_of::<RegH2d>() == 20);

impl RegH2d {
    /// Length in dwords, as CFL in the command header counts it.
    pub const DWORDS: u32 = 5;

    /// A command with a 48-bit LBA.
    #[must_use]
    pub const fn lba48(command: u8, lba: u64, count: u16) -> Self {
        let b = lba.to_le_bytes();
        Self {
            fis_type: FisType::RegH2d as u8,
            flags: H2D_COMMAND,
            command,
            features: 0,
            lba_low: [b[0], b[1], b[2]],
            device: DEVICE_LBA,
            lba_high: [b[3], b[4], b[5]],
            features_exp: 0,
            count: U16::new(count),
            icc: 0,
            control: 0,
            auxiliary: U32::new(0),
        }
    }

    /// A command without address, with this value in the Features register.
    #[must_use]
    pub const fn without_data(command: u8, features: u8) -> Self {
        let mut fis = Self::lba48(command, 0, 0);
        fis.features = features;
        fis
    }

    /// The address as a 48-bit command means it.
    #[must_use]
    pub const fn address48(&self) -> u64 {
        let (l, h) = (self.lba_low, self.lba_high);
        u64::from_le_bytes([l[0], l[1], l[2], h[0], h[1], h[2], 0, 0])
    }

    /// The address as a 28-bit command means it.
    #[must_use]
    pub const fn address28(&self) -> u64 {
        let l = self.lba_low;
        u64::from_le_bytes([l[0], l[1], l[2], self.device & 0xf, 0, 0, 0, 0])
    }

    /// The number of sectors as a 48-bit command means it: 0 is 65,536.
    #[must_use]
    pub const fn sectors48(&self) -> u32 {
        match self.count.get() {
            0 => 0x1_0000,
            n => n as u32,
        }
    }

    /// The number of sectors as a 28-bit command means it: 0 is 256.
    #[must_use]
    pub const fn sectors28(&self) -> u32 {
        match self.count.get() & 0xff {
            0 => 0x100,
            n => n as u32,
        }
    }
}

/// Register FIS, device to host: a command ended, or a reset did.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    KnownLayout,
    Immutable,
    Unaligned,
)]
#[repr(C)]
pub struct RegD2h {
    /// [`FisType::RegD2h`].
    pub fis_type: u8,
    /// [`D2H_INTERRUPT`], port multiplier port in bits 3:0.
    pub flags: u8,
    /// Status register.
    pub status: u8,
    /// Error register.
    pub error: u8,
    /// LBA bits 23:0.
    pub lba_low: [u8; 3],
    /// Device register.
    pub device: u8,
    /// LBA bits 47:24.
    pub lba_high: [u8; 3],
    /// Reserved.
    pub reserved0: u8,
    /// Sector count.
    pub count: U16,
    /// Reserved.
    pub reserved1: [u8; 6],
}
const _: () = assert!(size_of::<RegD2h>() == 20);

/// Set Device Bits FIS, device to host: queued commands ended.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    KnownLayout,
    Immutable,
    Unaligned,
)]
#[repr(C)]
pub struct SetDeviceBits {
    /// [`FisType::SetDeviceBits`].
    pub fis_type: u8,
    /// [`D2H_INTERRUPT`], notification in bit 7, port multiplier port in bits 3:0.
    pub flags: u8,
    /// Status bits 6:4 and 2:0.
    pub status: u8,
    /// Error register.
    pub error: u8,
    /// Bits to clear in PxSACT.
    pub active: U32,
}
const _: () = assert!(size_of::<SetDeviceBits>() == 8);

/// PIO Setup FIS, device to host: a PIO data phase begins.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    KnownLayout,
    Immutable,
    Unaligned,
)]
#[repr(C)]
pub struct PioSetup {
    /// [`FisType::PioSetup`].
    pub fis_type: u8,
    /// [`D2H_INTERRUPT`], [`PIO_DEVICE_TO_HOST`], port multiplier port in bits 3:0.
    pub flags: u8,
    /// Status register at the start of the data phase.
    pub status: u8,
    /// Error register.
    pub error: u8,
    /// LBA bits 23:0.
    pub lba_low: [u8; 3],
    /// Device register.
    pub device: u8,
    /// LBA bits 47:24.
    pub lba_high: [u8; 3],
    /// Reserved.
    pub reserved0: u8,
    /// Sector count.
    pub count: U16,
    /// Reserved.
    pub reserved1: u8,
    /// Status register after the data phase.
    pub e_status: u8,
    /// Bytes in this data phase.
    pub transfer_count: U16,
    /// Reserved.
    pub reserved2: [u8; 2],
}
const _: () = assert!(size_of::<PioSetup>() == 20);

/// DMA Setup FIS: first-party DMA of a queued command begins.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    KnownLayout,
    Immutable,
    Unaligned,
)]
#[repr(C)]
pub struct DmaSetup {
    /// [`FisType::DmaSetup`].
    pub fis_type: u8,
    /// Auto-activate in bit 7, I in bit 6, direction in bit 5, port multiplier port in bits 3:0.
    pub flags: u8,
    /// Reserved.
    pub reserved0: [u8; 2],
    /// DMA buffer identifier: the tag of the queued command.
    pub buffer_id: U64,
    /// Reserved.
    pub reserved1: U32,
    /// Offset in the buffer, in bytes.
    pub buffer_offset: U32,
    /// Bytes to transfer.
    pub transfer_count: U32,
    /// Reserved.
    pub reserved2: U32,
}
const _: () = assert!(size_of::<DmaSetup>() == 28);

/// The received-FIS area at PxFB: where the HBA posts what the device sends.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct ReceivedFis {
    /// 00h: DSFIS.
    pub dma_setup: DmaSetup,
    /// Reserved.
    pub reserved0: [u8; 4],
    /// 20h: PSFIS.
    pub pio_setup: PioSetup,
    /// Reserved.
    pub reserved1: [u8; 12],
    /// 40h: RFIS.
    pub reg_d2h: RegD2h,
    /// Reserved.
    pub reserved2: [u8; 4],
    /// 58h: SDBFIS.
    pub set_device_bits: SetDeviceBits,
    /// 60h: UFIS, an unknown FIS of at most 64 bytes.
    pub unknown: [u8; 64],
    /// Reserved.
    pub reserved3: [u8; 96],
}

impl ReceivedFis {
    /// Offset of the DMA Setup FIS.
    pub const DSFIS: u64 = 0x00;
    /// Offset of the PIO Setup FIS.
    pub const PSFIS: u64 = 0x20;
    /// Offset of the D2H Register FIS.
    pub const RFIS: u64 = 0x40;
    /// Offset of the Set Device Bits FIS.
    pub const SDBFIS: u64 = 0x58;
    /// Offset of an unknown FIS.
    pub const UFIS: u64 = 0x60;
    /// Alignment and length of the area in bytes.
    pub const BYTES: u64 = 0x100;
}
const _: () = assert!(size_of::<ReceivedFis>() as u64 == ReceivedFis::BYTES);
const _: () = assert!(core::mem::offset_of!(ReceivedFis, pio_setup) as u64 == ReceivedFis::PSFIS);
const _: () = assert!(core::mem::offset_of!(ReceivedFis, reg_d2h) as u64 == ReceivedFis::RFIS);
const _: () =
    assert!(core::mem::offset_of!(ReceivedFis, set_device_bits) as u64 == ReceivedFis::SDBFIS);
const _: () = assert!(core::mem::offset_of!(ReceivedFis, unknown) as u64 == ReceivedFis::UFIS);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_48_bit_address_is_split_low_half_first() {
        let fis = RegH2d::lba48(0x25, 0x6655_4433_2211, 0x0807);
        let bytes = [
            0x27, 0x80, 0x25, 0, 0x11, 0x22, 0x33, 0x40, 0x44, 0x55, 0x66, 0, 7, 8,
        ];
        assert_eq!(fis.as_bytes()[..14], bytes);
        assert_eq!(
            (fis.address48(), fis.sectors48()),
            (0x6655_4433_2211, 0x807)
        );
    }

    #[test]
    fn a_28_bit_address_has_its_top_four_bits_in_the_device_register() {
        let mut fis = RegH2d::lba48(0xc8, 0xff33_2211, 0x0100);
        fis.device |= 0xa;
        assert_eq!((fis.address28(), fis.sectors28()), (0xa33_2211, 256));
    }

    #[test]
    fn a_sector_count_of_zero_is_the_greatest() {
        assert_eq!(RegH2d::lba48(0x25, 0, 0).sectors48(), 65_536);
        assert_eq!(RegH2d::lba48(0xc8, 0, 0).sectors28(), 256);
    }
}
