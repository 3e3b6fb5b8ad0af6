//! The clock: ticks of the first CPU's timer.
//!
//! Not modelled: a calendar; time between ticks.

use crate::sched;
use core::sync::atomic::{AtomicU64, Ordering};

/// Microseconds between two ticks.
pub(crate) const TICK_US: u32 = 1000;

static TICKS: AtomicU64 = AtomicU64::new(0);

/// Nanoseconds since boot.
pub(crate) fn now_ns() -> u64 {
    TICKS.load(Ordering::Relaxed) * u64::from(TICK_US) * 1000
}

/// Counts a tick, on the first CPU, and wakes those whose time has come.
pub(crate) fn tick() {
    TICKS.fetch_add(1, Ordering::Relaxed);
    sched::wake_expired(now_ns());
}
