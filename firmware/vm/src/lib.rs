//! What the kernel decides about memory: frames, areas, fork, faults and GUP.
//!
//! ```text
//!            AddressSpace ── mmap munmap madvise ── fault ── fork ── gup ── release
//!            │        │                              │        │       │
//!      AreaSet        table  (PML4 … PT in frames)   └── policy: what a page's state means
//!                     │
//!                  Memory { FrameTable, Hardware, Policy, Stats }
//! ```
//!
//! Every operation takes [`Memory`]: the frames, the machine beneath and the
//! rules. Nothing here is global and nothing here locks; the kernel puts one
//! [`Memory`] behind a lock and passes it down. The same code runs on the host,
//! where the tests put an ideal machine beneath it (`model`).
//!
//! Modelled: anonymous memory, private and shared; demand-zero; copy-on-write by
//! the rules of Linux 2.6.13 to 5.7 and two later answers to its races; MADV_DONTFORK;
//! 4 KiB pages. Not modelled: files in memory, swap, 2 MiB pages, `mprotect`,
//! GUP without the lock (`gup_fast`), the shared zero page.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod area;
mod fault;
mod fork;
mod frame;
mod gup;
mod hardware;
mod memory;
#[cfg(test)]
mod model;
pub mod policy;
mod pte;
mod range;
mod space;
mod table;
#[cfg(test)]
mod tests;

pub use area::{Area, AreaSet, ForkAdvice, MAX_MAP_COUNT, Prot, Sharing};
pub use fault::{FaultError, FaultOutcome};
pub use fork::ForkStats;
pub use frame::{Frame, FrameMeta, FrameTable, OutOfMemory};
pub use gup::{GupWrite, put_user_pages};
pub use hardware::{Hardware, SpaceId};
pub use memory::{Memory, Stats};
pub use policy::Policy;
pub use pte::Pte;
pub use range::{MapError, PageRange, USER_END};
pub use space::{AddressSpace, KernelHalf, Placement};
