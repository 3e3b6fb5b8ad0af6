//! A page of flags between processes: how the steps of a scenario are put in order.
//!
//! Neighbours: [`crate::pages`] maps the page; `fork` shares it.
//!
//! Waiting is by sleeping and looking, not by futex: it needs nothing from the kernel but
//! a timer, and so cannot change the order it is there to give.

use core::sync::atomic::{AtomicU8, Ordering};

use crate::errno::Errno;
use crate::pages::Pages;
use crate::process::{End, Pid};
use crate::time::sleep_ms;

const POLL_MS: u64 = 1;

/// A page that processes share, as flags that start lowered and are raised once.
#[derive(Clone, Copy, Debug)]
pub struct FlagPage {
    flags: &'static [AtomicU8],
}

/// Number of a flag on its page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flag(pub u8);

/// What ended a wait for a child's flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// The flag is up.
    Raised,
    /// The child ended, and has been waited for.
    Ended(End),
}

impl FlagPage {
    /// Maps the page; children forked later share it.
    ///
    /// # Errors
    ///
    /// What `mmap` returns.
    pub fn new() -> Result<Self, Errno> {
        Ok(Self {
            flags: Pages::shared(1)?.leak(),
        })
    }

    /// Raises a flag. Stores made before it are seen by whoever sees the flag.
    pub fn raise(self, flag: Flag) {
        self.slot(flag).store(1, Ordering::Release);
    }

    /// Whether the flag is up.
    #[must_use]
    pub fn is_raised(self, flag: Flag) -> bool {
        self.slot(flag).load(Ordering::Acquire) != 0
    }

    /// Waits until the flag is up.
    pub fn wait(self, flag: Flag) {
        while !self.is_raised(flag) {
            sleep_ms(POLL_MS);
        }
    }

    /// Waits until the flag is up or the child that should raise it has ended.
    ///
    /// # Errors
    ///
    /// What `wait4` returns.
    pub fn wait_for_child(self, flag: Flag, child: Pid) -> Result<Waited, Errno> {
        loop {
            if let Some(end) = child.try_wait()? {
                return Ok(Waited::Ended(end));
            }
            if self.is_raised(flag) {
                return Ok(Waited::Raised);
            }
            sleep_ms(POLL_MS);
        }
    }

    fn slot(self, flag: Flag) -> &'static AtomicU8 {
        &self.flags[usize::from(flag.0)]
    }
}
