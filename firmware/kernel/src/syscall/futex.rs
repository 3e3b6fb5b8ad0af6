//! `futex`: sleeping on a word of user memory.
//!
//! One lock around "compare, then sleep" and around "wake": a waker that has changed
//! the word before it calls finds the sleeper asleep or makes it see the change.
//!
//! Not modelled: timeouts, requeueing, priority inheritance.
//!
//! **Spec:** Linux man-pages `futex(2)`.

use crate::errno::{Errno, SysResult};
use crate::process::Process;
use crate::sched::{self, Channel};
use crate::user;
use guest_abi::syscall::{FUTEX_WAIT, FUTEX_WAKE};
use metal::SpinLock;
use vm::Sharing;
use x86::VirtAddr;
use x86::fault::Access;

static FUTEXES: SpinLock<()> = SpinLock::new(());

/// `futex(addr, op, value)`.
pub(super) fn futex(process: &Process, at: u64, op: u64, value: u64) -> SysResult {
    if !at.is_multiple_of(4) {
        return Err(Errno::EINVAL);
    }
    match op {
        FUTEX_WAIT => wait(process, at, value),
        FUTEX_WAKE => wake(process, at, value),
        _ => Err(Errno::EINVAL),
    }
}

fn wait(process: &Process, at: u64, value: u64) -> SysResult {
    let channel = channel(process, at)?;
    let guard = FUTEXES.lock();
    let word: u32 = user::read(process, at)?;
    // The value is an `int`: the upper half of the argument does not count.
    if u64::from(word) != value & 0xffff_ffff {
        return Err(Errno::EAGAIN);
    }
    sched::sleep(channel, guard)?;
    Ok(0)
}

fn wake(process: &Process, at: u64, value: u64) -> SysResult {
    let channel = channel(process, at)?;
    let _guard = FUTEXES.lock();
    let max = usize::try_from(value).map_err(|_| Errno::EINVAL)?;
    i64::try_from(sched::wake(channel, max)).map_err(|_| Errno::EINVAL)
}

/// Private memory: the space and the address, which fork and COW do not change. Shared
/// memory: the frame, which they do not change either.
fn channel(process: &Process, at: u64) -> Result<Channel, Errno> {
    let at = VirtAddr::new(at).map_err(|_| Errno::EFAULT)?;
    process.with_space(|space, mem| {
        let area = space.areas().find(|area| area.range.contains(at));
        match area.ok_or(Errno::EFAULT)?.sharing {
            Sharing::Private => Ok(Channel::FutexPrivate(space.id(), at.get())),
            Sharing::Shared => Ok(Channel::FutexShared(space.access(mem, at, Access::Read)?)),
        }
    })?
}
