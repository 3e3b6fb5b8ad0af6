//! Two times from the same run, and their ratio.

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode, Throughput};
use std::time::Duration;

/// Samples of one measurement, and how long they and the warm-up may take together.
const SAMPLES: usize = 20;
const MEASUREMENT: Duration = Duration::from_millis(2000);
const WARM_UP: Duration = Duration::from_millis(300);
/// Shorter than this, reading the clock is part of what is measured.
const LONG_ENOUGH: Duration = Duration::from_micros(100);

/// Runs the measurements of one suite and keeps the best time of each.
///
/// The best, because a shared host can make a run slower and nothing can make it faster.
pub struct Beside<'c> {
    group: BenchmarkGroup<'c, WallTime>,
    best_ns: Vec<(String, f64)>,
}

impl std::fmt::Debug for Beside<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Beside")
            .field("best_ns", &self.best_ns)
            .finish_non_exhaustive()
    }
}

impl<'c> Beside<'c> {
    /// A suite called `name`.
    pub fn new(criterion: &'c mut Criterion, name: &str) -> Self {
        let mut group = criterion.benchmark_group(name);
        group
            .sample_size(SAMPLES)
            .sampling_mode(SamplingMode::Flat)
            .warm_up_time(WARM_UP)
            .measurement_time(MEASUREMENT);
        Self {
            group,
            best_ns: Vec::new(),
        }
    }

    /// Measures `run`, which does something as often as it is told and says how long that took.
    ///
    /// Each time counts for `units` of what is compared: instructions, pages.
    pub fn measure(&mut self, name: &str, units: u64, mut run: impl FnMut(u64) -> Duration) {
        self.sample(name, units, |times, best| {
            let took = run(times);
            if took >= LONG_ENOUGH {
                *best = best.min(nanoseconds(took) / times as f64);
            }
            took
        });
    }

    /// Measures `once`, which takes long enough to be timed alone and says how long it took.
    pub fn measure_long(&mut self, name: &str, units: u64, mut once: impl FnMut() -> Duration) {
        self.sample(name, units, |times, best| {
            let mut timed = || {
                let took = once();
                *best = best.min(nanoseconds(took));
                took
            };
            (0..times).map(|_| timed()).sum()
        });
    }

    fn sample(&mut self, name: &str, units: u64, mut run: impl FnMut(u64, &mut f64) -> Duration) {
        let mut best = f64::INFINITY;
        self.group.throughput(Throughput::Elements(units));
        self.group
            .bench_function(name, |b| b.iter_custom(|times| run(times, &mut best)));
        self.best_ns.push((name.to_owned(), best / units as f64));
    }

    /// Prints how many times longer `what` takes than `beside` did, if both were measured for long enough.
    pub fn ratio(&self, what: &str, beside: &str) {
        let (Some(a), Some(b)) = (self.best(what), self.best(beside)) else {
            return;
        };
        println!(
            "| {what} | {} | {beside} | {} | {:.3} |",
            spell(a),
            spell(b),
            a / b
        );
    }

    /// The best time of a measurement that was neither filtered out nor too short.
    fn best(&self, name: &str) -> Option<f64> {
        let found = self.best_ns.iter().find(|(n, _)| n == name);
        found.map(|(_, best)| *best).filter(|best| best.is_finite())
    }
}

fn nanoseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}

/// Nanoseconds with a fitting unit.
fn spell(ns: f64) -> String {
    match ns {
        ns if ns < 1e3 => format!("{ns:.2} ns"),
        ns if ns < 1e6 => format!("{:.2} µs", ns / 1e3),
        ns => format!("{:.2} ms", ns / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_spelled_with_the_unit_they_fit() {
        assert_eq!(spell(1.256), "1.26 ns");
        assert_eq!(spell(15_300.0), "15.30 µs");
        assert_eq!(spell(4_200_000.0), "4.20 ms");
    }
}
