//! What decisions about memory need of the machine beneath.
//!
//! The kernel implements [`Hardware`] over its direct map and its shootdown
//! interrupt; the tests implement it with an ideal machine that keeps stale TLB
//! entries for as long as nobody flushes them.

use crate::frame::Frame;
use x86::{PhysAddr, VirtAddr};

/// Names an address space towards the TLBs; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpaceId(pub u64);

/// Memory as the kernel reaches it, and the TLBs.
///
/// The page walkers of other CPUs set A and D in present entries at any moment,
/// so an entry that may be in use is changed only by the three read-modify-write
/// methods, which return what they replaced.
///
/// **Spec:** SDM 3A "Accessed and Dirty Flags", "Propagation of
/// Paging-Structure Changes to Multiple Processors".
pub trait Hardware {
    /// Reads the paging-structure entry at `at` (8-byte aligned).
    fn load_entry(&self, at: PhysAddr) -> u64;

    /// Writes an entry no walker uses: the old value is not present, or the table is
    /// not yet reachable.
    fn store_entry(&mut self, at: PhysAddr, entry: u64);

    /// Replaces the entry atomically (XCHG); returns the old value.
    fn swap_entry(&mut self, at: PhysAddr, entry: u64) -> u64;

    /// Clears the bits absent from `mask`, atomically (LOCK AND); returns the old value.
    fn fetch_and_entry(&mut self, at: PhysAddr, mask: u64) -> u64;

    /// Sets `bits`, atomically (LOCK OR); returns the old value.
    fn fetch_or_entry(&mut self, at: PhysAddr, bits: u64) -> u64;

    /// Fills a frame with zeros.
    fn zero_frame(&mut self, frame: Frame);

    /// Copies a frame.
    fn copy_frame(&mut self, from: Frame, to: Frame);

    /// Returns once no CPU can use a translation of the page of `va` in `space` that
    /// was cached before the call.
    fn flush_page(&mut self, space: SpaceId, va: VirtAddr);

    /// Returns once no CPU can use a translation or a paging-structure entry of the
    /// user half of `space` that was cached before the call.
    fn flush_space(&mut self, space: SpaceId);
}
