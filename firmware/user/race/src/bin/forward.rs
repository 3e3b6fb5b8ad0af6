//! `forward [--dontfork] [--queued] [--settle-ms N]`: a direct read is in flight, the
//! process forks, and the parent stores to the other part of the page.
//!
//! Neighbours: [`race::read`] is the scenario.

#![no_std]
#![no_main]

use race::read::{ParentStore, run};
use rt::Args;

rt::entry!(main);

fn main(args: Args) -> i32 {
    race::main("forward", args, |options| run(options, ParentStore::Yes))
}
