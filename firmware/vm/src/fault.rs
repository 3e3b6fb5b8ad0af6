//! Page faults: the first touch, and the store to a page that fork made read-only.
//!
//! **Spec:** SDM 3A "Page-Fault Exceptions", "Invalidation of TLBs and
//! Paging-Structure Caches".

use crate::area::{Area, Sharing};
use crate::frame::OutOfMemory;
use crate::hardware::Hardware;
use crate::memory::Memory;
use crate::policy::WriteFault;
use crate::pte::Pte;
use crate::range::PageRange;
use crate::space::AddressSpace;
use crate::table;
use x86::fault::Access;
use x86::{Bits, PfErrorCode, PhysAddr, VirtAddr};

/// How a fault was settled; the instruction is run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultOutcome {
    /// A frame of zeros was mapped.
    DemandZero,
    /// The page was made writable where it was.
    Reused,
    /// The writer was moved to a copy.
    Copied,
    /// The page table already allows the access: another thread was faster, or a TLB entry
    /// was older than the table. The fault itself has dropped that entry.
    Spurious,
}

/// Why a fault cannot be settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultError {
    /// Nothing mapped there, or not for this access.
    Sigsegv,
    /// No frame is free.
    OutOfMemory,
}

impl From<OutOfMemory> for FaultError {
    fn from(OutOfMemory: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

impl AddressSpace {
    /// Settles a #PF of a program, or of the kernel on a program's behalf.
    ///
    /// The caller has dealt with RSVD, which these tables never cause.
    ///
    /// # Errors
    ///
    /// [`FaultError`]; nothing has been changed but for empty tables.
    pub fn handle_fault<H: Hardware>(
        &mut self,
        mem: &mut Memory<H>,
        va: VirtAddr,
        code: PfErrorCode,
    ) -> Result<FaultOutcome, FaultError> {
        let access = if code.contains(PfErrorCode::ID) {
            Access::Fetch
        } else if code.contains(PfErrorCode::WR) {
            Access::Write
        } else {
            Access::Read
        };
        let area = self.allowed_area(va, access)?;
        let outcome = self.fault_in(mem, &area, va, access)?;
        mem.stats.spurious += u64::from(outcome == FaultOutcome::Spurious);
        Ok(outcome)
    }

    /// The area of `va`, if it allows the access.
    pub(crate) fn allowed_area(&self, va: VirtAddr, access: Access) -> Result<Area, FaultError> {
        self.areas
            .find(va)
            .filter(|area| area.prot.allows(access))
            .ok_or(FaultError::Sigsegv)
    }

    /// Makes the page of `va` allow an access that `area` allows.
    pub(crate) fn fault_in<H: Hardware>(
        &mut self,
        mem: &mut Memory<H>,
        area: &Area,
        va: VirtAddr,
        access: Access,
    ) -> Result<FaultOutcome, FaultError> {
        debug_assert!(PageRange::USER.contains(va));
        match table::find(&mem.hw, self.root, va) {
            Some(at) => {
                let pte = Pte(mem.hw.load_entry(at));
                if !pte.is_present() {
                    self.demand_zero(mem, area, va)
                } else if access == Access::Write && !pte.is_writable() {
                    self.do_wp_page(mem, area, va, at)
                } else {
                    Ok(FaultOutcome::Spurious)
                }
            }
            None => self.demand_zero(mem, area, va),
        }
    }

    fn demand_zero<H: Hardware>(
        &mut self,
        mem: &mut Memory<H>,
        area: &Area,
        va: VirtAddr,
    ) -> Result<FaultOutcome, FaultError> {
        debug_assert_eq!(
            area.sharing,
            Sharing::Private,
            "mmap populates shared areas"
        );
        self.map_zeroed(mem, va, area.prot)?;
        mem.stats.demand_zero += 1;
        Ok(FaultOutcome::DemandZero)
    }

    /// A store to a present read-only page of a writable area: only fork makes those,
    /// and only in private areas.
    fn do_wp_page<H: Hardware>(
        &mut self,
        mem: &mut Memory<H>,
        area: &Area,
        va: VirtAddr,
        at: PhysAddr,
    ) -> Result<FaultOutcome, FaultError> {
        let old = Pte(mem.hw.load_entry(at)).frame();
        match (mem.policy.on_write_fault)(mem.frames.state(old)) {
            WriteFault::Reuse => {
                reuse_page(mem, at);
                Ok(FaultOutcome::Reused)
            }
            WriteFault::Copy => {
                self.copy_page(mem, area, va, at)?;
                Ok(FaultOutcome::Copied)
            }
        }
    }

    /// Moves the page to a copy of its frame.
    ///
    /// The entry is not present from before the flush until after it: were the new frame
    /// mapped at once, one thread could store to it while another still reads the old one
    /// through its TLB. No CPU can change the contents during the copy, as every entry that
    /// maps the old frame is read-only; a device can.
    fn copy_page<H: Hardware>(
        &mut self,
        mem: &mut Memory<H>,
        area: &Area,
        va: VirtAddr,
        at: PhysAddr,
    ) -> Result<(), OutOfMemory> {
        let new = mem.frames.alloc()?;
        let old = Pte(mem.hw.swap_entry(at, Pte::NONE.0)).frame();
        mem.hw.flush_page(self.id, va);
        mem.hw.copy_frame(old, new);
        mem.frames.add_rmap(new);
        mem.hw.store_entry(at, Pte::user(new, area.prot).0);
        mem.frames.remove_rmap(old);
        mem.frames.put(old);
        mem.stats.cow_copies += 1;
        Ok(())
    }
}

/// Makes the entry writable. No flush: a TLB entry that says less than the table costs
/// its owner a spurious fault and nothing else.
fn reuse_page<H: Hardware>(mem: &mut Memory<H>, at: PhysAddr) {
    let writable = Bits::RW | Bits::A | Bits::D;
    mem.hw.fetch_or_entry(at, writable.bits());
    mem.stats.reuses += 1;
}
