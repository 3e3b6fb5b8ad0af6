//! Cases about processes: how they begin and end.

use guest_abi::syscall::signal::{SIGILL, SIGKILL};
use rt::Errno;
use rt::flags::{Flag, FlagPage};
use rt::process::{End, Pid, abort, exec, fork_with, wait_any};
use rt::{system, time};

use crate::{Case, Failure, Outcome, check, check_end};

pub(crate) const CASES: &[Case] = &[
    ("wait4 gives the status a child ended with", statuses),
    ("a child has a number of its own", own_numbers),
    (
        "a child that executes UD2 is killed by SIGILL",
        illegal_instruction,
    ),
    ("a child that sleeps is killed by SIGKILL", killed),
    ("WNOHANG finds no end of a child that runs", no_hang),
    ("wait4 without a child is ECHILD", no_child),
    ("wait4 for any child finds each of sixteen once", sixteen),
    ("children have children, ten deep", ten_deep),
    (
        "execve starts a program, whose status comes back",
        exec_status,
    ),
    (
        "execve of what is no program fails and changes nothing",
        exec_failures,
    ),
    (
        "a hundred forks leave as many free frames as there were",
        no_leak,
    ),
];

fn statuses() -> Outcome {
    for status in [0, 1, 7, 127, 255] {
        check_end(fork_with(|| status)?.wait()?, End::Exited(status))?;
    }
    Ok(())
}

fn own_numbers() -> Outcome {
    let parent = Pid::own();
    let child = fork_with(|| i32::from(Pid::own() != parent))?;
    check(child != parent, "the child has its parent's number")?;
    check_end(child.wait()?, End::Exited(1))
}

fn illegal_instruction() -> Outcome {
    check_end(fork_with(|| abort())?.wait()?, End::Signaled(SIGILL))
}

fn killed() -> Outcome {
    let child = fork_with(|| {
        time::sleep_ms(60_000);
        0
    })?;
    child.kill()?;
    check_end(child.wait()?, End::Signaled(SIGKILL))
}

fn no_hang() -> Outcome {
    const LEAVE: Flag = Flag(0);
    let flags = FlagPage::new()?;
    let child = fork_with(|| {
        flags.wait(LEAVE);
        3
    })?;
    check(child.try_wait()?.is_none(), "an end before the end")?;
    flags.raise(LEAVE);
    check_end(child.wait()?, End::Exited(3))
}

fn no_child() -> Outcome {
    check(wait_any() == Err(Errno::ECHILD), "an end without a child")?;
    let child = fork_with(|| 0)?;
    child.wait()?;
    check(child.wait() == Err(Errno::ECHILD), "two ends of one child")
}

fn sixteen() -> Outcome {
    for status in 0..16 {
        fork_with(|| status)?;
    }
    let mut seen = [false; 16];
    for _ in 0..16 {
        let (_, end) = wait_any()?;
        let End::Exited(status @ 0..16) = end else {
            return Err(Failure::Ended(end));
        };
        let slot = usize::try_from(status).expect("0..16");
        check(!seen[slot], "one child twice")?;
        seen[slot] = true;
    }
    check(wait_any() == Err(Errno::ECHILD), "a seventeenth child")
}

/// Each generation adds one to its child's status.
fn ten_deep() -> Outcome {
    check_end(fork_with(|| descend(9))?.wait()?, End::Exited(10))
}

fn descend(generations: i32) -> i32 {
    if generations == 0 {
        return 1;
    }
    match fork_with(|| descend(generations - 1)).and_then(Pid::wait) {
        Ok(End::Exited(status)) => status + 1,
        _ => 100,
    }
}

fn exec_status() -> Outcome {
    let child = fork_with(|| {
        let _ = exec("bin/sh", ["sh", "-c", "exit", "42"]);
        1
    })?;
    check_end(child.wait()?, End::Exited(42))
}

fn exec_failures() -> Outcome {
    check(
        exec("bin/none", ["none"]) == Errno::ENOENT,
        "not ENOENT for no file",
    )?;
    check(
        exec("data/pattern.bin", ["x"]) == Errno::ENOEXEC,
        "not ENOEXEC for data",
    )
}

fn no_leak() -> Outcome {
    // The first round lets the kernel's own caches grow to what they need.
    fork_a_hundred_times()?;
    let before = system::info()?.free_frames;
    fork_a_hundred_times()?;
    check(
        system::info()?.free_frames == before,
        "another number of free frames",
    )
}

fn fork_a_hundred_times() -> Outcome {
    for _ in 0..100 {
        check_end(fork_with(|| 0)?.wait()?, End::Exited(0))?;
    }
    Ok(())
}
