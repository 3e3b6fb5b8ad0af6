//! The memory-management unit of one processor: page walk, access rights, TLB, invalidation.
//!
//! [`Mmu`] is the front door. It asks the [`Tlb`](tlb::Tlb) and, where that has no
//! answer, walks the tables in RAM: [`walk`](mod@walk) descends from the root or from what
//! [`pcache`] kept, [`rights`] decide, A and D are written. [`invalidate`] says what each register
//! write, INVLPG and INVPCID take out of TLB and caches; nothing else does, save capacity and the #PF
//! itself, so an entry the tables no longer support goes on being used.
//!
//! Names no device, and knows nothing of what a kernel does with its tables. Charges
//! and traces nothing: what a translation did is returned as [`Walked`].
//!
//! Modelled: 32-bit paging with PSE and PSE-36, PAE paging with its PDPTE registers, 4-level paging
//! with 4 KiB, 2 MiB and 1 GiB pages; every bit of an entry that means something to translation;
//! CR0.WP, EFER.NXE, CR4.SMEP, SMAP, PGE, PCIDE and PKE, PKRU; paging-structure caches; PWT, PCD and PAT as
//! the index they make, which is told and not timed.
//!
//! Not modelled: 5-level paging, keys of supervisor pages, memory types of the tables themselves
//! (PWT and PCD of CR3 and of entries that map no page), speculative fills.
//!
//! **Spec:** SDM 3A "Paging".

mod epoch;
pub mod invalidate;
pub mod pcache;
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

pub use invalidate::Invpcid;
pub use peek::{PeekResult, PeekStep, peek_cr3};
pub use regs::{Accessor, AlignmentCheck, PagingRegs, ReservedPdpte};
pub use rights::Rights;
pub use tlb::TlbEntry;
pub use translate::{Mmu, Translation};
pub use walk::{TlbOutcome, WalkFault, Walked};
