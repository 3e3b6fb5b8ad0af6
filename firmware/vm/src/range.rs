//! Ranges of user pages: holding one is proof that it lies in the user half.

use crate::frame::OutOfMemory;
use guest_abi::syscall::errno;
use x86::VirtAddr;
use x86::addr::PAGE_BYTES;

/// End of the user half. The last page below 2^47 is left out: a SYSCALL in its last
/// bytes would return to a non-canonical address, which SYSRET takes badly.
pub const USER_END: u64 = (1 << 47) - PAGE_BYTES;

/// Why a mapping call is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// EINVAL: not page-aligned, empty, or outside the user half.
    Invalid,
    /// ENOMEM: no frame, no room in the address space, too many areas, or a hole
    /// where the call wants none.
    NoMemory,
}

impl MapError {
    /// The positive errno value.
    #[must_use]
    pub const fn errno(self) -> i64 {
        match self {
            Self::Invalid => errno::EINVAL,
            Self::NoMemory => errno::ENOMEM,
        }
    }
}

impl From<OutOfMemory> for MapError {
    fn from(OutOfMemory: OutOfMemory) -> Self {
        Self::NoMemory
    }
}

/// A half-open range of whole pages below [`USER_END`]; not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRange {
    start: u64,
    end: u64,
}

impl PageRange {
    /// All of the user half.
    pub const USER: Self = Self {
        start: 0,
        end: USER_END,
    };

    /// The pages of the `len_bytes` bytes from `start`; the last one may be used in part.
    ///
    /// # Errors
    ///
    /// [`MapError::Invalid`] if `start` is not page-aligned, `len_bytes` is zero, or
    /// the range leaves the user half.
    pub fn new(start: VirtAddr, len_bytes: u64) -> Result<Self, MapError> {
        let start = start.get();
        let end = start
            .checked_add(len_bytes)
            .and_then(|end| end.checked_next_multiple_of(PAGE_BYTES))
            .ok_or(MapError::Invalid)?;
        let aligned = start.is_multiple_of(PAGE_BYTES);
        if aligned && len_bytes > 0 && end <= USER_END {
            Ok(Self { start, end })
        } else {
            Err(MapError::Invalid)
        }
    }

    /// The pages from `start` up to `end`, both page-aligned, if there are any and they are
    /// all in the user half.
    pub(crate) fn between(start: u64, end: u64) -> Option<Self> {
        debug_assert!(start.is_multiple_of(PAGE_BYTES) && end.is_multiple_of(PAGE_BYTES));
        (start < end && end <= USER_END).then_some(Self { start, end })
    }

    /// First byte.
    #[must_use]
    pub fn start(self) -> VirtAddr {
        user(self.start)
    }

    /// The byte after the last, as a number.
    #[must_use]
    pub const fn end(self) -> u64 {
        self.end
    }

    /// Number of pages.
    #[must_use]
    pub const fn npages(self) -> u64 {
        (self.end - self.start) / PAGE_BYTES
    }

    /// Whether the byte at `va` is inside.
    #[must_use]
    pub const fn contains(self, va: VirtAddr) -> bool {
        self.start <= va.get() && va.get() < self.end
    }

    /// The pages in both, if there are any.
    #[must_use]
    pub fn intersect(self, other: Self) -> Option<Self> {
        Self::between(self.start.max(other.start), self.end.min(other.end))
    }

    /// The pages, ascending.
    pub fn pages(self) -> impl Iterator<Item = VirtAddr> {
        (0..self.npages()).map(move |n| user(self.start + n * PAGE_BYTES))
    }
}

fn user(raw: u64) -> VirtAddr {
    VirtAddr::new(raw).expect("addresses below 2^47 are canonical")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_whole_user_pages_or_nothing() {
        let kernel = 0xffff_8000_0000_0000;
        for (start, len_bytes, npages) in [
            (0x1000, 1, Some(1)),
            (0x1000, 4096, Some(1)),
            (0x1000, 4097, Some(2)),
            (USER_END - 4096, 4096, Some(1)),
            (USER_END - 4096, 4097, None),
            (USER_END, 1, None),
            (0x1000, 0, None),
            (0x1001, 4096, None),
            (0x1000, u64::MAX, None),
            (0x1000, u64::MAX - 0x1000, None),
            (kernel, 4096, None),
        ] {
            let range = PageRange::new(VirtAddr::new(start).unwrap(), len_bytes);
            let got = range.map(PageRange::npages);
            let expected = npages.ok_or(MapError::Invalid);
            assert_eq!(got, expected, "{start:#x} {len_bytes:#x}");
        }
    }

    #[test]
    fn refusals_become_the_errno_of_linux() {
        assert_eq!(MapError::Invalid.errno(), errno::EINVAL);
        assert_eq!(MapError::NoMemory.errno(), errno::ENOMEM);
    }
}
