//! x
mod common;
use common::{Bench};
#[test]
fn a() { let b = Bench::long(); drop(b); }
