//! `io_setup`, `io_destroy`, `io_submit`, `io_getevents`.
//!
//! **Spec:** Linux man-pages `io_setup(2)`, `io_submit(2)`, `io_getevents(2)`.

use crate::aio::Context;
use crate::block::Direction;
use crate::direct::{self, Transfer};
use crate::errno::{Errno, SysResult};
use crate::file::{ArchiveFile, OpenFile, Path};
use crate::process::Process;
use crate::user;
use alloc::boxed::Box;
use alloc::sync::Arc;
use guest_abi::syscall::{IOCB_CMD_PREAD, IOCB_CMD_PWRITE, IoEvent, Iocb};

/// `io_setup(nr_events, &ctx)`.
pub(super) fn io_setup(process: &Process, nr_events: u64, at: u64) -> SysResult {
    let old: u64 = user::read(process, at)?;
    if old != 0 {
        return Err(Errno::EINVAL);
    }
    let context = Context::new(nr_events)?;
    user::write(process, at, &context.id)?;
    process.aio.lock().insert(context.id, context);
    Ok(0)
}

/// `io_destroy(ctx)`: transfers in flight go on, their events go nowhere.
pub(super) fn io_destroy(process: &Process, id: u64) -> SysResult {
    let context = process.aio.lock().remove(&id);
    context.map(|_| 0).ok_or(Errno::EINVAL)
}

/// `io_submit(ctx, nr, iocbpp)`: the number started; an error only if it is the first's.
pub(super) fn io_submit(process: &Process, id: u64, nr: u64, iocbpp: u64) -> SysResult {
    let context = find(process, id)?;
    let nr = i64::try_from(nr).map_err(|_| Errno::EINVAL)?;
    let mut started = 0;
    while started < nr {
        let slot = iocbpp.wrapping_add(8 * started.cast_unsigned());
        match submit_one(process, &context, slot) {
            Ok(()) => started += 1,
            Err(error) if started == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(started)
}

/// `io_getevents(ctx, min_nr, nr, events, NULL)`.
pub(super) fn io_getevents(process: &Process, id: u64, min: u64, max: u64, at: u64) -> SysResult {
    let context = find(process, id)?;
    let number = |n: u64| usize::try_from(n).map_err(|_| Errno::EINVAL);
    if min > max || max.cast_signed() < 0 {
        return Err(Errno::EINVAL);
    }
    let events = context.fetch(number(min)?, number(max)?)?;
    for (event, offset) in events.iter().zip((0..).step_by(size_of::<IoEvent>())) {
        user::write(process, at.wrapping_add(offset), event)?;
    }
    i64::try_from(events.len()).map_err(|_| Errno::EINVAL)
}

fn find(process: &Process, id: u64) -> Result<Arc<Context>, Errno> {
    let contexts = process.aio.lock();
    contexts.get(&id).cloned().ok_or(Errno::EINVAL)
}

fn submit_one(process: &Process, context: &Arc<Context>, slot: u64) -> Result<(), Errno> {
    let at: u64 = user::read(process, slot)?;
    let iocb: Iocb = user::read(process, at)?;
    let direction = match iocb.opcode {
        IOCB_CMD_PREAD => Direction::Read,
        IOCB_CMD_PWRITE => Direction::Write,
        _ => return Err(Errno::EINVAL),
    };
    let file = process.files.lock().get(u64::from(iocb.fildes))?;
    let file = queueable(&file, direction)?;
    let transfer = Transfer {
        process,
        entry: &file.entry,
        direction,
        buffer: iocb.buf,
        len_bytes: iocb.nbytes,
        offset: u64::try_from(iocb.offset).map_err(|_| Errno::EINVAL)?,
    };
    context.reserve()?;
    let theirs = context.clone();
    let done = Box::new(move |result: Result<u64, Errno>| {
        theirs.complete(event(iocb.data, at, result));
    });
    direct::start(&transfer, done).inspect_err(|_| context.unreserve())
}

/// The file behind a descriptor, if transfers of it can be queued.
fn queueable(file: &OpenFile, direction: Direction) -> Result<&ArchiveFile, Errno> {
    match file {
        OpenFile::Archive(file) if !file.allows(direction) => Err(Errno::EBADF),
        OpenFile::Archive(file) if file.path == Path::Direct => Ok(file),
        OpenFile::Archive(_) | OpenFile::Console => Err(Errno::EINVAL),
    }
}

fn event(data: u64, obj: u64, result: Result<u64, Errno>) -> IoEvent {
    IoEvent {
        data,
        obj,
        res: result.map_or_else(|errno| -errno.0, u64::cast_signed),
        res2: 0,
    }
}
