//! The three races and the systems they are run on.
//!
//! *Forward* (bug 1): an `O_DIRECT` read is in flight into a page, `fork` shares the
//! page, the parent stores to its other half and is moved to a copy; the sector
//! lands in the old frame. *Child sees DMA*: the same without the store; the
//! parent is fine, but the child sees data it never read. *Backward* (bug 2): an
//! `O_DIRECT` write is in flight from a page shared by fork, the parent stores and
//! is moved, the child is left alone with the frame, and its bytes go to disk.

mod evidence;
mod run;

pub use evidence::{Difference, Mapping, SectorSeen};
pub use run::{RaceError, Report, RunOptions, run};

use serde::Serialize;

/// A race program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Race {
    /// The parent's read is lost.
    Forward,
    /// The child sees the parent's read.
    ChildSeesDma,
    /// The child's bytes are written in the parent's name.
    Backward,
}

impl Race {
    /// All of them, in the order of tables.
    pub const ALL: [Self; 3] = [Self::Forward, Self::ChildSeesDma, Self::Backward];

    /// Name on the command line, in output, and of the program on the boot disk.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::ChildSeesDma => "child-sees-dma",
            Self::Backward => "backward",
        }
    }
}

/// What stands against the race.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// Linux 2.6.13 to 5.7: fork shares, a write fault reuses the frame if nobody else maps it.
    Baseline,
    /// The baseline kernel, and a program that keeps the buffer out of children (`MADV_DONTFORK`).
    Dontfork,
    /// Fork copies pages that `get_user_pages` holds references on (the 2009 fix for bug 1).
    CopyAtFork,
    /// `get_user_pages` breaks copy-on-write even to read (fix B of 2009, Linux 5.8).
    DecowGup,
    /// Both of the above.
    #[serde(rename = "copy-at-fork+decow-gup")]
    CopyAtForkAndDecowGup,
}

impl Policy {
    /// All of them, in the order of tables.
    pub const ALL: [Self; 5] = [
        Self::Baseline,
        Self::Dontfork,
        Self::CopyAtFork,
        Self::DecowGup,
        Self::CopyAtForkAndDecowGup,
    ];

    /// Name on the command line and in output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Dontfork => "dontfork",
            Self::CopyAtFork => "copy-at-fork",
            Self::DecowGup => "decow-gup",
            Self::CopyAtForkAndDecowGup => "copy-at-fork+decow-gup",
        }
    }

    /// The kernel's policy; [`Policy::Dontfork`] is a program's choice, not a kernel's.
    const fn of_kernel(self) -> &'static str {
        match self {
            Self::Dontfork => Self::Baseline.name(),
            _ => self.name(),
        }
    }
}

/// How a race ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The hazard the race is named for happened.
    Lost,
    /// It did not.
    Safe,
}

/// What is known to happen: each fix closes what it was made for, and nothing else.
#[must_use]
pub const fn expected(race: Race, policy: Policy) -> Outcome {
    use Outcome::{Lost, Safe};
    match (policy, race) {
        (Policy::Baseline, _) => Lost,
        (Policy::Dontfork | Policy::CopyAtForkAndDecowGup, _) => Safe,
        // At fork time nothing is in flight: the page is shared before the write pins it.
        (Policy::CopyAtFork, Race::Backward) => Lost,
        (Policy::CopyAtFork, _) => Safe,
        // At pin time the page is still exclusive: there is nothing to break yet.
        (Policy::DecowGup, Race::Backward) => Safe,
        (Policy::DecowGup, _) => Lost,
    }
}

/// What somebody saw of one run: the machine, or the guest program itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// The parent's transfer did not do what its system call returned: a read whose
    /// bytes the parent does not have, or a write whose bytes the disk does not have.
    pub lost: bool,
    /// The child's page holds the bytes of the parent's read.
    pub child_saw_dma: bool,
    /// The disk holds bytes the child stored.
    pub disk_has_child_bytes: bool,
}

impl Seen {
    /// Whether the hazard `race` is named for happened.
    #[must_use]
    pub const fn outcome(self, race: Race) -> Outcome {
        let happened = match race {
            Race::Forward => self.lost,
            Race::ChildSeesDma => self.child_saw_dma,
            Race::Backward => self.disk_has_child_bytes,
        };
        if happened {
            Outcome::Lost
        } else {
            Outcome::Safe
        }
    }
}
