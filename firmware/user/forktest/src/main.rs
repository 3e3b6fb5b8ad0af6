//! Checks fork, copy-on-write, wait, signals, threads and shared pages, from outside the
//! kernel: each case is a sentence that can be false.
//!
//! `forktest` prints `forktest: ok`, or the first sentence that is false; `-v` prints each
//! sentence before it is checked.
//!
//! Neighbours: [`processes`], [`memory`] and [`threads`] are the cases.

#![no_std]
#![no_main]

mod memory;
mod processes;
mod threads;

use core::fmt;

use rt::process::End;
use rt::{Args, Errno, println};

rt::entry!(main);

/// A sentence, and what checks it.
pub(crate) type Case = (&'static str, fn() -> Outcome);
pub(crate) type Outcome = Result<(), Failure>;

/// Why a sentence is false.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Failure {
    /// A system call failed.
    Errno(Errno),
    /// A child ended in another way than it should.
    Ended(End),
    /// Something else was seen.
    Saw(&'static str),
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Errno(errno) => errno.fmt(f),
            Self::Ended(end) => write!(f, "a child ended with {end}"),
            Self::Saw(what) => f.write_str(what),
        }
    }
}

/// Fails with `what` unless it holds.
pub(crate) fn check(holds: bool, what: &'static str) -> Outcome {
    if holds {
        Ok(())
    } else {
        Err(Failure::Saw(what))
    }
}

/// Fails unless a child ended so.
pub(crate) fn check_end(end: End, expected: End) -> Outcome {
    if end == expected {
        Ok(())
    } else {
        Err(Failure::Ended(end))
    }
}

fn main(args: Args) -> i32 {
    let is_verbose = args.skip(1).any(|arg| arg == "-v");
    let cases = [processes::CASES, memory::CASES, threads::CASES];
    for (sentence, case) in cases.into_iter().flatten() {
        if is_verbose {
            println!("forktest: {sentence}");
        }
        if let Err(failure) = case() {
            println!("forktest: failed: {sentence}: {failure}");
            return 1;
        }
    }
    println!("forktest: ok");
    0
}
