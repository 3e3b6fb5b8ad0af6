//! Processes on the model machine, and what must hold after every step.

use crate::model::{Model, Running};
use crate::*;
use std::collections::{BTreeMap, BTreeSet};
use x86::addr::PAGE_BYTES;
use x86::fault::Access;
use x86::paging::ADDR_51_12;
use x86::{Bits, Level, PfErrorCode, PhysAddr, VirtAddr};

pub(super) const CPUS: usize = 2;
pub(super) const KERNEL_ENTRY: u64 = 0x7_0063;

pub(super) fn va(raw: u64) -> VirtAddr {
    VirtAddr::new(raw).unwrap()
}

pub(super) fn frame(pfn: u64) -> Frame {
    Frame::from_pfn(pfn).unwrap()
}

/// References a device holds.
#[derive(Clone, Debug)]
pub(super) struct Pin {
    pub(super) frames: Vec<Frame>,
}

pub(super) struct World {
    pub(super) mem: Memory<Model>,
    pub(super) spaces: BTreeMap<usize, AddressSpace>,
    pub(super) pins: Vec<Pin>,
    /// Frames the test itself has taken out of the allocator.
    pub(super) hoard: Vec<Frame>,
    next_pid: usize,
}

impl World {
    /// A machine with `nframes` usable frames behind a hole of 8, and no process.
    pub(super) fn new(policy: &str, nframes: u64) -> Self {
        Self::under(Policy::by_name(policy).unwrap(), nframes)
    }

    /// The same under rules that may have no name.
    pub(super) fn under(policy: &'static Policy, nframes: u64) -> Self {
        let end = 8 + nframes;
        let storage_len = usize::try_from(end).unwrap();
        let meta = vec![FrameMeta::RESERVED; storage_len];
        let frames = FrameTable::new(meta, &[frame(8)..frame(end)]);
        Self {
            mem: Memory::new(Model::new(storage_len, CPUS), frames, policy),
            spaces: BTreeMap::new(),
            pins: Vec::new(),
            hoard: Vec::new(),
            next_pid: 1,
        }
    }

    pub(super) fn spawn(&mut self) -> usize {
        let space = AddressSpace::new(&mut self.mem, &[KERNEL_ENTRY; 256]).unwrap();
        self.adopt(space)
    }

    pub(super) fn adopt(&mut self, space: AddressSpace) -> usize {
        let pid = self.next_pid;
        self.next_pid += 1;
        self.spaces.insert(pid, space);
        pid
    }

    pub(super) fn try_mmap(
        &mut self,
        pid: usize,
        at: u64,
        npages: u64,
        prot: Prot,
        sharing: Sharing,
    ) -> Result<VirtAddr, MapError> {
        let place = Placement::Fixed(va(at));
        let space = self.spaces.get_mut(&pid).unwrap();
        space.mmap(&mut self.mem, place, npages * PAGE_BYTES, prot, sharing)
    }

    pub(super) fn mmap(&mut self, pid: usize, at: u64, npages: u64, sharing: Sharing) {
        self.try_mmap(pid, at, npages, Prot::READ_WRITE, sharing)
            .unwrap();
    }

    pub(super) fn munmap(&mut self, pid: usize, at: u64, npages: u64) {
        let space = self.spaces.get_mut(&pid).unwrap();
        space
            .munmap(&mut self.mem, va(at), npages * PAGE_BYTES)
            .unwrap();
    }

    pub(super) fn running(&self, pid: usize) -> Running {
        let space = &self.spaces[&pid];
        Running {
            space: space.id(),
            root: space.cr3(),
        }
    }

    pub(super) fn fault(
        &mut self,
        pid: usize,
        at: u64,
        code: PfErrorCode,
    ) -> Result<FaultOutcome, FaultError> {
        let space = self.spaces.get_mut(&pid).unwrap();
        space.handle_fault(&mut self.mem, va(at), code)
    }

