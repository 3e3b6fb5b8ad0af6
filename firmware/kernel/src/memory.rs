//! The kernel's one [`Memory`], and the machine beneath it.
//!
//! Frames, rules and counters are behind one lock; each process's address space has
//! its own, taken before.
//!
//! **Spec:** SDM 3A "Propagation of Paging-Structure Changes to Multiple Processors".

use crate::smp;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::Ordering;
use metal::tlb::{self, Flush};
use metal::{BootInfo, CpuIndex, SpinLock, frames};
use vm::{Frame, FrameMeta, FrameTable, Hardware, Memory, Policy, SpaceId};
use x86::{PhysAddr, VirtAddr};

static MEMORY: SpinLock<Option<Memory<Machine>>> = SpinLock::new(None);

/// The processor's view of memory, as [`vm`] needs it.
pub(crate) struct Machine;

impl Hardware for Machine {
    #[inline]
    fn load_entry(&self, at: PhysAddr) -> u64 {
        frames::quad(at).load(Ordering::Relaxed)
    }

    fn store_entry(&mut self, at: PhysAddr, entry: u64) {
        frames::quad(at).store(entry, Ordering::Release);
    }

    fn swap_entry(&mut self, at: PhysAddr, entry: u64) -> u64 {
        frames::quad(at).swap(entry, Ordering::SeqCst)
    }

    fn fetch_and_entry(&mut self, at: PhysAddr, mask: u64) -> u64 {
        frames::quad(at).fetch_and(mask, Ordering::SeqCst)
    }

    fn fetch_or_entry(&mut self, at: PhysAddr, bits: u64) -> u64 {
        frames::quad(at).fetch_or(bits, Ordering::SeqCst)
    }

    fn zero_frame(&mut self, frame: Frame) {
        frames::zero(frame.base());
    }

    fn copy_frame(&mut self, from: Frame, to: Frame) {
        frames::copy(from.base(), to.base());
    }

    fn flush_page(&mut self, space: SpaceId, va: VirtAddr) {
        flush(space, Flush::Pages(&[va]));
    }

    fn flush_space(&mut self, space: SpaceId) {
        flush(space, Flush::Space);
    }
}

/// Drops translations here, if this CPU is in `space`, and on every CPU that is.
fn flush(space: SpaceId, what: Flush<'_>) {
    let me = CpuIndex::current();
    let holders = smp::cpus_in(space);
    if holders.contains(me) {
        tlb::flush_here(what);
    }
    tlb::shootdown(holders.without(me), what);
}

/// Puts all RAM above the kernel under management.
pub(crate) fn init(info: &BootInfo, policy: &'static Policy) {
    let frame = |at: PhysAddr| Frame::from_pfn(at.pfn()).expect("RAM ends below 16 TiB");
    let usable: Vec<Range<Frame>> = info
        .free_ram()
        .map(|ram| frame(ram.start)..frame(ram.end))
        .collect();
    let end = usable
        .iter()
        .map(|range| range.end.pfn())
        .max()
        .unwrap_or(0);
    let meta = vec![FrameMeta::RESERVED; usize::try_from(end).expect("64-bit addresses")];
    let table = FrameTable::new(meta, &usable);
    *MEMORY.lock() = Some(Memory::new(Machine, table, policy));
}

/// Runs `f` with the machine's memory.
pub(crate) fn with<R>(f: impl FnOnce(&mut Memory<Machine>) -> R) -> R {
    f(MEMORY.lock().as_mut().expect("boot calls init first"))
}
