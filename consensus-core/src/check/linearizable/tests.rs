//! Histories known to be bad, by name, and those that only look it.

use super::{Method, Report, by_key, check, method, search};
use crate::{Time, check::Entry, contract::register::Version, kv};
use alloc::string::ToString;
use bytes::Bytes;

const KEY: Bytes = Bytes::from_static(b"k");

pub(super) fn at(milliseconds: u64) -> Time {
    Time::from_nanos(milliseconds * 1_000_000)
}

fn entry(span: (u64, u64), operation: kv::Operation, outcome: kv::Outcome) -> Entry {
    Entry {
        client: span.0 as u32,
        invoked: at(span.0),
        returned: Some(at(span.1)),
        operation,
        outcome: Some(outcome),
    }
}

pub(super) fn get(span: (u64, u64), version: u64, value: &str) -> Entry {
    let outcome = kv::Outcome::Value {
        position: version,
        version: Version(version),
        value: Bytes::copy_from_slice(value.as_bytes()),
    };
    entry(span, kv::Operation::Get { key: KEY }, outcome)
}

pub(super) fn written(version: u64) -> kv::Outcome {
    kv::Outcome::Written {
        position: version,
        version: Version(version),
    }
}

pub(super) fn mismatch(version: u64) -> kv::Outcome {
    kv::Outcome::Mismatch {
        position: version,
        version: Version(version),
    }
}

fn put_operation(value: &str) -> kv::Operation {
    kv::Operation::Put {
        key: KEY,
        value: Bytes::copy_from_slice(value.as_bytes()),
    }
}

fn cas_operation(expected: u64, value: &str) -> kv::Operation {
    kv::Operation::CompareAndSet {
        key: KEY,
        expected: Version(expected),
        value: Bytes::copy_from_slice(value.as_bytes()),
    }
}

pub(super) fn put(span: (u64, u64), version: u64, value: &str) -> Entry {
    entry(span, put_operation(value), written(version))
}

pub(super) fn cas(span: (u64, u64), expected: u64, value: &str, outcome: kv::Outcome) -> Entry {
    entry(span, cas_operation(expected, value), outcome)
}

fn unknown(invoked: u64, operation: kv::Operation) -> Entry {
    Entry {
        client: invoked as u32,
        invoked: at(invoked),
        returned: None,
        operation,
        outcome: None,
    }
}

pub(super) fn set_position(entry: &mut Entry, to: u64) {
    if let Some(
        kv::Outcome::Value { position, .. }
        | kv::Outcome::Written { position, .. }
        | kv::Outcome::Mismatch { position, .. },
    ) = &mut entry.outcome
    {
        *position = to;
    }
}

pub(super) fn report(history: &[Entry]) -> Report {
    check(history).expect("the history is linearizable")
}

#[track_caller]
fn rejects(history: &[Entry], says: &str) {
    let error = check(history)
        .expect_err("no order explains this")
        .to_string();
    assert!(error.contains(says), "{error}");
    for (_, ops) in by_key(history).expect("the operations are well-formed") {
        let spec = if method(&ops) == Method::Zones {
            search::Spec::Values
        } else {
            search::Spec::Versions
        };
        assert!(search::check(&ops, spec).is_err(), "the search accepts it");
    }
}

#[test]
fn concurrent_operations_may_take_effect_in_either_order() {
    for (a, b, last) in [(1, 2, "b"), (2, 1, "a")] {
        let writes = [put((0, 10), a, "a"), put((0, 10), b, "b")];
        report(&[&writes[..], &[get((20, 30), 2, last)]].concat());
    }
}

#[test]
fn a_stale_read_is_rejected() {
    rejects(
        &[
            put((0, 1), 1, "a"),
            put((2, 3), 2, "b"),
            get((4, 5), 1, "a"),
        ],
        "within that time",
    );
}

#[test]
fn a_read_that_goes_back_behind_another_read_is_rejected() {
    // Both overlap the write, but the first has seen it.
    rejects(
        &[
            put((0, 1), 1, "a"),
            put((2, 20), 2, "b"),
            get((3, 4), 2, "b"),
            get((5, 6), 1, "a"),
        ],
        "within that time",
    );
}

#[test]
fn a_lost_write_is_rejected() {
    rejects(
        &[put((0, 1), 1, "a"), get((2, 3), 0, "")],
        "nothing is written until",
    );
}

#[test]
fn a_read_of_a_value_never_written_is_rejected() {
    rejects(
        &[put((0, 1), 1, "a"), get((2, 3), 2, "b")],
        "nobody ever wrote",
    );
}

#[test]
fn a_read_from_the_future_is_rejected() {
    rejects(
        &[get((0, 1), 1, "a"), put((2, 3), 1, "a")],
        "from the future",
    );
}

#[test]
fn a_write_that_takes_effect_twice_is_rejected() {
    rejects(
        &[
            put((0, 1), 1, "a"),
            get((2, 3), 1, "a"),
            put((4, 5), 2, "b"),
            get((6, 7), 2, "b"),
            get((8, 9), 3, "a"),
        ],
        "within that time",
    );
}

#[test]
fn a_split_brain_is_rejected() {
    // Two halves, each consistent in itself.
    rejects(
        &[
            put((0, 5), 1, "left"),
            put((0, 5), 1, "right"),
            get((6, 7), 1, "left"),
            get((6, 7), 1, "right"),
            get((8, 9), 1, "left"),
            get((8, 9), 1, "right"),
        ],
        "within that time",
    );
}

