//! `child-sees-dma [--dontfork] [--queued] [--settle-ms N]`: a direct read is in flight,
//! the process forks, and nobody stores anything.
//!
//! Neighbours: [`race::read`] is the scenario.

#![no_std]
#![no_main]

use race::read::{ParentStore, run};
use rt::Args;

rt::entry!(main);

fn main(args: Args) -> i32 {
    race::main("child-sees-dma", args, |options| {
        run(options, ParentStore::No)
    })
}
