//! Guest-physical and linear addresses, never mixed.
//!
//! There is no `From<u64>`, no `Deref` and no arithmetic between the two kinds;
//! moving on by some bytes is a named method that says what happens at the edge.

use crate::paging::Level;
use core::fmt;

/// Bytes in the smallest page and in a frame.
pub const PAGE_BYTES: u64 = 4096;

/// The same as a length of host slices.
pub const PAGE_LEN: usize = 4096;

/// Widest physical address the architecture can hold in an entry, in bits.
pub const PHYS_BITS: u32 = 52;

const PHYS_MASK: u64 = (1 << PHYS_BITS) - 1;

/// A guest-physical address: what a page walk produces and a DMA engine consumes.
///
/// Unit: bytes. Range: below 2^52.
///
/// **Spec:** SDM 3A "Physical-Address Width".
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct PhysAddr(u64);

impl PhysAddr {
    /// Wraps `raw`.
    ///
    /// # Panics
    ///
    /// If `raw` needs more than 52 bits: for constants and values already masked.
    #[must_use]
    pub const fn new(raw: u64) -> Self {
        assert!(raw <= PHYS_MASK, "physical address wider than 52 bits");
        Self(raw)
    }

    /// Wraps `raw` if it fits in 52 bits: for addresses a guest wrote into a device.
    #[must_use]
    pub const fn try_new(raw: u64) -> Option<Self> {
        if raw <= PHYS_MASK {
            Some(Self(raw))
        } else {
            None
        }
    }

    /// Wraps the low 52 bits of `raw`, as an address bus of that width does.
    #[must_use]
    pub const fn truncate(raw: u64) -> Self {
        Self(raw & PHYS_MASK)
    }

    /// The raw byte address.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The address `bytes` further on; wraps at 2^52 like the bus.
    #[must_use]
    pub const fn add(self, bytes: u64) -> Self {
        Self::truncate(self.0.wrapping_add(bytes))
    }

    /// First byte of the 4 KiB frame this address lies in.
    #[must_use]
    pub const fn frame_base(self) -> Self {
        Self(self.0 & !(PAGE_BYTES - 1))
    }

    /// Number of the 4 KiB frame this address lies in (PFN).
    #[must_use]
    pub const fn pfn(self) -> u64 {
        self.0 / PAGE_BYTES
    }

    /// Offset inside the 4 KiB frame.
    #[must_use]
    pub const fn page_offset(self) -> u64 {
        self.0 % PAGE_BYTES
    }
}

impl fmt::Debug for PhysAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PA({:#x})", self.0)
    }
}

/// A linear address in canonical form (bits 63:47 all equal).
///
/// Built only by [`VirtAddr::new`] and [`VirtAddr::from_u32`], so holding one is
/// proof of canonicality.
///
/// **Spec:** SDM 1 "Canonical Addressing".
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct VirtAddr(u64);

/// The raw value was not sign-extended from bit 47; the CPU raises #GP(0) or #SS(0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NonCanonical(pub u64);

impl fmt::Display for NonCanonical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "linear address {:#x} is not canonical", self.0)
    }
}

impl VirtAddr {
    /// Accepts `raw` if it is canonical for 4-level paging.
    ///
    /// # Errors
    ///
    /// [`NonCanonical`] with the value refused.
    pub const fn new(raw: u64) -> Result<Self, NonCanonical> {
        if ((raw << 16).cast_signed() >> 16).cast_unsigned() == raw {
            Ok(Self(raw))
        } else {
            Err(NonCanonical(raw))
        }
    }

    /// A linear address made outside 64-bit mode: 32 bits, so always canonical.
    #[must_use]
    pub const fn from_u32(raw: u32) -> Self {
        Self(raw as u64)
    }

    /// The raw byte address.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Index into the table `level`: nine bits of the address.
    #[must_use]
    pub const fn index(self, level: Level) -> u64 {
        (self.0 / level.span_bytes()) & 0x1ff
    }

    /// Offset of this address inside a page of `page_bytes` bytes (a power of two).
    #[must_use]
    pub const fn offset_in(self, page_bytes: u64) -> u64 {
        self.0 & (page_bytes - 1)
    }

    /// First byte of the 4 KiB page this address lies in.
    #[must_use]
    pub const fn page_base(self) -> Self {
        Self(self.0 & !(PAGE_BYTES - 1))
    }
}

impl fmt::Debug for VirtAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VA({:#x})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sign_extended_addresses_are_canonical() {
        for good in [0, 0x7fff_ffff_ffff, 0xffff_8000_0000_0000, u64::MAX] {
            assert_eq!(VirtAddr::new(good).unwrap().get(), good);
        }
        for bad in [0x8000_0000_0000, 0xffff_7fff_ffff_ffff, 1 << 63] {
            assert_eq!(VirtAddr::new(bad), Err(NonCanonical(bad)));
        }
    }

    #[test]
    fn the_four_indices_and_the_offset_rebuild_the_address() {
        let va = VirtAddr::new(0x1234_5678_9abc).unwrap();
        let rebuilt = Level::TOP_DOWN
            .into_iter()
            .map(|l| va.index(l) * l.span_bytes())
            .sum::<u64>();
        assert_eq!(rebuilt + va.offset_in(PAGE_BYTES), va.get());
    }
}
