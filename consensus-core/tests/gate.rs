//! The persistence rule against a slow twin: whatever a protocol writes, sends and tells in whatever
//! order, and however the disk reports, nothing leaves too early, too late or out of order.

use consensus_core::{
    Boot, Early, Effects, Gate, Input, Lsn, NodeId, Outlet, Protocol, RecoverError, Time, codec,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};
use std::hash::{DefaultHasher, Hash, Hasher};

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Number {
    Is { it: u64 },
}
codec! { Number version 1 { 1 since 1 Log => Is { it } } }

/// Never stepped: here to name the types.
#[derive(Debug)]
enum Nothing {}

impl Protocol for Nothing {
    type Config = ();
    type Message = Number;
    type Record = Number;
    type Request = ();
    type Event = u64;
    type Timer = ();
    type Status = ();
    fn recover(
        (): (),
        _: Boot,
        _: impl IntoIterator<Item = (Lsn, Number)>,
    ) -> Result<Self, RecoverError> {
        Err(RecoverError {
            lsn: Lsn::ZERO,
            reason: "there is nothing to recover",
        })
    }
    fn handle(&mut self, _: Time, _: Input<Self>, _: &mut Effects<Self>) {}
    fn flush(&mut self, _: Time, _: &mut Effects<Self>) {}
    fn status(&self) {}
}

/// What left, lane by lane: numbers are given in the order of the calls.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Left {
    early: Vec<u64>,
    messages: Vec<u64>,
    events: Vec<u64>,
    releases: Vec<Lsn>,
}

impl Outlet<Number, u64> for Left {
    fn message(&mut self, _: NodeId, Number::Is { it }: Number) {
        self.messages.push(it);
    }
    fn early_message(&mut self, _: NodeId, Number::Is { it }: Number, _: Early) {
        self.early.push(it);
    }
    fn event(&mut self, event: u64) {
        self.events.push(event);
    }
    fn release(&mut self, before: Lsn) {
        self.releases.push(before);
    }
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Persist,
    PersistLazily,
    Send,
    SendEarly,
    Emit,
    EmitEarly,
    Release,
}

/// A batch, and then, perhaps, how much of what is written turns out to be on disk (in eighths).
#[derive(Clone, Debug)]
struct Batch {
    acts: Vec<Act>,
    synced: Option<u64>,
}

fn batches() -> impl Strategy<Value = Vec<Batch>> {
    let act = prop_oneof![
        3 => Just(Act::Persist),
        2 => Just(Act::PersistLazily),
        3 => Just(Act::Send),
        1 => Just(Act::SendEarly),
        3 => Just(Act::Emit),
        3 => Just(Act::EmitEarly),
        1 => Just(Act::Release),
    ];
    let batch = (
        proptest::collection::vec(act, 0..5),
        proptest::option::of(0..=8u64),
    )
        .prop_map(|(acts, synced)| Batch { acts, synced });
    proptest::collection::vec(batch, 1..12)
}

/// The rule, said slowly: each thing with the record that it waits for, in the order of the calls.
#[derive(Default)]
struct Twin {
    last: u64,
    forced: u64,
    durable: u64,
    messages: Vec<(u64, u64)>,
    events: Vec<(u64, u64)>,
    releases: Vec<(u64, Lsn)>,
}

impl Twin {
    fn batch(&mut self, acts: &[(Act, u64)], base: Lsn) -> Left {
        let mut left = Left::default();
        let mut release = None;
        for (act, _) in acts {
            match act {
                Act::Persist => {
                    self.last += 1;
                    self.forced = self.last;
                }
                Act::PersistLazily => self.last += 1,
                _ => {}
            }
        }
        for (act, name) in acts {
            match act {
                Act::Send => self.messages.push((self.forced, *name)),
                Act::SendEarly => left.early.push(*name),
                Act::Emit => self.events.push((self.forced, *name)),
                Act::EmitEarly => self.events.push((0, *name)),
                Act::Release => release = release.max(Some(Lsn(base.0 + name))),
                _ => {}
            }
        }
        self.releases
            .extend(release.map(|before| (self.last, before)));
        self.leave(&mut left);
        left
    }

