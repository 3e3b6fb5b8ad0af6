//! What takes entries out of the TLB and the paging-structure caches, and what does not.
//!
//! | Operation | TLB entries removed | Paging-structure caches |
//! |---|---|---|
//! | INVLPG | for the page of its operand: the current PCID's and global ones | the current PCID's, all of them |
//! | INVPCID 0 | for the page of its operand: those of its PCID, not global | those of its PCID for the address |
//! | INVPCID 1 | those of its PCID, not global | those of its PCID |
//! | INVPCID 2 | all | all |
//! | INVPCID 3 | all that are not global | all |
//! | MOV to CR3, CR4.PCIDE = 0 | those of PCID 0, not global | those of PCID 0 |
//! | MOV to CR3, PCIDE = 1, bit 63 = 0 | those of the new PCID, not global | those of the new PCID |
//! | MOV to CR3, PCIDE = 1, bit 63 = 1 | none | none |
//! | MOV to CR0, PG from 1 to 0 | all | all |
//! | MOV to CR4, PGE changed or PCIDE from 1 to 0 | all | all |
//! | MOV to CR4, PAE changed or SMEP from 0 to 1 | the current PCID's and global ones | the current PCID's |
//! | #PF | for the page of the address: the current PCID's and global ones | the current PCID's for the address |
//! | RESET, INIT | all | all |
//!
//! Nothing else: not a store to a table, not CR0.WP, CR4.SMAP or PKE, EFER.NXE or PKRU, which act on
//! cached entries at once ([`rights`](crate::rights)).
//!
//! For PAE and SMEP the manual says "all TLB entries … for the current PCID". Where it means to
//! spare global ones it says so (MOV to CR3); it does not here.
//!
//! INVLPG and #PF name one page and need no rule here: [`translate`](crate::translate) has them.
//!
//! Not modelled: the freedom to remove more than the manual asks; task switches (the CPU makes them by MOV to CR3).
//!
//! **Spec:** SDM 3A "Operations that Invalidate TLBs and Paging-Structure Caches".

use crate::pcache::PagingStructureCaches;
use crate::regs::PagingRegs;
use crate::tlb::Tlb;
use x86::Pcid;
use x86::control::{CR3_NO_FLUSH, Cr0, Cr4};

/// What a register write or INVPCID removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalidation {
    /// Nothing.
    Nothing,
    /// What is cached for one PCID, but no global entries.
    Local(Pcid),
    /// What is cached for one PCID, and global entries.
    LocalAndGlobal(Pcid),
    /// What is cached for any PCID, but no global entries.
    AllLocal,
    /// Everything.
    All,
}

impl Invalidation {
    /// Removes it.
    pub fn apply(self, tlb: &mut Tlb, pcache: &mut PagingStructureCaches) {
        if let Self::Local(pcid) | Self::LocalAndGlobal(pcid) = self {
            tlb.flush_local(pcid);
            pcache.flush(pcid);
        }
        if let Self::AllLocal | Self::All = self {
            tlb.flush_all_local();
            pcache.flush_all();
        }
        if let Self::LocalAndGlobal(_) | Self::All = self {
            tlb.flush_global();
        }
    }
}

/// What MOV to CR0 removes.
#[must_use]
pub const fn by_mov_cr0(old: Cr0, new: Cr0) -> Invalidation {
    if old.contains(Cr0::PG) && !new.contains(Cr0::PG) {
        Invalidation::All
    } else {
        Invalidation::Nothing
    }
}

/// What MOV of `operand` to CR3 removes, whether or not the value is a new one.
#[must_use]
pub const fn by_mov_cr3(regs: &PagingRegs, operand: u64) -> Invalidation {
    if regs.cr4.contains(Cr4::PCIDE) && operand & CR3_NO_FLUSH != 0 {
        Invalidation::Nothing
    } else {
        Invalidation::Local(regs.pcid_in(operand))
    }
}

/// What MOV of `new` to CR4 removes.
#[must_use]
pub const fn by_mov_cr4(regs: &PagingRegs, new: Cr4) -> Invalidation {
    let changed = regs.cr4.symmetric_difference(new);
    let (rises, falls) = (changed.intersection(new), changed.difference(new));
    if changed.contains(Cr4::PGE) || falls.contains(Cr4::PCIDE) {
        Invalidation::All
    } else if changed.contains(Cr4::PAE) || rises.contains(Cr4::SMEP) {
        Invalidation::LocalAndGlobal(regs.pcid())
    } else {
        Invalidation::Nothing
    }
}

/// INVPCID: its type and as much of its descriptor as that type uses. The CPU has checked both.
///
/// **Spec:** SDM 2 "INVPCID—Invalidate Process-Context Identifier".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invpcid {
    /// Type 0: one page of one PCID.
    Address(Pcid, x86::VirtAddr),
    /// Type 1: one PCID.
    SingleContext(Pcid),
    /// Type 2: all PCIDs and global entries.
    AllContextsAndGlobal,
    /// Type 3: all PCIDs.
    AllContexts,
}

#[cfg(test)]
mod tests;
