//! One address space: areas, page tables, and the calls that edit both.
//!
//! The calls that decide about pages live next door: `fault`, `fork`, `gup`.
//! Threads of one process share one [`AddressSpace`]; the kernel locks.

use crate::area::{Area, AreaSet, ForkAdvice, Prot, Sharing};
use crate::fault::FaultError;
use crate::frame::{Frame, OutOfMemory};
use crate::hardware::{Hardware, SpaceId};
use crate::memory::Memory;
use crate::pte::Pte;
use crate::range::{MapError, PageRange, USER_END};
use crate::table::{self, Tables};
use guest_abi::syscall::PageInfo;
use x86::addr::PAGE_BYTES;
use x86::fault::Access;
use x86::{Bits, Level, PhysAddr, VirtAddr};

/// Where `mmap` looks first when it may choose.
const MMAP_BASE: u64 = 0x2000_0000_0000;

/// Lowest address a program may map (Linux: `vm.mmap_min_addr`), so that address 0
/// and its neighbours always fault.
const MMAP_MIN: u64 = 0x1_0000;

/// The upper 256 entries of a PML4, the same in every address space; they no longer
/// change once the first is made.
pub type KernelHalf = [u64; 256];

/// Where `mmap` puts a new area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Wherever there is room.
    Anywhere,
    /// Here if it is free and aligned, else wherever there is room.
    Hint(VirtAddr),
    /// Here, in place of whatever is there.
    Fixed(VirtAddr),
}

/// One address space.
///
/// Ends by [`AddressSpace::release`]; one that is only dropped keeps its frames.
#[derive(Debug)]
#[must_use]
pub struct AddressSpace {
    pub(crate) id: SpaceId,
    pub(crate) root: Frame,
    pub(crate) areas: AreaSet,
    pub(crate) resident_pages: u64,
}

impl AddressSpace {
    /// Makes an empty address space whose upper half is `kernel_half`.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`] if there is no frame for the PML4.
    pub fn new<H: Hardware>(
        mem: &mut Memory<H>,
        kernel_half: &KernelHalf,
    ) -> Result<Self, OutOfMemory> {
        let root = mem.alloc_zeroed()?;
        for (n, &entry) in (table::USER_ENTRIES..).zip(kernel_half) {
            mem.hw.store_entry(root.base().add(8 * n), entry);
        }
        Ok(Self {
            id: mem.new_space_id(),
            root,
            areas: AreaSet::default(),
            resident_pages: 0,
        })
    }

    /// The upper half of this space's PML4.
    pub(crate) fn kernel_half<H: Hardware>(&self, hw: &H) -> KernelHalf {
        let mut half = [0; 256];
        for (n, entry) in (table::USER_ENTRIES..).zip(&mut half) {
            *entry = hw.load_entry(self.root.base().add(8 * n));
        }
        half
    }

    /// The name the TLBs know it by.
    #[must_use]
    pub fn id(&self) -> SpaceId {
        self.id
    }

    /// Physical address of the PML4, for CR3.
    #[must_use]
    pub fn cr3(&self) -> PhysAddr {
        self.root.base()
    }

    /// Pages that have a frame.
    #[must_use]
    pub fn resident_pages(&self) -> u64 {
        self.resident_pages
    }

    /// The areas, ascending.
    pub fn areas(&self) -> impl Iterator<Item = Area> {
        self.areas.iter()
    }

    /// Maps `len_bytes` of zeros.
    ///
    /// Private pages get their frames at first touch, shared ones now.
    ///
    /// # Errors
    ///
    /// [`MapError`]. Of an existing mapping under a fixed one, nothing may be left then.
    pub fn mmap<H: Hardware>(
        &mut self,
        mem: &mut Memory<H>,
        placement: Placement,
        len_bytes: u64,
        prot: Prot,
        sharing: Sharing,
    ) -> Result<VirtAddr, MapError> {
        let area = Area {
            range: self.place(placement, len_bytes)?,
            prot,
            sharing,
            advice: ForkAdvice::DoFork,
        };
        self.areas.insert(area)?;
        self.unmap_pages(mem, area.range);
        if sharing == Sharing::Shared && prot.is_accessible() {
            self.populate_shared(mem, area)?;
        }
        Ok(area.range.start())
    }

