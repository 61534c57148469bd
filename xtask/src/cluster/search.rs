//! `--search`: the highest rate of an open loop at which the 99th percentile stays within a bound, then the
//! latency at shares of it.

use super::{
    measure::{self, Job},
    plan::Plan,
};
use bench::{
    recorder::Window,
    report::json::{Run, Search, SearchStep},
};
use std::time::Duration;

/// A step measures for no longer than this, after a warm-up of no more than [`STEP_WARMUP`]. What was
/// found is measured again for as long as was asked for.
const STEP: Duration = Duration::from_secs(3);
const STEP_WARMUP: Duration = Duration::from_secs(1);
/// Rates that are tried before it is enough.
const STEPS: usize = 9;
/// The search ends when a rate that holds and one that does not are this close.
const CLOSE: f64 = 1.06;
/// What is found is tried again at full length, and a little lower when it does not hold.
const CONFIRMATIONS: usize = 5;
const LOWER: f64 = 0.95;
/// Per cent of the rate that was found at which latency is measured.
const SHARES: [u32; 3] = [90, 70, 50];

/// Which rate to try next, from those that were tried.
#[derive(Clone, PartialEq, Debug)]
struct Bisection {
    begin: f64,
    held: Option<f64>,
    broke: Option<f64>,
    left: usize,
}

impl Bisection {
    /// Begins at half of what a closed loop reaches.
    fn below(ceiling: f64) -> Self {
        Self {
            begin: (ceiling / 2.0).max(1.0),
            held: None,
            broke: None,
            left: STEPS,
        }
    }

    fn next(&self) -> Option<f64> {
        let rate = match (self.held, self.broke) {
            _ if self.left == 0 => return None,
            (None, None) => self.begin,
            (Some(held), None) => held * 1.5,
            (None, Some(broke)) => broke / 2.0,
            (Some(held), Some(broke)) if broke / held <= CLOSE => return None,
            (Some(held), Some(broke)) => (held * broke).sqrt(),
        };
        let rate = rounded(rate);
        let known = [self.held, self.broke].contains(&Some(rate));
        (!known && rate >= 1.0).then_some(rate)
    }

    fn tried(&mut self, rate: f64, holds: bool) {
        self.left = self.left.saturating_sub(1);
        if holds {
            self.held = Some(self.held.map_or(rate, |held| held.max(rate)));
        } else {
            self.broke = Some(self.broke.map_or(rate, |broke| broke.min(rate)));
        }
    }
}

/// To three digits: nobody can read more into it.
fn rounded(rate: f64) -> f64 {
    let unit = 10f64.powf((rate.max(1.0).log10().floor() - 2.0).max(0.0));
    (rate / unit).round() * unit
}

/// Searches for one algorithm. The runs are the closed loop that it begins with, the one at the rate that
/// was found, and those at its shares.
///
/// # Errors
/// When a run does not come to an end.
pub(crate) async fn run(job: &Job<'_>, bound: Duration) -> anyhow::Result<(Vec<Run>, Search)> {
    let closed = at(job, None, job.plan.window).await?;
    let mut search = Search {
        algorithm: job.plan.name.clone(),
        repetition: job.plan.repetition,
        bound_us: u64::try_from(bound.as_micros()).unwrap_or(u64::MAX),
        rate: None,
        steps: Vec::new(),
    };
    let mut bisection = Bisection::below(closed.throughput_ops);
    let mut runs = vec![closed];
    while let Some(rate) = bisection.next() {
        // Twice before it is given up: other programs use this machine too.
        for _ in 0..2 {
            let run = at(job, Some(rate), short(job.plan.window)).await?;
            search.steps.push(judged(&run, rate, search.bound_us));
            if search.steps.last().is_some_and(|step| step.held) {
                break;
            }
        }
        bisection.tried(rate, search.steps.last().is_some_and(|step| step.held));
    }
    let mut rate = bisection.held;
    for _ in 0..CONFIRMATIONS {
        let Some(tried) = rate else { break };
        let run = at(job, Some(tried), job.plan.window).await?;
        let step = judged(&run, tried, search.bound_us);
        let holds = step.held;
        search.steps.push(step);
        if holds {
            search.rate = rate;
            runs.push(shared(run, 100));
            break;
        }
        rate = Some(rounded(tried * LOWER));
    }
    if let Some(rate) = search.rate {
        for share in SHARES {
            let part = rate * f64::from(share) / 100.0;
            runs.push(shared(at(job, Some(part), job.plan.window).await?, share));
        }
    }
    Ok((runs, search))
}

