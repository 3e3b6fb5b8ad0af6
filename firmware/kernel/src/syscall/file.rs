//! `read`, `write`, `pread64`, `pwrite64`, `open`, `close`, `listdir`.
//!
//! **Spec:** Linux man-pages `read(2)`, `pread(2)`, `open(2)` (section "O_DIRECT").

use super::prefix;
use crate::block::Direction;
use crate::direct::{self, Transfer};
use crate::errno::{Errno, SysResult};
use crate::file::{self, ArchiveFile, OpenFile, Path};
use crate::process::Process;
use crate::sched::Outcome;
use crate::{archive, console, user};
use alloc::boxed::Box;
use alloc::vec;
use guest_abi::syscall::DirEntry;

/// Most bytes of one buffered call; a longer one is cut, as `read` may.
const MAX_BYTES: u64 = 1 << 20;
/// Bytes in the kernel's hands at a time.
const CHUNK_BYTES: usize = 64 << 10;
/// Longest name of a file.
const MAX_NAME: usize = 255;

/// The buffer and length of a transfer, still claims.
#[derive(Clone, Copy)]
struct Buffer {
    at: u64,
    len_bytes: u64,
}

/// `read(fd, buf, count)`.
pub(super) fn read(process: &Process, fd: u64, at: u64, len_bytes: u64) -> SysResult {
    let buffer = Buffer { at, len_bytes };
    let file = process.files.lock().get(fd)?;
    match &*file {
        OpenFile::Console => read_console(process, buffer),
        OpenFile::Archive(file) => at_offset(process, file, Direction::Read, buffer),
    }
}

/// `write(fd, buf, count)`.
pub(super) fn write(process: &Process, fd: u64, at: u64, len_bytes: u64) -> SysResult {
    let buffer = Buffer { at, len_bytes };
    let file = process.files.lock().get(fd)?;
    match &*file {
        OpenFile::Console => write_console(process, buffer),
        OpenFile::Archive(file) => at_offset(process, file, Direction::Write, buffer),
    }
}

/// `pread64(fd, buf, count, offset)`.
pub(super) fn pread64(p: &Process, fd: u64, at: u64, len_bytes: u64, offset: u64) -> SysResult {
    positioned(p, fd, Direction::Read, Buffer { at, len_bytes }, offset)
}

/// `pwrite64(fd, buf, count, offset)`.
pub(super) fn pwrite64(p: &Process, fd: u64, at: u64, len_bytes: u64, offset: u64) -> SysResult {
    positioned(p, fd, Direction::Write, Buffer { at, len_bytes }, offset)
}

/// `open(path, flags)`.
pub(super) fn open(process: &Process, path: u64, flags: u64) -> SysResult {
    let name = user::read_string(process, path, MAX_NAME)?;
    let file = file::open(&name, flags)?;
    let fd = process.files.lock().insert(file)?;
    Ok(i64::try_from(fd).unwrap_or(i64::MAX))
}

/// `close(fd)`.
pub(super) fn close(process: &Process, fd: u64) -> SysResult {
    process.files.lock().close(fd)?;
    Ok(0)
}

/// `listdir(index, &DirEntry)`.
pub(super) fn listdir(process: &Process, index: u64, at: u64) -> SysResult {
    let index = usize::try_from(index).map_err(|_| Errno::EINVAL)?;
    let Some(entry) = archive::nth(index) else {
        return Ok(0);
    };
    let mut listed = DirEntry {
        size_bytes: entry.size_bytes,
        name_len: 0,
        name: [0; 112],
    };
    let name = prefix(&entry.name, listed.name.len());
    listed.name[..name.len()].copy_from_slice(name);
    listed.name_len = name.len() as u64;
    user::write(process, at, &listed)?;
    Ok(1)
}

fn read_console(process: &Process, buffer: Buffer) -> SysResult {
    let max = usize::try_from(buffer.len_bytes.min(MAX_BYTES)).map_err(|_| Errno::EINVAL)?;
    if max == 0 {
        return Ok(0);
    }
    let bytes = console::read(max)?;
    user::write_bytes(process, buffer.at, &bytes)?;
    count(bytes.len() as u64)
}

