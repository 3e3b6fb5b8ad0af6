//! What the suites in `benches/` share: guests to run, and ratios to report.
//!
//! A host's nanoseconds mean little on another host. Each suite therefore measures something
//! beside what it asks about, in the same run, and [`Beside`] prints the ratio.
//!
//! `cargo bench -p benches` runs all suites; `cargo bench -p benches --bench walk` one.

pub mod beside;
pub mod guest;
pub mod native;

pub use beside::Beside;
pub use guest::Guest;
