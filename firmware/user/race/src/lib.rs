//! Direct transfers in flight while a process forks.
//!
//! Three programs share this library. Each puts one transfer of one sector in flight,
//! lets parent and child do their parts in a fixed order, and reports what it saw:
//!
//! | program | in flight | parent | child | scenario |
//! |---|---|---|---|---|
//! | `forward` | read | stores to another sector of the page | looks | [`read`] |
//! | `child-sees-dma` | read | nothing | looks | [`read`] |
//! | `backward` | write | stores to another sector of the page | stores to the sector | [`mod@write`] |
//!
//! Order is kept by flags on a shared page and by sleeping until the transfer is in
//! flight. The transfer stays in flight because the disk is slow, or because somebody at
//! the measuring port holds it until `Mark::Release`; the programs cannot tell which. If
//! it ends early, nothing is lost and the verdict says so.
//!
//! Neighbours: `rt` below; `guest_abi` for the marks and the verdict word.

#![no_std]

pub mod options;
pub mod read;
mod scene;
mod transfer;
pub mod verdict;
pub mod write;

use guest_abi::probe::{Mark, verdict as word};
use options::{BadArgument, Options};
use rt::{Args, println, system};
use verdict::{Invalid, Verdict};

/// Status of a program that came to no verdict.
const STATUS_INVALID: i32 = 3;
/// Status of a program that did not understand its arguments.
const STATUS_USAGE: i32 = 2;

/// Runs a scenario and reports its verdict: the whole of a race program.
pub fn main(
    name: &str,
    args: Args,
    scenario: impl FnOnce(Options) -> Result<Verdict, Invalid>,
) -> i32 {
    match Options::parse(args.skip(1)) {
        Ok(options) => report(name, scenario(options)),
        Err(BadArgument(argument)) => {
            println!("{name}: {argument}?");
            println!("usage: {name} [--dontfork] [--queued] [--settle-ms N]");
            STATUS_USAGE
        }
    }
}

/// Announces and prints how it ended; the status of the program.
fn report(name: &str, outcome: Result<Verdict, Invalid>) -> i32 {
    let bits = outcome.map_or(word::INVALID, Verdict::to_word);
    let announced = system::probe(Mark::Verdict, bits).map_err(Invalid::failed("probe"));
    match announced.and(outcome) {
        Ok(verdict) => {
            println!("{name}: {verdict}");
            0
        }
        Err(reason) => {
            println!("{name}: invalid: {reason}");
            STATUS_INVALID
        }
    }
}
