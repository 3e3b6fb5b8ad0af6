//! Memory of programs, as system calls reach it.
//!
//! An address in an argument is a claim. It becomes memory page by page, each looked
//! up and faulted in as the program's own access would, and then copied through the
//! direct map; a page that the program could not have touched is EFAULT.

use crate::errno::Errno;
use crate::process::Process;
use alloc::string::String;
use alloc::vec::Vec;
use metal::frames;
use metal::plain::Plain;
use x86::addr::PAGE_BYTES;
use x86::fault::Access;
use x86::{PhysAddr, VirtAddr};

/// Copies `into.len()` bytes from `at` on.
pub(crate) fn read_bytes(process: &Process, at: u64, into: &mut [u8]) -> Result<(), Errno> {
    let mut done = 0;
    while done < into.len() {
        let at = at.checked_add(done as u64).ok_or(Errno::EFAULT)?;
        let len = in_page(at, into.len() - done);
        let part = &mut into[done..done + len];
        access(process, at, Access::Read, |physical| {
            frames::read(physical, part)
        })?;
        done += len;
    }
    Ok(())
}

/// Copies `from` to `at` and on. What was copied before an error stays.
pub(crate) fn write_bytes(process: &Process, at: u64, from: &[u8]) -> Result<(), Errno> {
    let mut done = 0;
    while done < from.len() {
        let at = at.checked_add(done as u64).ok_or(Errno::EFAULT)?;
        let len = in_page(at, from.len() - done);
        let part = &from[done..done + len];
        access(process, at, Access::Write, |physical| {
            frames::write(physical, part)
        })?;
        done += len;
    }
    Ok(())
}

/// Reads a value.
pub(crate) fn read<T: Plain + Default>(process: &Process, at: u64) -> Result<T, Errno> {
    let mut value = T::default();
    read_bytes(process, at, value.bytes_mut())?;
    Ok(value)
}

/// Writes a value.
pub(crate) fn write<T: Plain>(process: &Process, at: u64, value: &T) -> Result<(), Errno> {
    write_bytes(process, at, value.bytes())
}

/// Reads a NUL-terminated string of at most `max` bytes, which must be UTF-8.
///
/// # Errors
///
/// EFAULT, E2BIG if it is longer, ENOENT if it is no UTF-8: no file has such a name.
pub(crate) fn read_string(process: &Process, at: u64, max: usize) -> Result<String, Errno> {
    let mut bytes = Vec::new();
    loop {
        let from = at.checked_add(bytes.len() as u64).ok_or(Errno::EFAULT)?;
        let mut part = [0; 64];
        let len = in_page(from, part.len());
        read_bytes(process, from, &mut part[..len])?;
        let end = part[..len].iter().position(|byte| *byte == 0);
        bytes.extend_from_slice(&part[..end.unwrap_or(len)]);
        if bytes.len() > max {
            return Err(Errno::E2BIG);
        }
        if end.is_some() {
            return String::from_utf8(bytes).map_err(|_| Errno::ENOENT);
        }
    }
}

/// Bytes from `at` to the end of its page, `wanted` at most.
fn in_page(at: u64, wanted: usize) -> usize {
    let rest = PAGE_BYTES - at % PAGE_BYTES;
    usize::try_from(rest).map_or(wanted, |rest| rest.min(wanted))
}

/// Runs `copy` on the physical address of `at`; the locks keep it good meanwhile.
fn access(
    process: &Process,
    at: u64,
    access: Access,
    copy: impl FnOnce(PhysAddr),
) -> Result<(), Errno> {
    let at = VirtAddr::new(at).map_err(|_| Errno::EFAULT)?;
    process.with_space(|space, mem| {
        copy(space.access(mem, at, access)?);
        Ok(())
    })?
}
