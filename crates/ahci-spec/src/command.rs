//! Command list, command table and physical region descriptors: how a driver asks for a transfer.
//!
//! ```text
//! PxCLB ──► header 0 ── CTBA ──► CFIS   40h bytes: an H2D Register FIS
//!           header 1             ACMD   10h
//!           …                    —      30h
//!           header 31            PRDT   10h each: DBA, DBC
//! ```
//!
//! **Spec:** AHCI 1.3.1 sections 4.2.2 "Command List Structure", 4.2.3 "Command Table".

use bitflags::bitflags;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Alignment of the command list in bytes.
pub const COMMAND_LIST_ALIGN: u64 = 1024;
/// Alignment of a command table in bytes.
pub const COMMAND_TABLE_ALIGN: u64 = 128;
/// Offset of the PRDT in a command table.
pub const PRDT_OFFSET: u64 = 0x80;
/// Most bytes one PRDT entry can describe.
pub const PRDT_MAX_BYTES: u32 = 4 << 20;

bitflags! {
    /// Bits 15:0 of the first dword of a command header. CFL and PMP are fields.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct CommandFlags: u16 {
        /// A: the command is an ATAPI one; ACMD is used.
        const A = 1 << 5;
        /// W: data goes from memory to the device.
        const W = 1 << 6;
        /// P: the HBA may fetch the PRDT early.
        const P = 1 << 7;
        /// R: the command is part of a software reset.
        const R = 1 << 8;
        /// B: the command sends a BIST FIS.
        const B = 1 << 9;
        /// C: clear BSY upon R_OK.
        const C = 1 << 10;
        // CFL (4:0) and PMP (15:12), which are numbers and not flags.
        const _ = !0;
    }
}

impl CommandFlags {
    /// CFL = `dwords`: length of the command FIS, 2..=16; other bits clear.
    #[must_use]
    pub const fn cfl(dwords: u16) -> Self {
        Self::from_bits_retain(dwords & 0x1f)
    }

    /// CFL, bits 4:0: length of the command FIS in dwords.
    #[must_use]
    pub const fn fis_dwords(self) -> u16 {
        self.bits() & 0x1f
    }
}

/// One of the 32 entries of a command list.
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
pub struct CommandHeader {
    /// [`CommandFlags`].
    pub flags: U16,
    /// PRDTL: entries in the table's PRDT.
    pub prdtl: U16,
    /// PRDBC: bytes moved so far, written by the HBA.
    pub prdbc: U32,
    /// CTBA and CTBAU: the command table, 128-byte aligned: bits 6:0 are reserved.
    pub ctba: U64,
    /// Reserved.
    pub reserved: [U32; 4],
}
const _: () = assert!(size_of::<CommandHeader>() == 32);

impl CommandHeader {
    /// Length in bytes.
    pub const BYTES: u64 = 32;
    /// Offset of PRDBC.
    pub const PRDBC: u64 = 4;

    /// A header for the table at `ctba` with `prdtl` PRDT entries.
    #[must_use]
    pub const fn new(flags: CommandFlags, prdtl: u16, ctba: u64) -> Self {
        Self {
            flags: U16::new(flags.bits()),
            prdtl: U16::new(prdtl),
            prdbc: U32::new(0),
            ctba: U64::new(ctba),
            reserved: [U32::new(0); 4],
        }
    }

    /// The flags, decoded.
    #[must_use]
    pub const fn flags(&self) -> CommandFlags {
        CommandFlags::from_bits_retain(self.flags.get())
    }
}

/// The fixed part of a command table; [`PrdtEntry`]s follow.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct CommandTable {
    /// 00h: the command FIS, CFL dwords of it.
    pub cfis: [u8; 64],
    /// 40h: an ATAPI command.
    pub acmd: [u8; 16],
    /// 50h: reserved.
    pub reserved: [u8; 48],
}
const _: () = assert!(size_of::<CommandTable>() as u64 == PRDT_OFFSET);

/// One physical region: a run of bytes in memory.
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
pub struct PrdtEntry {
    /// DBA and DBAU: first byte, word aligned: bit 0 is reserved.
    pub dba: U64,
    /// Reserved.
    pub reserved: U32,
    /// DBC in bits 21:0: length in bytes *minus one*, bit 0 always 1. I in bit 31: interrupt when done.
    pub dbc: U32,
}
const _: () = assert!(size_of::<PrdtEntry>() == 16);

impl PrdtEntry {
    /// Length in bytes.
    pub const BYTES: u64 = 16;
    /// Bit 31 of the last dword: set PxIS.DPS when this region is done.
    pub const I: u32 = 1 << 31;
    const DBC_MASK: u32 = PRDT_MAX_BYTES - 1;

    /// A region of `len` bytes at `dba`, or `None` unless both are even and
    /// `len` is between 2 and [`PRDT_MAX_BYTES`].
    #[must_use]
    pub const fn new(dba: u64, len: u32) -> Option<Self> {
        if !dba.is_multiple_of(2) || !len.is_multiple_of(2) || len == 0 || len > PRDT_MAX_BYTES {
            return None;
        }
        Some(Self {
            dba: U64::new(dba),
            reserved: U32::new(0),
            dbc: U32::new(len - 1),
        })
    }

    /// The same region, with an interrupt when it is done.
    #[must_use]
    pub const fn with_interrupt(mut self) -> Self {
        self.dbc = U32::new(self.dbc.get() | Self::I);
        self
    }

    /// Length of the region in bytes: even, 2..=4 MiB. DBC's bit 0 counts as 1 whatever it is.
    #[must_use]
    pub const fn len_bytes(&self) -> u32 {
        (self.dbc.get() & Self::DBC_MASK | 1) + 1
    }

    /// First byte of the region. DBA's bit 0 counts as 0 whatever it is.
    #[must_use]
    pub const fn address(&self) -> u64 {
        self.dba.get() & !1
    }

    /// Whether PxIS.DPS is to be set when the region is done.
    #[must_use]
    pub const fn interrupts(&self) -> bool {
        self.dbc.get() & Self::I != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_counts_its_bytes_minus_one() {
        for (len, dbc) in [
            (2, 1),
            (512, 511),
            (4096, 4095),
            (PRDT_MAX_BYTES, 0x3f_ffff),
        ] {
            let entry = PrdtEntry::new(0x1000, len).unwrap();
            assert_eq!((entry.dbc.get(), entry.len_bytes()), (dbc, len));
        }
    }

    #[test]
    fn odd_empty_and_oversized_regions_cannot_be_built() {
        for (dba, len) in [(1, 2), (0, 3), (0, 0), (0, PRDT_MAX_BYTES + 2)] {
            assert_eq!(PrdtEntry::new(dba, len), None, "{dba} {len}");
        }
    }

    #[test]
    fn the_low_bit_of_both_fields_is_not_decoded() {
        let mut entry = PrdtEntry::new(0x1000, 512).unwrap().with_interrupt();
        entry.dba = U64::new(0x1001);
        entry.dbc = U32::new(entry.dbc.get() & !1);
        assert_eq!(
            (entry.address(), entry.len_bytes(), entry.interrupts()),
            (0x1000, 512, true)
        );
    }

    #[test]
    fn a_header_lies_in_memory_as_the_figure_draws_it() {
        let flags = CommandFlags::cfl(5) | CommandFlags::W;
        let header = CommandHeader::new(flags, 3, 0x1_2345_6780);
        let bytes = [
            0x45, 0, 3, 0, 0, 0, 0, 0, 0x80, 0x67, 0x45, 0x23, 1, 0, 0, 0,
        ];
        assert_eq!(header.as_bytes()[..16], bytes);
    }
}
