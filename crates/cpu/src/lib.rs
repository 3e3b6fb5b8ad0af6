//! One logical processor: its state, its instructions, its exceptions.
//!
//! [`Cpu`] is the architectural state. [`Core`] lends it memory, bus, prices and
//! trace for the length of one [`Core::run`]. Instructions are decoded by
//! iced-x86 once, lowered to compact [`op::Op`]s with a handler each, and kept in
//! blocks ([`block`]) that live as long as their bytes do not change.
//!
//! Names no device: memory-mapped registers and ports are reached through [`Bus`].

#![expect(
    clippy::cast_possible_truncation,
    reason = "taking the low bits is what instructions do: operand widths, register numbers, addresses"
)]

mod access;
pub mod block;
mod core;
mod cpuid;
mod debug;
mod delivery;
mod entry;
mod exception;
mod fetch;
mod flags;
mod inner_stack;
mod interp;
mod linear;
mod msr;
mod op;
mod segment;
mod state;
mod task;
mod word;

pub use crate::block::CodeCache;
pub use crate::core::{Bus, Core, Stop};
pub use crate::cpuid::MAXPHYADDR;
pub use crate::exception::Exception;
pub use crate::segment::{SegReg, Segment, TableRegister};
pub use crate::state::{Activity, Cpu, reg};
