//! What takes entries out of the TLB, and what does not.
//!
//! | Operation | Removes |
//! |---|---|
//! | INVLPG | the entries for the page of its operand, global or not |
//! | MOV to CR3 | all but global entries |
//! | MOV to CR0, PG from 1 to 0 | all entries |
//! | MOV to CR4, PGE changed | all entries |
//! | MOV to CR4, PAE changed or SMEP from 0 to 1 | all entries |
//! | #PF | the entries for the page of the faulting address, global or not |
//! | RESET, INIT | all entries |
//!
//! Nothing else: not a store to a table, not CR0.WP, CR4.SMAP or EFER.NXE, which act on cached
//! entries at once ([`rights`](crate::rights)).
//!
//! For PAE and SMEP the manual says "all TLB entries … for the current PCID". Where it means to
//! spare global ones it says so (MOV to CR3); it does not here, and there is but one PCID.
//!
//! INVLPG and #PF name one page and need no rule here: both are [`Tlb::remove`](crate::tlb::Tlb::remove).
//!
//! Not modelled: INVPCID, MOV to CR3 with bit 63, task switches (IA-32e mode has none).
//!
//! **Spec:** SDM 3A "Operations that Invalidate TLBs and Paging-Structure Caches".

use crate::tlb::Tlb;
use x86::control::{Cr0, Cr4};

/// What a register write removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalidation {
    /// Nothing.
    Nothing,
    /// Entries that are not global.
    NonGlobal,
    /// Every entry.
    All,
}

impl Invalidation {
    /// Removes it.
    pub fn apply(self, tlb: &mut Tlb) {
        match self {
            Self::Nothing => {}
            Self::NonGlobal => tlb.flush_non_global(),
            Self::All => tlb.flush_all(),
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

/// What MOV to CR3 removes, whether or not the value is a new one.
#[must_use]
pub const fn by_mov_cr3() -> Invalidation {
    Invalidation::NonGlobal
}

/// What MOV to CR4 removes.
#[must_use]
pub const fn by_mov_cr4(old: Cr4, new: Cr4) -> Invalidation {
    let changed = old.symmetric_difference(new);
    let smep_rises = changed.intersection(new).contains(Cr4::SMEP);
    if smep_rises || changed.intersects(Cr4::PGE.union(Cr4::PAE)) {
        Invalidation::All
    } else {
        Invalidation::Nothing
    }
}
