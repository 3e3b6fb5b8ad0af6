//! ATA: command opcodes, status and error bits, words of IDENTIFY DEVICE.
//!
//! Travels in the FISes of [`fis`](crate::fis).
//!
//! **Spec:** ATA8-ACS "Command descriptions", "IDENTIFY DEVICE", "Status field", "Error field".

use bitflags::bitflags;

/// Bytes in a logical sector.
pub const SECTOR_BYTES: usize = 512;

/// Command opcodes.
pub mod opcode {
    /// READ SECTOR(S), PIO, 28-bit.
    pub const READ_SECTORS: u8 = 0x20;
    /// READ SECTOR(S) EXT, PIO, 48-bit.
    pub const READ_SECTORS_EXT: u8 = 0x24;
    /// READ DMA EXT, 48-bit.
    pub const READ_DMA_EXT: u8 = 0x25;
    /// WRITE SECTOR(S), PIO, 28-bit.
    pub const WRITE_SECTORS: u8 = 0x30;
    /// WRITE SECTOR(S) EXT, PIO, 48-bit.
    pub const WRITE_SECTORS_EXT: u8 = 0x34;
    /// WRITE DMA EXT, 48-bit.
    pub const WRITE_DMA_EXT: u8 = 0x35;
    /// READ VERIFY SECTOR(S), 28-bit: no data.
    pub const READ_VERIFY: u8 = 0x40;
    /// READ VERIFY SECTOR(S) EXT, 48-bit: no data.
    pub const READ_VERIFY_EXT: u8 = 0x42;
    /// READ FPDMA QUEUED, native queued.
    pub const READ_FPDMA_QUEUED: u8 = 0x60;
    /// WRITE FPDMA QUEUED, native queued.
    pub const WRITE_FPDMA_QUEUED: u8 = 0x61;
    /// READ DMA, 28-bit.
    pub const READ_DMA: u8 = 0xc8;
    /// WRITE DMA, 28-bit.
    pub const WRITE_DMA: u8 = 0xca;
    /// STANDBY IMMEDIATE.
    pub const STANDBY_IMMEDIATE: u8 = 0xe0;
    /// FLUSH CACHE.
    pub const FLUSH_CACHE: u8 = 0xe7;
    /// FLUSH CACHE EXT.
    pub const FLUSH_CACHE_EXT: u8 = 0xea;
    /// IDENTIFY DEVICE, PIO data-in.
    pub const IDENTIFY_DEVICE: u8 = 0xec;
    /// SET FEATURES: the subcommand is in the Features register.
    pub const SET_FEATURES: u8 = 0xef;
}

/// Subcommands of SET FEATURES.
pub mod feature {
    /// Enable the volatile write cache.
    pub const ENABLE_WRITE_CACHE: u8 = 0x02;
    /// Set the transfer mode given in the count register.
    pub const SET_TRANSFER_MODE: u8 = 0x03;
    /// Disable read look-ahead.
    pub const DISABLE_LOOK_AHEAD: u8 = 0x55;
    /// Disable the volatile write cache.
    pub const DISABLE_WRITE_CACHE: u8 = 0x82;
    /// Enable read look-ahead.
    pub const ENABLE_LOOK_AHEAD: u8 = 0xaa;
}

bitflags! {
    /// Status register, in PxTFD bits 7:0 and in D2H FISes.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct AtaStatus: u8 {
        /// RO: the command ended with an error; see [`AtaError`].
        const ERR = 1 << 0;
        /// RO: the device is ready to move data.
        const DRQ = 1 << 3;
        /// RO: seek complete (obsolete; disks still set it when idle).
        const DSC = 1 << 4;
        /// RO: device fault.
        const DF = 1 << 5;
        /// RO: device ready.
        const DRDY = 1 << 6;
        /// RO: busy; the other bits are not valid.
        const BSY = 1 << 7;
    }
}

