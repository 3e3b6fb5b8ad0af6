//! `cargo run -p tidy`: prints every violation and exits with 1 if there is one.
//!
//! With `--departs`, prints the list of departures instead, for `docs/DEPARTURES.md`.

use std::path::Path;
use std::process::ExitCode;
use tidy::{Tree, departs};

const USAGE: &str = "usage: tidy [--departs]";
const FOUND: u8 = 1;
const FAILED: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let tree = match Tree::read(&root) {
        Ok(tree) => tree,
        Err(error) => {
            eprintln!("tidy: {error}");
            return ExitCode::from(FAILED);
        }
    };
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => report(&tree),
        ["--departs"] => {
            print!("{}", departs::page(&tree));
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(FAILED)
        }
    }
}

fn report(tree: &Tree) -> ExitCode {
    let found = tidy::check(tree);
    for violation in &found {
        println!("{violation}");
    }
    if found.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FOUND)
    }
}
