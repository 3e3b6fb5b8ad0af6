//! The memory-management unit of one processor: page walk, access rights, TLB, invalidation.
//!
//! [`Mmu`] is the front door. It asks the [`Tlb`](tlb::Tlb) and, where that has no
//! answer, walks the tables in RAM: [`walk`](mod@walk) descends, [`rights`] decide, A and D are
//! written. [`invalidate`] says what each register write and INVLPG takes out of the TLB; nothing
//! else does, save capacity and the #PF itself, so an entry the tables no longer
//! support goes on being used.
//!
//! Names no device, and knows nothing of what a kernel does with its tables. Charges
//! and traces nothing: what a translation did is returned as [`Walked`].
//!
//! Modelled: 4-level paging with 4 KiB, 2 MiB and 1 GiB pages and every bit of
//! an entry that means something to translation, CR0.WP, EFER.NXE, CR4.SMEP, CR4.SMAP,
//! CR4.PGE.
//!
//! Not modelled: 32-bit, PAE and 5-level paging, PCIDs and INVPCID, protection keys,
//! memory types (PWT, PCD and PAT are carried in the entry and ignored),
//! paging-structure caches (a future `pcache`: each walk reads every level from RAM,
//! as on a processor that keeps none), speculative fills.
//!
//! **Spec:** SDM 3A "Paging".

pub mod invalidate;
pub mod peek;
pub mod regs;
pub mod rights;
pub mod tlb;
pub mod translate;
pub mod walk;

#[cfg(test)]
mod closed_form;
#[cfg(test)]
mod testing;

pub use peek::{PeekResult, PeekStep, peek_cr3};
pub use regs::{Accessor, AlignmentCheck, PagingMode, PagingRegs};
pub use rights::Rights;
pub use tlb::TlbEntry;
pub use translate::{Mmu, Translation};
pub use walk::{TlbOutcome, WalkFault, Walked};
