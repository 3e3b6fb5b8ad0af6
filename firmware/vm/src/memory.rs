//! What every operation needs: the machine, the frames, the rules, the counters.

use crate::frame::{Frame, FrameTable, OutOfMemory};
use crate::hardware::{Hardware, SpaceId};
use crate::policy::Policy;

/// What the kernel reports of its memory management, since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Pages copied by write faults.
    pub cow_copies: u64,
    /// Write faults that made the page writable where it was.
    pub reuses: u64,
    /// Pages copied by fork.
    pub fork_copies: u64,
    /// Pages allocated at first touch.
    pub demand_zero: u64,
    /// Faults that found nothing left to do: another thread was faster, or the TLB
    /// entry was older than the page table.
    pub spurious: u64,
}

/// The machine's memory and the rules it is managed by; one per kernel.
#[derive(Debug)]
pub struct Memory<H> {
    /// The machine beneath.
    pub hw: H,
    /// Its frames.
    pub frames: FrameTable,
    /// The rules in force.
    pub policy: &'static Policy,
    /// What has been done so far.
    pub stats: Stats,
    next_space: u64,
}

impl<H: Hardware> Memory<H> {
    /// Puts the parts together.
    pub fn new(hw: H, frames: FrameTable, policy: &'static Policy) -> Self {
        Self {
            hw,
            frames,
            policy,
            stats: Stats::default(),
            next_space: 1,
        }
    }

    /// Takes a free frame and fills it with zeros.
    pub(crate) fn alloc_zeroed(&mut self) -> Result<Frame, OutOfMemory> {
        let frame = self.frames.alloc()?;
        self.hw.zero_frame(frame);
        Ok(frame)
    }

    pub(crate) fn new_space_id(&mut self) -> SpaceId {
        let id = SpaceId(self.next_space);
        self.next_space += 1;
        id
    }
}
