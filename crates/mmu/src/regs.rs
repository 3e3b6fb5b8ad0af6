//! The register bits translation depends on, and who is asking.
//!
//! Holds values only: the CPU checks what may be written (#GP), [`invalidate`](crate::invalidate)
//! says what a write takes out of the TLB.
//!
//! Modelled: CR0.PG and WP, CR3, CR4.PSE, PAE, PGE, PCIDE, SMEP, SMAP and PKE, EFER.LMA and NXE,
//! PKRU, the PDPTE registers, MAXPHYADDR.
//! Not modelled: CR3.PWT and PCD, CR4.LA57.
//!
//! **Spec:** SDM 3A "Paging Modes and Control Bits", "PDPTE Registers".

use crate::rights::Rights;
use crate::walk::Start;
use memory::Ram;
use x86::control::{CR3_NO_FLUSH, Cr0, Cr4, Efer, Pcid, Pkru};
use x86::fault::Privilege;
use x86::paging::format::Pdpte;
use x86::paging::{ADDR_51_12, Format, ReservedBits};
use x86::{Level, PhysAddr, VirtAddr};

/// CR0, CR3, CR4, EFER and PKRU as the processor holds them, and the width of its physical addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PagingRegs {
    /// CR0.
    pub cr0: Cr0,
    /// CR3, all of it; bits 51:12, with PAE paging 31:5, are the top table's address.
    pub cr3: u64,
    /// CR4.
    pub cr4: Cr4,
    /// IA32_EFER.
    pub efer: Efer,
    /// PKRU.
    pub pkru: Pkru,
    /// The PDPTE registers, which PAE paging uses in place of a table in memory.
    pub pdptes: [Pdpte; 4],
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
            pkru: Pkru(0),
            pdptes: [const { Pdpte::ABSENT }; 4],
            maxphyaddr,
        }
    }

    /// The entries these bits make translation use; `None` while CR0.PG = 0.
    #[inline]
    #[must_use]
    pub const fn format(&self) -> Option<Format> {
        if !self.cr0.contains(Cr0::PG) {
            None
        } else if self.efer.contains(Efer::LMA) {
            Some(Format::FourLevel)
        } else if self.cr4.contains(Cr4::PAE) {
            Some(Format::Pae)
        } else if self.cr4.contains(Cr4::PSE) {
            Some(Format::Bits32Pse)
        } else {
            Some(Format::Bits32)
        }
    }

    /// Where a walk for `va` begins that no cached entry shortens; `None` if its PDPTE register is not present.
    #[must_use]
    pub const fn root(&self, format: Format, va: VirtAddr) -> Option<Start> {
        let (level, table) = match format {
            Format::FourLevel => (Level::Pml4, PhysAddr::truncate(self.cr3 & ADDR_51_12)),
            Format::Bits32 | Format::Bits32Pse => {
                (Level::Pd, PhysAddr::truncate(self.cr3 & 0xffff_f000))
            }
            Format::Pae => match self.pdptes[(va.get() >> 30 & 3) as usize].directory() {
                Some(table) => (Level::Pd, table),
                None => return None,
            },
        };
        Some(Start {
            level,
            table,
            rights: Rights::WIDEST,
        })
    }

    /// The PCID in use.
    #[must_use]
    pub const fn pcid(&self) -> Pcid {
        self.pcid_in(self.cr3)
    }

    /// The PCID that `cr3`, in CR3 or on its way there, stands for.
    #[must_use]
    pub const fn pcid_in(&self, cr3: u64) -> Pcid {
        if self.cr4.contains(Cr4::PCIDE) {
            Pcid::truncate(cr3)
        } else {
            Pcid::ZERO
        }
    }

    /// What CR3 holds after MOV of `operand`: under PCIDE bit 63 is a request and is not kept.
    #[must_use]
    pub const fn cr3_after(&self, operand: u64) -> u64 {
        if self.cr4.contains(Cr4::PCIDE) {
            operand & !CR3_NO_FLUSH
        } else {
            operand
        }
    }

    /// Whether MOV to CR0 or CR4 that turns these registers into `new` loads the PDPTE registers.
    #[must_use]
    pub fn reloads_pdptes(&self, new: &Self) -> bool {
        let cr0 = Cr0::CD | Cr0::NW | Cr0::PG;
        let cr4 = Cr4::PAE | Cr4::PGE | Cr4::PSE | Cr4::SMEP;
        new.format() == Some(Format::Pae)
            && ((self.cr0 ^ new.cr0).intersects(cr0) || (self.cr4 ^ new.cr4).intersects(cr4))
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

/// A present PDPTE has a reserved bit set: the MOV that would load it raises #GP(0) and changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReservedPdpte;

/// Reads the four PDPTEs at `cr3`; where there is no RAM they read as all ones.
pub(crate) fn read_pdptes(
    ram: &Ram,
    cr3: u64,
    maxphyaddr: u32,
) -> Result<[Pdpte; 4], ReservedPdpte> {
    let table = PhysAddr::truncate(cr3 & 0xffff_ffe0);
    let mut pdptes = [Pdpte::ABSENT; 4];
    for (at, pdpte) in (0..).map(|n| table.add(8 * n)).zip(&mut pdptes) {
        let raw = ram.read(at).unwrap_or(u64::MAX);
        *pdpte = Pdpte::new(raw, maxphyaddr).ok_or(ReservedPdpte)?;
    }
    Ok(pdptes)
}
