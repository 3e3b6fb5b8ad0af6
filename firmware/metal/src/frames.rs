//! Bytes of physical frames, for whoever manages them.
//!
//! Only frames above the kernel's image and heap can be reached, so no access here
//! touches a Rust object: user pages and user page tables are raw memory, which
//! other CPUs and devices may change under the kernel's hands. A range outside
//! is a bug of the kernel and panics.
//!
//! **Spec:** SDM 3A "Memory Ordering"; SDM 1 "Move String Instructions".

use crate::paging::DIRECT_MAP;
use core::sync::atomic::{AtomicU64, Ordering};
use x86::{PhysAddr, addr::PAGE_BYTES};

/// First managed byte and the byte after the last one.
static BOUNDS: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

/// Says which addresses are managed frames. Once, before any other call.
pub(crate) fn set_bounds(floor: PhysAddr, ceiling: PhysAddr) {
    BOUNDS[0].store(floor.get(), Ordering::Relaxed);
    BOUNDS[1].store(ceiling.get(), Ordering::Relaxed);
}

#[inline]
fn pointer(at: PhysAddr, len_bytes: u64) -> *mut u8 {
    let [floor, ceiling] = [0, 1].map(|i| BOUNDS[i].load(Ordering::Relaxed));
    assert!(
        floor <= at.get() && at.get() <= ceiling && len_bytes <= ceiling - at.get(),
        "{len_bytes} bytes at {at:?} are not managed frames"
    );
    core::ptr::with_exposed_provenance_mut(
        usize::try_from(DIRECT_MAP + at.get()).expect("64-bit addresses"),
    )
}

/// Copies memory from `at` on into `into`.
pub fn read(at: PhysAddr, into: &mut [u8]) {
    let from = pointer(at, into.len() as u64);
    // SAFETY: both ranges are mapped, and apart: `into` is a Rust object.
    unsafe { core::ptr::copy_nonoverlapping(from, into.as_mut_ptr(), into.len()) };
}

/// Copies `from` to memory from `at` on.
pub fn write(at: PhysAddr, from: &[u8]) {
    let into = pointer(at, from.len() as u64);
    // SAFETY: as in `read`.
    unsafe { core::ptr::copy_nonoverlapping(from.as_ptr(), into, from.len()) };
}

/// Clears the frame at `base`.
pub fn zero(base: PhysAddr) {
    let into = pointer(base, PAGE_BYTES);
    // SAFETY: a whole frame, mapped; `write_bytes` is one `rep stosb`.
    unsafe { core::ptr::write_bytes(into, 0, 4096) };
}

/// Copies the frame at `from` to the frame at `to`.
pub fn copy(from: PhysAddr, to: PhysAddr) {
    assert!(from != to, "a frame is copied to itself");
    let (from, to) = (pointer(from, PAGE_BYTES), pointer(to, PAGE_BYTES));
    // SAFETY: two whole frames, mapped and apart.
    unsafe { core::ptr::copy_nonoverlapping(from, to, 4096) };
}

/// The quadword at `at`, for atomic access: page-table entries, which processors
/// also update.
///
/// # Panics
///
/// If `at` is not 8-byte aligned or not managed.
#[must_use]
#[inline]
pub fn quad(at: PhysAddr) -> &'static AtomicU64 {
    assert!(at.get().is_multiple_of(8), "misaligned quadword at {at:?}");
    let pointer = pointer(at, 8);
    // SAFETY: mapped for good, aligned by the check; every access to entries is
    // atomic on both sides, the processor's being locked.
    unsafe { AtomicU64::from_ptr(pointer.cast()) }
}
