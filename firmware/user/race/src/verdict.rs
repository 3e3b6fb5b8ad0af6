//! How a scenario ends: with a verdict, or with the reason why there is none.
//!
//! Neighbours: `guest_abi` defines the word that goes to the measuring port.

use core::fmt;

use guest_abi::probe::verdict;
use rt::Errno;
use rt::process::End;

/// What the program saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The transfer said that all bytes went, and they are not where they were sent.
    pub lost: bool,
    /// The child holds bytes that only the parent read.
    pub child_saw_dma: bool,
    /// The disk holds bytes that the child stored.
    pub disk_has_child_bytes: bool,
}

impl Verdict {
    /// The argument of `Mark::Verdict`.
    #[must_use]
    pub fn to_word(self) -> u64 {
        let bit = |seen, bit| if seen { bit } else { 0 };
        bit(self.lost, verdict::LOST)
            | bit(self.child_saw_dma, verdict::CHILD_SAW_DMA)
            | bit(self.disk_has_child_bytes, verdict::DISK_HAS_CHILD_BYTES)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "lost={} child_saw_dma={} disk_has_child_bytes={}",
            u8::from(self.lost),
            u8::from(self.child_saw_dma),
            u8::from(self.disk_has_child_bytes),
        )
    }
}

/// Why there is no verdict: something that the scenario relies on did not hold.
#[derive(Clone, Copy, Debug)]
pub enum Invalid {
    /// A step failed.
    Failed {
        /// What was attempted.
        step: &'static str,
        /// What the kernel answered.
        errno: Errno,
    },
    /// A transfer moved fewer bytes than a sector.
    Short {
        /// Which transfer.
        step: &'static str,
        /// How many bytes it moved.
        bytes: usize,
    },
    /// The child ended where it should not, or in a way it should not.
    Child(End),
}

impl Invalid {
    /// Names the step that failed.
    pub(crate) fn failed(step: &'static str) -> impl Fn(Errno) -> Self {
        move |errno| Self::Failed { step, errno }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed { step, errno } => write!(f, "{step}: {errno}"),
            Self::Short { step, bytes } => write!(f, "{step}: {bytes} bytes of 512"),
            Self::Child(end) => write!(f, "the child ended too early or wrongly: {end}"),
        }
    }
}
