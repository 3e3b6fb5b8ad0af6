//! Processes: fork, exec, wait, exit.
//!
//! Neighbours: [`crate::thread`] for more than one thread in a process.
//!
//! Not modelled: process groups, environment, signal handlers; SIGKILL is the only
//! signal a program can send.
//!
//! **Spec:** Linux man-pages, fork(2), execve(2), wait4(2).

// UNSAFETY: `execve` takes an array of pointers.
#![expect(unsafe_code)]

use core::arch::asm;
use core::fmt;

use guest_abi::syscall::WNOHANG;
use guest_abi::syscall::signal::{SIGFPE, SIGILL, SIGKILL, SIGSEGV, SIGTRAP};

use crate::errno::Errno;
use crate::name::CName;
use crate::sys;

/// A process, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pid(u64);

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Pid {
    /// The calling process.
    #[must_use]
    pub fn own() -> Self {
        Self(sys::getpid())
    }

    /// Waits until this child has ended.
    ///
    /// # Errors
    ///
    /// What `wait4` returns: `ECHILD` if it is no child, or was waited for already.
    pub fn wait(self) -> Result<End, Errno> {
        let (_, status) = sys::wait4(self.0.cast_signed(), 0)?;
        Ok(End::decode(status))
    }

    /// How this child ended, if it has.
    ///
    /// # Errors
    ///
    /// As [`Pid::wait`].
    pub fn try_wait(self) -> Result<Option<End>, Errno> {
        let (pid, status) = sys::wait4(self.0.cast_signed(), WNOHANG)?;
        Ok((pid != 0).then(|| End::decode(status)))
    }

    /// Sends SIGKILL.
    ///
    /// # Errors
    ///
    /// What `kill` returns.
    pub fn kill(self) -> Result<(), Errno> {
        sys::kill(self.0, SIGKILL)
    }
}

/// On which side of a `fork` the program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fork {
    /// In the new process, whose only thread this is.
    Child,
    /// In the old process; the child has this number.
    Parent(Pid),
}

/// Makes a copy of this process, with the calling thread only.
///
/// # Errors
///
/// What `fork` returns; there is no child then.
pub fn fork() -> Result<Fork, Errno> {
    Ok(match sys::fork()? {
        0 => Fork::Child,
        pid => Fork::Parent(Pid(pid)),
    })
}

/// Runs `body` in a child, which ends with the status that `body` returns.
///
/// # Errors
///
/// What `fork` returns.
pub fn fork_with(body: impl FnOnce() -> i32) -> Result<Pid, Errno> {
    match fork()? {
        Fork::Child => exit(body()),
        Fork::Parent(child) => Ok(child),
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By `exit` with this status, 0..255.
    Exited(i32),
    /// By this signal.
    Signaled(i32),
}

impl End {
    /// Reads a status word: bits 6:0 the signal, bits 15:8 the exit status.
    fn decode(status: i32) -> Self {
        match status & 0x7f {
            0 => Self::Exited(status >> 8 & 0xff),
            signal => Self::Signaled(signal),
        }
    }

    /// The status a shell gives it: 128 and the signal's number for the killed.
    #[must_use]
    pub fn status(self) -> i32 {
        match self {
            Self::Exited(status) => status,
            Self::Signaled(signal) => 128 + signal,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Exited(status) => write!(f, "exit status {status}"),
            Self::Signaled(SIGILL) => f.write_str("killed by SIGILL"),
            Self::Signaled(SIGTRAP) => f.write_str("killed by SIGTRAP"),
            Self::Signaled(SIGFPE) => f.write_str("killed by SIGFPE"),
            Self::Signaled(SIGKILL) => f.write_str("killed by SIGKILL"),
            Self::Signaled(SIGSEGV) => f.write_str("killed by SIGSEGV"),
            Self::Signaled(signal) => write!(f, "killed by signal {signal}"),
        }
    }
}

/// Waits for any child.
///
/// # Errors
///
/// What `wait4` returns: `ECHILD` if there is none.
pub fn wait_any() -> Result<(Pid, End), Errno> {
    let (pid, status) = sys::wait4(-1, 0)?;
    Ok((Pid(pid), End::decode(status)))
}

/// Ends the process with all its threads.
pub fn exit(status: i32) -> ! {
    sys::exit_group(status)
}

/// Ends the process with SIGILL.
pub fn abort() -> ! {
    // SAFETY: UD2 raises #UD, always.
    unsafe { asm!("ud2", options(noreturn, nomem, nostack)) }
}

/// Most arguments [`exec`] passes, the program's name included.
const MAX_ARGS: usize = 32;
/// Most bytes of arguments, NULs included.
const MAX_ARG_BYTES: usize = 2048;

/// Becomes the program `name` with these arguments, `args[0]` being what it is called.
/// Returns only on failure, with the process as it was.
pub fn exec<'a>(name: &str, args: impl IntoIterator<Item = &'a str>) -> Errno {
    match pack_args(args) {
        Err(errno) => errno,
        Ok(packed) => exec_packed(name, &packed),
    }
}

/// Arguments end to end, each with its NUL.
struct PackedArgs {
    bytes: [u8; MAX_ARG_BYTES],
    starts: [usize; MAX_ARGS],
    count: usize,
}

fn pack_args<'a>(args: impl IntoIterator<Item = &'a str>) -> Result<PackedArgs, Errno> {
    let mut packed = PackedArgs {
        bytes: [0; MAX_ARG_BYTES],
        starts: [0; MAX_ARGS],
        count: 0,
    };
    let mut end = 0;
    for arg in args {
        let start = end;
        // The byte after it stays 0.
        end = start + arg.len() + 1;
        if packed.count == MAX_ARGS || end > MAX_ARG_BYTES {
            return Err(Errno::E2BIG);
        }
        packed.bytes[start..end - 1].copy_from_slice(arg.as_bytes());
        packed.starts[packed.count] = start;
        packed.count += 1;
    }
    Ok(packed)
}

fn exec_packed(name: &str, packed: &PackedArgs) -> Errno {
    let name = match CName::new(name) {
        Ok(name) => name,
        Err(errno) => return errno,
    };
    let mut argv = [core::ptr::null(); MAX_ARGS + 1];
    for (pointer, &start) in argv.iter_mut().zip(&packed.starts[..packed.count]) {
        *pointer = packed.bytes[start..].as_ptr();
    }
    // SAFETY: each pointer is to one of the packed strings, which have a 0 after them.
    unsafe { sys::execve(name.as_c_str(), &argv) }
}
