//! Guest RAM: one host mapping, read and written through raw pointers at any width.
//!
//! One host thread owns a machine and its RAM, so accesses are plain, not atomic,
//! and take `&self`; [`Ram`] is `Send`, not `Sync`. No host pointer and no slice
//! of guest memory leaves this module.
//!
//! Guest-physical layout: RAM below [`LOW_END`] lies at its own address, except
//! for the legacy video window A0000h–BFFFFh, which is no RAM; what does not
//! fit below goes on at 4 GiB.

// UNSAFETY: turns a raw mapping into loads and stores; all other modules use `Ram`.
#![expect(unsafe_code)]

use crate::code::CodeMap;
use memmap2::{MmapMut, MmapRaw};
use x86::PhysAddr;
use x86::addr::{PAGE_BYTES, PAGE_LEN};

/// RAM below 4 GiB ends here at the latest; above lie PCI and APIC windows.
pub const LOW_END: u64 = 0xc000_0000;
/// RAM that does not fit below [`LOW_END`] starts here.
pub const HIGH_BASE: u64 = 1 << 32;
/// The legacy video window: claimed by no RAM.
pub const VIDEO: std::ops::Range<u64> = 0xa_0000..0xc_0000;
/// Most RAM a machine can have.
pub const MAX_BYTES: u64 = 64 << 30;

/// Why RAM could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RamError {
    /// The size is no multiple of 1 MiB, zero, or above [`MAX_BYTES`].
    #[error("{0} bytes of RAM: expected a multiple of 1 MiB between 2 MiB and 64 GiB")]
    Size(u64),
    /// The host refused the mapping.
    #[error("the host could not map {bytes} bytes of RAM")]
    Map {
        /// Size asked for.
        bytes: u64,
        /// What the host said.
        #[source]
        source: std::io::Error,
    },
}

/// Integers RAM can be read and written as, little-endian.
pub trait Scalar: Copy + sealed::Sealed {}

mod sealed {
    /// Every bit pattern is a value, and there is no padding.
    pub trait Sealed {}
}

macro_rules! scalars {
    ($($t:ty),*) => { $(impl Scalar for $t {} impl sealed::Sealed for $t {})* };
}
scalars!(u8, u16, u32, u64, u128);

/// Guest RAM, zeroed at start.
pub struct Ram {
    map: MmapRaw,
    len: u64,
    low_len: u64,
    code: CodeMap,
}

impl std::fmt::Debug for Ram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ram")
            .field("len_bytes", &self.len)
            .finish_non_exhaustive()
    }
}

impl Ram {
    /// Maps `bytes` of zeroed RAM; the host gives pages as they are touched.
    ///
    /// # Errors
    ///
    /// [`RamError::Size`] or [`RamError::Map`].
    pub fn new(bytes: u64) -> Result<Self, RamError> {
        if !(2 << 20..=MAX_BYTES).contains(&bytes) || !bytes.is_multiple_of(1 << 20) {
            return Err(RamError::Size(bytes));
        }
        let len = usize::try_from(bytes).map_err(|_| RamError::Size(bytes))?;
        let map = MmapMut::map_anon(len).map_err(|source| RamError::Map { bytes, source })?;
        Ok(Self {
            map: MmapRaw::from(map),
            len: bytes,
            low_len: bytes.min(LOW_END),
            code: CodeMap::new(len / PAGE_LEN),
        })
    }

    /// Size in bytes, the video window included.
    #[must_use]
    pub const fn len_bytes(&self) -> u64 {
        self.len
    }

    /// The guest-physical ranges that are RAM, ascending: `(first byte, length)`.
    #[must_use]
    pub fn ranges(&self) -> Vec<(PhysAddr, u64)> {
        let mut out = vec![
            (PhysAddr::new(0), VIDEO.start),
            (PhysAddr::new(VIDEO.end), self.low_len - VIDEO.end),
        ];
        if self.len > self.low_len {
            out.push((PhysAddr::new(HIGH_BASE), self.len - self.low_len));
        }
        out
    }

