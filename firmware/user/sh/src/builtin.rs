//! What the shell does itself.
//!
//! Neighbours: `rt::system` asks the kernel.

use rt::console::write_all;
use rt::file::{File, Mode, Path};
use rt::{Errno, println, system};

use crate::Flow;

const HELP: &str = "\
ls               the files of the disk, with their sizes in bytes
cat FILE...      prints files
ps               processes
free             memory, copies made, CPUs, uptime
exit [STATUS]    ends this shell
poweroff [STATUS]  ends the machine
help             this
Anything else runs the program of that name, here or in bin/.
Commands are separated by a semicolon.";

const STATUS_FAILED: i32 = 1;
const STATUS_USAGE: i32 = 2;

/// Runs the built-in of this name, if there is one.
pub(crate) fn run(name: &str, args: &[&str]) -> Option<Flow> {
    let done = match name {
        "ls" => ls(),
        "cat" => cat(args),
        "ps" => ps(),
        "free" => free(),
        "help" => help(),
        "exit" => return Some(with_status(args, Flow::Leave)),
        "poweroff" => return Some(with_status(args, power_off)),
        _ => return None,
    };
    Some(Flow::Next(match done {
        Ok(()) => 0,
        Err(errno) => {
            println!("{name}: {errno}");
            STATUS_FAILED
        }
    }))
}

fn ls() -> Result<(), Errno> {
    for file in system::files() {
        println!("{:>9} {}", file.size_bytes, text(&file.name, file.name_len));
    }
    Ok(())
}

fn cat(names: &[&str]) -> Result<(), Errno> {
    for name in names {
        let file = File::open(name, Mode::Read, Path::Buffered)?;
        let mut buf = [0; 512];
        loop {
            match file.read(&mut buf)? {
                0 => break,
                len => write_all(&buf[..len])?,
            }
        }
    }
    Ok(())
}

fn ps() -> Result<(), Errno> {
    println!("  PID  PPID THREADS PAGES S         CR3 NAME");
    for process in system::processes() {
        println!(
            "{:>5} {:>5} {:>7} {:>5} {} {:#011x} {}",
            process.pid,
            process.ppid,
            process.threads,
            process.resident_pages,
            char::from(process.state),
            process.cr3,
            text(&process.name, process.name_len.into()),
        );
    }
    Ok(())
}

fn free() -> Result<(), Errno> {
    let info = system::info()?;
    println!("frames       {:>8}", info.total_frames);
    println!("  free       {:>8}", info.free_frames);
    println!("  pinned     {:>8}", info.pinned_frames);
    println!("copies made");
    println!("  by stores  {:>8}", info.cow_copies);
    println!("  by forks   {:>8}", info.fork_copies);
    println!("CPUs         {:>8}", info.cpus);
    println!("uptime in ms {:>8}", info.uptime_ns / 1_000_000);
    Ok(())
}

fn help() -> Result<(), Errno> {
    println!("{HELP}");
    Ok(())
}

fn power_off(status: Option<i32>) -> Flow {
    let errno = system::power_off(status.unwrap_or(0));
    println!("poweroff: {errno}");
    Flow::Next(STATUS_FAILED)
}

/// Goes on with the status that `args` name, if any.
fn with_status(args: &[&str], then: impl FnOnce(Option<i32>) -> Flow) -> Flow {
    match args.first().map(|arg| arg.parse()) {
        None => then(None),
        Some(Ok(status)) => then(Some(status)),
        Some(Err(_)) => {
            println!("sh: a status is a number");
            Flow::Next(STATUS_USAGE)
        }
    }
}

/// The name in a fixed field.
fn text(field: &[u8], len: u64) -> &str {
    let len = usize::try_from(len).unwrap_or(field.len());
    let name = field.get(..len).unwrap_or(field);
    core::str::from_utf8(name).unwrap_or("(not UTF-8)")
}
