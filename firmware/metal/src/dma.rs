//! Kernel memory that a device also reads and writes.
//!
//! Bytes are copied in and out; no reference to them exists, because the device may
//! change them at any time.
//!
//! **Spec:** SDM 3A "Memory Ordering" (bus masters are coherent with the caches).

use crate::heap::page_layout;
use crate::paging::physical_of_heap;
use alloc::alloc::{alloc_zeroed, dealloc};
use core::sync::atomic::{Ordering, fence};
use x86::{PhysAddr, addr::PAGE_BYTES};

/// Whole pages, physically contiguous, zero at first.
pub struct DmaBuffer {
    block: *mut u8,
    pages: usize,
}

// SAFETY: the buffer owns its block; all access is by raw copies.
unsafe impl Send for DmaBuffer {}
// SAFETY: likewise; `&DmaBuffer` gives no reference into the block, and racing
// copies may tear data but nothing else.
unsafe impl Sync for DmaBuffer {}

impl DmaBuffer {
    /// A buffer of at least `len_bytes`, if the heap has room.
    #[must_use]
    pub fn new(len_bytes: usize) -> Option<Self> {
        let page = usize::try_from(PAGE_BYTES).ok()?;
        let pages = len_bytes.div_ceil(page).max(1);
        // SAFETY: the layout is not empty.
        let block = unsafe { alloc_zeroed(page_layout(pages)) };
        (!block.is_null()).then_some(Self { block, pages })
    }

    /// Where the device finds it.
    #[must_use]
    pub fn physical(&self) -> PhysAddr {
        physical_of_heap(self.block)
    }

    /// Length in bytes, a multiple of the page size.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        page_layout(self.pages).size()
    }

    /// Copies bytes from `offset` on into `into`.
    ///
    /// # Panics
    ///
    /// If the range is not inside the buffer.
    pub fn read(&self, offset: usize, into: &mut [u8]) {
        let from = self.at(offset, into.len());
        fence(Ordering::SeqCst);
        // SAFETY: inside the block by `at`; `into` is a Rust object, so not in it.
        unsafe {
            core::ptr::copy_nonoverlapping(from, into.as_mut_ptr(), into.len());
        }
    }

    /// Copies `from` to `offset` and on.
    ///
    /// # Panics
    ///
    /// If the range is not inside the buffer.
    pub fn write(&self, offset: usize, from: &[u8]) {
        let into = self.at(offset, from.len());
        // SAFETY: as in `read`.
        unsafe {
            core::ptr::copy_nonoverlapping(from.as_ptr(), into, from.len());
        }
        fence(Ordering::SeqCst);
    }

    /// The byte at `offset`, the first of `len` inside the block.
    fn at(&self, offset: usize, len: usize) -> *mut u8 {
        let end = offset.checked_add(len);
        assert!(
            end.is_some_and(|end| end <= self.len_bytes()),
            "{len} bytes at {offset} of a buffer of {}",
            self.len_bytes()
        );
        self.block.wrapping_add(offset)
    }
}

impl Drop for DmaBuffer {
    fn drop(&mut self) {
        // SAFETY: `new` allocated the block with this layout, and nobody copied it.
        unsafe { dealloc(self.block, page_layout(self.pages)) };
    }
}
