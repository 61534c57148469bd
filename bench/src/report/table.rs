//! The comparison as a table for a terminal.

use super::json::{Latency, Loop, Report, Run};
use crate::statistics;
use comfy_table::{Cell, CellAlignment, Table, presets};
use std::collections::BTreeSet;

const CONFIDENCE: f64 = 0.95;

/// Repetitions of one thing.
pub(super) struct Group<'a> {
    pub(super) runs: Vec<&'a Run>,
    /// From 1: its place by throughput among the valid groups of algorithms that did the same.
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

fn is_same(a: &Run, b: &Run) -> bool {
    a.algorithm == b.algorithm && is_comparable(a, b)
}

/// Whether two runs did the same work under the same conditions.
fn is_comparable(a: &Run, b: &Run) -> bool {
    let faults = |run: &Run| -> Vec<_> {
        run.faults
            .iter()
            .map(|f| (f.kind.clone(), f.target.clone(), f.at_s.to_bits()))
            .collect()
    };
    let key = |run: &Run| {
        (
            (
                run.nodes,
                run.clients,
                run.mode == Loop::Open,
                run.rate.map(f64::to_bits),
            ),
            (
                run.payload,
                run.durability as u8,
                run.link.clone(),
                run.placement.clone(),
            ),
            (run.keys, run.zipf.to_bits(), run.read_ratio.to_bits()),
            faults(run),
        )
    };
    key(a) == key(b)
}

fn rank(groups: &mut [Group<'_>]) {
    let may =
        |group: &Group<'_>| group.is_valid() && group.is_safe() && !group.first().is_baseline();
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

/// The table, then why runs are invalid and what to be warned of.
#[must_use]
pub fn render(report: &Report) -> String {
    let groups = groups(report);
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header(HEADER);
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for group in &groups {
        table.add_row(row(group));
    }
    let mut text = format!("{table}\n");
    text.push_str(&notes(&groups));
    text
}

const HEADER: [&str; 13] = [
    "algorithm",
    "setting",
    "ops/s",
    "p50",
    "p90",
    "p99",
    "p99.9",
    "max",
    "not done",
    "messages/op",
    "syncs/op",
    "outage",
    "rank",
];

fn row(group: &Group<'_>) -> Vec<Cell> {
    let run = group.first();
    let mut cells = vec![Cell::new(&run.algorithm), Cell::new(setting(run))];
    if group.is_safe() {
        let time = |of: fn(&Latency) -> u64| micros(group.median(|run| of(&run.latency_us) as f64));
        cells.extend([
            Cell::new(group.throughput()),
            Cell::new(time(|l| l.p50)),
            Cell::new(time(|l| l.p90)),
            Cell::new(time(|l| l.p99)),
            Cell::new(time(|l| l.p999)),
            Cell::new(time(|l| l.max)),
            Cell::new(not_done(run)),
            Cell::new(format!(
                "{:.2}",
                group.median(|run| run.per_operation.messages)
            )),
            Cell::new(format!(
                "{:.3}",
                group.median(|run| run.per_operation.syncs)
            )),
            Cell::new(outage(run)),
        ]);
    } else {
        // A run that broke a safety property publishes no figures.
        cells.extend((0..10).map(|_| Cell::new("–")));
    }
    cells.push(Cell::new(match group.rank {
        Some(rank) => format!("#{rank}"),
        None if run.is_baseline() && group.is_valid() => "baseline".into(),
        None => "invalid".into(),
    }));
    cells
}

/// What belongs to a result's name.
pub(super) fn setting(run: &Run) -> String {
    let nodes = if run.is_baseline() { 1 } else { run.nodes };
    let load = match run.rate {
        None => format!("{} clients closed", run.clients),
        Some(rate) => format!("{} /s open", grouped(rate)),
    };
    let durability = match run.durability {
        super::json::Durability::Fsync => "fsync",
        super::json::Durability::Memory => "memory",
    };
    let link = run
        .link
        .as_ref()
        .map(|link| format!(", {link}"))
        .unwrap_or_default();
    format!("{nodes} × {durability}, {load}, {} B{link}", run.payload)
}

fn not_done(run: &Run) -> String {
    let parts = [
        (run.failed, "failed"),
        (run.aborted, "aborted"),
        (run.timeouts, "timed out"),
    ];
    let some = parts.iter().filter(|(count, _)| *count > 0);
    let text: Vec<_> = some
        .map(|(count, what)| format!("{} {what}", grouped(*count as f64)))
        .collect();
    if text.is_empty() {
        "0".into()
    } else {
        text.join(", ")
    }
}

pub(super) fn outage(run: &Run) -> String {
    let text: Vec<_> = run
        .faults
        .iter()
        .map(|fault| match fault.outage_ms {
            Some(ms) => format!("{ms:.0} ms"),
            None => "for good".into(),
        })
        .collect();
    text.join(", ")
}

fn notes(groups: &[Group<'_>]) -> String {
    let mut text = String::new();
    let mut warnings = BTreeSet::new();
    for run in groups.iter().flat_map(|group| &group.runs) {
        for reason in &run.verdict.reasons {
            if run.verdict.valid {
                warnings.insert(reason);
            } else {
                let (name, repetition) = (&run.algorithm, run.repetition);
                text.push_str(&format!(
                    "invalid: {name}, repetition {repetition}: {reason}\n"
                ));
            }
        }
    }
    for warning in warnings {
        text.push_str(&format!("warning: {warning}\n"));
    }
    text
}

/// Digits in threes: 1 234 567.
pub(super) fn grouped(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    if number <= -0.5 {
        format!("-{text}")
    } else {
        text
    }
}

/// A time for people: `574 µs`, `2.10 ms`, `1.00 s`.
pub(super) fn micros(us: f64) -> String {
    match us {
        us if us < 1_000.0 => format!("{us:.0} µs"),
        us if us < 1_000_000.0 => format!("{:.2} ms", us / 1_000.0),
        us => format!("{:.2} s", us / 1_000_000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(grouped(0.0), "0");
        assert_eq!(grouped(999.6), "1 000");
        assert_eq!(grouped(1_234_567.0), "1 234 567");
        assert_eq!(grouped(-1_000.0), "-1 000");
        assert_eq!(micros(574.0), "574 µs");
        assert_eq!(micros(2_100.0), "2.10 ms");
        assert_eq!(micros(1_000_000.0), "1.00 s");
    }
}
