//! System calls: from number to function.
//!
//! Each function takes raw arguments, checks them, and delegates. None holds anything
//! when it returns, so a thread that must end does so after it (`trap::before_user`).
//!
//! **Spec:** System V ABI AMD64, appendix "Linux Conventions".

mod aio;
mod file;
mod futex;
mod memory;
mod process;
mod system;

use crate::errno::{Errno, SysResult};
use crate::{sched, trap};
use guest_abi::syscall::nr;
use metal::{TrapFrame, heap};

/// A SYSCALL from ring 3.
pub(crate) fn syscall(frame: &mut TrapFrame) {
    if let Some(result) = dispatch(frame) {
        frame.set_result(result.unwrap_or_else(|errno| -errno.0));
    }
    trap::before_user();
}

/// Bytes of heap below which a call that leaves something there is refused, as ENOMEM.
/// Without a limit a program could fill the heap, to which the kernel has no answer but
/// panic.
const LASTING_RESERVE_BYTES: usize = 4 << 20;
/// Bytes of heap below which a call is refused that needs some while it runs: at most
/// two chunks of 64 KiB for each thread that sleeps in one.
const PASSING_RESERVE_BYTES: usize = 1 << 20;

/// Whether the heap has room for the call; calls that give back always run.
fn has_room(number: u64) -> bool {
    let reserve_bytes = match number {
        nr::FORK
        | nr::CLONE
        | nr::EXECVE
        | nr::OPEN
        | nr::MMAP
        | nr::MADVISE
        | nr::IO_SETUP
        | nr::IO_SUBMIT => LASTING_RESERVE_BYTES,
        nr::READ | nr::WRITE | nr::PREAD64 | nr::PWRITE64 => PASSING_RESERVE_BYTES,
        _ => return true,
    };
    heap::free_bytes() >= reserve_bytes
}

/// Runs the call; `None` if it replaced the whole frame.
fn dispatch(frame: &mut TrapFrame) -> Option<SysResult> {
    let thread = sched::current();
    let process = &thread.process;
    let [a, b, c, d, _, _] = frame.syscall_arguments();
    if !has_room(frame.syscall_number()) {
        return Some(Err(Errno::ENOMEM));
    }
    Some(match frame.syscall_number() {
        nr::READ => file::read(process, a, b, c),
        nr::WRITE => file::write(process, a, b, c),
        nr::OPEN => file::open(process, a, b),
        nr::CLOSE => file::close(process, a),
        nr::PREAD64 => file::pread64(process, a, b, c, d),
        nr::PWRITE64 => file::pwrite64(process, a, b, c, d),
        nr::LISTDIR => file::listdir(process, a, b),
        nr::MMAP => memory::mmap(process, frame.syscall_arguments()),
        nr::MUNMAP => memory::munmap(process, a, b),
        nr::MADVISE => memory::madvise(process, a, b, c),
        nr::PAGEMAP => memory::pagemap(process, a, b),
        nr::IO_SETUP => aio::io_setup(process, a, b),
        nr::IO_DESTROY => aio::io_destroy(process, a),
        nr::IO_SUBMIT => aio::io_submit(process, a, b, c),
        nr::IO_GETEVENTS => aio::io_getevents(process, a, b, c, d),
        nr::FUTEX => futex::futex(process, a, b, c),
        nr::FORK => process::fork(process, frame),
        nr::CLONE => process::clone(process, frame, a, b),
        nr::EXECVE => match process::execve(process, a, b) {
            Ok(new) => {
                *frame = new;
                return None;
            }
            Err(error) => Err(error),
        },
        nr::EXIT => process::exit(&thread, a),
        nr::EXIT_GROUP => process::exit_group(&thread, a),
        nr::WAIT4 => process::wait4(process, a, b, c),
        nr::KILL => process::kill(a, b),
        nr::GETPID => Ok(process.pid.cast_signed()),
        nr::GETTID => Ok(thread.tid.cast_signed()),
        nr::PROCINFO => process::procinfo(process, a, b),
        nr::SCHED_YIELD => system::sched_yield(),
        nr::NANOSLEEP => system::nanosleep(process, a),
        nr::SYSINFO => system::sysinfo(process, a),
        nr::PROBE => system::probe(a, b),
        nr::POWEROFF => system::poweroff(a),
        _ => Err(Errno::ENOSYS),
    })
}

/// The first `max` bytes of a name, fewer where that would cut a character.
fn prefix(name: &str, max: usize) -> &[u8] {
    let mut len = name.len().min(max);
    while !name.is_char_boundary(len) {
        len -= 1;
    }
    &name.as_bytes()[..len]
}
