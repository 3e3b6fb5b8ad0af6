//! The races end to end: kernel, programs, machine, verdicts.

use explore::race::{Outcome, Policy, Race, Report, RunOptions, expected, run};
use std::cell::RefCell;
use std::rc::Rc;
use trace::{Memory, Text, Tracer};

fn report(race: Race, policy: Policy, seed: u64, queued: bool) -> Report {
    let options = RunOptions {
        seed,
        queued,
        tracer: Tracer::default(),
    };
    run(race, policy, options)
        .unwrap_or_else(|e| panic!("{} against {}: {e}", race.name(), policy.name()))
}

/// The trace of one run, as text.
fn trace(seed: u64) -> Vec<u8> {
    let sink = Memory(Rc::new(RefCell::new(Text::new(Vec::new()))));
    let options = RunOptions {
        seed,
        queued: false,
        tracer: Tracer::new(Box::new(sink.clone())),
    };
    run(Race::Forward, Policy::Baseline, options).expect("a verdict");
    Rc::into_inner(sink.0)
        .expect("memory takes all of it")
        .into_inner()
        .finish()
        .expect("memory takes all of it")
}

/// Which fix closes which race, written down from the sources apart from `expected`:
/// per policy, the outcomes of forward, child-sees-dma, backward.
const TABLE: [(Policy, [Outcome; 3]); 5] = {
    use Outcome::{Lost, Safe};
    [
        (Policy::Baseline, [Lost, Lost, Lost]),
        (Policy::Dontfork, [Safe, Safe, Safe]),
        (Policy::CopyAtFork, [Safe, Safe, Lost]),
        (Policy::DecowGup, [Lost, Lost, Safe]),
        (Policy::CopyAtForkAndDecowGup, [Safe, Safe, Safe]),
    ]
};

#[test]
fn each_policy_closes_the_races_it_is_known_to_close_and_no_other() {
    for (policy, outcomes) in TABLE {
        for (race, outcome) in Race::ALL.into_iter().zip(outcomes) {
            assert_eq!(expected(race, policy), outcome, "{race:?} {policy:?}");
            for queued in [false, true] {
                let report = report(race, policy, 0, queued);
                assert_eq!(report.outcome(), outcome, "{report:#?}");
                assert_eq!(
                    report.seen, report.guest,
                    "machine and guest disagree: {report:#?}"
                );
                assert!(report.agrees);
            }
        }
    }
}

#[test]
fn the_verdict_does_not_hang_on_how_processors_interleave() {
    for seed in 1..6 {
        for race in Race::ALL {
            for policy in [Policy::Baseline, Policy::CopyAtForkAndDecowGup] {
                assert!(
                    report(race, policy, seed, false).agrees,
                    "{race:?} {policy:?} seed {seed}"
                );
            }
        }
    }
}

#[test]
fn a_lost_sector_lands_in_the_frame_the_transfer_was_issued_for_and_the_parent_has_left() {
    let report = report(Race::Forward, Policy::Baseline, 0, false);
    let parent = report.sector.parent.unwrap();
    let child = report.sector.child.unwrap();
    assert_eq!(report.parent_at_issue.address, Some(report.sector.address));
    assert_eq!(child.address, Some(report.sector.address));
    assert_ne!(parent.address, Some(report.sector.address));
    assert_eq!(report.difference.unwrap().count, 512);
}

#[test]
fn copy_at_fork_copies_one_page_and_costs_fork_more_than_the_baseline() {
    let baseline = report(Race::Forward, Policy::Baseline, 0, false);
    let copying = report(Race::Forward, Policy::CopyAtFork, 0, false);
    assert_eq!(
        (baseline.pages_copied_at_fork, copying.pages_copied_at_fork),
        (0, 1)
    );
    assert!(copying.fork_cycles > baseline.fork_cycles);
}

#[test]
fn the_same_seed_gives_the_same_trace_byte_for_byte() {
    let first = trace(7);
    assert!(first.len() > 10_000, "a whole boot leaves more than that");
    assert!(first == trace(7), "two runs of seed 7 differ");
}

#[test]
fn another_seed_gives_another_trace() {
    assert!(trace(7) != trace(8));
}

#[test]
fn a_report_has_the_fields_scripts_rely_on() {
    let report = report(Race::Backward, Policy::Baseline, 0, false);
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["schema"], "race/1");
    assert_eq!(json["race"], "backward");
    assert_eq!(json["policy"], "baseline");
    assert_eq!(json["expected"], "lost");
    for flag in ["lost", "child_saw_dma", "disk_has_child_bytes", "agrees"] {
        assert!(json[flag].is_boolean(), "{flag}");
    }
    for count in ["fork_cycles", "pages_copied_at_fork", "cycles_total"] {
        assert!(json[count].is_u64(), "{count}");
    }
}
