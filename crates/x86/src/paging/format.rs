//! The entry formats of 32-bit, PAE and 4-level paging, side by side.
//!
//! | | 32-bit | PAE | 4-level |
//! |---|---|---|---|
//! | entries | 1024 of 4 bytes | 512 of 8 bytes | 512 of 8 bytes |
//! | tables read | PD, PT | PD, PT | PML4, PDPT, PD, PT |
//! | large pages | 4 MiB if CR4.PSE | 2 MiB | 2 MiB, 1 GiB |
//! | bits 62:52 | there are none | reserved | key, ignored |
//!
//! The four PDPTEs of PAE paging sit in registers: [`Pdpte`].
//!
//! A PDE that maps 4 MiB holds address bits 31:22 in place and 39:32 in its bits 20:13 (PSE-36):
//!
//! ```text
//!  31       22 21 20       13 12  11 9 8 7 6 5 4 3 2 1 0
//! ┌───────────┬──┬───────────┬───┬────┬─┬─┬─┬─┬─┬─┬─┬─┬─┐
//! │ bits 31:22│0 │ bits 39:32│PAT│ign │G│1│D│A│C│T│U│W│P│   C = PCD, T = PWT
//! └───────────┴──┴───────────┴───┴────┴─┴─┴─┴─┴─┴─┴─┴─┴─┘
//! ```
//!
//! Not modelled: processors without PSE-36.
//!
//! **Spec:** SDM 3A "32-Bit Paging", "PAE Paging", "4-Level Paging and 5-Level Paging".

use super::{ADDR_51_12, Bits, Entry, Level, PS, PageSize, ReservedBits};
use crate::addr::{PhysAddr, VirtAddr};

/// How entries are laid out, and what some of their bits mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// 32-bit paging while CR4.PSE = 0: bit 7 of a PDE is ignored.
    Bits32,
    /// 32-bit paging while CR4.PSE = 1: bit 7 of a PDE is PS.
    Bits32Pse,
    /// PAE paging.
    Pae,
    /// 4-level paging.
    FourLevel,
}

/// Widest physical address a PDE of 32-bit paging can map, in bits.
const PSE36_BITS: u32 = 40;

impl Format {
    /// Bytes in one entry.
    #[must_use]
    pub const fn entry_bytes(self) -> u64 {
        match self {
            Self::Bits32 | Self::Bits32Pse => 4,
            Self::Pae | Self::FourLevel => 8,
        }
    }

    /// Bytes of linear address space one entry of the table `level` covers.
    #[must_use]
    pub const fn span_bytes(self, level: Level) -> u64 {
        match (self, level) {
            (Self::Bits32 | Self::Bits32Pse, Level::Pd) => PageSize::Size4M.bytes(),
            _ => level.span_bytes(),
        }
    }

    /// Where the entry for `va` lies in the table `level` at `table`.
    #[must_use]
    pub const fn entry_at(self, table: PhysAddr, level: Level, va: VirtAddr) -> PhysAddr {
        let entries = super::ENTRIES * 8 / self.entry_bytes();
        let index = va.get() / self.span_bytes(level) % entries;
        table.add(self.entry_bytes() * index)
    }

    /// Decodes `raw` as read from the table `level`.
    #[must_use]
    pub const fn decode(self, raw: u64, level: Level, rules: ReservedBits) -> Entry {
        match self {
            Self::FourLevel => Entry::decode(raw, level, rules),
            Self::Pae => decode_pae(raw, level, rules),
            Self::Bits32Pse if matches!(level, Level::Pd) && raw & PS != 0 => decode_4m(raw, rules),
            Self::Bits32 | Self::Bits32Pse => decode_32bit(raw, level),
        }
    }
}

/// As in 4-level paging, but bits 62:52 are reserved.
const fn decode_pae(raw: u64, level: Level, rules: ReservedBits) -> Entry {
    const BITS_62_52: u64 = 0x7ff << 52;
    match Entry::decode(raw, level, rules) {
        Entry::Table { .. } | Entry::Leaf { .. } if raw & BITS_62_52 != 0 => Entry::Reserved,
        entry => entry,
    }
}

/// No bit is reserved.
const fn decode_32bit(raw: u64, level: Level) -> Entry {
    let address = PhysAddr::truncate(raw & 0xffff_f000);
    if raw & Bits::P.bits() == 0 {
        Entry::NotPresent
    } else if matches!(level, Level::Pt) {
        Entry::Leaf {
            base: address,
            size: PageSize::Size4K,
        }
    } else {
        Entry::Table { next: address }
    }
}

