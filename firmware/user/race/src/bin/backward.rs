//! `backward [--dontfork] [--queued] [--settle-ms N]`: the process has forked, a direct
//! write is in flight, the parent stores to the page, and then the child does.
//!
//! Neighbours: [`race::write`] is the scenario.

#![no_std]
#![no_main]

use rt::Args;

rt::entry!(main);

fn main(args: Args) -> i32 {
    race::main("backward", args, race::write::run)
}
