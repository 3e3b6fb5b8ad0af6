//! `fork`, `clone`, `execve`, `exit`, `exit_group`, `wait4`, `kill`, `procinfo`.
//!
//! **Spec:** Linux man-pages `fork(2)`, `clone(2)`, `execve(2)`, `wait4(2)`.

use super::prefix;
use crate::errno::{Errno, SysResult};
use crate::process::{self, Block, Children, Listed, Process, WaitStatus};
use crate::sched::{self, Thread};
use crate::{exec, probe, user};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use guest_abi::probe::Mark;
use guest_abi::syscall::{CLONE_THREAD_FLAGS, ProcInfo, WNOHANG, signal};
use metal::TrapFrame;

/// `fork()`.
pub(super) fn fork(process: &Process, frame: &TrapFrame) -> SysResult {
    probe::announce(Mark::ForkEnter, process.pid);
    let mut copied = 0;
    let child = copy_process(process, frame, &mut copied);
    probe::announce(Mark::ForkExit, copied);
    child.map(u64::cast_signed)
}

fn copy_process(process: &Process, frame: &TrapFrame, copied: &mut u64) -> Result<u64, Errno> {
    let (space, stats) = process.with_space(|space, mem| space.fork(mem))??;
    *copied = stats.pages_copied;
    let mut frame = frame.clone();
    frame.set_result(0);
    let name = process.name.lock().clone();
    let files = process.files.lock().clone();
    process::spawn(process.pid, name, files, space, frame)
}

/// `clone(flags, stack)`: a thread.
pub(super) fn clone(
    process: &Arc<Process>,
    frame: &TrapFrame,
    flags: u64,
    stack: u64,
) -> SysResult {
    if flags != CLONE_THREAD_FLAGS {
        return Err(Errno::EINVAL);
    }
    let mut frame = frame.clone();
    frame.set_result(0);
    frame.set_stack(stack);
    process::add_thread(process, frame).map(u64::cast_signed)
}

/// `execve(path, argv, envp)`: the registers of the new program.
///
/// Not modelled: ending the other threads; with any, EAGAIN.
pub(super) fn execve(process: &Process, path: u64, argv: u64) -> Result<TrapFrame, Errno> {
    let path = user::read_string(process, path, exec::MAX_ARGUMENT_BYTES)?;
    let args = read_arguments(process, argv)?;
    if process::thread_count(process.pid) > 1 {
        return Err(Errno::EAGAIN);
    }
    let program = exec::load(&path, &args)?;
    *process.name.lock() = path;
    process.replace_space(program.space);
    Ok(program.frame)
}

fn read_arguments(process: &Process, argv: u64) -> Result<Vec<String>, Errno> {
    let mut args = Vec::new();
    let mut bytes = 0;
    for i in 0..=exec::MAX_ARGUMENTS as u64 {
        let at: u64 = user::read(process, argv.wrapping_add(8 * i))?;
        if at == 0 {
            return Ok(args);
        }
        let arg = user::read_string(process, at, exec::MAX_ARGUMENT_BYTES - bytes)?;
        bytes += arg.len();
        args.push(arg);
    }
    Err(Errno::E2BIG)
}

/// `exit(status)`: ends the calling thread.
pub(super) fn exit(thread: &Thread, status: u64) -> SysResult {
    thread.exit(WaitStatus::exited(status));
    Ok(0)
}

/// `exit_group(status)`: ends the process.
pub(super) fn exit_group(thread: &Thread, status: u64) -> SysResult {
    let status = WaitStatus::exited(status);
    if process::thread_count(thread.process.pid) > 1 {
        thread.process.end(status);
    }
    thread.exit(status);
    Ok(0)
}

/// `wait4(pid, &status, options, NULL)`.
pub(super) fn wait4(process: &Process, pid: u64, status_at: u64, options: u64) -> SysResult {
    // The number is an `int`: the upper half of the argument does not count.
    let which = match pid & 0xffff_ffff {
        0xffff_ffff => Children::Any,
        0 => return Err(Errno::EINVAL),
        pid => Children::One(pid),
    };
    let block = match options {
        0 => Block::Yes,
        WNOHANG => Block::No,
        _ => return Err(Errno::EINVAL),
    };
    let Some((pid, status)) = process::wait(process.pid, which, block)? else {
        return Ok(0);
    };
    if status_at != 0 {
        user::write(process, status_at, &status.0)?;
    }
    Ok(pid.cast_signed())
}

/// `kill(pid, sig)`: SIGKILL; signal 0 only asks whether the process is there.
pub(super) fn kill(pid: u64, signal: u64) -> SysResult {
    const SIGKILL: u64 = signal::SIGKILL as u64;
    let process = process::find(pid).ok_or(Errno::ESRCH)?;
    match signal {
        0 => Ok(0),
        SIGKILL => {
            process.end(WaitStatus::killed(signal::SIGKILL));
            Ok(0)
        }
        _ => Err(Errno::EINVAL),
    }
}

/// `procinfo(index, &ProcInfo)`.
pub(super) fn procinfo(process: &Process, index: u64, at: u64) -> SysResult {
    let index = usize::try_from(index).map_err(|_| Errno::EINVAL)?;
    let Some(listed) = process::nth(index) else {
        return Ok(0);
    };
    user::write(process, at, &info_of(&listed))?;
    Ok(1)
}

fn info_of(listed: &Listed) -> ProcInfo {
    let sleeping = sched::sleeping_threads(listed.process.pid);
    let name = listed.process.name.lock().clone();
    let mut info = ProcInfo {
        pid: listed.process.pid,
        ppid: listed.parent,
        threads: listed.threads as u64,
        cr3: listed.process.address().map_or(0, |(_, root)| root.get()),
        // A process that is on its way out has no space any more.
        resident_pages: listed
            .process
            .with_space(|space, _| space.resident_pages())
            .unwrap_or(0),
        state: match () {
            () if listed.is_zombie => b'Z',
            () if sleeping == listed.threads => b'S',
            () => b'R',
        },
        ..ProcInfo::default()
    };
    let name = prefix(&name, info.name.len());
    info.name[..name.len()].copy_from_slice(name);
    info.name_len = u8::try_from(name.len()).unwrap_or(u8::MAX);
    info
}
