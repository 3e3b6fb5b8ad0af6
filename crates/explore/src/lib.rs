//! Scenarios on the machine, and verdicts that do not trust the guest.
//!
//! [`race`] boots the kernel with a race program, holds the disk transfer the
//! program is about, lets it go when the program says so, and reads from page
//! tables, memory and disk what became of it. The guest's own verdict is taken,
//! too; the two must agree.

pub mod race;
pub mod sweep;