    /// Everything in front of its lane that waits for nothing any more.
    fn leave(&mut self, left: &mut Left) {
        fn lane<T: Copy>(waiting: &mut Vec<(u64, T)>, durable: u64, left: &mut Vec<T>) {
            let ready = waiting.iter().take_while(|(after, _)| *after <= durable);
            let count = ready.count();
            left.extend(waiting.drain(..count).map(|(_, item)| item));
        }
        lane(&mut self.messages, self.durable, &mut left.messages);
        lane(&mut self.events, self.durable, &mut left.events);
        lane(&mut self.releases, self.durable, &mut left.releases);
    }

    fn is_waiting(&self) -> bool {
        !(self.messages.is_empty() && self.events.is_empty() && self.releases.is_empty())
    }
}

/// A gate with its effects, which started after `base`.
struct Real {
    base: Lsn,
    effects: Effects<Nothing>,
    gate: Gate,
}

impl Real {
    fn new(base: Lsn) -> Self {
        Self {
            base,
            effects: Effects::new(base),
            gate: Gate::new(base),
        }
    }

    fn batch(&mut self, acts: &[(Act, u64)]) -> Left {
        let mut left = Left::default();
        let to = NodeId(1);
        let mut records = 0;
        for (act, it) in acts.iter().copied() {
            let message = Number::Is { it };
            match act {
                Act::Persist | Act::PersistLazily => {
                    let next = self.effects.last().next();
                    let lsn = match act {
                        Act::Persist => self.effects.persist(message),
                        _ => self.effects.persist_lazily(message),
                    };
                    assert_eq!(lsn, next);
                    records += 1;
                }
                Act::Send => self.effects.send(to, message),
                Act::SendEarly => self.effects.send_early(to, message, Early::Campaign),
                Act::Emit => self.effects.emit(it),
                Act::EmitEarly => self.effects.emit_early(it, Early::QuorumHolds),
                Act::Release => self.effects.release(Lsn(self.base.0 + it)),
            }
        }
        self.gate.admit(&mut self.effects, &mut left);
        let (last, _, taken) = self.effects.take_records();
        assert_eq!(taken.count(), records);
        assert_eq!(last, self.effects.last());
        left
    }

    fn open(&mut self, durable: u64) -> Left {
        let mut left = Left::default();
        let durable = Lsn(self.base.0 + durable);
        self.gate.open(durable, &mut self.effects, &mut left);
        assert_eq!(
            (self.gate.durable(), self.effects.durable()),
            (durable, durable)
        );
        left
    }

    fn print(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.effects, &self.gate).hash(&mut hasher);
        hasher.finish()
    }
}

fn named(batches: &[Batch]) -> impl Iterator<Item = (Vec<(Act, u64)>, Option<u64>)> + '_ {
    let mut name = 0;
    batches.iter().map(move |batch| {
        let acts = batch.acts.iter().map(|act| {
            name += 1;
            (*act, name)
        });
        (acts.collect(), batch.synced)
    })
}

