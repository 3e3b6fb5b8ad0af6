//! The kernel's heap: one range of physical memory behind the kernel image, used
//! through the direct map.
//!
//! Being contiguous, it also serves [`crate::dma`] and the kernel's page tables;
//! the frames above it belong to `vm` and hold no Rust object.

use crate::sync::SpinLock;
use alloc::alloc::{alloc_zeroed, handle_alloc_error};
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;
use linked_list_allocator::Heap;
use x86::{PhysAddr, addr::PAGE_BYTES};

struct KernelHeap(SpinLock<Heap>);

#[global_allocator]
static HEAP: KernelHeap = KernelHeap(SpinLock::new(Heap::empty()));

// SAFETY: the list allocator hands out disjoint, aligned blocks of the range it was
// given, one call at a time because of the lock, and never unwinds.
unsafe impl GlobalAlloc for KernelHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.0
            .lock()
            .allocate_first_fit(layout)
            .map_or(core::ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if let Some(block) = NonNull::new(block) {
            // SAFETY: the caller got the block from `alloc` with this layout.
            unsafe { self.0.lock().deallocate(block, layout) };
        }
    }
}

/// Gives the heap its memory.
///
/// # Safety
///
/// `start..start + bytes` is mapped RAM that nothing else uses, ever; called once.
pub(crate) unsafe fn init(start: *mut u8, bytes: usize) {
    // SAFETY: the caller's promise.
    unsafe { HEAP.0.lock().init(start, bytes) };
}

/// Bytes nobody uses, not necessarily together.
#[must_use]
pub fn free_bytes() -> usize {
    HEAP.0.lock().free()
}

/// Takes `pages` zeroed, contiguous pages for good, if there are as many.
pub(crate) fn try_leak_pages(pages: usize) -> Option<PhysAddr> {
    // SAFETY: the layout is not empty.
    let block = unsafe { alloc_zeroed(page_layout(pages)) };
    (!block.is_null()).then(|| crate::paging::physical_of_heap(block))
}

/// Takes `pages` zeroed, contiguous pages for good, at boot.
pub(crate) fn leak_pages(pages: usize) -> PhysAddr {
    try_leak_pages(pages).unwrap_or_else(|| handle_alloc_error(page_layout(pages)))
}

/// Layout of `pages` pages.
pub(crate) fn page_layout(pages: usize) -> Layout {
    let page = usize::try_from(PAGE_BYTES).expect("64-bit addresses");
    Layout::from_size_align(pages.max(1) * page, page).expect("a few pages")
}