    fn place(&self, placement: Placement, len_bytes: u64) -> Result<PageRange, MapError> {
        if len_bytes == 0 {
            return Err(MapError::Invalid);
        }
        let allowed = |at: VirtAddr| {
            let range = PageRange::new(at, len_bytes)?;
            let low = at.get() < MMAP_MIN;
            if low {
                Err(MapError::Invalid)
            } else {
                Ok(range)
            }
        };
        match placement {
            Placement::Fixed(at) => allowed(at),
            Placement::Hint(at) => match allowed(at) {
                Ok(range) if self.areas.is_free(range) => Ok(range),
                _ => self.anywhere(len_bytes),
            },
            Placement::Anywhere => self.anywhere(len_bytes),
        }
    }

    fn anywhere(&self, len_bytes: u64) -> Result<PageRange, MapError> {
        let len_bytes = len_bytes
            .checked_next_multiple_of(PAGE_BYTES)
            .filter(|&len| len <= USER_END)
            .ok_or(MapError::NoMemory)?;
        let gap = |from| self.areas.first_gap(from, len_bytes);
        gap(MMAP_BASE)
            .or_else(|| gap(MMAP_MIN))
            .ok_or(MapError::NoMemory)
    }

    fn populate_shared<H: Hardware>(
        &mut self,
        mem: &mut Memory<H>,
        area: Area,
    ) -> Result<(), MapError> {
        if area.range.npages() > mem.frames.free() {
            return self.undo_mmap(mem, area);
        }
        for va in area.range.pages() {
            if self.map_zeroed(mem, va, area.prot).is_err() {
                return self.undo_mmap(mem, area);
            }
        }
        Ok(())
    }

    fn undo_mmap<H: Hardware>(&mut self, mem: &mut Memory<H>, area: Area) -> Result<(), MapError> {
        self.unmap_pages(mem, area.range);
        self.areas.remove(area.range)?;
        Err(MapError::NoMemory)
    }

    /// Puts a frame of zeros at the page of `va`, where no page is yet.
    pub(crate) fn map_zeroed<H: Hardware>(
        &mut self,
        mem: &mut Memory<H>,
        va: VirtAddr,
        prot: Prot,
    ) -> Result<Frame, OutOfMemory> {
        let at = table::ensure(mem, self.root, va)?;
        let frame = mem.alloc_zeroed()?;
        mem.frames.add_rmap(frame);
        mem.hw.store_entry(at, Pte::user(frame, prot).0);
        self.resident_pages += 1;
        Ok(frame)
    }

    /// Unmaps a range, holes included.
    ///
    /// # Errors
    ///
    /// [`MapError`] if the range is not one, or a cut would leave too many areas; nothing
    /// is changed.
    pub fn munmap<H: Hardware>(
        &mut self,
        mem: &mut Memory<H>,
        start: VirtAddr,
        len_bytes: u64,
    ) -> Result<(), MapError> {
        let range = PageRange::new(start, len_bytes)?;
        self.areas.remove(range)?;
        self.unmap_pages(mem, range);
        Ok(())
    }

    /// Sets what fork does with a range (MADV_DONTFORK, MADV_DOFORK).
    ///
    /// # Errors
    ///
    /// [`MapError`]; like Linux, a range with holes is advised where it is mapped and
    /// then refused.
    pub fn madvise(
        &mut self,
        start: VirtAddr,
        len_bytes: u64,
        advice: ForkAdvice,
    ) -> Result<(), MapError> {
        let range = PageRange::new(start, len_bytes)?;
        self.areas.advise(range, advice)?;
        if self.areas.covers(range) {
            Ok(())
        } else {
            Err(MapError::NoMemory)
        }
    }

    /// Gives the page of `va` a frame whatever its rights, for a loader that is about to
    /// fill it through the direct map.
    ///
    /// # Errors
    ///
    /// [`FaultError`] if nothing is mapped there or no frame is free.
    pub fn populate<H: Hardware>(
        &mut self,
        mem: &mut Memory<H>,
        va: VirtAddr,
    ) -> Result<Frame, FaultError> {
        let area = self.areas.find(va).ok_or(FaultError::Sigsegv)?;
        let pte = table::load(&mem.hw, self.root, va);
        if pte.is_present() {
            return Ok(pte.frame());
        }
        Ok(self.map_zeroed(mem, va, area.prot)?)
    }

