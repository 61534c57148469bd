//! Two reports side by side: ratios, and how sure they are.

use super::{
    group::{Group, groups, is_same},
    json::{Report, Run, TimelinePoint},
    table::setting,
};
use crate::statistics::{self, Estimate};
use comfy_table::{Cell, CellAlignment, Table, presets};

/// Of the intervals. Many metrics are looked at together, so each must be surer than one alone.
const CONFIDENCE: f64 = 0.99;
/// A difference smaller than this share is none that anybody should act on.
const NOTHING: f64 = 0.02;
/// With fewer repetitions on either side the seconds of the runs are resampled instead.
const REPETITIONS: usize = 5;
/// Resampling is drawn from this, so that a comparison can be repeated.
const SEED: u64 = 1;

/// What is compared.
struct Metric {
    name: &'static str,
    /// Whether more of it is better.
    gain: bool,
    of: fn(&Run) -> f64,
    /// The same for one second of a run, where the timeline tells.
    by_second: Option<fn(&TimelinePoint) -> f64>,
}

const fn cost(name: &'static str, of: fn(&Run) -> f64) -> Metric {
    Metric {
        name,
        gain: false,
        of,
        by_second: None,
    }
}

const fn timed(
    name: &'static str,
    gain: bool,
    of: fn(&Run) -> f64,
    by_second: fn(&TimelinePoint) -> f64,
) -> Metric {
    Metric {
        name,
        gain,
        of,
        by_second: Some(by_second),
    }
}

const METRICS: [Metric; 8] = [
    timed(
        "operations/s",
        true,
        |run| run.throughput_ops,
        |second| second.operations as f64,
    ),
    timed(
        "p50",
        false,
        |run| run.latency_us.p50 as f64,
        |second| second.p50 as f64,
    ),
    timed(
        "p99",
        false,
        |run| run.latency_us.p99 as f64,
        |second| second.p99 as f64,
    ),
    cost("p99.9", |run| run.latency_us.p999 as f64),
    cost("messages/op", |run| run.per_operation.messages),
    cost("bytes/op", |run| run.per_operation.bytes),
    cost("syncs/op", |run| run.per_operation.syncs),
    cost("CPU/op", |run| run.per_operation.cpu_us),
];

/// What a difference amounts to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Call {
    /// The whole interval lies on the worse side.
    Worse,
    /// The whole interval lies on the better side.
    Better,
    /// The interval contains no difference worth the name, or there is no interval.
    Open,
}

/// One metric of one thing that both reports measured.
#[derive(Clone, PartialEq, Debug)]
pub struct Difference {
    /// The algorithm, and under what conditions.
    pub what: String,
    /// Which figure.
    pub metric: &'static str,
    /// The second report's median divided by the first's.
    pub ratio: Estimate,
    /// Repetitions in the first and in the second report.
    pub repetitions: (usize, usize),
    /// Whether the interval is from the seconds of runs, for want of repetitions: it then knows
    /// nothing of how runs differ among themselves.
    pub by_second: bool,
    /// What it amounts to.
    pub call: Call,
    /// By how much worse: 0.1 is ten per cent; negative is better.
    pub loss: f64,
}

/// A whole comparison.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Comparison {
    /// In the order of the first report.
    pub differences: Vec<Difference>,
    /// What could not be compared, and why.
    pub left_out: Vec<String>,
}

