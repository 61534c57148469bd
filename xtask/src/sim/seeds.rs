//! Many seeds on every core, and what came of them all.

use super::json::{Assumptions, Run, Violation};
use consensus_core::sim::Outcome;
use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

/// Runs every seed and hands over what came of each, in whatever order they end. Returns the time
/// that it took.
pub(crate) fn each(
    seeds: Range<u64>,
    run: impl Fn(u64) -> Outcome + Sync,
    mut ended: impl FnMut(Outcome),
) -> Duration {
    let began = Instant::now();
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicU64::new(seeds.start);
    let (results, outcomes) = mpsc::sync_channel(64);
    // The simulator turns a panic of the protocol into a violation, which says it in order; the
    // hook would print it in between.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    thread::scope(|scope| {
        for _ in 0..workers {
            let results = results.clone();
            let (next, run, end) = (&next, &run, seeds.end);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Relaxed);
                    if seed >= end || results.send(run(seed)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(results);
        outcomes.into_iter().for_each(&mut ended);
    });
    std::panic::set_hook(hook);
    began.elapsed()
}

/// Prints every step of a run, on standard error when standard output is for JSON alone.
pub(crate) fn show_trace(outcome: &Outcome, json: bool) {
    let mut text = format!(
        "seed {}, {} nodes, {}\n",
        outcome.seed, outcome.nodes, outcome.drawn
    );
    for happening in &outcome.trace {
        text.push_str(&format!("{happening}\n"));
    }
    if json {
        eprint!("{text}");
    } else {
        crate::output::show!("{text}");
    }
}

/// Everything so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// How many seeds have ended.
    pub(crate) seeds: u64,
    /// What did not hold, and in which seed.
    pub(crate) violations: Vec<(u64, consensus_core::Violation)>,
    /// What did not hold, as expected under faults outside the assumptions.
    pub(crate) expected: Vec<(u64, consensus_core::Violation)>,
    events: u64,
    operations: u64,
    unknown: u64,
    faults: BTreeMap<String, u64>,
    checks: BTreeMap<String, u64>,
}

impl Tally {
    /// One more seed has ended.
    pub(crate) fn add(&mut self, outcome: Outcome) {
        self.seeds += 1;
        self.events += outcome.events;
        self.operations += outcome.operations;
        self.unknown += outcome.unknown;
        for (kind, count) in outcome.faults {
            *self.faults.entry(kind.word().to_owned()).or_default() += count;
        }
        for (property, count) in outcome.checks {
            *self.checks.entry(property.to_owned()).or_default() += count;
        }
        let seed = outcome.seed;
        self.violations
            .extend(outcome.violation.map(|violation| (seed, violation)));
        self.expected
            .extend(outcome.expected.map(|violation| (seed, violation)));
    }

    /// All seeds have ended.
    pub(crate) fn finish(
        self,
        algorithm: &str,
        assumptions: Assumptions,
        spent: Duration,
        replay: impl Fn(u64) -> String,
    ) -> Run {
        Run {
            algorithm: algorithm.to_owned(),
            assumptions,
            seeds: self.seeds,
            events: self.events,
            events_per_second: self.events as f64 / spent.as_secs_f64().max(1e-9),
            operations: self.operations,
            unknown: self.unknown,
            faults: self.faults,
            checks: self.checks,
            violations: named(self.violations, &replay),
            expected: named(self.expected, &replay),
        }
    }
}

/// In the order of their seeds, each with the command that shows it.
fn named(
    mut found: Vec<(u64, consensus_core::Violation)>,
    replay: &impl Fn(u64) -> String,
) -> Vec<Violation> {
    found.sort_by_key(|(seed, _)| *seed);
    let found = found.into_iter();
    found
        .map(|(seed, violation)| Violation {
            seed,
            property: violation.property.to_owned(),
            detail: violation.detail,
            replay: replay(seed),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_runs_once_and_violations_are_in_the_order_of_seeds() {
        let mut tally = Tally::default();
        let run = |seed| Outcome {
            seed,
            events: 1,
            violation: (seed % 10 == 0).then(|| consensus_core::Violation {
                property: "agreement",
                detail: "two values".to_owned(),
            }),
            ..Outcome::default()
        };
        let spent = each(1..101, run, |outcome| tally.add(outcome));
        let run = tally.finish("x", Assumptions::Inside, spent, |seed| {
            format!("again {seed}")
        });
        assert_eq!((run.seeds, run.events), (100, 100));
        let seeds: Vec<_> = run.violations.iter().map(|found| found.seed).collect();
        assert_eq!(seeds, [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]);
        assert_eq!(run.violations[0].replay, "again 10");
    }
}