    /// Where the decoded instructions lie; for the instruction cache.
    #[must_use]
    pub const fn code(&self) -> &CodeMap {
        &self.code
    }

    /// Whether all of `len` bytes at `at` are RAM.
    #[must_use]
    pub fn contains(&self, at: PhysAddr, len: u64) -> bool {
        self.offset(at, len).is_some()
    }

    /// Index of the 4 KiB page of RAM at `at`, counted without holes, if it is RAM.
    ///
    /// This is the index [`CodeMap`] uses.
    #[must_use]
    pub fn page_index(&self, at: PhysAddr) -> Option<usize> {
        self.offset(at.frame_base(), PAGE_BYTES)
            .map(|o| o / PAGE_LEN)
    }

    /// Offset in the mapping of `len` bytes at `at`, if all of them are RAM.
    #[inline]
    fn offset(&self, at: PhysAddr, len: u64) -> Option<usize> {
        let (first, end) = (at.get(), at.get().checked_add(len)?);
        let offset = if end <= self.low_len {
            if first < VIDEO.end && end > VIDEO.start {
                return None;
            }
            first
        } else {
            let above = first.checked_sub(HIGH_BASE)?;
            if above.checked_add(len)? > self.len - self.low_len {
                return None;
            }
            self.low_len + above
        };
        usize::try_from(offset).ok()
    }

    /// Reads one integer at any alignment, or `None` if it does not lie wholly in RAM.
    #[inline]
    #[must_use]
    pub fn read<T: Scalar>(&self, at: PhysAddr) -> Option<T> {
        let offset = self.offset(at, size_of::<T>() as u64)?;
        // SAFETY: `offset` checked the bounds, so the result stays in the mapping.
        let from = unsafe { self.map.as_ptr().add(offset) };
        // SAFETY:
        // 1. Valid for `size_of::<T>()` bytes: checked by `offset`; the mapping lives as long as `self`.
        // 2. Any alignment: `read_unaligned`.
        // 3. A valid `T`: `Scalar` is sealed to integers, and the mapping is initialised (anonymous, zeroed).
        // 4. No data race: `Ram` is not `Sync` (its `CodeMap` holds cells).
        Some(unsafe { from.cast::<T>().read_unaligned() })
    }

    /// Writes one integer at any alignment; `false`, and nothing written, if it does not lie wholly in RAM.
    #[inline]
    #[must_use = "a write outside RAM is lost"]
    pub fn write<T: Scalar>(&self, at: PhysAddr, value: T) -> bool {
        let Some(offset) = self.offset(at, size_of::<T>() as u64) else {
            return false;
        };
        self.code.written(offset, size_of::<T>());
        // SAFETY: `offset` checked the bounds, so the result stays in the mapping.
        let to = unsafe { self.map.as_mut_ptr().add(offset) };
        // SAFETY: as in `read`; and no reference into the mapping exists, as none leaves this module.
        unsafe { to.cast::<T>().write_unaligned(value) };
        true
    }

    /// Fills `out` from `at`; `false`, and `out` unchanged, if not all of it is RAM.
    #[must_use = "a read outside RAM gives nothing"]
    pub fn read_bytes(&self, at: PhysAddr, out: &mut [u8]) -> bool {
        let Some(offset) = self.offset(at, out.len() as u64) else {
            return false;
        };
        // SAFETY: `offset` checked the bounds, so the result stays in the mapping.
        let from = unsafe { self.map.as_ptr().add(offset) };
        // SAFETY:
        // 1. Source valid for `out.len()` bytes: checked by `offset`.
        // 2. Destination valid: it is a slice.
        // 3. They do not overlap: no slice of the mapping exists outside this module.
        unsafe { from.copy_to_nonoverlapping(out.as_mut_ptr(), out.len()) };
        true
    }

