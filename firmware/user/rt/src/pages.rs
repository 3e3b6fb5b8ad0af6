//! Page-aligned memory from `mmap`, and bytes that others may change meanwhile.
//!
//! Neighbours: [`crate::file`] and [`crate::queue`] transfer to and from such bytes,
//! [`crate::flags`] puts words into a shared page, [`crate::thread`] takes its stacks
//! from here.
//!
//! A device, a thread or a process on the other side of a shared mapping may write these
//! bytes at any time. So they are atomics, never `u8`s: looking twice at one may give
//! two answers, and the compiler must not assume otherwise.
//!
//! Not modelled: mappings of files, wished addresses, guard pages.
//!
//! **Spec:** Linux man-pages, mmap(2), madvise(2).

// UNSAFETY: a mapping becomes a slice, and is taken away again.
#![expect(unsafe_code)]

use core::sync::atomic::{AtomicU8, Ordering};

use guest_abi::syscall::{
    MADV_DOFORK, MADV_DONTFORK, MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE, PageInfo,
};

use crate::errno::Errno;
use crate::sys;

/// Bytes of a page.
pub const PAGE_BYTES: usize = 4096;

/// Who sees stores to a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// This process only: `fork` gives the child a copy, made when one of the two stores.
    Private,
    /// This process and all children forked later.
    Shared,
}

/// What may be done with a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Loads only: a store ends the process with SIGSEGV.
    Read,
    /// Loads and stores.
    ReadWrite,
}

/// What children get of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForkAdvice {
    /// Nothing: the child has a hole there (`MADV_DONTFORK`).
    DontFork,
    /// The ordinary copy (`MADV_DOFORK`).
    DoFork,
}

/// Whole pages of anonymous memory, zero at first, unmapped when dropped.
#[derive(Debug)]
pub struct Pages {
    /// Handed out for the lifetime of `self` only, unless leaked.
    bytes: &'static [AtomicU8],
}

impl Pages {
    /// Maps `npages` pages.
    ///
    /// # Errors
    ///
    /// What `mmap` returns.
    pub fn map(npages: usize, sharing: Sharing, protection: Protection) -> Result<Self, Errno> {
        let prot = match protection {
            Protection::Read => PROT_READ,
            Protection::ReadWrite => PROT_READ | PROT_WRITE,
        };
        let flags = match sharing {
            Sharing::Private => MAP_PRIVATE,
            Sharing::Shared => MAP_SHARED,
        };
        let len = npages * PAGE_BYTES;
        let start = sys::mmap(len, prot, flags)?;
        // SAFETY:
        // 1. `start` begins a fresh mapping of `len` readable bytes; alignment of a byte is 1.
        // 2. It stays mapped until `drop`, which gives the slice up first.
        // 3. Shared access is allowed to atomics; a store to read-only pages is a fault that
        //    ends the process, not a wrong value.
        let bytes = unsafe { core::slice::from_raw_parts(start.as_ptr(), len) };
        Ok(Self { bytes })
    }

    /// Maps private, writable pages: the usual kind.
    ///
    /// # Errors
    ///
    /// What `mmap` returns.
    pub fn private(npages: usize) -> Result<Self, Errno> {
        Self::map(npages, Sharing::Private, Protection::ReadWrite)
    }

    /// Maps writable pages that are shared with children.
    ///
    /// # Errors
    ///
    /// What `mmap` returns.
    pub fn shared(npages: usize) -> Result<Self, Errno> {
        Self::map(npages, Sharing::Shared, Protection::ReadWrite)
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[AtomicU8] {
        self.bytes
    }

    /// Keeps the pages mapped until the process ends, for transfers and threads that
    /// outlive the caller.
    #[must_use]
    pub fn leak(self) -> &'static [AtomicU8] {
        let bytes = self.bytes;
        core::mem::forget(self);
        bytes
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: `bytes` is the whole mapping, and no slice of it outlives `self`.
        unsafe { sys::munmap(self.bytes) }.expect("munmap of a whole mapping");
    }
}

/// Sets what children get of the pages of `bytes`.
///
/// # Errors
///
/// What `madvise` returns; `EINVAL` if `bytes` does not start at a page.
pub fn advise_fork(bytes: &[AtomicU8], advice: ForkAdvice) -> Result<(), Errno> {
    sys::madvise(
        bytes,
        match advice {
            ForkAdvice::DontFork => MADV_DONTFORK,
            ForkAdvice::DoFork => MADV_DOFORK,
        },
    )
}

/// What the kernel knows of the page that `byte` is in.
///
/// # Errors
///
/// What `pagemap` returns.
pub fn page_info(byte: &AtomicU8) -> Result<PageInfo, Errno> {
    sys::pagemap(byte)
}

/// The linear address of the first byte.
#[must_use]
pub fn address(bytes: &[AtomicU8]) -> u64 {
    bytes.as_ptr().expose_provenance() as u64
}

/// Stores `value` to each byte.
pub fn fill(bytes: &[AtomicU8], value: u8) {
    for byte in bytes {
        byte.store(value, Ordering::Relaxed);
    }
}

/// Copies `from` to `to`, which is as long.
pub fn copy(from: &[AtomicU8], to: &[AtomicU8]) {
    assert_eq!(from.len(), to.len(), "copy between ranges of one length");
    for (source, target) in from.iter().zip(to) {
        target.store(source.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

/// Whether all bytes hold `value`.
#[must_use]
pub fn all(bytes: &[AtomicU8], value: u8) -> bool {
    bytes
        .iter()
        .all(|byte| byte.load(Ordering::Relaxed) == value)
}

/// Whether some byte holds `value`.
#[must_use]
pub fn any(bytes: &[AtomicU8], value: u8) -> bool {
    bytes
        .iter()
        .any(|byte| byte.load(Ordering::Relaxed) == value)
}

/// Whether both hold the same bytes.
#[must_use]
pub fn equal(left: &[AtomicU8], right: &[AtomicU8]) -> bool {
    left.len() == right.len()
        && left
            .iter()
            .zip(right)
            .all(|(a, b)| a.load(Ordering::Relaxed) == b.load(Ordering::Relaxed))
}
