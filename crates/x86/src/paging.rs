//! Paging-structure entries: the bits in memory and what they mean at each level.
//!
//! ```text
//!  63  62  59 58     52 51                 12 11 9 8 7 6 5 4 3 2 1 0
//! ┌───┬──────┬─────────┬─────────────────────┬────┬─┬─┬─┬─┬─┬─┬─┬─┬─┐
//! │XD │ key  │ ignored │ frame or next table │ign │G│S│D│A│C│T│U│W│P│   S = PS (levels 2-4), PAT (level 1)
//! └───┴──────┴─────────┴─────────────────────┴────┴─┴─┴─┴─┴─┴─┴─┴─┴─┘   C = PCD, T = PWT
//! ```
//!
//! Bits MAXPHYADDR..51 of the address field are reserved. That is 4-level paging; how the
//! entries of 32-bit and PAE paging differ says [`format`](mod@format). Not modelled: 5-level paging.
//!
//! **Spec:** SDM 3A "4-Level Paging and 5-Level Paging", tables "Format of a … Entry".

pub mod format;

pub use format::Format;

use crate::addr::PhysAddr;
use bitflags::bitflags;

bitflags! {
    /// Entry bits that mean the same at every level.
    ///
    /// Bit 7 is absent on purpose: it is PS above level 1 and PAT at level 1,
    /// and only [`Entry::decode`], which knows the level, may read it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Bits: u64 {
        /// Present.
        const P = 1 << 0;
        /// R/W: writes allowed.
        const RW = 1 << 1;
        /// U/S: user-mode accesses allowed.
        const US = 1 << 2;
        /// Page-level write-through.
        const PWT = 1 << 3;
        /// Page-level cache disable.
        const PCD = 1 << 4;
        /// Accessed.
        const A = 1 << 5;
        /// Dirty; defined for leaves, ignored elsewhere.
        const D = 1 << 6;
        /// Global; defined for leaves while CR4.PGE = 1, ignored elsewhere.
        const G = 1 << 8;
        /// Execute-disable; reserved while EFER.NXE = 0.
        const XD = 1 << 63;
    }
}

/// Bit 7 of an entry above level 1: maps a large page.
pub const PS: u64 = 1 << 7;

/// The address field of an entry, before MAXPHYADDR is taken into account.
pub const ADDR_51_12: u64 = 0x000f_ffff_ffff_f000;

/// Entries in one table.
pub const ENTRIES: u64 = 512;

/// The four tables of 4-level paging; the number is how many are left to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// Page table: entries map 4 KiB.
    Pt = 1,
    /// Page directory: an entry covers 2 MiB.
    Pd = 2,
    /// Page-directory-pointer table: an entry covers 1 GiB.
    Pdpt = 3,
    /// The table CR3 points at: an entry covers 512 GiB.
    Pml4 = 4,
}

impl Level {
    /// The order of a walk.
    pub const TOP_DOWN: [Self; 4] = [Self::Pml4, Self::Pdpt, Self::Pd, Self::Pt];

    /// Bytes of linear address space one entry of this table covers.
    #[must_use]
    pub const fn span_bytes(self) -> u64 {
        1 << (12 + 9 * (self as u64 - 1))
    }

    /// The table an entry of this one points at, if it is not the last.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        match self {
            Self::Pml4 => Some(Self::Pdpt),
            Self::Pdpt => Some(Self::Pd),
            Self::Pd => Some(Self::Pt),
            Self::Pt => None,
        }
    }
}

/// Sizes a leaf can map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PageSize {
    /// 4 KiB, mapped by a PTE.
    Size4K,
    /// 2 MiB, mapped by a PDE with PS = 1.
    Size2M,
    /// 4 MiB, mapped by a PDE of 32-bit paging with PS = 1.
    Size4M,
    /// 1 GiB, mapped by a PDPTE with PS = 1.
    Size1G,
}

impl PageSize {
    /// Length in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Size4K => Level::Pt.span_bytes(),
            Self::Size2M => Level::Pd.span_bytes(),
            Self::Size4M => 2 * Level::Pd.span_bytes(),
            Self::Size1G => Level::Pdpt.span_bytes(),
        }
    }
}

