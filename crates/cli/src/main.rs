//! `halfpage`: the command line.
//!
//! Data goes to standard output, everything else to standard error. Exit codes: 0
//! all as expected, 1 a verdict differs (or the guest ended with a status of its
//! own), 2 usage, 3 bad input file, 4 guest panic or triple fault, 5 limit reached.

mod args;
mod boot;
mod console;
mod failure;
mod image;
mod output;
mod race;
mod trace_file;

use args::{Cli, Command, RaceArgs};
use clap::Parser;
use failure::Failure;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        None => race::run(&RaceArgs::default()),
        Some(Command::Race(args)) => race::run(&args),
        Some(Command::Boot(args)) => boot::run(&args),
        Some(Command::Image(args)) => image::run(&args),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(failure) if failure.is_broken_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("halfpage: {}", failure::chain(&failure));
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Exit codes, documented in `halfpage --help`.
mod exit {
    pub(crate) const OK: u8 = 0;
    pub(crate) const DIFFERS: u8 = 1;
    pub(crate) const BAD_FILE: u8 = 3;
    pub(crate) const GUEST_CRASH: u8 = 4;
    pub(crate) const LIMIT: u8 = 5;
}

/// What a command that ran to its end tells the shell, or why it did not.
type Outcome = Result<u8, Failure>;
