//! O_DIRECT: transfers between the device and the frames a program's pages are in now.
//!
//! The frames are found by `get_user_pages` and held until the last command is done. The
//! device is given their physical addresses and knows nothing of page tables; where
//! the program's page is by then is another question, which [`vm::policy`] answers.
//!
//! Not modelled: waiting for transfers in flight when a process ends (Linux:
//! `exit_aio`); the frames stay held, so nothing is overwritten that has a new owner.
//!
//! **Spec:** Linux man-pages `open(2)`, section "O_DIRECT".

use crate::archive::Entry;
use crate::block::{
    self, Command, Direction, DiskError, MAX_COMMAND_BYTES, MAX_SEGMENTS, SECTOR_BYTES, Segment,
};
use crate::errno::Errno;
use crate::memory;
use crate::process::Process;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use metal::SpinLock;
use vm::{Frame, GupWrite, put_user_pages};
use x86::VirtAddr;
use x86::addr::PAGE_BYTES;

/// Most bytes of one transfer; a longer one is cut, as `read` may.
const MAX_BYTES: u64 = 16 << 20;

/// A transfer a program asks for.
#[derive(Clone, Copy)]
pub(crate) struct Transfer<'a> {
    /// Whose memory.
    pub(crate) process: &'a Process,
    /// Which file.
    pub(crate) entry: &'a Entry,
    /// Which way.
    pub(crate) direction: Direction,
    /// Linear address of the buffer.
    pub(crate) buffer: u64,
    /// Length.
    pub(crate) len_bytes: u64,
    /// Where in the file.
    pub(crate) offset: u64,
}

/// Called once with the bytes moved, in a thread or an interrupt, no lock held.
pub(crate) type Done = Box<dyn FnOnce(Result<u64, Errno>) + Send>;

/// A transfer under way.
struct InFlight {
    commands_left: usize,
    failed: bool,
    pages: Vec<Frame>,
    bytes: u64,
    done: Done,
}

/// Starts a transfer; `done` is called when it is over, at the end of the file at once.
///
/// # Errors
///
/// EINVAL if buffer, length or offset is not whole sectors, EFAULT, ENOMEM, ENOSPC for
/// a write at the end of the file; `done` is not called then.
pub(crate) fn start(transfer: &Transfer<'_>, done: Done) -> Result<(), Errno> {
    let whole = |value: u64| value.is_multiple_of(SECTOR_BYTES);
    let Transfer { buffer, offset, .. } = *transfer;
    if !(whole(buffer) && whole(transfer.len_bytes) && whole(offset)) {
        return Err(Errno::EINVAL);
    }
    let rest = transfer.entry.size_bytes.saturating_sub(offset);
    if rest == 0 || transfer.len_bytes == 0 {
        return start_nothing(transfer, done);
    }
    let room = rest.next_multiple_of(SECTOR_BYTES);
    let len = transfer.len_bytes.min(room).min(MAX_BYTES);
    let pages = get_pages(transfer, len)?;
    let commands = split(&segments_of(&pages, buffer % PAGE_BYTES, len));
    let in_flight = InFlight {
        commands_left: commands.len(),
        failed: false,
        pages,
        bytes: len.min(rest),
        done,
    };
    submit_all(transfer, commands, in_flight);
    Ok(())
}

/// A transfer of no bytes.
fn start_nothing(transfer: &Transfer<'_>, done: Done) -> Result<(), Errno> {
    if transfer.direction == Direction::Write && transfer.len_bytes > 0 {
        return Err(Errno::ENOSPC);
    }
    done(Ok(0));
    Ok(())
}

fn submit_all(transfer: &Transfer<'_>, commands: Vec<Vec<Segment>>, in_flight: InFlight) {
    let in_flight = Arc::new(SpinLock::new(Some(in_flight)));
    let mut lba = transfer.entry.lba + transfer.offset / SECTOR_BYTES;
    for segments in commands {
        let sectors = bytes_of(&segments) / SECTOR_BYTES;
        let in_flight = in_flight.clone();
        let done = Box::new(move |result| command_done(&in_flight, result));
        block::submit(Command::sectors(transfer.direction, lba, segments, done));
        lba += sectors;
    }
}

fn get_pages(transfer: &Transfer<'_>, len: u64) -> Result<Vec<Frame>, Errno> {
    let at = VirtAddr::new(transfer.buffer).map_err(|_| Errno::EFAULT)?;
    let npages = (at.offset_in(PAGE_BYTES) + len).div_ceil(PAGE_BYTES);
    // A file is read by writing memory.
    let write = match transfer.direction {
        Direction::Read => GupWrite::Write,
        Direction::Write => GupWrite::Read,
    };
    let pages = transfer
        .process
        .with_space(|space, mem| space.get_user_pages(mem, at, npages, write))??;
    Ok(pages)
}

/// The physical runs of a buffer that begins `skip` bytes into its first page.
fn segments_of(pages: &[Frame], skip: u64, len: u64) -> Vec<Segment> {
    let mut segments: Vec<Segment> = Vec::new();
    let mut offset = skip;
    let mut left = len;
    for page in pages {
        let here = left.min(PAGE_BYTES - offset);
        let base = page.base().add(offset);
        let len_bytes = u32::try_from(here).expect("part of a page");
        match segments.last_mut() {
            Some(last) if is_continued(*last, base) => last.len_bytes += len_bytes,
            _ => segments.push(Segment { base, len_bytes }),
        }
        left -= here;
        offset = 0;
    }
    segments
}

/// Whether a run may go on at `base`: it is next, and the run stays below a PRDT
/// entry's 4 MiB.
fn is_continued(run: Segment, base: x86::PhysAddr) -> bool {
    const MAX_RUN_BYTES: u32 = 1 << 20;
    run.base.add(u64::from(run.len_bytes)) == base && run.len_bytes < MAX_RUN_BYTES
}

/// Cuts a list into commands. Every segment is whole sectors, as buffers are.
fn split(segments: &[Segment]) -> Vec<Vec<Segment>> {
    let mut commands: Vec<Vec<Segment>> = Vec::new();
    for segment in segments {
        match commands.last_mut() {
            Some(last)
                if last.len() < MAX_SEGMENTS
                    && bytes_of(last) + u64::from(segment.len_bytes) <= MAX_COMMAND_BYTES =>
            {
                last.push(*segment);
            }
            _ => commands.push(Vec::from([*segment])),
        }
    }
    commands
}

fn bytes_of(segments: &[Segment]) -> u64 {
    segments.iter().map(|s| u64::from(s.len_bytes)).sum()
}

/// One command is over; with the last one the frames are given back.
fn command_done(in_flight: &SpinLock<Option<InFlight>>, result: Result<(), DiskError>) {
    let mut guard = in_flight.lock();
    let finished = guard.take_if(|transfer| {
        transfer.failed |= result.is_err();
        transfer.commands_left -= 1;
        transfer.commands_left == 0
    });
    drop(guard);
    if let Some(transfer) = finished {
        memory::with(|mem| put_user_pages(&mut mem.frames, &transfer.pages));
        (transfer.done)(if transfer.failed {
            Err(Errno::EIO)
        } else {
            Ok(transfer.bytes)
        });
    }
}
