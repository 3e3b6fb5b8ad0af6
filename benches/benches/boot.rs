//! How long does the host take from power-on to the shell's prompt, and for one race?
//!
//! Beside the boot: as many instructions in a tight loop. The ratio is what page faults, walks,
//! devices and cold code add. Beside the race: the boot.

use benches::native::guest_loop;
use benches::{Beside, Guest, guest};
use cost::Ticks;
use criterion::{Criterion, criterion_group, criterion_main};
use explore::race::{self, Policy, Race, RunOptions};
use machine::{Machine, Pause};
use std::time::{Duration, Instant};
use trace::Tracer;

const PROMPT: &[u8] = b"halfpage$ ";

fn boot(criterion: &mut Criterion) {
    let instructions = boot_to_prompt().instructions();
    println!("{instructions} instructions from power-on to the prompt");
    let mut suite = Beside::new(criterion, "boot");
    let mut looping = Guest::new(|a| guest_loop(a, u64::MAX));
    suite.measure_long("as many instructions in a loop", 1, || {
        looping.time(instructions, Guest::instructions)
    });
    suite.measure_long("power-on to prompt", 1, || time(boot_to_prompt));
    suite.measure_long("one race", 1, || time(one_race));
    suite.ratio("power-on to prompt", "as many instructions in a loop");
    suite.ratio("one race", "power-on to prompt");
}

fn time<T>(once: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    drop(once());
    start.elapsed()
}

fn one_race() {
    let report = race::run(Race::Forward, Policy::ALL[0], RunOptions::default());
    assert!(report.is_ok_and(|r| r.agrees), "the race ends as expected");
}

fn boot_to_prompt() -> Machine {
    let config = guest::config(images::BOOT_DISK, Tracer::default());
    let mut machine =
        Machine::boot(config, images::KERNEL_ELF, "cpus=1").expect("the kernel fits the machine");
    let mut console = Vec::new();
    while !console.ends_with(PROMPT) {
        let until = machine.now() + Ticks::from_cycles(100_000);
        let pause = machine.run(until);
        assert!(
            !matches!(pause, Pause::Stopped(_)),
            "the kernel comes to its prompt"
        );
        console.extend(machine.take_console_output());
    }
    machine
}

criterion_group!(suite, boot);
criterion_main!(suite);
