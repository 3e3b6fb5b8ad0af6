//! Behaviour of the whole crate on the ideal machine.
//!
//! `world` is the harness and the list of what must always hold; the others are
//! grouped by what they ask.

mod calls;
mod faults;
mod out_of_memory;
mod scenarios;
mod shootdown;
mod storm;
mod world;
