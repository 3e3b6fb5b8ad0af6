//! What the kernel tells about itself, the power switch, and the measuring port.
//!
//! Neighbours: `guest_abi` has the structures and the marks.

use guest_abi::probe::Mark;
use guest_abi::syscall::{DirEntry, ProcInfo, SysInfo};

use crate::errno::Errno;
use crate::sys;

/// The files of the archive, in its order. Ends early if the kernel refuses.
pub fn files() -> impl Iterator<Item = DirEntry> {
    (0..).map_while(|index| sys::listdir(index).ok().flatten())
}

/// The processes, in the order the kernel keeps them. Ends early if the kernel refuses.
pub fn processes() -> impl Iterator<Item = ProcInfo> {
    (0..).map_while(|index| sys::procinfo(index).ok().flatten())
}

/// Memory, CPUs, uptime and page copies so far.
///
/// # Errors
///
/// What `sysinfo` returns.
pub fn info() -> Result<SysInfo, Errno> {
    sys::sysinfo()
}

/// Ends the machine with this status. Returns only on failure.
pub fn power_off(status: i32) -> Errno {
    sys::poweroff(status)
}

/// Announces a step on the measuring port.
///
/// That nobody listens is not an error, and neither is a kernel without the call: programs
/// behave the same on Linux, where most of them run as they are.
///
/// # Errors
///
/// What `probe` returns: a mark that is the kernel's own is refused.
pub fn probe(mark: Mark, argument: u64) -> Result<(), Errno> {
    match sys::probe(mark, argument) {
        Err(Errno::ENOSYS) => Ok(()),
        announced => announced,
    }
}