    /// The physical address of the byte at `va` if its page has a frame.
    #[must_use]
    pub fn translate<H: Hardware>(&self, mem: &Memory<H>, va: VirtAddr) -> Option<PhysAddr> {
        let pte = self.pte(mem, va);
        pte.is_present()
            .then(|| pte.frame().base().add(va.offset_in(PAGE_BYTES)))
    }

    /// Makes the byte at `va` reachable for `access` as a program's own access would, and
    /// gives its physical address: for `copy_from_user` and `copy_to_user`.
    ///
    /// Sets A, and D for a write, as the walker would have. The address is good for as
    /// long as the kernel holds its lock.
    ///
    /// # Errors
    ///
    /// [`FaultError`] if a program's own access would have been refused.
    pub fn access<H: Hardware>(
        &mut self,
        mem: &mut Memory<H>,
        va: VirtAddr,
        access: Access,
    ) -> Result<PhysAddr, FaultError> {
        let area = self.allowed_area(va, access)?;
        self.fault_in(mem, &area, va, access)?;
        let at = table::find(&mem.hw, self.root, va).expect("the page was faulted in");
        let used = match access {
            Access::Write => Bits::A | Bits::D,
            Access::Read | Access::Fetch => Bits::A,
        };
        let pte = Pte(mem.hw.fetch_or_entry(at, used.bits()));
        Ok(pte.frame().base().add(va.offset_in(PAGE_BYTES)))
    }

    /// The page-table entry of `va`.
    #[must_use]
    pub fn pte<H: Hardware>(&self, mem: &Memory<H>, va: VirtAddr) -> Pte {
        if PageRange::USER.contains(va) {
            table::load(&mem.hw, self.root, va)
        } else {
            Pte::NONE
        }
    }

    /// What is known of the page of `va`; all zero if it has no frame.
    #[must_use]
    pub fn page_info<H: Hardware>(&self, mem: &Memory<H>, va: VirtAddr) -> PageInfo {
        let pte = self.pte(mem, va);
        if !pte.is_present() {
            return PageInfo::default();
        }
        let state = mem.frames.state(pte.frame());
        PageInfo {
            pte: pte.0,
            refcount: state.refcount,
            mapcount: state.mapcount,
        }
    }

    /// Ends the address space. Frames that GUP holds live on until they are put.
    ///
    /// No CPU has it in CR3 any more.
    pub fn release<H: Hardware>(mut self, mem: &mut Memory<H>) {
        self.unmap_pages(mem, PageRange::USER);
        debug_assert_eq!(self.resident_pages, 0);
        table::free_tree(mem, self.root);
    }

    fn unmap_pages<H: Hardware>(&mut self, mem: &mut Memory<H>, range: PageRange) {
        let mut gather = Gather::new(self.id);
        let mut tables = Tables::new(self.root, range);
        while let Some(span) = tables.next(&mem.hw) {
            for va in span.range.pages() {
                let at = table::entry_at(span.table, Level::Pt, va);
                if Pte(mem.hw.load_entry(at)).is_present() {
                    let old = Pte(mem.hw.swap_entry(at, Pte::NONE.0));
                    gather.push(mem, old.frame());
                    self.resident_pages -= 1;
                }
            }
        }
        gather.finish(mem);
    }
}

/// Frames that are unmapped and not yet flushed (Linux: `mmu_gather`): a frame goes back
/// to the allocator only after the flush that made it unreachable.
struct Gather {
    space: SpaceId,
    frames: [Option<Frame>; Self::BATCH],
    len: usize,
}

impl Gather {
    const BATCH: usize = 64;

    fn new(space: SpaceId) -> Self {
        Self {
            space,
            frames: [None; Self::BATCH],
            len: 0,
        }
    }

    fn push<H: Hardware>(&mut self, mem: &mut Memory<H>, frame: Frame) {
        self.frames[self.len] = Some(frame);
        self.len += 1;
        if self.len == Self::BATCH {
            self.finish(mem);
        }
    }

    fn finish<H: Hardware>(&mut self, mem: &mut Memory<H>) {
        if self.len == 0 {
            return;
        }
        mem.hw.flush_space(self.space);
        for frame in self.frames.iter_mut().filter_map(Option::take) {
            mem.frames.remove_rmap(frame);
            mem.frames.put(frame);
        }
        self.len = 0;
    }
}
