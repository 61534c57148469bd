//! The checkers are checked: named histories known to be bad, and each fast method against the
//! search on thousands of small histories, good and spoilt.

use super::{Method, Report, by_key, check, method, search, witness, zones};
use crate::{Time, check::Entry, contract::register::Version, kv};
use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};

const KEY: Bytes = Bytes::from_static(b"k");

fn at(milliseconds: u64) -> Time {
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

fn get(span: (u64, u64), version: u64, value: &str) -> Entry {
    let outcome = kv::Outcome::Value {
        position: version,
        version: Version(version),
        value: Bytes::copy_from_slice(value.as_bytes()),
    };
    entry(span, kv::Operation::Get { key: KEY }, outcome)
}

fn written(version: u64) -> kv::Outcome {
    kv::Outcome::Written {
        position: version,
        version: Version(version),
    }
}

fn mismatch(version: u64) -> kv::Outcome {
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

fn put(span: (u64, u64), version: u64, value: &str) -> Entry {
    entry(span, put_operation(value), written(version))
}

fn cas(span: (u64, u64), expected: u64, value: &str, outcome: kv::Outcome) -> Entry {
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

fn report(history: &[Entry]) -> Report {
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

/// One operation of a random history, in the order in which they take effect.
#[derive(Clone, Debug)]
struct Step {
    kind: u8,
    before: u64,
    after: u64,
    /// 0: unknown and effective; 1: unknown and not; otherwise known.
    fate: u8,
    spoil: u8,
    by: u64,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0..6u8, 0..25u64, 0..25u64, 0..10u8, 0..10u8, 0..4u64).prop_map(
        |(kind, before, after, fate, spoil, by)| Step {
            kind,
            before,
            after,
            fate,
            spoil,
            by,
        },
    );
    proptest::collection::vec(step, 1..9)
}

/// What a correct register answers when each step takes effect at its own moment; `log`: positions
/// count operations and not versions.
fn build(steps: &[Step], conditional: bool, log: bool) -> Vec<Entry> {
    let (mut version, mut value) = (0, String::new());
    let mut history = Vec::new();
    for (i, step) in steps.iter().enumerate() {
        let moment = 50 + 10 * i as u64;
        let span = (moment - step.before, moment + step.after);
        let new = format!("v{i}");
        let effective = step.fate != 1;
        let mut made = match step.kind {
            0 | 4 | 5 => get(span, version, &value),
            1 if conditional && step.by != 0 => cas(span, version, &new, written(version + 1)),
            2 if conditional => {
                let expected = version + step.by;
                if step.by == 0 {
                    cas(span, expected, &new, written(version + 1))
                } else {
                    cas(span, expected, &new, mismatch(version))
                }
            }
            _ => put(span, version + 1, &new),
        };
        if effective && matches!(made.outcome, Some(kv::Outcome::Written { .. })) {
            (version, value) = (version + 1, new);
        }
        if log {
            set_position(&mut made, 3 * i as u64 + 3);
        }
        if step.fate < 2 {
            (made.outcome, made.returned) = (None, None);
        }
        history.push(made);
    }
    history
}

fn set_position(entry: &mut Entry, to: u64) {
    if let Some(
        kv::Outcome::Value { position, .. }
        | kv::Outcome::Written { position, .. }
        | kv::Outcome::Mismatch { position, .. },
    ) = &mut entry.outcome
    {
        *position = to;
    }
}

fn spoil(history: &mut [Entry], steps: &[Step]) {
    for (entry, step) in history.iter_mut().zip(steps) {
        match (step.spoil, &mut entry.outcome) {
            (0, _) => entry.invoked = at(50 + 20 * step.by),
            (1, _) => {
                entry.invoked = entry.invoked + core::time::Duration::from_millis(9 * step.by)
            }
            (2, Some(kv::Outcome::Value { version, value, .. })) => {
                *version = Version(step.by);
                *value = Bytes::from(format!("v{}", step.by));
            }
            (3, Some(kv::Outcome::Written { version, .. })) => version.0 = 1 + step.by,
            (3, Some(kv::Outcome::Value { version, .. })) => version.0 = step.by,
            (3, Some(kv::Outcome::Mismatch { version, .. })) => version.0 = step.by,
            (4, Some(_)) => set_position(entry, 4 * step.by),
            (5, outcome) => {
                *outcome = None;
                entry.returned = None;
            }
            _ => {}
        }
        if entry
            .returned
            .is_some_and(|returned| returned < entry.invoked)
        {
            entry.returned = Some(entry.invoked);
        }
    }
}

fn config() -> Config {
    Config {
        cases: 4_000,
        rng_seed: RngSeed::Fixed(7),
        failure_persistence: None,
        ..Config::default()
    }
}

/// Whether the fast method and its slow twin both accept. None: the history is not well-formed.
fn verdicts(history: &[Entry], fast: Method) -> Option<(Result<(), String>, bool)> {
    let keys = by_key(history).ok()?;
    let (_, ops) = keys.first()?;
    Some(match fast {
        Method::Zones => (
            zones::check(ops),
            search::check(ops, search::Spec::Values).is_ok(),
        ),
        _ => (
            witness::check(ops),
            search::check(ops, search::Spec::Versions).is_ok(),
        ),
    })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn histories_of_a_correct_register_are_accepted(
        steps in steps(), conditional: bool, log: bool,
    ) {
        let history = build(&steps, conditional, log);
        prop_assert!(check(&history).is_ok(), "{:?}", check(&history));
    }

    #[test]
    fn zones_and_search_agree(steps in steps()) {
        let mut history = build(&steps, false, false);
        spoil(&mut history, &steps);
        let Some((fast, slow)) = verdicts(&history, Method::Zones) else { return Ok(()) };
        prop_assert_eq!(fast.is_ok(), slow, "{:?}\n{:#?}", fast, history);
    }

    #[test]
    fn witness_and_search_agree(steps in steps(), conditional: bool, log: bool) {
        let mut history = build(&steps, conditional, log);
        spoil(&mut history, &steps);
        let Some((fast, slow)) = verdicts(&history, Method::Witness) else { return Ok(()) };
        prop_assert_eq!(fast.is_ok(), slow, "{:?}\n{:#?}", fast, history);
    }
}

/// The properties above say nothing if all spoilt histories fall to one side.
#[test]
fn spoilt_histories_come_good_and_bad() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::new(config());
    let mut counts = vec![[0; 2]; 2];
    for _ in 0..2_000 {
        let drawn = steps()
            .new_tree(&mut runner)
            .expect("nothing is filtered")
            .current();
        for (i, fast) in [Method::Zones, Method::Witness].into_iter().enumerate() {
            let mut history = build(&drawn, i == 1, false);
            spoil(&mut history, &drawn);
            if let Some((fast, _)) = verdicts(&history, fast) {
                counts[i][usize::from(fast.is_ok())] += 1;
            }
        }
    }
    assert!(
        counts.iter().flatten().all(|count| *count > 200),
        "{counts:?}"
    );
}

/// `count` operations of `clients` on `keys` keys, as a correct register answers them.
fn large(count: usize, clients: usize, keys: u64, conditional: bool) -> Vec<Entry> {
    use rand::{RngExt, SeedableRng};
    let mut random = rand_pcg::Pcg64Mcg::seed_from_u64(1);
    let mut versions = vec![(0u64, Bytes::new()); keys as usize];
    let step = 1_000;
    (0..count)
        .map(|i| {
            let moment = (i + clients) as u64 * step;
            let reach = clients as u64 * step / 2;
            let key = random.random_range(0..keys);
            let (version, value) = &mut versions[key as usize];
            let (position, name) = (i as u64 + 1, Bytes::from(key.to_string()));
            let (operation, outcome) = if random.random_bool(0.5) {
                let (version, value) = (Version(*version), value.clone());
                let outcome = kv::Outcome::Value {
                    position,
                    version,
                    value,
                };
                (kv::Operation::Get { key: name }, outcome)
            } else {
                let expected = Version(*version);
                *version += 1;
                *value = Bytes::from(i.to_string());
                let (key, value) = (name, value.clone());
                let version = Version(*version);
                let operation = if conditional {
                    kv::Operation::CompareAndSet {
                        key,
                        expected,
                        value,
                    }
                } else {
                    kv::Operation::Put { key, value }
                };
                (operation, kv::Outcome::Written { position, version })
            };
            Entry {
                client: (i % clients) as u32,
                invoked: Time::from_nanos(moment - random.random_range(0..reach)),
                returned: Some(Time::from_nanos(moment + random.random_range(0..reach))),
                operation,
                outcome: Some(outcome),
            }
        })
        .collect()
}

/// A hundred thousand in a debug build, a million in a release build.
const MANY: usize = if cfg!(debug_assertions) {
    100_000
} else {
    1_000_000
};

#[test]
fn many_operations_of_512_clients_are_judged_by_zones() {
    many(false);
}

#[test]
fn many_operations_of_512_clients_are_judged_by_witness() {
    many(true);
}

fn many(conditional: bool) {
    for keys in [1, 1_000] {
        let mut history = large(MANY, 512, keys, conditional);
        let report = report(&history);
        assert_eq!(report.operations, MANY);
        assert_eq!(report.witness as u64, if conditional { keys } else { 0 });
        // One answer of the distant past among them all.
        let read = history
            .iter()
            .rposition(|entry| matches!(entry.operation, kv::Operation::Get { .. }))
            .expect("half of them read");
        if let Some(kv::Outcome::Value { version, value, .. }) = &mut history[read].outcome {
            (*version, *value) = (Version(0), Bytes::new());
        }
        assert!(check(&history).is_err());
    }
}
