//! Checks the conventions that no compiler checks.
//!
//! One module, one check; each is a function from a [`Tree`] to the [`Violation`]s in it,
//! and no check reads a file itself. What a check allows stands in [`tables`], with
//! reasons, so that a change of the rules is a change of one table.
//!
//! Neighbours: `main` prints; `tests/tree.rs` holds the repository to the checks.

mod arrows;
pub mod departs;
mod heads;
mod length;
mod links;
mod names;
mod source;
pub mod tables;
mod tree;
mod unsafety;
mod words;

pub use tree::{File, Tree, TreeError};

use std::fmt;

/// One sentence about one line that breaks a convention.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// File, from the root of the repository.
    pub path: String,
    /// Line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub sentence: String,
}

impl Violation {
    pub(crate) fn new(path: &str, line: usize, sentence: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line,
            sentence: sentence.into(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.sentence)
    }
}

/// All violations in `tree`, by file and line.
#[must_use]
pub fn check(tree: &Tree) -> Vec<Violation> {
    const CHECKS: [fn(&Tree) -> Vec<Violation>; 8] = [
        arrows::check,
        departs::check,
        heads::check,
        length::check,
        links::check,
        names::check,
        unsafety::check,
        words::check,
    ];
    let mut found: Vec<_> = CHECKS.iter().flat_map(|check| check(tree)).collect();
    found.sort();
    found
}