bitflags! {
    /// Error register, in PxTFD bits 15:8 and in D2H FISes.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct AtaError: u8 {
        /// RO: the command was aborted.
        const ABRT = 1 << 2;
        /// RO: the address is not one of the device's.
        const IDNF = 1 << 4;
        /// RO: data could not be read or recovered.
        const UNC = 1 << 6;
        /// RO: interface CRC error.
        const ICRC = 1 << 7;
    }
}

/// Error register after a reset: diagnostics passed.
pub const DIAGNOSTICS_PASSED: u8 = 0x01;

/// Words of the IDENTIFY DEVICE data, by index.
pub mod identify {
    /// Number of 16-bit words.
    pub const WORDS: usize = 256;
    /// General configuration; bit 15 clear: an ATA device.
    pub const CONFIGURATION: usize = 0;
    /// Serial number, 20 characters, two per word, first in the high byte.
    pub const SERIAL: core::ops::Range<usize> = 10..20;
    /// Firmware revision, 8 characters.
    pub const FIRMWARE: core::ops::Range<usize> = 23..27;
    /// Model number, 40 characters.
    pub const MODEL: core::ops::Range<usize> = 27..47;
    /// Sectors per READ MULTIPLE; bits 15:8 are 80h.
    pub const MULTIPLE: usize = 47;
    /// Capabilities: bit 8 DMA, bit 9 LBA, bit 10 IORDY may be disabled, bit 11 IORDY.
    pub const CAPABILITIES: usize = 49;
    /// Capabilities: bit 14 is one.
    pub const CAPABILITIES_2: usize = 50;
    /// Validity: bit 1 words 70:64, bit 2 word 88.
    pub const VALIDITY: usize = 53;
    /// Sectors addressable with 28 bits, low word first.
    pub const SECTORS_28: core::ops::Range<usize> = 60..62;
    /// Multiword DMA modes supported and selected.
    pub const MULTIWORD_DMA: usize = 63;
    /// PIO modes 3 and 4.
    pub const PIO_MODES: usize = 64;
    /// Cycle times in ns, four words.
    pub const CYCLE_TIMES: core::ops::Range<usize> = 65..69;
    /// Queue depth minus one.
    pub const QUEUE_DEPTH: usize = 75;
    /// Serial ATA capabilities: bits 1, 2, 3 speeds, bit 8 native queuing.
    pub const SATA_CAPABILITIES: usize = 76;
    /// Major version: bit 8 is ATA8-ACS.
    pub const MAJOR_VERSION: usize = 80;
    /// Command sets supported: bit 5 write cache, bit 6 look-ahead.
    pub const COMMANDS_1: usize = 82;
    /// Command sets supported: bit 10 48-bit, 12 FLUSH CACHE, 13 FLUSH CACHE EXT, 14 is one.
    pub const COMMANDS_2: usize = 83;
    /// Command sets supported: bit 14 is one.
    pub const COMMANDS_3: usize = 84;
    /// As [`COMMANDS_1`], enabled.
    pub const ENABLED_1: usize = 85;
    /// As [`COMMANDS_2`], enabled.
    pub const ENABLED_2: usize = 86;
    /// As [`COMMANDS_3`], enabled.
    pub const ENABLED_3: usize = 87;
    /// Ultra DMA modes supported (bits 6:0) and selected (bits 14:8).
    pub const ULTRA_DMA: usize = 88;
    /// Hardware reset result.
    pub const RESET_RESULT: usize = 93;
    /// Sectors addressable with 48 bits, low word first.
    pub const SECTORS_48: core::ops::Range<usize> = 100..104;
    /// Logical sectors per physical sector; bit 14 is one.
    pub const SECTOR_SIZE: usize = 106;
    /// Nominal rotation rate; 1: does not rotate.
    pub const ROTATION_RATE: usize = 217;
    /// Integrity word: A5h low, checksum high, the sum of all 512 bytes is 0.
    pub const INTEGRITY: usize = 255;

    /// Sectors addressable with 48 bits, as the device's data states them.
    #[must_use]
    pub fn sectors_48(words: &[u16; WORDS]) -> u64 {
        SECTORS_48
            .rev()
            .fold(0, |sum, i| sum << 16 | u64::from(words[i]))
    }
}