    /// One instruction on one CPU: access, fault, access again.
    pub(super) fn reach(
        &mut self,
        pid: usize,
        cpu: usize,
        at: u64,
        access: Access,
    ) -> Result<PhysAddr, FaultError> {
        for _ in 0..4 {
            let running = self.running(pid);
            match self.mem.hw.reach(cpu, running, va(at), access) {
                Ok(pa) => return Ok(pa),
                Err(code) => self.fault(pid, at, code)?,
            };
        }
        panic!("the access at {at:#x} faults for ever")
    }

    pub(super) fn try_store(
        &mut self,
        pid: usize,
        cpu: usize,
        at: u64,
        value: u64,
    ) -> Result<(), FaultError> {
        let pa = self.reach(pid, cpu, at, Access::Write)?;
        self.mem.hw.set_word(pa, value);
        Ok(())
    }

    pub(super) fn store(&mut self, pid: usize, cpu: usize, at: u64, value: u64) {
        self.try_store(pid, cpu, at, value).unwrap();
    }

    pub(super) fn load(&mut self, pid: usize, cpu: usize, at: u64) -> u64 {
        let pa = self.reach(pid, cpu, at, Access::Read).unwrap();
        self.mem.hw.word(pa)
    }

    pub(super) fn try_fork(&mut self, pid: usize) -> Result<(usize, ForkStats), OutOfMemory> {
        let space = self.spaces.get_mut(&pid).unwrap();
        let (child, stats) = space.fork(&mut self.mem)?;
        Ok((self.adopt(child), stats))
    }

    pub(super) fn fork(&mut self, pid: usize) -> usize {
        self.try_fork(pid).unwrap().0
    }

    pub(super) fn exit(&mut self, pid: usize) {
        let space = self.spaces.remove(&pid).unwrap();
        space.release(&mut self.mem);
    }

    pub(super) fn gup(&mut self, pid: usize, at: u64, npages: u64, write: GupWrite) -> Pin {
        self.try_gup(pid, at, npages, write).unwrap()
    }

    pub(super) fn try_gup(
        &mut self,
        pid: usize,
        at: u64,
        npages: u64,
        write: GupWrite,
    ) -> Result<Pin, FaultError> {
        let space = self.spaces.get_mut(&pid).unwrap();
        let frames = space.get_user_pages(&mut self.mem, va(at), npages, write)?;
        let pin = Pin { frames };
        self.pins.push(pin.clone());
        Ok(pin)
    }

    /// Ends the transfer that was started `nth` of those still running.
    pub(super) fn put(&mut self, nth: usize) {
        let pin = self.pins.remove(nth);
        put_user_pages(&mut self.mem.frames, &pin.frames);
    }

    pub(super) fn pte(&self, pid: usize, at: u64) -> Pte {
        self.spaces[&pid].pte(&self.mem, va(at))
    }

    /// Leaves exactly `n` frames free.
    pub(super) fn leave_free(&mut self, n: u64) {
        while self.mem.frames.free() > n {
            self.hoard.push(self.mem.frames.alloc().unwrap());
        }
    }

    pub(super) fn release_hoard(&mut self) {
        for frame in self.hoard.drain(..) {
            self.mem.frames.put(frame);
        }
    }

    /// All that must hold whenever no call is running, told apart from how the code does
    /// it: by reading the raw tables.
    pub(super) fn check(&self) {
        let mut mappings: BTreeMap<u64, Vec<(bool, Sharing)>> = BTreeMap::new();
        let mut in_use: BTreeSet<u64> = self.hoard.iter().map(|f| f.pfn()).collect();
        for space in self.spaces.values() {
            let pages = self.pages(space, &mut in_use);
            assert_eq!(pages.len() as u64, space.resident_pages());
            for (at, leaf) in &pages {
                let area = space.areas().find(|a| a.range.contains(va(*at)));
                let area = area.unwrap_or_else(|| panic!("page {at:#x} outside every area"));
                let writable = leaf & Bits::RW.bits() != 0;
                assert!(!writable || area.prot.write, "{at:#x} writable in {area:?}");
                let pfn = (leaf & ADDR_51_12) / PAGE_BYTES;
                mappings
                    .entry(pfn)
                    .or_default()
                    .push((writable, area.sharing));
            }
            self.check_tlbs(space, &pages);
        }
        self.check_counts(&mappings, &mut in_use);
        let frames = &self.mem.frames;
        assert_eq!(frames.total() - frames.free(), in_use.len() as u64);
    }

