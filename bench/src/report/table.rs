//! The comparison as a table for a terminal.

use super::{
    group::{Group, groups},
    json::{Durability, Latency, Report, Run},
    telling,
};
use comfy_table::{Cell, CellAlignment, Table, presets};
use std::collections::BTreeSet;

/// The table, then why runs are invalid and what to be warned of.
#[must_use]
pub fn render(report: &Report) -> String {
    let groups = groups(report);
    let columns: Vec<_> = COLUMNS
        .iter()
        .filter(|column| column.says_something(&groups))
        .collect();
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header(columns.iter().map(|column| column.name));
    for (at, column) in columns.iter().enumerate().skip(1) {
        if let Some(drawn) = table.column_mut(at).filter(|_| column.name != LOAD) {
            drawn.set_cell_alignment(CellAlignment::Right);
        }
    }
    for group in &groups {
        table.add_row(columns.iter().map(|column| Cell::new(column.text(group))));
    }
    let mut text = String::new();
    if !columns.iter().any(|column| column.name == LOAD)
        && let Some(group) = groups.first()
    {
        text.push_str(&format!("{}\n", load(group.first())));
    }
    text.push_str(&format!("{table}\n"));
    for run in groups.iter().flat_map(|group| &group.runs) {
        if let Some(floor) = &run.floor {
            text.push_str(&format!("{}: {floor}\n", run.algorithm));
        }
    }
    text.push_str(&searches(report));
    for group in groups.iter().filter(|group| group.is_safe()) {
        let title = group.first().title();
        if let Some(gap) = telling::omission(group) {
            text.push_str(&format!("{title}: {}\n", gap.sentence()));
        }
        let faults = group.runs.iter().flat_map(|run| &run.faults);
        for told in faults.filter_map(telling::recovered) {
            text.push_str(&format!("{title}: {told}\n"));
        }
    }
    text.push_str(&notes(&groups));
    text
}

/// What was searched for, where anything was.
fn searches(report: &Report) -> String {
    let found = telling::found(report);
    let Some(first) = found.first() else {
        return String::new();
    };
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    let percents = found.iter().max_by_key(|found| found.shares.len());
    let percents: Vec<u32> = percents
        .map(|found| found.shares.iter().map(|share| share.percent).collect())
        .unwrap_or_default();
    let heads = percents
        .iter()
        .map(|percent| format!("p50, p99 at {percent} %"));
    let rate = format!("ops/s with p99 within {}", micros(first.bound_us as f64));
    table.set_header(["algorithm".to_owned(), rate].into_iter().chain(heads));
    for found in &found {
        let cells = percents.iter().map(|percent| {
            let share = found.shares.iter().find(|share| share.percent == *percent);
            share.map_or_else(
                || "–".to_owned(),
                |share| format!("{}, {}", micros(share.p50), micros(share.p99)),
            )
        });
        let head = [found.algorithm.to_owned(), found.rate_text()];
        table.add_row(head.into_iter().chain(cells));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{table}\n")
}

/// One column. What is the same everywhere need not be shown in every row.
struct Column {
    name: &'static str,
    /// Whether it is a figure, which a run that broke a safety property does not publish.
    figure: bool,
    of: fn(&Group<'_>) -> String,
    shown: Shown,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    Always,
    /// Only when rows differ.
    WhenDifferent,
    /// Only when a row is not empty.
    WhenAny,
}

const LOAD: &str = "load";

const fn figure(name: &'static str, of: fn(&Group<'_>) -> String) -> Column {
    Column {
        name,
        figure: true,
        of,
        shown: Shown::Always,
    }
}

const COLUMNS: [Column; 15] = [
    Column {
        name: "algorithm",
        figure: false,
        of: |group| group.first().title(),
        shown: Shown::Always,
    },
    Column {
        name: "nodes",
        figure: false,
        of: |group| nodes(group.first()).to_string(),
        shown: Shown::Always,
    },
    Column {
        name: "disk",
        figure: false,
        of: |group| disk(group.first()).to_owned(),
        shown: Shown::Always,
    },
    Column {
        name: LOAD,
        figure: false,
        of: |group| load(group.first()),
        shown: Shown::WhenDifferent,
    },
    figure("ops/s", |group| group.throughput()),
    figure("p50", |group| time(group, |latency| latency.p50)),
    figure("p99", |group| time(group, |latency| latency.p99)),
    figure("p99.9", |group| time(group, |latency| latency.p999)),
    figure("max", |group| time(group, |latency| latency.max)),
    // In a closed loop it is the same as the response.
    Column {
        name: "service p99",
        figure: true,
        of: |group| match group.first().rate {
            Some(_) => micros(group.median(|run| run.service_us.p99 as f64)),
            None => String::new(),
        },
        shown: Shown::WhenAny,
    },
    Column {
        name: "not done",
        figure: true,
        of: |group| not_done(group.first()),
        shown: Shown::WhenAny,
    },
    figure("messages/op", |group| {
        format!("{:.2}", group.median(|run| run.per_operation.messages))
    }),
    figure("syncs/op", |group| {
        format!("{:.3}", group.median(|run| run.per_operation.syncs))
    }),
    Column {
        name: "outage",
        figure: true,
        of: |group| outage(group.first()),
        shown: Shown::WhenAny,
    },
    Column {
        name: "rank",
        figure: false,
        of: place,
        shown: Shown::Always,
    },
];

impl Column {
    fn text(&self, group: &Group<'_>) -> String {
        if self.figure && !group.is_safe() {
            "–".into()
        } else {
            (self.of)(group)
        }
    }

    fn says_something(&self, groups: &[Group<'_>]) -> bool {
        let mut texts = groups.iter().map(self.of);
        match self.shown {
            Shown::Always => true,
            Shown::WhenAny => texts.any(|text| !text.is_empty()),
            Shown::WhenDifferent => {
                let first = texts.next();
                texts.any(|text| Some(text) != first)
            }
        }
    }
}

fn time(group: &Group<'_>, of: fn(&Latency) -> u64) -> String {
    micros(group.median(|run| of(&run.latency_us) as f64))
}

fn place(group: &Group<'_>) -> String {
    match group.rank {
        Some(rank) => format!("#{rank}"),
        None if group.first().is_baseline() && group.is_valid() => "baseline".into(),
        None if group.is_valid() && group.is_safe() => "of search".into(),
        None => "invalid".into(),
    }
}

/// What belongs to a result's name.
pub(super) fn setting(run: &Run) -> String {
    format!("{} × {}, {}", nodes(run), disk(run), load(run))
}

/// The same without the load, where that is said once for all.
pub(super) fn place_of(run: &Run) -> String {
    format!("{} × {}", nodes(run), disk(run))
}

fn nodes(run: &Run) -> u32 {
    if run.is_baseline() { 1 } else { run.nodes }
}

const fn disk(run: &Run) -> &'static str {
    match run.durability {
        Durability::Fsync => "fsync",
        Durability::Memory => "memory",
    }
}

pub(super) fn load(run: &Run) -> String {
    let clients = match run.rate {
        None => format!("{} clients closed", run.clients),
        Some(rate) => format!("{} /s open", grouped(rate)),
    };
    let link = run
        .link
        .as_ref()
        .map(|link| format!(", {link}"))
        .unwrap_or_default();
    format!("{clients}, {} B{link}", run.payload)
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
    text.join(", ")
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
