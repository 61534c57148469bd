//! Whether what the clients saw was possible.

use super::load::Book;
use bench::report::json::{CheckReport, Latency, PerOperation, Run, Stages};
use consensus_core::check::linearizable;

/// Judges a history of key-value operations. None when none was recorded.
pub(crate) fn judge(book: &Book) -> Option<CheckReport> {
    let history = book.history()?;
    let (operations, ok, detail) = match linearizable::check(history) {
        Ok(report) => (report.operations, true, String::new()),
        Err(error) => (history.len(), false, error.to_string()),
    };
    Some(CheckReport {
        kind: "linearizable".to_owned(),
        operations: operations as u64,
        ok,
        detail,
    })
}

/// Takes the figures out of a run that broke its promise: how fast a wrong answer came is nobody's
/// business.
pub(crate) fn withhold(run: &mut Run) {
    run.throughput_ops = 0.0;
    run.latency_us = Latency::default();
    run.service_us = Latency::default();
    run.reads_us = None;
    run.writes_us = None;
    run.stages_us = Stages::default();
    run.per_operation = PerOperation::default();
    run.histogram.clear();
    run.timeline.clear();
    run.in_flight = 0.0;
}