impl Comparison {
    /// What the second report of `reports` does to the figures of the first.
    #[must_use]
    pub fn new(first: &Report, second: &Report) -> Self {
        let (ours, theirs) = (groups(first), groups(second));
        let mut comparison = Self::default();
        for a in &ours {
            let what = format!("{}, {}", a.first().algorithm, setting(a.first()));
            let same = theirs.iter().find(|b| is_same(a.first(), b.first()));
            match same {
                None => comparison
                    .left_out
                    .push(format!("{what}: only in the first")),
                Some(b) if [a, b].iter().any(|g| !g.is_valid() || !g.is_safe()) => comparison
                    .left_out
                    .push(format!("{what}: a run is invalid or broke a property")),
                Some(b) => comparison.differences.extend(
                    METRICS
                        .iter()
                        .filter_map(|metric| difference(&what, metric, a, b)),
                ),
            }
        }
        for b in &theirs {
            if !ours.iter().any(|a| is_same(a.first(), b.first())) {
                let (run, setting) = (b.first(), setting(b.first()));
                let left_out = format!("{}, {setting}: only in the second", run.algorithm);
                comparison.left_out.push(left_out);
            }
        }
        comparison
    }

    /// The differences that are worse beyond doubt, and by more than `share`, such as 0.05.
    pub fn worse_by(&self, share: f64) -> impl Iterator<Item = &Difference> {
        self.differences
            .iter()
            .filter(move |difference| difference.call == Call::Worse && difference.loss > share)
    }

    /// The table for a terminal.
    #[must_use]
    pub fn render(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::UTF8_BORDERS_ONLY);
        table.set_header([
            "what",
            "metric",
            "second ÷ first",
            "99 % interval",
            "runs",
            "",
        ]);
        let mut before = "";
        for difference in &self.differences {
            let same = difference.what == before;
            before = &difference.what;
            let interval = match difference.ratio.interval {
                None => "–".to_owned(),
                Some((low, high)) => {
                    let star = if difference.by_second { " *" } else { "" };
                    format!("{low:.3} – {high:.3}{star}")
                }
            };
            let call = match difference.call {
                Call::Worse => "worse",
                Call::Better => "better",
                Call::Open => "",
            };
            let (a, b) = difference.repetitions;
            table.add_row([
                Cell::new(if same { "" } else { &difference.what }),
                Cell::new(difference.metric),
                Cell::new(format!("{:.3}", difference.ratio.value))
                    .set_alignment(CellAlignment::Right),
                Cell::new(interval).set_alignment(CellAlignment::Right),
                Cell::new(format!("{a}, {b}")),
                Cell::new(call),
            ]);
        }
        let mut text = format!("{table}\n");
        if self
            .differences
            .iter()
            .any(|difference| difference.by_second)
        {
            text.push_str(
                "* from the seconds of the runs: it says nothing about how runs differ among \
                 themselves; --repeat 5 would\n",
            );
        }
        for line in &self.left_out {
            text.push_str(&format!("not compared: {line}\n"));
        }
        text
    }
}

