//! Which runs belong together, and which may be ranked against each other.

use super::{
    json::{FaultReport, Loop, Report, Run},
    table::grouped,
};
use crate::statistics;

const CONFIDENCE: f64 = 0.95;
/// A fault asked for at one moment strikes within this in every run, seconds.
const LATE_S: f64 = 0.5;

/// Repetitions of one thing.
pub(super) struct Group<'a> {
    pub(super) runs: Vec<&'a Run>,
    /// From 1: its place by throughput among the valid groups of algorithms that did the same. None of
    /// shares of a rate that was searched for: the search is what is ranked.
    pub(super) rank: Option<usize>,
}

impl Group<'_> {
    pub(super) fn first(&self) -> &Run {
        self.runs[0]
    }

    /// A group with one invalid run is invalid: leaving runs out would choose the result.
    pub(super) fn is_valid(&self) -> bool {
        self.runs.iter().all(|run| run.verdict.valid)
    }

    pub(super) fn is_safe(&self) -> bool {
        self.runs.iter().all(|run| run.is_safe())
    }

    fn samples(&self, of: impl Fn(&Run) -> f64) -> Vec<f64> {
        self.runs.iter().map(|run| of(run)).collect()
    }

    pub(super) fn median(&self, of: impl Fn(&Run) -> f64) -> f64 {
        statistics::median(&self.samples(of)).unwrap_or_default()
    }

    /// The median, and of repetitions where it could as well have been.
    pub(super) fn throughput(&self) -> String {
        let samples = self.samples(|run| run.throughput_ops);
        let Some(estimate) = statistics::estimate(&samples, CONFIDENCE, self.first().seed) else {
            return String::new();
        };
        let value = grouped(estimate.value);
        match estimate.interval {
            None => value,
            Some((low, high)) => format!("{value} [{}, {}]", grouped(low), grouped(high)),
        }
    }
}

/// Runs that differ in nothing but seed and repetition belong together; in the order of the report.
pub(super) fn groups(report: &Report) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for run in &report.runs {
        match groups.iter_mut().find(|group| is_same(group.first(), run)) {
            Some(group) => group.runs.push(run),
            None => groups.push(Group {
                runs: vec![run],
                rank: None,
            }),
        }
    }
    rank(&mut groups);
    groups
}

/// Whether two runs differ in nothing but seed and repetition.
pub(super) fn is_same(a: &Run, b: &Run) -> bool {
    a.algorithm == b.algorithm && is_comparable(a, b)
}

/// Whether two runs did the same work under the same conditions.
fn is_comparable(a: &Run, b: &Run) -> bool {
    let key = |run: &Run| {
        (
            (
                run.nodes,
                run.clients,
                run.mode == Loop::Open,
                // What a search has found differs from run to run; its shares are the same thing.
                run.share,
                run.rate.filter(|_| run.share.is_none()).map(f64::to_bits),
            ),
            (
                run.payload,
                run.durability as u8,
                run.link.clone(),
                run.placement.clone(),
                run.coordinator.clone(),
            ),
            (run.keys, run.zipf.to_bits(), run.read_ratio.to_bits()),
        )
    };
    key(a) == key(b) && a.faults.len() == b.faults.len() && {
        let mut pairs = a.faults.iter().zip(&b.faults);
        pairs.all(|(a, b)| is_same_fault(a, b))
    }
}

/// When it really was differs by the time that it took to find whom it means.
fn is_same_fault(a: &FaultReport, b: &FaultReport) -> bool {
    a.kind == b.kind && a.target == b.target && (a.at_s - b.at_s).abs() < LATE_S
}

fn rank(groups: &mut [Group<'_>]) {
    let may = |group: &Group<'_>| {
        let run = group.first();
        group.is_valid() && group.is_safe() && !run.is_baseline() && run.share.is_none()
    };
    let place = |at: usize| {
        let ours = &groups[at];
        let rate = |group: &Group<'_>| group.median(|run| run.throughput_ops);
        let faster = groups.iter().filter(|other| {
            may(other) && is_comparable(other.first(), ours.first()) && rate(other) > rate(ours)
        });
        may(ours).then(|| 1 + faster.count())
    };
    let places: Vec<_> = (0..groups.len()).map(place).collect();
    for (group, place) in groups.iter_mut().zip(places) {
        group.rank = place;
    }
}
