//! The vocabulary of the Intel SDM, shared by the machine and by the kernel that runs on it.
//!
//! Layouts, names and bits, with no logic beyond encode and decode; no
//! allocation, no `std`. A search of the SDM for a name used here finds the
//! section that defines it.

#![no_std]

pub mod addr;
pub mod apic;
pub mod control;
pub mod descriptor;
pub mod fault;
pub mod msr;
pub mod paging;
pub mod pvh;

pub use addr::{NonCanonical, PhysAddr, VirtAddr};
pub use control::{Cr0, Cr4, Efer, Pcid, Pkru, Rflags};
pub use fault::{PageFault, PfErrorCode};
pub use paging::{Bits, Entry, Level};