fn difference(what: &str, metric: &Metric, a: &Group<'_>, b: &Group<'_>) -> Option<Difference> {
    let repeated = a.runs.len() >= REPETITIONS && b.runs.len() >= REPETITIONS;
    let samples = |group: &Group<'_>| match metric.by_second {
        Some(by_second) if !repeated => {
            let seconds = group.runs.iter().flat_map(|run| &run.timeline);
            seconds.map(by_second).collect::<Vec<f64>>()
        }
        _ => group.runs.iter().map(|run| (metric.of)(run)).collect(),
    };
    let mut ratio = statistics::ratio(&samples(b), &samples(a), CONFIDENCE, SEED)?;
    let by_second = !repeated && metric.by_second.is_some();
    if !repeated && metric.by_second.is_none() {
        // Two or three medians resampled would claim to know what nobody does.
        ratio.interval = None;
    }
    let (more, less) = (ratio.is_above(1.0 + NOTHING), ratio.is_below(1.0 - NOTHING));
    let call = match (more, less) {
        (true, _) if metric.gain => Call::Better,
        (true, _) => Call::Worse,
        (_, true) if metric.gain => Call::Worse,
        (_, true) => Call::Better,
        _ => Call::Open,
    };
    let loss = if metric.gain {
        1.0 - ratio.value
    } else {
        ratio.value - 1.0
    };
    Some(Difference {
        what: what.to_owned(),
        metric: metric.name,
        ratio,
        repetitions: (a.runs.len(), b.runs.len()),
        by_second,
        call,
        loss,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_distr::{Distribution, LogNormal};
    use rand_pcg::Pcg64;

    const SAMPLE: &str = include_str!("../../testdata/report.json");

    /// Runs whose figures scatter by `noise`, and are `slower` times as slow as they were.
    fn report(repetitions: u32, slower: f64, noise: f64, seed: u64) -> Report {
        let mut report: Report = serde_json::from_str(SAMPLE).unwrap();
        let mut run = report.runs.swap_remove(0);
        run.verdict.valid = true;
        run.check = None;
        let scatter = LogNormal::new(0.0, noise).unwrap();
        let mut rng = Pcg64::new(seed.into(), 7);
        report.runs = (0..repetitions)
            .map(|repetition| {
                let mut run = run.clone();
                run.repetition = repetition;
                let level = slower * scatter.sample(&mut rng);
                run.throughput_ops /= level;
                let latency = &mut run.latency_us;
                for part in [&mut latency.p50, &mut latency.p99, &mut latency.p999] {
                    *part = (*part as f64 * level) as u64;
                }
                run.timeline = (0..30)
                    .map(|second| {
                        let level = slower * scatter.sample(&mut rng);
                        TimelinePoint {
                            second,
                            operations: (10_000.0 / level) as u64,
                            p50: (5_000.0 * level) as u64,
                            p99: (20_000.0 * level) as u64,
                            max: 30_000,
                        }
                    })
                    .collect();
                run
            })
            .collect();
        report
    }

    /// How many of ten comparisons fail above five per cent, and how many call anything worse.
    fn tries(repetitions: u32, slower: f64) -> (usize, usize) {
        let compared: Vec<_> = (0..10)
            .map(|seed| {
                let first = report(repetitions, 1.0, 0.02, 2 * seed);
                let second = report(repetitions, slower, 0.02, 2 * seed + 1);
                Comparison::new(&first, &second)
            })
            .collect();
        let failed = compared.iter().filter(|c| c.worse_by(0.05).count() > 0);
        let worse = compared.iter().filter(|c| c.worse_by(0.0).count() > 0);
        (failed.count(), worse.count())
    }

    #[test]
    fn a_tenth_slower_is_called_every_time() {
        assert_eq!(tries(7, 1.1), (10, 10), "by repetition");
        assert_eq!(tries(1, 1.1), (10, 10), "by second");
    }

    #[test]
    fn equal_runs_are_never_called() {
        assert_eq!(tries(7, 1.0), (0, 0), "by repetition");
        assert_eq!(tries(1, 1.0), (0, 0), "by second");
    }

    #[test]
    fn a_tenth_faster_is_better_and_fails_nothing() {
        let (first, second) = (report(7, 1.1, 0.02, 1), report(7, 1.0, 0.02, 2));
        let comparison = Comparison::new(&first, &second);
        assert_eq!(comparison.worse_by(0.0).count(), 0);
        let better = comparison.differences.iter();
        assert!(better.filter(|d| d.call == Call::Better).count() >= 3);
    }

    #[test]
    fn what_only_one_measured_or_what_is_invalid_is_named_and_not_compared() {
        let first = report(7, 1.0, 0.02, 1);
        let mut second = report(7, 1.0, 0.02, 2);
        second.runs.iter_mut().for_each(|run| run.payload += 1);
        let comparison = Comparison::new(&first, &second);
        assert!(comparison.differences.is_empty());
        assert_eq!(comparison.left_out.len(), 2);
        let mut invalid = report(7, 1.0, 0.02, 2);
        invalid.runs[3].verdict.valid = false;
        let comparison = Comparison::new(&first, &invalid);
        assert!(comparison.differences.is_empty());
        assert!(comparison.render().contains("invalid"));
    }
}
