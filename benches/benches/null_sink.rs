//! Does tracing that is off cost anything, and what does it cost to make every event and drop it?
//!
//! A boot to the prompt, which faults, walks and reaches devices all the time, without a sink,
//! with a sink that takes every event and drops it, and without a sink once more: the difference
//! between the first and the last is what the host's noise is worth.

use benches::{Beside, guest};
use cost::Ticks;
use criterion::{Criterion, criterion_group, criterion_main};
use machine::{Machine, Pause};
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};
use trace::{Event, Sink, Source, Tracer};

/// A boot is over by then.
const CYCLES: u64 = 20_000_000;

/// Counts the events, and drops them.
#[derive(Clone, Default)]
struct Count(Rc<Cell<u64>>);

impl Sink for Count {
    fn event(&mut self, _: u64, _: Source, _: &Event) {
        self.0.set(self.0.get() + 1);
    }
}

fn null_sink(criterion: &mut Criterion) {
    let count = Count::default();
    let (_, instructions) = boot(Tracer::new(Box::new(count.clone())));
    println!("{} events in {instructions} instructions", count.0.get());
    let mut suite = Beside::new(criterion, "null_sink");
    suite.measure_long("no sink", 1, || boot(Tracer::default()).0);
    let sink = || Tracer::new(Box::new(Count::default()));
    suite.measure_long("a sink that drops", 1, || boot(sink()).0);
    suite.measure_long("no sink, again", 1, || boot(Tracer::default()).0);
    suite.ratio("a sink that drops", "no sink");
    suite.ratio("no sink, again", "no sink");
}

/// The host time of [`CYCLES`] of the machine, and the instructions in them.
fn boot(tracer: Tracer) -> (Duration, u64) {
    let config = guest::config(images::BOOT_DISK, tracer);
    let mut machine =
        Machine::boot(config, images::KERNEL_ELF, "cpus=1").expect("the kernel fits the machine");
    let start = Instant::now();
    loop {
        match machine.run(Ticks::from_cycles(CYCLES)) {
            Pause::Limit | Pause::Idle => return (start.elapsed(), machine.instructions()),
            Pause::Stopped(how) => panic!("the kernel comes to its prompt: {how:?}"),
            Pause::Mark(_) | Pause::Disk(..) => {}
        }
    }
}

criterion_group!(suite, null_sink);
criterion_main!(suite);