fn config() -> Config {
    Config {
        cases: 4_000,
        rng_seed: RngSeed::Fixed(11),
        failure_persistence: None,
        ..Config::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn everything_leaves_exactly_when_the_rule_says(batches in batches()) {
        let mut twin = Twin::default();
        let mut real = Real::new(Lsn::ZERO);
        for (acts, synced) in named(&batches) {
            prop_assert_eq!(real.batch(&acts), twin.batch(&acts, Lsn::ZERO), "{:?}", acts);
            prop_assert_eq!(real.gate.is_waiting(), twin.is_waiting());
            if let Some(eighths) = synced {
                twin.durable += (twin.last - twin.durable) * eighths / 8;
                let mut left = Left::default();
                twin.leave(&mut left);
                prop_assert_eq!(real.open(twin.durable), left, "open {}", twin.durable);
                prop_assert_eq!(real.gate.is_waiting(), twin.is_waiting());
            }
        }
        let left = real.open(twin.last);
        twin.durable = twin.last;
        let mut rest = Left::default();
        twin.leave(&mut rest);
        prop_assert_eq!(left, rest);
        prop_assert!(!real.gate.is_waiting(), "nothing waits for a disk that has everything");
    }

    /// Model checking and replays rest on this: what counts is the distance to the disk.
    #[test]
    fn record_numbers_make_no_difference_to_equality(batches in batches()) {
        let mut one = Real::new(Lsn::ZERO);
        let mut other = Real::new(Lsn(1_000));
        let mut durable = 0;
        for (acts, synced) in named(&batches) {
            // A permission to forget names a record and is the same only for the same distance.
            let acts: Vec<_> = acts
                .into_iter()
                .filter(|(act, _)| !matches!(act, Act::Release))
                .collect();
            prop_assert_eq!(one.batch(&acts), other.batch(&acts));
            if let Some(eighths) = synced {
                durable += (one.effects.last().0 - durable) * eighths / 8;
                prop_assert_eq!(one.open(durable), other.open(durable));
            }
            prop_assert!(one.effects == other.effects && one.gate == other.gate);
            prop_assert_eq!(one.print(), other.print());
        }
    }
}

#[test]
fn what_is_sent_before_its_record_in_one_batch_waits_for_it_all_the_same() {
    let mut real = Real::new(Lsn::ZERO);
    let left = real.batch(&[(Act::Send, 1), (Act::Emit, 2), (Act::Persist, 3)]);
    assert_eq!(left, Left::default());
    let left = real.open(1);
    assert_eq!((left.messages, left.events), (vec![1], vec![2]));
}

#[test]
fn a_lazy_record_holds_back_a_release_and_nothing_else() {
    let mut real = Real::new(Lsn::ZERO);
    let left = real.batch(&[(Act::PersistLazily, 1), (Act::Send, 2), (Act::Release, 1)]);
    assert_eq!((left.messages, left.releases), (vec![2], vec![]));
    assert_eq!(real.open(1).releases, [Lsn(1)]);
}

#[test]
fn the_disk_is_told_whether_somebody_waits() {
    let mut effects = Effects::<Nothing>::new(Lsn(4));
    effects.persist_lazily(Number::Is { it: 1 });
    let (last, forced, _) = effects.take_records();
    assert_eq!((last, forced), (Lsn(5), false));
    effects.persist(Number::Is { it: 2 });
    let (last, forced, records) = effects.take_records();
    assert_eq!((last, forced, records.count()), (Lsn(6), true, 1));
    // Nothing new, but the forced one is still not on disk.
    assert!(effects.take_records().1);
    let mut left = Left::default();
    Gate::new(Lsn(4)).open(Lsn(6), &mut effects, &mut left);
    assert!(!effects.take_records().1);
}

#[test]
fn authority_on_disk_may_overtake_what_is_written_after_it() {
    let mut real = Real::new(Lsn::ZERO);
    real.batch(&[(Act::Persist, 1)]);
    real.open(1);
    let term = real.effects.durable();
    real.effects.persist(Number::Is { it: 2 });
    let (to, message) = (NodeId(1), Number::Is { it: 3 });
    real.effects.send_early(to, message, Early::Authority(term));
    real.effects.emit_early(4, Early::Authority(term));
    // Not `batch`, which counts the records that it wrote itself.
    let mut left = Left::default();
    real.gate.admit(&mut real.effects, &mut left);
    assert_eq!((left.early, left.events), (vec![3], vec![4]));
}

#[test]
#[should_panic(expected = "authority claimed before its record 1 is on disk")]
fn a_message_under_authority_not_on_disk_panics() {
    let mut effects = Effects::<Nothing>::new(Lsn::ZERO);
    let term = effects.persist(Number::Is { it: 1 });
    effects.send_early(NodeId(2), Number::Is { it: 2 }, Early::Authority(term));
}

#[test]
#[should_panic(expected = "authority claimed before its record 1 is on disk")]
fn an_event_under_authority_not_on_disk_panics() {
    let mut effects = Effects::<Nothing>::new(Lsn::ZERO);
    let term = effects.persist(Number::Is { it: 1 });
    effects.emit_early(2, Early::Authority(term));
}

#[test]
#[should_panic(expected = "the disk went back from 3 to 2")]
fn a_disk_that_goes_back_panics() {
    let mut real = Real::new(Lsn::ZERO);
    real.batch(&[(Act::Persist, 1), (Act::Persist, 2), (Act::Persist, 3)]);
    real.open(3);
    real.open(2);
}

#[test]
fn alarms_are_handed_over_in_the_order_of_the_calls() {
    let mut effects = Effects::<Nothing>::new(Lsn::ZERO);
    let second = std::time::Duration::from_secs(1);
    effects.set_timer((), second..=second);
    effects.cancel_timer(());
    let alarms: Vec<_> = effects.take_timers().collect();
    assert_eq!(alarms, [((), Some(second..=second)), ((), None)]);
    assert_eq!(effects.take_timers().count(), 0);
}
