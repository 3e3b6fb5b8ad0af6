//! Cycles: what things cost ([`profile`]) and where they went ([`ledger`]).
//!
//! Time moves in one place only, [`Ledger::charge`], and each charge names its
//! category, so total = sum of categories, always. Knows nothing of instructions
//! or devices. Integers only: one tick is 1/64 cycle.

pub mod ledger;
pub mod profile;

pub use ledger::{Category, Ledger, Ticks};
pub use profile::{Profile, ProfileError};