fn write_console(process: &Process, buffer: Buffer) -> SysResult {
    let len = buffer.len_bytes.min(CHUNK_BYTES as u64);
    let mut bytes = vec![0; usize::try_from(len).map_err(|_| Errno::EINVAL)?];
    user::read_bytes(process, buffer.at, &mut bytes)?;
    console::write(&bytes);
    count(len)
}

/// Transfers at the file's offset and moves it on.
fn at_offset(
    process: &Process,
    file: &ArchiveFile,
    direction: Direction,
    buffer: Buffer,
) -> SysResult {
    // Two threads that use one descriptor at once may get the same bytes, as POSIX
    // allows: the lock is not held while the disk works.
    let offset = *file.offset.lock();
    let done = transfer(process, file, direction, buffer, offset)?;
    *file.offset.lock() = offset + done.cast_unsigned();
    Ok(done)
}

fn positioned(
    process: &Process,
    fd: u64,
    direction: Direction,
    buffer: Buffer,
    offset: u64,
) -> SysResult {
    let file = process.files.lock().get(fd)?;
    match &*file {
        OpenFile::Archive(file) if offset.cast_signed() >= 0 => {
            transfer(process, file, direction, buffer, offset)
        }
        OpenFile::Archive(_) | OpenFile::Console => Err(Errno::EINVAL),
    }
}

fn transfer(
    process: &Process,
    file: &ArchiveFile,
    direction: Direction,
    buffer: Buffer,
    offset: u64,
) -> SysResult {
    if !file.allows(direction) {
        return Err(Errno::EBADF);
    }
    match (file.path, direction) {
        (Path::Direct, _) => direct_transfer(process, file, direction, buffer, offset),
        (Path::Buffered, Direction::Read) => read_buffered(process, file, buffer, offset),
        (Path::Buffered, Direction::Write) => write_buffered(process, file, buffer, offset),
    }
}

fn direct_transfer(
    process: &Process,
    file: &ArchiveFile,
    direction: Direction,
    buffer: Buffer,
    offset: u64,
) -> SysResult {
    let transfer = Transfer {
        process,
        entry: &file.entry,
        direction,
        buffer: buffer.at,
        len_bytes: buffer.len_bytes,
        offset,
    };
    let outcome = Outcome::new();
    let theirs = outcome.clone();
    direct::start(&transfer, Box::new(move |result| theirs.set(result)))?;
    outcome.wait().and_then(count)
}

fn read_buffered(process: &Process, file: &ArchiveFile, buffer: Buffer, offset: u64) -> SysResult {
    let mut done = 0;
    let mut chunk = vec![0; chunk_len(buffer.len_bytes)];
    let wanted = buffer.len_bytes.min(MAX_BYTES);
    while done < wanted {
        let len = chunk_len(wanted - done);
        let read = archive::read(&file.entry, offset + done, &mut chunk[..len]);
        let read = read.map_err(|_| Errno::EIO)?;
        user::write_bytes(process, buffer.at.wrapping_add(done), &chunk[..read])?;
        done += read as u64;
        if read < len {
            break;
        }
    }
    count(done)
}

fn write_buffered(process: &Process, file: &ArchiveFile, buffer: Buffer, offset: u64) -> SysResult {
    let mut done = 0;
    let mut chunk = vec![0; chunk_len(buffer.len_bytes)];
    let wanted = buffer.len_bytes.min(MAX_BYTES);
    while done < wanted {
        let len = chunk_len(wanted - done);
        let part = &mut chunk[..len];
        user::read_bytes(process, buffer.at.wrapping_add(done), part)?;
        let written = archive::write(&file.entry, offset + done, part);
        let written = written.map_err(|_| Errno::EIO)?;
        done += written as u64;
        if written < len {
            break;
        }
    }
    if done == 0 && wanted > 0 {
        return Err(Errno::ENOSPC);
    }
    count(done)
}

fn chunk_len(left: u64) -> usize {
    usize::try_from(left).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES))
}

fn count(bytes: u64) -> SysResult {
    i64::try_from(bytes).map_err(|_| Errno::EINVAL)
}