    /// Stores `bytes` at `at`; `false`, and nothing written, if not all of it is RAM.
    #[must_use = "a write outside RAM is lost"]
    pub fn write_bytes(&self, at: PhysAddr, bytes: &[u8]) -> bool {
        let Some(offset) = self.offset(at, bytes.len() as u64) else {
            return false;
        };
        self.code.written(offset, bytes.len());
        // SAFETY: `offset` checked the bounds, so the result stays in the mapping.
        let to = unsafe { self.map.as_mut_ptr().add(offset) };
        // SAFETY: as in `read_bytes`, with the roles exchanged.
        unsafe { to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        true
    }

    /// Copies `len` bytes inside RAM as if through a buffer; `false`, and nothing
    /// written, if either range is not all RAM.
    #[must_use = "a copy outside RAM is lost"]
    pub fn copy(&self, from: PhysAddr, to: PhysAddr, len: u64) -> bool {
        let (Some(source), Some(target)) = (self.offset(from, len), self.offset(to, len)) else {
            return false;
        };
        let Ok(len) = usize::try_from(len) else {
            return false;
        };
        self.code.written(target, len);
        // SAFETY: `offset` checked the bounds, so the result stays in the mapping.
        let from = unsafe { self.map.as_ptr().add(source) };
        // SAFETY: likewise.
        let to = unsafe { self.map.as_mut_ptr().add(target) };
        // SAFETY: both ranges are in the mapping, and `copy` allows them to overlap.
        unsafe { from.copy_to(to, len) };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ram() -> Ram {
        Ram::new(4 << 20).unwrap()
    }

    #[test]
    fn integers_are_little_endian_at_any_alignment() {
        let ram = ram();
        assert!(ram.write(PhysAddr::new(0x1001), 0x1122_3344_5566_7788_u64));
        assert_eq!(ram.read::<u8>(PhysAddr::new(0x1001)), Some(0x88));
        assert_eq!(ram.read::<u16>(PhysAddr::new(0x1007)), Some(0x1122));
    }

    #[test]
    fn an_access_partly_outside_ram_does_nothing() {
        let ram = ram();
        let last = PhysAddr::new((4 << 20) - 4);
        assert!(!ram.write(last, u64::MAX));
        assert_eq!(ram.read::<u32>(last), Some(0));
        assert_eq!(ram.read::<u64>(last), None);
    }

    #[test]
    fn the_video_window_is_not_ram() {
        let ram = ram();
        assert_eq!(ram.read::<u8>(PhysAddr::new(0xa_0000)), None);
        assert_eq!(ram.read::<u16>(PhysAddr::new(0x9_ffff)), None);
        assert_eq!(ram.read::<u8>(PhysAddr::new(0xc_0000)), Some(0));
    }

    #[test]
    fn ram_above_three_gibibytes_continues_at_four() {
        let ram = Ram::new((3 << 30) + (2 << 20)).unwrap();
        assert!(ram.contains(PhysAddr::new(HIGH_BASE), 2 << 20));
        assert!(!ram.contains(PhysAddr::new(HIGH_BASE), (2 << 20) + 1));
        assert!(!ram.contains(PhysAddr::new(LOW_END), 1));
        assert!(ram.write(PhysAddr::new(HIGH_BASE + 8), 7_u8));
        assert_eq!(ram.read::<u8>(PhysAddr::new(HIGH_BASE + 8)), Some(7));
    }

    #[test]
    fn overlapping_copies_behave_as_through_a_buffer() {
        let ram = ram();
        assert!(ram.write_bytes(PhysAddr::new(0x2000), b"abcdef"));
        assert!(ram.copy(PhysAddr::new(0x2000), PhysAddr::new(0x2002), 4));
        let mut out = [0; 6];
        assert!(ram.read_bytes(PhysAddr::new(0x2000), &mut out));
        assert_eq!(&out, b"ababcd");
    }

    #[test]
    fn odd_sizes_are_refused() {
        for bad in [0, 1, (4 << 20) + 1, MAX_BYTES + (1 << 20)] {
            assert!(matches!(Ram::new(bad), Err(RamError::Size(_))), "{bad}");
        }
    }
}