#[test]
fn an_unknown_write_may_take_effect_late_or_never() {
    let write = unknown(0, put_operation("a"));
    assert_eq!(report(&[write.clone(), get((5, 6), 0, "")]).unknown, 1);
    report(&[write.clone(), get((5, 6), 0, ""), get((7, 8), 1, "a")]);
    rejects(
        &[
            write.clone(),
            get((5, 6), 1, "a"),
            put((7, 8), 2, "b"),
            get((9, 10), 3, "a"),
        ],
        "within that time",
    );
    rejects(
        &[get((0, 1), 1, "b"), unknown(5, put_operation("b"))],
        "from the future",
    );
    // Given up at 3, and an answer without a moment: both as good as none.
    let given_up = Entry {
        returned: Some(at(3)),
        ..write
    };
    report(&[given_up, get((5, 6), 0, ""), get((7, 8), 1, "a")]);
}

#[test]
fn one_version_taken_by_two_conditional_writes_is_rejected() {
    rejects(
        &[
            put((0, 1), 1, "a"),
            cas((2, 5), 1, "b", written(2)),
            cas((2, 5), 1, "c", written(2)),
        ],
        "one version, two writes",
    );
    rejects(
        &[
            put((0, 1), 1, "a"),
            cas((2, 5), 1, "b", written(2)),
            cas((2, 5), 1, "c", written(3)),
        ],
        "the newest is v2",
    );
}

#[test]
fn a_conditional_write_that_fails_on_its_own_expectation_is_rejected() {
    let error = check(&[put((0, 1), 1, "a"), cas((2, 3), 1, "b", mismatch(1))])
        .expect_err("version 1 is version 1");
    assert!(error.detail.contains("is told that version 1 is not"));
}

#[test]
fn a_conditional_write_refused_by_a_version_of_the_past_is_rejected() {
    rejects(
        &[
            cas((0, 1), 0, "a", written(1)),
            cas((2, 3), 1, "b", written(2)),
            cas((4, 5), 2, "c", mismatch(1)),
        ],
        "claims to come after",
    );
}

#[test]
fn a_lost_conditional_write_is_rejected() {
    rejects(
        &[
            cas((0, 1), 0, "a", written(1)),
            cas((2, 3), 1, "b", written(2)),
            get((4, 5), 1, "a"),
        ],
        "claims to come after",
    );
}

#[test]
fn another_value_under_the_same_version_is_rejected() {
    rejects(
        &[cas((0, 1), 0, "a", written(1)), get((2, 3), 1, "z")],
        "is another value",
    );
}

#[test]
fn a_version_that_nobody_wrote_is_rejected() {
    rejects(
        &[
            cas((0, 1), 0, "a", written(1)),
            cas((2, 3), 2, "b", written(3)),
        ],
        "nobody wrote it",
    );
}

#[test]
fn an_unknown_conditional_write_explains_what_is_seen_of_it() {
    let lost = unknown(2, cas_operation(1, "b"));
    let first = cas((0, 1), 0, "a", written(1));
    // By its value, by its number alone, and not at all.
    report(&[first.clone(), lost.clone(), get((4, 5), 2, "b")]);
    report(&[first.clone(), lost.clone(), cas((4, 5), 2, "c", written(3))]);
    report(&[first.clone(), lost.clone(), cas((4, 5), 1, "c", written(2))]);
    // It expected version 1 and cannot have followed version 2.
    rejects(
        &[
            first,
            cas((1, 2), 1, "c", written(2)),
            lost,
            get((4, 5), 3, "b"),
        ],
        "the newest is v2",
    );
}

#[test]
fn positions_in_a_log_need_not_be_dense_but_must_agree_with_time() {
    let at_position = |position, mut entry: Entry| {
        set_position(&mut entry, position);
        entry
    };
    let good = [
        at_position(10, cas((0, 1), 0, "a", written(1))),
        at_position(10, get((2, 3), 1, "a")),
        at_position(15, get((2, 3), 1, "a")),
        at_position(17, cas((4, 5), 7, "x", mismatch(1))),
        at_position(20, cas((6, 7), 1, "b", written(2))),
    ];
    assert_eq!(report(&good).witness, 1);
    let mut bad = good.clone();
    bad[4] = at_position(16, bad[4].clone());
    rejects(&bad, "by its version it stands at 18 or later");
    let mut bad = good;
    bad[1] = at_position(9, bad[1].clone());
    rejects(&bad, "by its version it stands at 10 or later");
}

#[test]
fn an_answer_that_fits_another_question_is_rejected() {
    let error = check(&[entry((0, 1), put_operation("a"), mismatch(3))])
        .expect_err("a blind write cannot mismatch");
    assert!(error.detail.contains("is told"), "{error}");
}

#[test]
fn keys_are_judged_apart_and_leadership_promises_nothing() {
    let mut other = put((0, 1), 1, "a");
    other.operation = kv::Operation::Put {
        key: Bytes::from_static(b"other"),
        value: Bytes::from_static(b"a"),
    };
    let leader = entry(
        (0, 1),
        kv::Operation::WhoLeads {},
        kv::Outcome::Leader {
            node: crate::NodeId(1),
        },
    );
    let report = report(&[other, get((2, 3), 0, ""), leader]);
    assert_eq!((report.operations, report.keys, report.zones), (2, 2, 2));
}
