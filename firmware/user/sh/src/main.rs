//! The shell on the serial console: `sh`, or `sh -c COMMANDS`.
//!
//! Commands are separated by `;`, words by spaces. The first word is a built-in
//! ([`builtin`]) or a program: a file of that name, or of that name in `bin/`.
//!
//! Neighbours: [`line`](mod@line) reads and splits; `rt` starts the programs.
//!
//! Not modelled: quotes, variables, redirection, pipes, jobs, a current directory.
//! `sh -c a b` runs the one command `a b` (a POSIX shell would run `a` and call it `b`):
//! the kernel's command line can pass words, but no word with a space in it.

#![no_std]
#![no_main]

mod builtin;
mod line;

use line::{Input, Line, Words};
use rt::process::{End, exec, exit, fork_with};
use rt::{Args, Errno, print, println};

rt::entry!(main);

const PROMPT: &str = "halfpage$ ";
/// Status of a command that is no program.
const STATUS_NOT_FOUND: i32 = 127;
/// Status of a command that is a file but could not be run.
const STATUS_NOT_RUN: i32 = 126;
/// Status of a shell that was called wrongly.
const STATUS_USAGE: i32 = 2;

/// What follows from a command.
pub(crate) enum Flow {
    /// Go on; the command had this status.
    Next(i32),
    /// The shell ends with this status, or with the last command's.
    Leave(Option<i32>),
}

fn main(mut args: Args) -> i32 {
    args.next();
    match args.next() {
        None => interact(),
        Some("-c") => run_words(args),
        Some(other) => {
            println!("sh: {other}?\nusage: sh [-c COMMANDS]");
            STATUS_USAGE
        }
    }
}

/// Runs what is typed until `exit` or the end of input.
fn interact() -> i32 {
    let mut input = Input::new();
    let mut status = 0;
    loop {
        print!("{PROMPT}");
        let Some(line) = input.read_line() else {
            return status;
        };
        match run_line(line.as_str(), status) {
            Flow::Next(last) => status = last,
            Flow::Leave(chosen) => return chosen.unwrap_or(status),
        }
    }
}

/// Runs the arguments of `-c`, as one line.
fn run_words(args: Args) -> i32 {
    let mut line = Line::new();
    for arg in args {
        if line
            .push_str(arg)
            .and_then(|()| line.push_str(" "))
            .is_none()
        {
            println!("sh: {}", Errno::E2BIG);
            return STATUS_USAGE;
        }
    }
    match run_line(line.as_str(), 0) {
        Flow::Next(status) => status,
        Flow::Leave(status) => status.unwrap_or(0),
    }
}

/// Runs the commands of a line, of which `status` is the status before.
fn run_line(line: &str, mut status: i32) -> Flow {
    for command in line.split(';') {
        let words = Words::split(command);
        let Some((&name, args)) = words.as_slice().split_first() else {
            continue;
        };
        let flow = builtin::run(name, args);
        match flow.unwrap_or_else(|| Flow::Next(run_program(name, words.as_slice()))) {
            Flow::Next(last) => status = last,
            Flow::Leave(chosen) => return Flow::Leave(Some(chosen.unwrap_or(status))),
        }
    }
    Flow::Next(status)
}

/// Runs a program in a child and says how it ended, unless well.
fn run_program(name: &str, words: &[&str]) -> i32 {
    let end = fork_with(|| become_program(name, words)).and_then(|child| child.wait());
    match end {
        Ok(End::Exited(status @ (STATUS_NOT_RUN | STATUS_NOT_FOUND))) => status,
        Ok(end) => {
            if end != End::Exited(0) {
                println!("{name}: {end}");
            }
            end.status()
        }
        Err(errno) => {
            println!("sh: {name}: {errno}");
            STATUS_NOT_RUN
        }
    }
}

/// In the child: becomes the program, or says why not and ends.
fn become_program(name: &str, words: &[&str]) -> ! {
    let mut errno = exec(name, words.iter().copied());
    if errno == Errno::ENOENT {
        let mut in_bin = Line::new();
        if in_bin
            .push_str("bin/")
            .and_then(|()| in_bin.push_str(name))
            .is_some()
        {
            errno = exec(in_bin.as_str(), words.iter().copied());
        }
    }
    println!("sh: {name}: {errno}");
    exit(if errno == Errno::ENOENT {
        STATUS_NOT_FOUND
    } else {
        STATUS_NOT_RUN
    })
}
