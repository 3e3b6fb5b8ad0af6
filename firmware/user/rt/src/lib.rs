//! What ring-3 programs stand on: entry, system calls, memory, threads.
//!
//! Neighbours: `guest_abi` below; every program above. All of a program's `unsafe` is
//! here, so programs have none.
//!
//! A program is
//!
//! ```ignore
//! #![no_std]
//! #![no_main]
//!
//! rt::entry!(main);
//!
//! fn main(args: rt::Args) -> i32 {
//!     rt::println!("{} arguments", args.count());
//!     0
//! }
//! ```
//!
//! The calls, the numbers and the executables are Linux's: a program that uses none of the
//! calls that `guest_abi` adds runs on Linux as it is, and the race programs do.
//!
//! Not modelled: heap, environment, signal handlers, locales.

#![no_std]

pub mod console;
pub mod errno;
pub mod file;
pub mod flags;
// The kernel's own copy of `memcpy` and its kin: the same compiler needs the same.
#[expect(unsafe_code, reason = "raw memory, as its head says")]
#[path = "../../../metal/src/mem.rs"]
mod mem;
mod name;
pub mod pages;
pub mod process;
pub mod queue;
mod start;
mod sys;
pub mod system;
pub mod thread;
pub mod time;

pub use errno::Errno;
pub use start::Args;
