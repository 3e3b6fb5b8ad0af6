//! What ring-3 programs, the kernel and whoever watches the machine agree on.
//!
//! [`syscall`] is between programs and the kernel; [`probe`] is the measuring
//! port, through which a guest announces what it is about to do. Nothing here
//! depends on which machine runs the guest: on one without the port, the
//! announcements go nowhere.

#![no_std]

pub mod probe;
pub mod syscall;
