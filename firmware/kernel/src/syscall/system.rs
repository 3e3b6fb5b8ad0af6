//! `sched_yield`, `nanosleep`, `sysinfo`, `probe`, `poweroff`.
//!
//! **Spec:** Linux man-pages `nanosleep(2)`, `sched_yield(2)`.

use crate::errno::{Errno, SysResult};
use crate::process::Process;
use crate::sched::{self, Channel};
use crate::{memory, power, probe as port, smp, time, user};
use guest_abi::probe::Mark;
use guest_abi::syscall::{SysInfo, Timespec};
use metal::SpinLock;

/// `sched_yield()`.
pub(super) fn sched_yield() -> SysResult {
    sched::yield_now();
    Ok(0)
}

/// `nanosleep(&Timespec, NULL)`, to the next tick at the earliest.
pub(super) fn nanosleep(process: &Process, at: u64) -> SysResult {
    let wanted: Timespec = user::read(process, at)?;
    let sec = u64::try_from(wanted.sec).map_err(|_| Errno::EINVAL)?;
    let nsec = u64::try_from(wanted.nsec).map_err(|_| Errno::EINVAL)?;
    if nsec >= 1_000_000_000 {
        return Err(Errno::EINVAL);
    }
    let len_ns = sec.saturating_mul(1_000_000_000).saturating_add(nsec);
    let until_ns = time::now_ns().saturating_add(len_ns);
    // Nobody wakes this channel; the lock is only what sleeping wants.
    let nothing = SpinLock::new(());
    while time::now_ns() < until_ns {
        sched::sleep_until(Channel::Clock, Some(until_ns), nothing.lock())?;
    }
    Ok(0)
}

/// `sysinfo(&SysInfo)`.
pub(super) fn sysinfo(process: &Process, at: u64) -> SysResult {
    let info = memory::with(|mem| SysInfo {
        total_frames: mem.frames.total(),
        free_frames: mem.frames.free(),
        cpus: smp::online() as u64,
        uptime_ns: time::now_ns(),
        pinned_frames: mem.frames.pinned(),
        cow_copies: mem.stats.cow_copies,
        fork_copies: mem.stats.fork_copies,
    });
    user::write(process, at, &info)?;
    Ok(0)
}

/// `probe(mark, argument)`: of marks that are for programs.
pub(super) fn probe(mark: u64, argument: u64) -> SysResult {
    let mark = u32::try_from(mark).ok().and_then(Mark::from_u32);
    let mark = mark.filter(|mark| mark.is_for_programs());
    port::announce(mark.ok_or(Errno::EINVAL)?, argument);
    Ok(0)
}

/// `poweroff(status)`.
pub(super) fn poweroff(status: u64) -> SysResult {
    let [a, b, c, d, ..] = status.to_le_bytes();
    power::off_after_flush(u32::from_le_bytes([a, b, c, d]))
}
