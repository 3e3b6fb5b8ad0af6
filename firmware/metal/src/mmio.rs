//! Device registers in memory.
//!
//! They are reached in the direct map, through pages that [`crate::paging`] maps
//! uncached, and only through this type: aligned 32-bit accesses, never merged,
//! dropped or repeated.
//!
//! **Spec:** SDM 3A "Memory Cache Control" (strong uncacheable).

use crate::paging::DIRECT_MAP;

/// One page or more of registers at a physical address.
#[derive(Clone, Copy, Debug)]
pub struct Registers {
    base: u64,
}

impl Registers {
    /// Registers at `base`. For this crate's own constants; a driver gets its
    /// registers from [`crate::paging::map_registers`].
    pub(crate) const fn at(base: u64) -> Self {
        Self { base }
    }

    /// Reads the register at `offset`.
    #[must_use]
    pub fn read32(self, offset: u64) -> u32 {
        // SAFETY:
        // 1. Mapped: `map_registers` did it for devices, `build` for the APIC.
        // 2. Aligned: bases are page-aligned and `offset` is checked in `pointer`.
        // 3. Not RAM, so no Rust object lies there.
        unsafe { self.pointer(offset).read_volatile() }
    }

    /// Writes the register at `offset`.
    pub fn write32(self, offset: u64, value: u32) {
        // SAFETY: as in `read32`.
        unsafe { self.pointer(offset).write_volatile(value) };
    }

    fn pointer(self, offset: u64) -> *mut u32 {
        assert!(
            offset < crate::paging::REGISTER_WINDOW_BYTES && offset.is_multiple_of(4),
            "register offset {offset:#x}"
        );
        core::ptr::with_exposed_provenance_mut(
            usize::try_from(DIRECT_MAP + self.base + offset).expect("64-bit addresses"),
        )
    }
}
