//! What the scenarios have in common: the page, the flags, the child's hand-over.
//!
//! Neighbours: [`crate::read`], [`crate::write`].

use core::sync::atomic::AtomicU8;

use guest_abi::probe::Mark;
use rt::flags::{Flag, FlagPage, Waited};
use rt::pages::{ForkAdvice, Pages, address, advise_fork, fill};
use rt::process::{End, Pid};
use rt::system;

use crate::options::Options;
use crate::verdict::Invalid;

/// Parent to child: go on (store, or look).
pub(crate) const GO: Flag = Flag(0);
/// Child to parent: I am at the place where I wait for [`GO`].
pub(crate) const READY: Flag = Flag(1);
/// Child to parent: my next access is to the page, and I may die of it.
pub(crate) const TOUCHING: Flag = Flag(2);
/// Child to parent: I have stored.
pub(crate) const STORED: Flag = Flag(3);
/// Parent to child: end.
pub(crate) const LEAVE: Flag = Flag(4);

/// The page that the transfer and both processes use.
#[derive(Clone, Copy)]
pub(crate) struct Scene {
    pub(crate) page: &'static [AtomicU8],
    pub(crate) flags: FlagPage,
}

impl Scene {
    /// Maps a page, stores `byte` everywhere in it, and sets what children get of it.
    pub(crate) fn set(options: Options, byte: u8) -> Result<Self, Invalid> {
        let page = Pages::private(1).map_err(Invalid::failed("mmap"))?.leak();
        fill(page, byte);
        if options.advice == ForkAdvice::DontFork {
            advise_fork(page, options.advice).map_err(Invalid::failed("madvise"))?;
        }
        let flags = FlagPage::new().map_err(Invalid::failed("mmap of the flags"))?;
        Ok(Self { page, flags })
    }

    /// Waits until the child has raised `flag`.
    pub(crate) fn wait_for(self, flag: Flag, child: &mut Child) -> Result<(), Invalid> {
        match self.wait_or_end(flag, child)? {
            None => Ok(()),
            Some(end) => Err(Invalid::Child(end)),
        }
    }

    /// Waits until the child has raised `flag`, or has ended: how.
    pub(crate) fn wait_or_end(self, flag: Flag, child: &mut Child) -> Result<Option<End>, Invalid> {
        let waited = self.flags.wait_for_child(flag, child.pid);
        match waited.map_err(Invalid::failed("wait4"))? {
            Waited::Raised => Ok(None),
            Waited::Ended(end) => {
                child.has_ended = true;
                Ok(Some(end))
            }
        }
    }
}

/// Announces a step that is about `buf`.
pub(crate) fn announce(mark: Mark, buf: &[AtomicU8]) -> Result<(), Invalid> {
    system::probe(mark, address(buf)).map_err(Invalid::failed("probe"))
}

/// Announces a step that is about nothing in particular.
pub(crate) fn announce_step(mark: Mark) -> Result<(), Invalid> {
    system::probe(mark, 0).map_err(Invalid::failed("probe"))
}

/// A child that is killed and waited for when the scenario ends before it does.
pub(crate) struct Child {
    pid: Pid,
    has_ended: bool,
}

impl Child {
    pub(crate) fn new(pid: Pid) -> Self {
        Self {
            pid,
            has_ended: false,
        }
    }

    /// Waits for its end.
    pub(crate) fn wait(mut self) -> Result<End, Invalid> {
        self.has_ended = true;
        self.pid.wait().map_err(Invalid::failed("wait4"))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.has_ended {
            // The scenario has failed already; this only leaves no process behind.
            let _ = self.pid.kill();
            let _ = self.pid.wait();
        }
    }
}
