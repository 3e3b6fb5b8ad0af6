//! A page-table entry that maps a user page.
//!
//! Bits 11:9 are left to software by the manual and to later by us.
//!
//! **Spec:** SDM 3A "4-Level Paging and 5-Level Paging", "Format of a Page-Table Entry
//! that Maps a 4-KByte Page".

use crate::area::Prot;
use crate::frame::Frame;
use x86::Bits;
use x86::paging::ADDR_51_12;

/// An entry of a page table, as read or as to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pte(pub u64);

impl Pte {
    /// No page.
    pub const NONE: Self = Self(0);

    /// Maps `frame` to user mode with the rights of `prot`; EFER.NXE is on.
    ///
    /// A is set, as it is about to be used, and so is D where it may be written:
    /// both spare the walker a locked update.
    #[must_use]
    pub fn user(frame: Frame, prot: Prot) -> Self {
        let mut bits = Bits::P | Bits::US | Bits::A;
        bits.set(Bits::RW | Bits::D, prot.write);
        bits.set(Bits::XD, !prot.exec);
        Self(frame.base().get() | bits.bits())
    }

    /// Whether the entry maps a page.
    #[must_use]
    pub const fn is_present(self) -> bool {
        self.0 & Bits::P.bits() != 0
    }

    /// Whether user mode may write the page.
    #[must_use]
    pub const fn is_writable(self) -> bool {
        self.0 & Bits::RW.bits() != 0
    }

    /// The frame a present entry maps.
    #[must_use]
    pub fn frame(self) -> Frame {
        Frame::from_pfn((self.0 & ADDR_51_12) >> 12)
            .expect("entries are made from frames below 16 TiB")
    }

    /// The entry without `bits`.
    #[must_use]
    pub const fn without(self, bits: Bits) -> Self {
        Self(self.0 & !bits.bits())
    }
}