/// A PDE with PS: address bits that MAXPHYADDR leaves out are reserved, and bit 21 always.
const fn decode_4m(raw: u64, rules: ReservedBits) -> Entry {
    let width = if rules.maxphyaddr < PSE36_BITS {
        rules.maxphyaddr
    } else {
        PSE36_BITS
    };
    let base = raw & 0xffc0_0000 | (raw >> 13 & 0xff) << 32;
    if raw & Bits::P.bits() == 0 {
        Entry::NotPresent
    } else if raw & 1 << 21 != 0 || base >> width != 0 {
        Entry::Reserved
    } else {
        Entry::Leaf {
            base: PhysAddr::new(base),
            size: PageSize::Size4M,
        }
    }
}

/// One of the four entries PAE paging keeps in registers: 1 GiB of linear addresses each.
///
/// ```text
///  63          M M-1                 12 11 9 8   5 4 3 2 1 0
/// ┌─────────────┬──────────────────────┬────┬─────┬─┬─┬───┬─┐
/// │      0      │ page directory       │ign │  0  │C│T│ 0 │P│   M = MAXPHYADDR, C = PCD, T = PWT
/// └─────────────┴──────────────────────┴────┴─────┴─┴─┴───┴─┘
/// ```
///
/// **Spec:** SDM 3A "PDPTE Registers".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pdpte(u64);

impl Pdpte {
    /// Maps nothing.
    pub const ABSENT: Self = Self(0);

    /// Accepts `raw` unless it is present with a reserved bit set, for which loading it raises #GP(0).
    #[must_use]
    pub const fn new(raw: u64, maxphyaddr: u32) -> Option<Self> {
        const BITS_8_5_AND_2_1: u64 = 0x1e6;
        let reserved = BITS_8_5_AND_2_1 | !((1 << maxphyaddr) - 1);
        if raw & Bits::P.bits() != 0 && raw & reserved != 0 {
            None
        } else {
            Some(Self(raw))
        }
    }

    /// Base of the page directory it points at, if it is present.
    #[must_use]
    pub const fn directory(self) -> Option<PhysAddr> {
        if self.0 & Bits::P.bits() == 0 {
            None
        } else {
            Some(PhysAddr::truncate(self.0 & ADDR_51_12))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: ReservedBits = ReservedBits {
        nxe: true,
        maxphyaddr: 40,
    };

    #[test]
    fn entries_are_found_by_ten_bits_of_the_address_or_by_nine() {
        let (table, va) = (PhysAddr::new(0x1000), VirtAddr::from_u32(0xffc0_5000));
        for (format, level, offset) in [
            (Format::Bits32, Level::Pd, 4 * 0x3ff),
            (Format::Bits32Pse, Level::Pt, 4 * 0x005),
            (Format::Pae, Level::Pd, 8 * 0x1fe),
            (Format::Pae, Level::Pt, 8 * 0x005),
            (Format::FourLevel, Level::Pdpt, 8 * 0x003),
        ] {
            let at = format.entry_at(table, level, va);
            assert_eq!(at, table.add(offset), "{format:?} {level:?}");
        }
    }

    #[test]
    fn a_pde_maps_4_mib_only_under_pse_and_carries_address_bits_39_to_32() {
        let raw = 0x1240_0000 | 0xab << 13 | PS | 1;
        let leaf = Entry::Leaf {
            base: PhysAddr::new(0xab_1240_0000),
            size: PageSize::Size4M,
        };
        assert_eq!(Format::Bits32Pse.decode(raw, Level::Pd, RULES), leaf);
        let narrow = ReservedBits {
            maxphyaddr: 39,
            ..RULES
        };
        let reserved = [(raw, narrow), (raw | 1 << 21, RULES)];
        for (raw, rules) in reserved {
            let entry = Format::Bits32Pse.decode(raw, Level::Pd, rules);
            assert_eq!(entry, Entry::Reserved, "{raw:x} {rules:?}");
        }
        let table = Entry::Table {
            next: PhysAddr::new(raw & 0xffff_f000),
        };
        assert_eq!(Format::Bits32.decode(raw, Level::Pd, RULES), table);
    }

    #[test]
    fn a_pdpte_is_refused_for_each_reserved_bit_if_it_is_present() {
        for bit in 1..64 {
            let reserved = matches!(bit, 1 | 2 | 5..=8 | 40..);
            assert_eq!(
                Pdpte::new(1 << bit | 1, 40).is_none(),
                reserved,
                "bit {bit}"
            );
            assert!(Pdpte::new(1 << bit, 40).is_some(), "bit {bit} without P");
        }
    }
}