/// The protection key of a user page: bits 62:59 of the entry that maps it.
///
/// **Spec:** SDM 3A "Protection Keys".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ProtectionKey(u8);

impl ProtectionKey {
    /// Number of keys there are.
    pub const COUNT: u8 = 16;

    /// Key number `n`.
    ///
    /// # Panics
    ///
    /// If `n` is 16 or more.
    #[must_use]
    pub const fn new(n: u8) -> Self {
        assert!(n < Self::COUNT, "there are 16 protection keys");
        Self(n)
    }

    /// The key in the entry `raw`.
    #[must_use]
    pub const fn of_entry(raw: u64) -> Self {
        Self((raw >> 59 & 0xf) as u8)
    }

    /// Its number, below 16.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

/// Which of the eight fields of IA32_PAT tells a page's memory type: 4·PAT + 2·PCD + PWT.
///
/// **Spec:** SDM 3A "Memory Typing When the PAT is Supported".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PatIndex(u8);

impl PatIndex {
    /// Field 0.
    pub const ZERO: Self = Self(0);

    /// The field that the entry `raw`, which maps a page of `size`, selects.
    #[must_use]
    pub const fn of_leaf(raw: u64, size: PageSize) -> Self {
        let pat = match size {
            PageSize::Size4K => raw & 1 << 7,
            _ => raw & 1 << 12,
        };
        let pwt_pcd = (raw >> 3 & 3) as u8;
        Self(if pat == 0 { pwt_pcd } else { pwt_pcd | 4 })
    }

    /// Its number, below 8.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// PWT of the entry.
    #[must_use]
    pub const fn pwt(self) -> bool {
        self.0 & 1 != 0
    }

    /// PCD of the entry.
    #[must_use]
    pub const fn pcd(self) -> bool {
        self.0 & 2 != 0
    }

    /// PAT of the entry: bit 7 of a PTE, bit 12 of an entry that maps a larger page.
    #[must_use]
    pub const fn pat(self) -> bool {
        self.0 & 4 != 0
    }
}

/// What decides whether a bit of an entry is reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReservedBits {
    /// EFER.NXE: while clear, XD is reserved.
    pub nxe: bool,
    /// MAXPHYADDR of the processor: address bits at and above it are reserved.
    pub maxphyaddr: u32,
}

/// What one entry tells the walker, given the table it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// P = 0: no translation, and every other bit belongs to software.
    NotPresent,
    /// P = 1 and a reserved bit is set: #PF with RSVD.
    Reserved,
    /// Points at the table one level down.
    Table {
        /// Base of the next table.
        next: PhysAddr,
    },
    /// Maps a page.
    Leaf {
        /// First byte of the page.
        base: PhysAddr,
        /// Its size.
        size: PageSize,
    },
}

impl Entry {
    /// Decodes `raw` as read from the table `level`.
    #[must_use]
    pub const fn decode(raw: u64, level: Level, rules: ReservedBits) -> Self {
        if raw & Bits::P.bits() == 0 {
            return Self::NotPresent;
        }
        let leaf = match level {
            Level::Pt => Some(PageSize::Size4K),
            Level::Pd if raw & PS != 0 => Some(PageSize::Size2M),
            Level::Pdpt if raw & PS != 0 => Some(PageSize::Size1G),
            _ => None,
        };
        if raw & Self::reserved(level, leaf, rules) != 0 {
            return Self::Reserved;
        }
        match leaf {
            Some(size) => Self::Leaf {
                base: PhysAddr::new(raw & ADDR_51_12 & !(size.bytes() - 1)),
                size,
            },
            None => Self::Table {
                next: PhysAddr::new(raw & ADDR_51_12),
            },
        }
    }

    const fn reserved(level: Level, leaf: Option<PageSize>, rules: ReservedBits) -> u64 {
        let above_maxphyaddr = ADDR_51_12 & !((1 << rules.maxphyaddr) - 1);
        let xd = if rules.nxe { 0 } else { Bits::XD.bits() };
        let by_size = match (level, leaf) {
            (Level::Pml4, _) => PS,
            // A large page leaves address bits below its size reserved, save PAT at bit 12.
            (_, Some(size)) => (size.bytes() - 1) & ADDR_51_12 & !(1 << 12),
            _ => 0,
        };
        above_maxphyaddr | xd | by_size
    }
}
