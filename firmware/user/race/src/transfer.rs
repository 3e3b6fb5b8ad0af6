//! Direct transfers of one sector: finished ones, and the one that is in flight.
//!
//! Neighbours: [`crate::read`] and [`crate::write`] start them; [`Kind`] says how.

use core::sync::atomic::AtomicU8;

use rt::Errno;
use rt::file::{File, Mode, Path};
use rt::pages::Pages;
use rt::queue::{Completion, Queue};
use rt::thread::{Thread, spawn};

use crate::options::Kind;
use crate::verdict::Invalid;

/// Bytes of a sector, and of every transfer here.
pub(crate) const SECTOR_BYTES: usize = 512;

/// One sector's worth of memory, and where it lies in a file.
pub(crate) struct Sector {
    pub(crate) file: File,
    pub(crate) buf: &'static [AtomicU8],
    pub(crate) offset: u64,
}

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the disk to memory.
    Read,
    /// From memory to the disk.
    Write,
}

impl Sector {
    /// Transfers and waits.
    pub(crate) fn transfer(&self, direction: Direction) -> Result<usize, Errno> {
        match direction {
            Direction::Read => self.file.pread(self.buf, self.offset),
            Direction::Write => self.file.pwrite(self.buf, self.offset),
        }
    }

    /// Starts the transfer and comes back at once.
    pub(crate) fn start(self, direction: Direction, kind: Kind) -> Result<InFlight, Errno> {
        Ok(match kind {
            Kind::Blocking => InFlight::Thread(spawn(move || self.transfer(direction))?),
            Kind::Queued => {
                let queue = Queue::new(1)?;
                match direction {
                    Direction::Read => queue.read(&self.file, self.buf, self.offset, 0)?,
                    Direction::Write => queue.write(&self.file, self.buf, self.offset, 0)?,
                }
                InFlight::Queue(queue, None)
            }
        })
    }
}

/// A transfer that was started and has not been waited for.
pub(crate) enum InFlight {
    /// The thread that blocks in it.
    Thread(Thread<Result<usize, Errno>>),
    /// The queue it is in, and its result if that has been taken from there.
    Queue(Queue, Option<Completion>),
}

impl InFlight {
    /// Whether it is known to have ended.
    pub(crate) fn has_ended(&mut self) -> Result<bool, Errno> {
        Ok(match self {
            Self::Thread(thread) => thread.is_finished(),
            Self::Queue(queue, completion) => {
                if completion.is_none() {
                    *completion = queue.try_wait()?;
                }
                completion.is_some()
            }
        })
    }

    /// Waits for its end: the bytes moved.
    pub(crate) fn join(self) -> Result<usize, Errno> {
        match self {
            Self::Thread(thread) => thread.join(),
            Self::Queue(_, Some(completion)) => completion.result,
            Self::Queue(queue, None) => queue.wait()?.result,
        }
    }
}

/// Reads a sector of a file to a page of its own, which no transfer has used before.
pub(crate) fn read_afresh(
    name: &str,
    offset: u64,
    step: &'static str,
) -> Result<&'static [AtomicU8], Invalid> {
    let file = File::open(name, Mode::Read, Path::Direct).map_err(Invalid::failed(step))?;
    let page = Pages::private(1).map_err(Invalid::failed(step))?.leak();
    let buf = &page[..SECTOR_BYTES];
    whole(Sector { file, buf, offset }.transfer(Direction::Read), step)?;
    Ok(buf)
}

/// Accepts the result of a transfer that moved a whole sector.
pub(crate) fn whole(result: Result<usize, Errno>, step: &'static str) -> Result<(), Invalid> {
    match result {
        Ok(SECTOR_BYTES) => Ok(()),
        Ok(bytes) => Err(Invalid::Short { step, bytes }),
        Err(errno) => Err(Invalid::Failed { step, errno }),
    }
}
