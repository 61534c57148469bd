//! Each fast method against the search on thousands of small histories, good and spoilt; and large
//! ones.

use super::tests::{at, cas, get, mismatch, put, report, set_position, written};
use super::{Method, by_key, check, search, witness, zones};
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
