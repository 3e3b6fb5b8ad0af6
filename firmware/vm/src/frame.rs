//! Physical frames: who holds them, and which are free.
//!
//! One [`FrameMeta`] per frame, in storage the caller provides. Free frames form a
//! list through their own metadata, last freed first taken. A frame in use carries
//! Linux's two numbers: *refcount* counts every reason not to free it, *mapcount*
//! the page-table entries that map it, and what is left between the two is GUP's.
//!
//! Not modelled: the references Linux takes for moments (LRU batches, reclaim);
//! here `refcount` differs from `mapcount` for page tables and for GUP only.

use alloc::vec::Vec;
use core::ops::Range;
use x86::PhysAddr;
use x86::addr::PAGE_BYTES;

/// Number of a 4 KiB frame of physical memory (PFN).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frame(u32);

impl Frame {
    /// The frame numbered `pfn`, if it lies below 16 TiB.
    #[must_use]
    pub fn from_pfn(pfn: u64) -> Option<Self> {
        u32::try_from(pfn).ok().map(Self)
    }

    /// The frame number.
    #[must_use]
    pub const fn pfn(self) -> u64 {
        self.0 as u64
    }

    /// First byte of the frame.
    #[must_use]
    pub const fn base(self) -> PhysAddr {
        PhysAddr::new(self.pfn() * PAGE_BYTES)
    }

    const fn index(self) -> usize {
        self.0 as usize
    }
}

/// No frame is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

/// What is known of one frame. The caller makes the storage with
/// [`FrameMeta::RESERVED`] and does not look inside.
#[derive(Clone, Copy, Debug)]
pub struct FrameMeta(State);

impl FrameMeta {
    /// A frame the allocator never hands out: a hole, the kernel image, a device.
    pub const RESERVED: Self = Self(State::Reserved);
}

#[derive(Clone, Copy, Debug)]
enum State {
    Reserved,
    Free { next: Option<Frame> },
    Used(Used),
}

/// A frame in use. `mapcount + pins <= refcount`, and `refcount > 0`.
///
/// The counts are 64 bits wide because a count that can be made to overflow is a
/// use-after-free; at one reference per nanosecond these last five centuries.
#[derive(Clone, Copy, Debug)]
struct Used {
    refcount: u64,
    mapcount: u64,
    /// References that GUP holds. For accounting: rules do not see it, as
    /// kernels of the time had no such number.
    pins: u64,
    /// PG_gup.
    gup: bool,
}

/// What the rules may know of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameState {
    /// References: one per entry that maps the frame, one per GUP.
    pub refcount: u64,
    /// Entries that map the frame.
    pub mapcount: u64,
    /// PG_gup: GUP took a reference at some time since the frame was allocated.
    pub gup: bool,
}

/// All frames of the machine.
#[derive(Debug)]
pub struct FrameTable {
    meta: Vec<FrameMeta>,
    first_free: Option<Frame>,
    total: u64,
    free: u64,
    pinned: u64,
    marked: u64,
}

impl FrameTable {
    /// Manages the frames of `usable`; `meta[n]` is for frame `n`, and what lies
    /// beyond the end of `meta` is left alone.
    #[must_use]
    pub fn new(meta: Vec<FrameMeta>, usable: &[Range<Frame>]) -> Self {
        let mut table = Self {
            meta,
            first_free: None,
            total: 0,
            free: 0,
            pinned: 0,
            marked: 0,
        };
        for range in usable.iter().rev() {
            table.add_range(range);
        }
        table.total = table.free;
        table
    }

    /// Last first, so that frames are handed out in ascending order.
    fn add_range(&mut self, range: &Range<Frame>) {
        for n in (range.start.0..range.end.0).rev() {
            let reserved = self.meta.get(n as usize).map(|m| &m.0);
            if let Some(State::Reserved) = reserved {
                self.push_free(Frame(n));
            }
        }
    }

    fn push_free(&mut self, frame: Frame) {
        self.meta[frame.index()].0 = State::Free {
            next: self.first_free.replace(frame),
        };
        self.free += 1;
    }

    /// Frames under management.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Frames on the free list.
    #[must_use]
    pub fn free(&self) -> u64 {
        self.free
    }

    /// Frames that GUP holds references on, now.
    #[must_use]
    pub fn pinned(&self) -> u64 {
        self.pinned
    }

    /// Frames in use that bear PG_gup. While there are none, no rule can ask
    /// fork for a copy.
    #[must_use]
    pub fn marked(&self) -> u64 {
        self.marked
    }

    /// Takes a free frame: refcount 1, mapcount 0, contents unspecified.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`] if none is free.
    pub fn alloc(&mut self) -> Result<Frame, OutOfMemory> {
        let frame = self.first_free.ok_or(OutOfMemory)?;
        let meta = &mut self.meta[frame.index()].0;
        let State::Free { next } = *meta else {
            unreachable!("{frame:?} is on the free list and not free");
        };
        *meta = State::Used(Used {
            refcount: 1,
            mapcount: 0,
            pins: 0,
            gup: false,
        });
        self.first_free = next;
        self.free -= 1;
        Ok(frame)
    }

