//! Keeps CPUs busy, and shows that they are shared: `loop [MS [THREADS]]`.
//!
//! Threads (2) count without a system call for MS (1000) milliseconds, until the first
//! thread, which sleeps meanwhile, tells them to stop. It can do so only if the timer
//! takes a CPU away from one of them; each counts only if all of them get a turn.
//! Prints the counts; status 0 if none is zero.

#![no_std]
#![no_main]

use core::sync::atomic::{AtomicBool, Ordering};

use rt::thread::{Thread, spawn};
use rt::time::{sleep_ms, uptime_ms};
use rt::{Args, Errno, println};

rt::entry!(main);

const MAX_THREADS: usize = 16;

static STOP: AtomicBool = AtomicBool::new(false);

fn main(args: Args) -> i32 {
    let mut numbers = args.skip(1).map(str::parse::<u64>);
    let (ms, threads) = match (numbers.next(), numbers.next()) {
        (None, None) => (1000, 2),
        (Some(Ok(ms)), None) => (ms, 2),
        (Some(Ok(ms)), Some(Ok(threads @ 1..=16))) => (ms, threads),
        _ => {
            println!("usage: loop [MS [THREADS, 1 to {MAX_THREADS}]]");
            return 2;
        }
    };
    match run(ms, threads) {
        Ok(true) => 0,
        Ok(false) => {
            println!("loop: a thread had no turn");
            1
        }
        Err(errno) => {
            println!("loop: {errno}");
            1
        }
    }
}

/// Whether each thread counted.
fn run(ms: u64, threads: u64) -> Result<bool, Errno> {
    let begin_ms = uptime_ms()?;
    let mut running: [Option<Thread<u64>>; MAX_THREADS] = [const { None }; MAX_THREADS];
    for (slot, _) in running.iter_mut().zip(0..threads) {
        *slot = Some(spawn(count_until_stopped)?);
    }
    sleep_ms(ms);
    STOP.store(true, Ordering::Relaxed);
    let mut all_counted = true;
    for (index, thread) in running.into_iter().flatten().enumerate() {
        let count = thread.join();
        println!("loop: thread {index} counted to {count}");
        all_counted &= count > 0;
    }
    println!("loop: {} ms", uptime_ms()? - begin_ms);
    Ok(all_counted)
}

fn count_until_stopped() -> u64 {
    let mut count = 0;
    while !STOP.load(Ordering::Relaxed) {
        count += 1;
    }
    count
}
