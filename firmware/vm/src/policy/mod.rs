//! The rules: pure functions from a page's state to what is done with it.
//!
//! A [`Policy`] is one rule for each of the moments at which a page shared by fork
//! and a page under I/O can go wrong. Each rule is a file of this folder that says
//! whose rule it was and what it leaves open; a new one is a file and a line in
//! [`POLICIES`]. What follows from a decision, the edits of page tables, is in
//! `fault`, `fork` and `gup`.
//!
//! MADV_DONTFORK is no policy: it is there under all of them.

mod as_is;
mod copy_if_gup;
mod decow;
mod mapcount;

use crate::area::Area;
use x86::fault::Access;

pub use crate::frame::FrameState;

/// How a write fault on a present read-only page of a private writable area ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteFault {
    /// The page is made writable where it is.
    Reuse,
    /// The writer gets a copy.
    Copy,
}

/// What fork does with a present page of a private area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fork {
    /// Parent and child map the frame read-only.
    Share,
    /// The child gets its own copy now.
    CopyNow,
}

/// One rule for each moment.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Name on the kernel command line.
    pub name: &'static str,
    /// What it is, in one line.
    pub summary: &'static str,
    /// Which private pages fork copies; `None` shares them all without a look.
    pub on_fork: Option<fn(FrameState) -> Fork>,
    /// As what access GUP faults a page in, given the access the caller wants.
    pub on_gup: fn(Access, &Area) -> Access,
    /// How a write fault ends.
    pub on_write_fault: fn(FrameState) -> WriteFault,
}

/// All policies, baseline first.
pub static POLICIES: [Policy; 4] = [
    Policy {
        name: "baseline",
        summary: "Linux 2.6.13 to 5.7: share at fork, pin as is, reuse by mapcount",
        on_fork: None,
        on_gup: as_is::on_gup,
        on_write_fault: mapcount::on_write_fault,
    },
    Policy {
        name: "copy-at-fork",
        summary: "baseline, but fork copies a page that GUP holds",
        on_fork: Some(copy_if_gup::on_fork),
        on_gup: as_is::on_gup,
        on_write_fault: mapcount::on_write_fault,
    },
    Policy {
        name: "decow-gup",
        summary: "baseline, but GUP for reading breaks COW like a store",
        on_fork: None,
        on_gup: decow::on_gup,
        on_write_fault: mapcount::on_write_fault,
    },
    Policy {
        name: "copy-at-fork+decow-gup",
        summary: "both: the answer of 2009 (PG_gup)",
        on_fork: Some(copy_if_gup::on_fork),
        on_gup: decow::on_gup,
        on_write_fault: mapcount::on_write_fault,
    },
];

impl Policy {
    /// Linux as it was while the races were argued about.
    pub const BASELINE: &'static Self = &POLICIES[0];

    /// The policy called `name`.
    #[must_use]
    pub fn by_name(name: &str) -> Option<&'static Self> {
        POLICIES.iter().find(|policy| policy.name == name)
    }

    /// All names, for messages.
    pub fn names() -> impl Iterator<Item = &'static str> {
        POLICIES.iter().map(|policy| policy.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_is_found_by_its_own_name_only() {
        for (n, policy) in POLICIES.iter().enumerate() {
            assert!(core::ptr::eq(Policy::by_name(policy.name).unwrap(), policy));
            assert!(POLICIES[..n].iter().all(|p| p.name != policy.name));
        }
        assert!(Policy::by_name("BASELINE").is_none());
        assert_eq!(Policy::BASELINE.name, "baseline");
    }
}
