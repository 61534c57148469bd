//! What is to be said of runs beside their row: how service came back, what a closed loop would not have
//! seen, and what a search has found. Said once, for terminal and page.

use super::{
    group::Group,
    json::{FaultReport, Latency, Report, Run, Search},
    table::{grouped, micros},
};
use crate::statistics::median;

/// A gap below this is noise.
const WORTH_SAYING: f64 = 3.0;

/// One percentile, from the intended start and from the sending.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Gap {
    pub(super) name: &'static str,
    pub(super) response_us: f64,
    pub(super) service_us: f64,
}

impl Gap {
    pub(super) fn times(&self) -> f64 {
        self.response_us / self.service_us.max(1.0)
    }

    /// `812.00 ms beside 2.90 ms, 280 times or 2.4 orders of magnitude`.
    pub(super) fn sentence(&self) -> String {
        format!(
            "{} counted from the intended start is {}, from the sending {}: {} times, {:.1} orders of magnitude",
            self.name,
            micros(self.response_us),
            micros(self.service_us),
            grouped(self.times()),
            self.times().log10()
        )
    }
}

/// Its name, and where it stands.
type Percentile = (&'static str, fn(&Latency) -> u64);

const PERCENTILES: [Percentile; 4] = [
    ("p50", |latency| latency.p50),
    ("p90", |latency| latency.p90),
    ("p99", |latency| latency.p99),
    ("p99.9", |latency| latency.p999),
];

/// Every percentile of an open loop from both starts. None of a closed loop, in which both are one.
pub(super) fn gaps(group: &Group<'_>) -> Option<[Gap; 4]> {
    group.first().rate?;
    Some(PERCENTILES.map(|(name, of)| Gap {
        name,
        response_us: group.median(|run| of(&run.latency_us) as f64),
        service_us: group.median(|run| of(&run.service_us) as f64),
    }))
}

/// The widest, where it is worth a sentence: the coordinated omission of \[Tene15\].
pub(super) fn omission(group: &Group<'_>) -> Option<Gap> {
    // Where a floor is late its clients are, and the verdict says so.
    if group.first().is_baseline() {
        return None;
    }
    let widest = gaps(group)?
        .into_iter()
        .max_by(|a, b| a.times().total_cmp(&b.times()))?;
    (widest.times() >= WORTH_SAYING).then_some(widest)
}

/// The parts of one recovery, each with its name.
pub(super) fn recovery(fault: &FaultReport) -> Option<[(&'static str, Option<f64>); 4]> {
    let recovery = fault.recovery?;
    Some([
        ("detect", recovery.detect_ms),
        ("elect", recovery.elect_ms),
        ("first commit", recovery.commit_ms),
        ("catch-up", recovery.catch_up_ms),
    ])
}

/// The same as a sentence: `kill leader (node 1): detect 250 ms, elect 10 ms, …`.
pub(super) fn recovered(fault: &FaultReport) -> Option<String> {
    let parts = recovery(fault)?.into_iter();
    let parts: Vec<_> = parts
        .filter_map(|(name, ms)| Some(format!("{name} {:.0} ms", ms?)))
        .collect();
    let resolution = fault.recovery?.resolution_ms;
    Some(format!(
        "{}: {} (known to {resolution:.0} ms)",
        struck(fault),
        parts.join(", ")
    ))
}

/// `kill leader (node 1) at 3.00 s`.
pub(super) fn struck(fault: &FaultReport) -> String {
    let node = fault.node.map(|node| format!(" (node {node})"));
    format!(
        "{} {}{} at {:.2} s",
        fault.kind,
        fault.target,
        node.unwrap_or_default(),
        fault.at_s
    )
}

/// Latency at one share of what was found.
pub(super) struct Share {
    pub(super) percent: u32,
    pub(super) p50: f64,
    pub(super) p99: f64,
}

/// What the searches for one algorithm have found, all repetitions together.
pub(super) struct Found<'a> {
    pub(super) algorithm: &'a str,
    pub(super) bound_us: u64,
    /// The median; none when a repetition found nothing.
    pub(super) rate: Option<f64>,
    /// The lowest and the highest.
    pub(super) range: (f64, f64),
    pub(super) searches: Vec<&'a Search>,
    pub(super) shares: Vec<Share>,
}

impl Found<'_> {
    pub(super) fn rate_text(&self) -> String {
        let Some(rate) = self.rate else {
            return "none held".to_owned();
        };
        match self.range {
            (low, high) if low < high => {
                format!("{} [{}, {}]", grouped(rate), grouped(low), grouped(high))
            }
            _ => grouped(rate),
        }
    }
}

/// What was found, the highest rate first.
pub(super) fn found(report: &Report) -> Vec<Found<'_>> {
    let mut all: Vec<Found<'_>> = Vec::new();
    for search in &report.searches {
        match all
            .iter_mut()
            .find(|found| found.algorithm == search.algorithm)
        {
            Some(found) => found.searches.push(search),
            None => all.push(Found {
                algorithm: &search.algorithm,
                bound_us: search.bound_us,
                rate: None,
                range: (0.0, 0.0),
                searches: vec![search],
                shares: shares(report, &search.algorithm),
            }),
        }
    }
    for found in &mut all {
        let rates: Option<Vec<f64>> = found.searches.iter().map(|search| search.rate).collect();
        let rates = rates.unwrap_or_default();
        found.rate = median(&rates);
        let ends = rates.iter().copied();
        found.range = (
            ends.clone().reduce(f64::min).unwrap_or_default(),
            ends.reduce(f64::max).unwrap_or_default(),
        );
    }
    all.sort_by(|a, b| b.rate.unwrap_or(0.0).total_cmp(&a.rate.unwrap_or(0.0)));
    all
}

fn shares(report: &Report, algorithm: &str) -> Vec<Share> {
    let runs = || {
        let runs = report.runs.iter().filter(|run| run.algorithm == algorithm);
        runs.filter(|run| run.is_safe())
    };
    let mut percents: Vec<u32> = runs().filter_map(|run| run.share).collect();
    percents.sort_unstable();
    percents.dedup();
    let share = |percent| {
        let of = |time: fn(&Run) -> u64| {
            let times = runs().filter(|run| run.share == Some(percent));
            let times: Vec<f64> = times.map(|run| time(run) as f64).collect();
            median(&times).unwrap_or_default()
        };
        Share {
            percent,
            p50: of(|run| run.latency_us.p50),
            p99: of(|run| run.latency_us.p99),
        }
    };
    percents.into_iter().map(share).collect()
}
