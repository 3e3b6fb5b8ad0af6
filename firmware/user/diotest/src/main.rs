//! Checks direct transfers against buffered ones, from outside the kernel.
//!
//! `diotest` prints `diotest: ok`, or the first sentence that is false; `-v` prints each
//! sentence before it is checked. The scratch file is as it was afterwards.
//!
//! Neighbours: [`reads`], [`writes`] and [`refusals`] are the cases.

#![no_std]
#![no_main]

mod reads;
mod refusals;
mod writes;

use core::fmt;
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

use rt::file::{File, Mode, Path};
use rt::queue::Queue;
use rt::{Args, Errno, println};

rt::entry!(main);

pub(crate) const PATTERN: &str = "data/pattern.bin";
pub(crate) const SCRATCH: &str = "data/scratch.bin";
pub(crate) const SECTOR_BYTES: usize = 512;
pub(crate) const SECTORS_PER_PAGE: usize = 8;

/// A sentence, and what checks it.
pub(crate) type Case = (&'static str, fn() -> Outcome);
pub(crate) type Outcome = Result<(), Failure>;

/// Why a sentence is false.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Failure {
    /// A system call failed.
    Errno(Errno),
    /// A transfer moved this many bytes.
    Moved(usize),
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
            Self::Moved(bytes) => write!(f, "{bytes} bytes moved"),
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

/// Fails unless a transfer moved `expected` bytes.
pub(crate) fn check_moved(moved: usize, expected: usize) -> Outcome {
    if moved == expected {
        Ok(())
    } else {
        Err(Failure::Moved(moved))
    }
}

/// How a transfer waits for its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Blocking,
    Queued,
}

impl Kind {
    pub(crate) const BOTH: [Self; 2] = [Self::Blocking, Self::Queued];

    /// Reads and waits.
    pub(crate) fn read(self, file: &File, buf: &'static [AtomicU8], offset: u64) -> Outcome {
        let moved = match self {
            Self::Blocking => file.pread(buf, offset)?,
            Self::Queued => {
                let queue = Queue::new(1)?;
                queue.read(file, buf, offset, 0)?;
                queue.wait()?.result?
            }
        };
        check_moved(moved, buf.len())
    }

    /// Writes and waits.
    pub(crate) fn write(self, file: &File, buf: &'static [AtomicU8], offset: u64) -> Outcome {
        let moved = match self {
            Self::Blocking => file.pwrite(buf, offset)?,
            Self::Queued => {
                let queue = Queue::new(1)?;
                queue.write(file, buf, offset, 0)?;
                queue.wait()?.result?
            }
        };
        check_moved(moved, buf.len())
    }
}

/// Whether `buf` holds the bytes that the file has from `offset` on, through the page cache.
pub(crate) fn is_in_file(buf: &[AtomicU8], name: &str, offset: u64) -> Result<bool, Failure> {
    let file = File::open(name, Mode::Read, Path::Buffered)?;
    let mut at = offset;
    for sector in buf.chunks(SECTOR_BYTES) {
        let buffered = [const { AtomicU8::new(0) }; SECTOR_BYTES];
        check_moved(file.pread(&buffered[..sector.len()], at)?, sector.len())?;
        let same = |(a, b): (&AtomicU8, &AtomicU8)| a.load(Relaxed) == b.load(Relaxed);
        if !sector.iter().zip(&buffered).all(same) {
            return Ok(false);
        }
        at += SECTOR_BYTES as u64;
    }
    Ok(true)
}

fn main(args: Args) -> i32 {
    let is_verbose = args.skip(1).any(|arg| arg == "-v");
    let cases = [reads::CASES, writes::CASES, refusals::CASES];
    for (sentence, case) in cases.into_iter().flatten() {
        if is_verbose {
            println!("diotest: {sentence}");
        }
        if let Err(failure) = case() {
            println!("diotest: failed: {sentence}: {failure}");
            return 1;
        }
    }
    println!("diotest: ok");
    0
}