    /// Takes one more reference.
    pub fn get(&mut self, frame: Frame) {
        self.used(frame).refcount += 1;
    }

    /// Drops a reference; with the last one the frame is free and PG_gup forgotten.
    pub fn put(&mut self, frame: Frame) {
        let used = self.used(frame);
        used.refcount -= 1;
        if used.refcount == 0 {
            debug_assert!(used.mapcount == 0 && used.pins == 0);
            let marked = used.gup;
            self.marked -= u64::from(marked);
            self.push_free(frame);
        }
    }

    /// Counts an entry that now maps the frame; its reference is the caller's.
    pub fn add_rmap(&mut self, frame: Frame) {
        let used = self.used(frame);
        used.mapcount += 1;
        debug_assert!(used.mapcount + used.pins <= used.refcount);
    }

    /// Counts an entry that no longer maps the frame; its reference goes back to
    /// the caller.
    pub fn remove_rmap(&mut self, frame: Frame) {
        self.used(frame).mapcount -= 1;
    }

    /// Takes a reference for GUP.
    pub fn pin(&mut self, frame: Frame) {
        let used = self.used(frame);
        used.refcount += 1;
        used.pins += 1;
        let first = used.pins == 1;
        self.pinned += u64::from(first);
    }

    /// Drops a reference of GUP.
    pub fn unpin(&mut self, frame: Frame) {
        let used = self.used(frame);
        used.pins -= 1;
        let last = used.pins == 0;
        self.pinned -= u64::from(last);
        self.put(frame);
    }

    /// Sets PG_gup, which stays until the frame is freed.
    pub fn set_gup(&mut self, frame: Frame) {
        let was_set = core::mem::replace(&mut self.used(frame).gup, true);
        self.marked += u64::from(!was_set);
    }

    /// What the rules may know of a frame in use.
    #[must_use]
    pub fn state(&self, frame: Frame) -> FrameState {
        let State::Used(used) = self.meta[frame.index()].0 else {
            unreachable!("{frame:?} is asked for its counts and not in use");
        };
        FrameState {
            refcount: used.refcount,
            mapcount: used.mapcount,
            gup: used.gup,
        }
    }

    fn used(&mut self, frame: Frame) -> &mut Used {
        match &mut self.meta[frame.index()].0 {
            State::Used(used) => used,
            other => unreachable!("{frame:?} is {other:?}, not in use"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(storage_len: usize, usable: &[(u32, u32)]) -> FrameTable {
        let usable: Vec<_> = usable
            .iter()
            .map(|&(start, end)| Frame(start)..Frame(end))
            .collect();
        FrameTable::new(vec![FrameMeta::RESERVED; storage_len], &usable)
    }

    #[test]
    fn only_usable_frames_with_storage_are_handed_out_each_once() {
        let mut table = table(8, &[(2, 4), (6, 99), (3, 4)]);
        assert_eq!((table.total(), table.free()), (4, 4));
        let taken: Vec<_> = (0..4).map(|_| table.alloc().unwrap().pfn()).collect();
        assert_eq!(taken, [2, 6, 7, 3]);
        assert_eq!(table.alloc(), Err(OutOfMemory));
        assert_eq!((table.total(), table.free()), (4, 0));
    }

    #[test]
    fn a_frame_is_free_only_after_its_last_reference_whoever_holds_it() {
        let mut table = table(4, &[(1, 2)]);
        let frame = table.alloc().unwrap();
        table.add_rmap(frame);
        table.pin(frame);
        table.set_gup(frame);
        table.remove_rmap(frame);
        table.put(frame);
        assert_eq!((table.free(), table.pinned(), table.marked()), (0, 1, 1));
        table.unpin(frame);
        assert_eq!((table.free(), table.pinned(), table.marked()), (1, 0, 0));
    }

    #[test]
    fn a_new_owner_finds_neither_counts_nor_mark_of_the_old_one() {
        let mut table = table(4, &[(1, 2)]);
        let frame = table.alloc().unwrap();
        table.set_gup(frame);
        table.put(frame);
        assert_eq!(table.alloc(), Ok(frame));
        let fresh = FrameState {
            refcount: 1,
            mapcount: 0,
            gup: false,
        };
        assert_eq!(table.state(frame), fresh);
    }

    #[test]
    fn frame_numbers_end_at_16_tib() {
        assert_eq!(Frame::from_pfn(1 << 32), None);
        let last = Frame::from_pfn(u64::from(u32::MAX)).unwrap();
        assert_eq!(last.base().get(), (16 << 40) - PAGE_BYTES);
    }
}
