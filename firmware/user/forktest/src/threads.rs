//! Cases about threads: how they share, wait and end, and what `fork` makes of them.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed, Ordering::SeqCst};

use rt::process::{End, exit, fork_with};
use rt::system;
use rt::thread::{Thread, current_id, spawn, wait_while, wake, yield_now};
use rt::time::sleep_ms;

use crate::{Case, Outcome, check, check_end};

pub(crate) const CASES: &[Case] = &[
    ("a thread's result comes back", results),
    ("threads have numbers of their own", own_numbers),
    ("four threads that count lose no count", counting),
    (
        "FUTEX_WAKE wakes a thread that FUTEX_WAIT put to sleep",
        futex,
    ),
    (
        "FUTEX_WAIT returns at once if the word holds another value",
        futex_value,
    ),
    ("a child has only the thread that forked", only_one_thread),
    ("any thread's fork is a fork of the process", fork_in_thread),
    ("exit_group ends all threads", exit_group),
    (
        "a hundred threads leave as many free frames as there were",
        no_leak,
    ),
];

fn results() -> Outcome {
    let inputs = [1_u64, 2, 3];
    let thread = spawn(move || inputs.map(|input| input * 100))?;
    check(thread.join() == [100, 200, 300], "another result")
}

fn own_numbers() -> Outcome {
    let other = spawn(current_id)?.join();
    check(other != current_id(), "the same number")
}

fn counting() -> Outcome {
    const EACH: u32 = 10_000;
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = || {
        for _ in 0..EACH {
            COUNT.fetch_add(1, Relaxed);
        }
    };
    let threads: [_; 4] = core::array::from_fn(|_| spawn(count));
    for thread in threads {
        thread?.join();
    }
    check(COUNT.load(Relaxed) == 4 * EACH, "another sum")
}

fn futex() -> Outcome {
    static WORD: AtomicU32 = AtomicU32::new(0);
    let sleeper = spawn(|| {
        while WORD.load(SeqCst) == 0 {
            wait_while(&WORD, 0);
        }
    })?;
    // Either it sleeps by now, or it will see the value: no wake-up is lost.
    sleep_ms(5);
    WORD.store(1, SeqCst);
    wake(&WORD, 1)?;
    sleeper.join();
    check(wake(&WORD, 1)? == 0, "a sleeper where there is none")
}

fn futex_value() -> Outcome {
    let word = AtomicU32::new(1);
    wait_while(&word, 0);
    Ok(())
}

fn only_one_thread() -> Outcome {
    static STOP: AtomicU32 = AtomicU32::new(0);
    static TICKS: AtomicU32 = AtomicU32::new(0);
    let ticking = spawn(|| {
        while STOP.load(SeqCst) == 0 {
            TICKS.fetch_add(1, SeqCst);
            yield_now();
        }
    })?;
    let child = fork_with(|| {
        let before = TICKS.load(SeqCst);
        sleep_ms(20);
        i32::from(TICKS.load(SeqCst) == before)
    })?;
    let end = child.wait()?;
    STOP.store(1, SeqCst);
    ticking.join();
    check_end(end, End::Exited(1))
}

fn fork_in_thread() -> Outcome {
    let thread = spawn(|| fork_with(|| 5).and_then(|child| child.wait()))?;
    check_end(thread.join()?, End::Exited(5))
}

fn exit_group() -> Outcome {
    let child = fork_with(|| {
        let _runs_on = spawn(|| sleep_ms(60_000));
        let leaving: Result<Thread<()>, _> = spawn(|| exit(9));
        leaving.map_or(1, |thread| {
            thread.join();
            2
        })
    })?;
    check_end(child.wait()?, End::Exited(9))
}

fn no_leak() -> Outcome {
    spawn_a_hundred_times()?;
    let before = system::info()?.free_frames;
    spawn_a_hundred_times()?;
    check(
        system::info()?.free_frames == before,
        "another number of free frames",
    )
}

fn spawn_a_hundred_times() -> Outcome {
    for number in 0..100_u32 {
        check(spawn(move || number)?.join() == number, "another result")?;
    }
    // A joined thread has said that it is done; its last steps take a moment more.
    sleep_ms(20);
    Ok(())
}
