//! `halfpage race`: runs, evidence, table.

use crate::args::{Choice, RaceArgs};
use crate::failure::Failure;
use crate::trace_file::TraceFile;
use crate::{Outcome, exit, output};
use explore::race::{
    self, Mapping, Outcome as Verdict, Policy, Race, RaceError, Report, RunOptions,
};
use explore::sweep;
use std::num::NonZeroUsize;
use std::thread;
use trace::Tracer;

pub(crate) fn run(args: &RaceArgs) -> Outcome {
    let cases = cases(args);
    if let Some(path) = &args.trace {
        let &[case] = cases.as_slice() else {
            return Err(Failure::Usage(
                "--trace needs one race and one policy".into(),
            ));
        };
        let file = TraceFile::create(path)?;
        let report = run_case(case, args, file.tracer())?;
        let code = present(&[report], args)?;
        return file.finish(code);
    }
    let threads = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let mut reports = Vec::new();
    let mut failure = None;
    sweep::in_order(
        &cases,
        threads,
        |case| run_case(*case, args, Tracer::default()),
        |_, result| match result {
            Ok(report) if failure.is_none() => {
                failure = show(&report, args).err();
                reports.push(report);
            }
            Ok(_) => {}
            Err(e) => failure = failure.take().or(Some(e)),
        },
    );
    match failure {
        Some(failure) => Err(failure),
        None => conclude(&reports, args),
    }
}

fn cases(args: &RaceArgs) -> Vec<(Race, Policy)> {
    let races = Race::ALL.into_iter().filter(|r| match args.race {
        Choice::All => true,
        Choice::One(one) => one.0 == *r,
    });
    let policies = |race| {
        let chosen = Policy::ALL.into_iter().filter(|p| match args.policy {
            Choice::All => true,
            Choice::One(one) => one.0 == *p,
        });
        chosen.map(move |policy| (race, policy)).collect::<Vec<_>>()
    };
    races.flat_map(policies).collect()
}

fn run_case(
    (race, policy): (Race, Policy),
    args: &RaceArgs,
    tracer: Tracer,
) -> Result<Report, Failure> {
    let options = RunOptions {
        seed: args.seed,
        queued: args.queued,
        tracer,
    };
    race::run(race, policy, options).map_err(|source: RaceError| Failure::Race {
        race: race.name(),
        policy: policy.name(),
        source: Box::new(source),
    })
}

fn present(reports: &[Report], args: &RaceArgs) -> Outcome {
    for report in reports {
        show(report, args)?;
    }
    conclude(reports, args)
}

/// Prints one run as it is done.
fn show(report: &Report, args: &RaceArgs) -> Result<(), Failure> {
    if args.json {
        output::json(report)
    } else {
        output::line(&evidence(report))
    }
}

fn conclude(reports: &[Report], args: &RaceArgs) -> Outcome {
    if !args.json {
        output::line(&table(reports))?;
    }
    let all_agree = reports.iter().all(|r| r.agrees);
    Ok(if all_agree { exit::OK } else { exit::DIFFERS })
}

/// What was seen, in sentences.
fn evidence(report: &Report) -> String {
    let s = &report.sector;
    let (verb, buffer) = match report.race {
        Race::Backward => ("was taken from", "disk sector"),
        Race::Forward | Race::ChildSeesDma => ("landed in", "parent's buffer"),
    };
    let mut lines = vec![
        format!("{} · {}", report.race.name(), report.policy.name()),
        format!(
            "  at issue     parent {}",
            mapping(Some(&report.parent_at_issue))
        ),
        format!(
            "  cycle {:<9} sector {} {verb} frame {:#x}, bytes {:#x}..",
            s.at_cycles,
            s.lba,
            s.address >> 12,
            s.address & 0xfff
        ),
        format!("               parent {}", mapping(s.parent.as_ref())),
        format!("               child  {}", mapping(s.child.as_ref())),
    ];
    lines.push(match &report.difference {
        Some(d) => format!(
            "  afterwards   {buffer}: {} of 512 bytes wrong, the first at {}: {:#04x}, expected {:#04x}",
            d.count, d.first, d.found, d.expected
        ),
        None => format!("  afterwards   {buffer}: all 512 bytes right"),
    });
    if report.race != Race::Backward {
        let saw = if report.seen.child_saw_dma {
            "sees data it never read"
        } else {
            "sees nothing of it"
        };
        lines.push(format!("               the child {saw}"));
    }
    lines.join("\n")
}

fn mapping(mapping: Option<&Mapping>) -> String {
    match mapping {
        None => "is not there yet".into(),
        Some(Mapping { address: None, .. }) => "does not map the buffer".into(),
        Some(Mapping {
            pte,
            address: Some(address),
            writable,
        }) => {
            let rights = if *writable { "R/W" } else { "R/O" };
            format!("maps frame {:#x} {rights} (PTE {pte:#x})", address >> 12)
        }
    }
}

fn table(reports: &[Report]) -> String {
    let mut lines = vec![
        String::new(),
        format!(
            "{:<15} {:<23} {:<8} {:<8} {:<7} {:>11} {:>7} {:>13}",
            "race",
            "policy",
            "verdict",
            "expected",
            "agrees",
            "fork cycles",
            "copied",
            "total cycles"
        ),
    ];
    lines.extend(reports.iter().map(|r| {
        format!(
            "{:<15} {:<23} {:<8} {:<8} {:<7} {:>11} {:>7} {:>13}",
            r.race.name(),
            r.policy.name(),
            word(r.outcome()),
            word(r.expected),
            if r.agrees { "yes" } else { "NO" },
            r.fork_cycles,
            r.pages_copied_at_fork,
            r.cycles_total
        )
    }));
    lines.join("\n")
}

const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Lost => "LOST",
        Verdict::Safe => "safe",
    }
}
