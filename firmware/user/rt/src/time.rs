//! Time as the kernel counts it.
//!
//! **Spec:** Linux man-pages, nanosleep(2).

use guest_abi::syscall::Timespec;

use crate::errno::Errno;
use crate::sys;

const NS_PER_MS: u64 = 1_000_000;
const MS_PER_S: u64 = 1_000;

/// Sleeps for at least this long.
pub fn sleep_ms(ms: u64) {
    let part = |value: u64| i64::try_from(value).expect("a time below 2^63 seconds");
    let time = Timespec {
        sec: part(ms / MS_PER_S),
        nsec: part(ms % MS_PER_S * NS_PER_MS),
    };
    sys::nanosleep(&time).expect("nanosleep of a valid time");
}

/// Milliseconds since boot.
///
/// # Errors
///
/// What `sysinfo` returns.
pub fn uptime_ms() -> Result<u64, Errno> {
    Ok(sys::sysinfo()?.uptime_ns / NS_PER_MS)
}
