//! The register bits translation depends on, and who is asking.
//!
//! Holds values only: the CPU checks what may be written (#GP), [`invalidate`](crate::invalidate)
//! says what a write takes out of the TLB.
//!
//! Modelled: CR0.PG and WP, CR3, CR4.PGE, SMEP and SMAP, EFER.LMA and NXE, MAXPHYADDR.
//! Not modelled: CR3.PWT and PCD, CR4.PCIDE, PKE and LA57.
//!
//! **Spec:** SDM 3A "Paging Modes and Control Bits".

use x86::control::{Cr0, Cr4, Efer};
use x86::fault::Privilege;
use x86::paging::{ADDR_51_12, ReservedBits};
use x86::{PhysAddr, VirtAddr};

/// How linear addresses become physical ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PagingMode {
    /// CR0.PG = 0: the linear address is the physical one, 32 bits wide.
    None,
    /// Four tables of 512 entries, as IA-32e mode has.
    FourLevel,
    /// Paging is on outside IA-32e mode: 32-bit or PAE paging, neither of which is modelled.
    ///
    /// The CPU should stop the machine and say so. While it does not, every
    /// access is a #PF for a page that is not present.
    Unsupported,
}

/// CR0, CR3, CR4 and EFER as the processor holds them, and the width of its physical addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PagingRegs {
    /// CR0.
    pub cr0: Cr0,
    /// CR3, all of it; bits 51:12 are the PML4 table's address.
    pub cr3: u64,
    /// CR4.
    pub cr4: Cr4,
    /// IA32_EFER.
    pub efer: Efer,
    /// MAXPHYADDR, in bits: at most 52.
    pub maxphyaddr: u32,
}

impl PagingRegs {
    /// The values after RESET.
    #[must_use]
    pub const fn after_reset(maxphyaddr: u32) -> Self {
        // DEPARTS: INIT leaves CD and NW as they were; RESET and INIT set both here, as no cache is modelled.
        let cr0 = Cr0::CD.union(Cr0::NW).union(Cr0::ET);
        Self {
            cr0,
            cr3: 0,
            cr4: Cr4::empty(),
            efer: Efer::empty(),
            maxphyaddr,
        }
    }

    /// The paging mode these bits select.
    #[inline]
    #[must_use]
    pub const fn mode(&self) -> PagingMode {
        match (self.cr0.contains(Cr0::PG), self.efer.contains(Efer::LMA)) {
            (false, _) => PagingMode::None,
            (true, true) => PagingMode::FourLevel,
            (true, false) => PagingMode::Unsupported,
        }
    }

    /// Base of the table a walk begins at.
    #[must_use]
    pub const fn pml4(&self) -> PhysAddr {
        PhysAddr::truncate(self.cr3 & ADDR_51_12)
    }

    /// What makes a bit of an entry reserved.
    #[must_use]
    pub const fn reserved_bits(&self) -> ReservedBits {
        ReservedBits {
            nxe: self.efer.contains(Efer::NXE),
            maxphyaddr: self.maxphyaddr,
        }
    }
}

/// RFLAGS.AC, as SMAP reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AlignmentCheck {
    /// AC = 0, or the access is implicit (descriptor tables, TSS), for which AC does not count.
    Clear,
    /// AC = 1 and the access is explicit: SMAP lets it reach user pages.
    Set,
}

/// Who asks for an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Accessor {
    /// User or supervisor.
    pub privilege: Privilege,
    /// What SMAP makes of a supervisor's data access; without meaning for a user's.
    pub ac: AlignmentCheck,
}

impl Accessor {
    /// Code at CPL 3.
    pub const USER: Self = Self {
        privilege: Privilege::User,
        ac: AlignmentCheck::Clear,
    };
    /// Code at CPL 0–2 with AC clear, and implicit accesses at any CPL.
    pub const SUPERVISOR: Self = Self {
        privilege: Privilege::Supervisor,
        ac: AlignmentCheck::Clear,
    };
}

/// The physical address of `va` while paging is off.
pub(crate) const fn identity(va: VirtAddr) -> PhysAddr {
    PhysAddr::truncate(va.get() & 0xffff_ffff)
}