async fn at(job: &Job<'_>, rate: Option<f64>, window: Window) -> anyhow::Result<Run> {
    let plan = Plan {
        rate,
        window,
        ..job.plan.clone()
    };
    measure::run(&Job {
        plan: &plan,
        ..*job
    })
    .await
}

fn short(window: Window) -> Window {
    Window {
        warmup: window.warmup.min(STEP_WARMUP),
        measured: window.measured.min(STEP),
        ..window
    }
}

fn shared(run: Run, share: u32) -> Run {
    Run {
        share: Some(share),
        ..run
    }
}

/// Whether a run is worth its rate.
fn judged(run: &Run, rate: f64, bound_us: u64) -> SearchStep {
    let p99_us = run.latency_us.p99;
    let why = if !run.verdict.valid {
        run.verdict.reasons.first().cloned().unwrap_or_default()
    } else if run.failed + run.timeouts > 0 {
        format!("{} operations were not done", run.failed + run.timeouts)
    } else if p99_us > bound_us {
        format!("p99 is {p99_us} µs")
    } else {
        String::new()
    };
    SearchStep {
        rate,
        throughput_ops: run.throughput_ops,
        p99_us,
        held: why.is_empty(),
        why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All rates that are tried for a system that holds up to `limit`, and what is found.
    fn tried(ceiling: f64, limit: f64) -> (Vec<f64>, Option<f64>) {
        let mut bisection = Bisection::below(ceiling);
        let mut rates = Vec::new();
        while let Some(rate) = bisection.next() {
            rates.push(rate);
            bisection.tried(rate, rate <= limit);
        }
        (rates, bisection.held)
    }

    #[test]
    fn the_limit_is_found_from_below_and_from_above() {
        for limit in [1_000.0, 7_000.0, 9_990.0, 14_000.0, 31_000.0] {
            let (rates, found) = tried(20_000.0, limit);
            let found = found.expect("it was found");
            assert!(rates.len() <= STEPS, "{rates:?}");
            assert!(
                found <= limit && found * CLOSE * 1.02 >= limit,
                "{found} of {limit}"
            );
        }
    }

    #[test]
    fn what_never_holds_is_given_up() {
        let (rates, found) = tried(20_000.0, 0.0);
        assert_eq!((rates.len(), found), (STEPS, None));
        let (rates, found) = tried(3.0, 0.0);
        assert!(rates.iter().all(|rate| *rate >= 1.0) && found.is_none());
    }

    #[test]
    fn rates_have_three_digits() {
        assert_eq!(rounded(12_345.6), 12_300.0);
        assert_eq!(rounded(987.6), 988.0);
        assert_eq!(rounded(7.4), 7.0);
    }

    #[test]
    fn a_step_holds_when_it_is_valid_complete_and_fast_enough() {
        let sample = include_str!("../../../bench/testdata/report.json");
        let report: bench::report::json::Report = serde_json::from_str(sample).expect("a report");
        let mut run = report.runs[0].clone();
        (run.failed, run.timeouts, run.latency_us.p99) = (0, 0, 9_000);
        run.verdict.valid = true;
        assert!(judged(&run, 100.0, 10_000).held);
        assert_eq!(judged(&run, 100.0, 8_999).why, "p99 is 9000 µs");
        run.timeouts = 2;
        assert_eq!(
            judged(&run, 100.0, 10_000).why,
            "2 operations were not done"
        );
        run.verdict.valid = false;
        run.verdict.reasons = vec!["rate: too slow".to_owned()];
        assert_eq!(judged(&run, 100.0, 10_000).why, "rate: too slow");
    }
}