    fn check_counts(
        &self,
        mappings: &BTreeMap<u64, Vec<(bool, Sharing)>>,
        in_use: &mut BTreeSet<u64>,
    ) {
        let mut held: BTreeMap<u64, u64> = BTreeMap::new();
        for pinned in self.pins.iter().flat_map(|pin| &pin.frames) {
            *held.entry(pinned.pfn()).or_default() += 1;
        }
        assert_eq!(self.mem.frames.pinned(), held.len() as u64);
        for (&pfn, maps) in mappings {
            let private = maps.iter().any(|(_, s)| *s == Sharing::Private);
            let writable = maps.iter().any(|(w, _)| *w);
            assert!(
                !(private && writable && maps.len() > 1),
                "frame {pfn} is private, writable and mapped {} times",
                maps.len()
            );
        }
        let used: BTreeSet<u64> = mappings.keys().chain(held.keys()).copied().collect();
        for &pfn in &used {
            let state = self.mem.frames.state(frame(pfn));
            let mapped = mappings.get(&pfn).map_or(0, |m| m.len() as u64);
            let pins = held.get(&pfn).copied().unwrap_or(0);
            assert_eq!(state.mapcount, mapped, "mapcount of frame {pfn}");
            assert_eq!(state.refcount, mapped + pins, "refcount of frame {pfn}");
            assert!(in_use.insert(pfn), "frame {pfn} has two uses");
        }
    }

    /// No TLB may say more than the tables do.
    fn check_tlbs(&self, space: &AddressSpace, pages: &BTreeMap<u64, u64>) {
        for (at, cached) in self.mem.hw.cached(space.id()) {
            let leaf = pages.get(&at.get()).copied().unwrap_or(0);
            let granted = cached & (ADDR_51_12 | Bits::P.bits() | Bits::RW.bits());
            let address_agrees = (cached ^ leaf) & ADDR_51_12 == 0;
            assert!(
                address_agrees && granted & !leaf == 0,
                "stale TLB entry {cached:#x} at {at:?}, the table says {leaf:#x}"
            );
        }
    }

    /// Page address to raw entry; the table frames go to `tables`.
    fn pages(&self, space: &AddressSpace, tables: &mut BTreeSet<u64>) -> BTreeMap<u64, u64> {
        let mut pages = BTreeMap::new();
        let mut todo = vec![(space.cr3(), Level::Pml4, 0_u64)];
        while let Some((table, level, base)) = todo.pop() {
            assert!(tables.insert(table.pfn()), "table {table:?} has two uses");
            let entries = if level == Level::Pml4 { 256 } else { 512 };
            for n in 0..entries {
                let raw = self.mem.hw.word(table.add(8 * n));
                let at = base + n * level.span_bytes();
                match level.next() {
                    _ if raw & 1 == 0 => {}
                    Some(next) => todo.push((PhysAddr::new(raw & ADDR_51_12), next, at)),
                    None => assert!(pages.insert(at, raw).is_none()),
                }
            }
        }
        pages
    }

    /// Ends every process and transfer; whatever is then not free has leaked.
    pub(super) fn end(mut self) {
        let pids: Vec<usize> = self.spaces.keys().copied().collect();
        pids.into_iter().for_each(|pid| self.exit(pid));
        while !self.pins.is_empty() {
            self.put(0);
        }
        self.release_hoard();
        let frames = &self.mem.frames;
        assert_eq!(frames.free(), frames.total(), "frames have leaked");
        assert_eq!((frames.pinned(), frames.marked()), (0, 0));
    }
}
