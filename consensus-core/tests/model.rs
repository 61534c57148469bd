//! The model checker's adapter is checked: on a protocol of one vote it visits what it should, and
//! finds what is wrong with it when something is.
#![cfg(feature = "model")]

use consensus_core::model::{Bounds, Exploration, World};
use consensus_core::service::{Answer, Call, Outbox, Service};
use consensus_core::{
    Algorithm, Boot, Contract, Early, Effects, Input, Invariants, Lsn, Members, NodeId, Protocol,
    RecoverError, Tally, Time, Violation, codec, majority,
};
use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

/// How an election can go wrong.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
enum Fault {
    #[default]
    None,
    /// A vote is told before it is on disk.
    Early,
    /// A vote is never written.
    Volatile,
    /// A vote is two records, of which only the second names the candidate.
    Torn,
    /// Each answer counts as another voter's.
    CountsTwice,
    /// A second vote of one voter is taken for impossible.
    Panics,
    /// A vote may be forgotten although nobody has written it anew.
    Releases,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Message {
    Ask {},
    Vote {},
}
codec! { Message version 1 { 1 since 1 Control => Ask {}, 2 since 1 Control => Vote {} } }

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Record {
    Begin {},
    Voted { candidate: NodeId },
}
codec! { Record version 1 { 1 since 1 Control => Begin {}, 2 since 1 Control => Voted { candidate } } }

/// Elects one node, once: everybody votes for whoever asks first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Election {
    config: Config,
    vote: Option<NodeId>,
    votes: Tally,
    counted: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Config {
    node: NodeId,
    members: Members,
    fault: Fault,
}

/// Stand for election.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Stand;

/// This node is elected.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Elected;

impl Protocol for Election {
    type Config = Config;
    type Message = Message;
    type Record = Record;
    type Request = Stand;
    type Event = Elected;
    type Timer = ();
    type Status = ();

    fn recover(
        config: Config,
        _: Boot,
        records: impl IntoIterator<Item = (Lsn, Record)>,
    ) -> Result<Self, RecoverError> {
        let mut records = records.into_iter().peekable();
        let mut vote = None;
        while let Some((lsn, record)) = records.next() {
            match record {
                Record::Begin {} if records.peek().is_none() => {
                    return Err(RecoverError {
                        lsn,
                        reason: "a vote for nobody",
                    });
                }
                Record::Begin {} => {}
                Record::Voted { candidate } => vote = Some(candidate),
            }
        }
        Ok(Self {
            config,
            vote,
            votes: Tally::EMPTY,
            counted: 0,
        })
    }

    fn handle(&mut self, _: Time, input: Input<Self>, effects: &mut Effects<Self>) {
        match input {
            Input::Request(Stand) | Input::Timer(()) => {
                self.config
                    .members
                    .iter()
                    .for_each(|node| effects.send(node, Message::Ask {}));
                effects.set_timer((), Duration::ZERO..=Duration::ZERO);
            }
            Input::Reclaim(before) => {
                if let Some(candidate) = self.vote
                    && self.config.fault != Fault::Releases
                {
                    effects.persist_lazily(Record::Voted { candidate });
                }
                effects.release(before);
            }
            Input::Receive {
                from,
                message: Message::Ask {},
            } => self.on_ask(from, effects),
            Input::Receive {
                from,
                message: Message::Vote {},
            } => {
                let fresh = self.votes.add(&self.config.members, from);
                assert!(fresh || self.config.fault != Fault::Panics, "asked once");
                let count = if self.config.fault == Fault::CountsTwice {
                    self.counted += 1;
                    self.counted
                } else {
                    self.votes.count()
                };
                if count == majority(self.config.members.count()) {
                    effects.emit(Elected);
                }
            }
            _ => {}
        }
    }

    fn flush(&mut self, _: Time, _: &mut Effects<Self>) {}

    fn status(&self) {}
}

impl Election {
    fn on_ask(&mut self, candidate: NodeId, effects: &mut Effects<Self>) {
        if self.vote.is_none() {
            self.vote = Some(candidate);
            match self.config.fault {
                Fault::Volatile => {}
                Fault::Torn => {
                    effects.persist(Record::Begin {});
                    effects.persist(Record::Voted { candidate });
                }
                _ => {
                    effects.persist(Record::Voted { candidate });
                }
            }
        }
        if self.vote == Some(candidate) {
            if self.config.fault == Fault::Early {
                effects.send_early(candidate, Message::Vote {}, Early::Campaign);
            } else {
                effects.send(candidate, Message::Vote {});
            }
        }
    }
}

/// One winner, and a majority's disks say so.
#[derive(Clone, Default)]
struct OneWinner {
    votes: BTreeMap<NodeId, NodeId>,
    winner: Option<NodeId>,
}

impl Invariants<Election> for OneWinner {
    const PROPERTIES: &'static [&'static str] = &["one winner", "one vote a node"];

    fn new(_: &Config) -> Self {
        Self::default()
    }

    fn durable(&mut self, node: NodeId, record: &Record) -> Result<(), Violation> {
        if let Record::Voted { candidate } = record
            && *self.votes.entry(node).or_insert(*candidate) != *candidate
        {
            return Err(Violation {
                property: "one vote a node",
                detail: format!("node {node} votes again"),
            });
        }
        Ok(())
    }

    fn sent(&mut self, _: NodeId, _: &Message) -> Result<(), Violation> {
        Ok(())
    }

    fn told(&mut self, node: NodeId, _: &Elected) -> Result<(), Violation> {
        let first = *self.winner.get_or_insert(node);
        if first == node {
            return Ok(());
        }
        Err(Violation {
            property: "one winner",
            detail: format!("nodes {first} and {node}"),
        })
    }

    fn stepped(&mut self, _: NodeId, _: &Election) -> Result<(), Violation> {
        Ok(())
    }

    fn judged(&self) -> &[u64] {
        &[]
    }
}

struct NoService;

impl Service<Election> for NoService {
    fn call(&mut self, _: Time, call: Call, out: &mut Outbox<Election>) {
        out.answer(call.id, Answer::Unknown);
    }
    fn event(&mut self, _: Time, _: Elected, _: &mut Outbox<Election>) {}
}

impl Algorithm for Election {
    const NAME: &'static str = "election";
    const CONTRACT: Contract = Contract::Register;
    type Options = Fault;
    type Service = NoService;
    type Invariants = OneWinner;

    fn config(fault: &Fault, members: &Members, node: NodeId) -> Result<Config, String> {
        Ok(Config {
            node,
            members: members.clone(),
            fault: *fault,
        })
    }
    fn service(_: &Fault, _: &Members, _: NodeId, _: Boot) -> NoService {
        NoService
    }
    fn draw(_: &Members, _: &mut dyn FnMut(RangeInclusive<u64>) -> u64) -> Fault {
        Fault::None
    }
    fn leader(&self) -> Option<NodeId> {
        None
    }
}

fn explore(fault: Fault, bounds: Bounds) -> Exploration {
    let members = Members::new([1, 2, 3].map(NodeId)).expect("three nodes are a cluster");
    World::<Election>::new(&fault, &members, bounds)
        .expect("every fault fits")
        .ask(NodeId(1), Stand)
        .ask(NodeId(2), Stand)
        .sometimes("one is elected", |state| {
            state.told().any(|(node, _)| node == NodeId(1))
        })
        .sometimes("the other is elected", |state| {
            state.told().any(|(node, _)| node == NodeId(2))
        })
        .sometimes("a vote survives a crash", |state| {
            state.crashes() > 0
                && state
                    .nodes()
                    .any(|(_, node)| node.boot().0 > 1 && node.records().count() > 0)
        })
        .explore()
}

const CRASHES: Bounds = Bounds {
    crashes: 1,
    alarms: 0,
    reclaims: 0,
    messages: usize::MAX,
    repeats: 0,
    transitions: 1_000_000,
};

#[track_caller]
fn finds(fault: Fault, bounds: Bounds, property: &str) {
    let found = explore(fault, bounds);
    let counterexample = found.counterexample.expect("the fault is found");
    assert_eq!(counterexample.violation.property, property);
    let shortest = counterexample.steps.len();
    assert!((2..=14).contains(&shortest), "{counterexample}");
}

#[test]
fn a_correct_election_is_exhausted_and_everything_possible_happens() {
    let found = explore(Fault::None, CRASHES);
    eprintln!("one crash: {found}");
    assert!(found.exhausted && found.unreached.is_empty(), "{found}");
    assert!(found.states > 5_000, "{found}");
}

#[test]
fn messages_that_repeat_change_nothing() {
    let bounds = Bounds {
        crashes: 0,
        repeats: 1,
        ..CRASHES
    };
    let found = explore(Fault::None, bounds);
    eprintln!("one repeat: {found}");
    assert!(found.exhausted, "{found}");
    assert_eq!(found.unreached, ["a vote survives a crash"]);
    assert!(found.states > 100, "{found}");
}

#[test]
fn without_a_crash_no_vote_survives_one() {
    let bounds = Bounds {
        crashes: 0,
        ..CRASHES
    };
    assert_eq!(
        explore(Fault::None, bounds).unreached,
        ["a vote survives a crash"]
    );
    // And nothing is wrong with telling votes early.
    assert!(explore(Fault::Early, bounds).exhausted);
}

#[test]
fn a_vote_told_before_it_is_on_disk_elects_two() {
    finds(Fault::Early, CRASHES, "one winner");
}

#[test]
fn a_vote_never_written_elects_two() {
    finds(Fault::Volatile, CRASHES, "one winner");
}

#[test]
fn records_that_belong_together_are_torn_apart_by_a_crash() {
    finds(
        Fault::Torn,
        CRASHES,
        "every prefix of the records is a legal state",
    );
}

#[test]
fn a_vote_counted_twice_is_found_only_if_messages_repeat() {
    let bounds = Bounds {
        crashes: 0,
        ..CRASHES
    };
    assert!(explore(Fault::CountsTwice, bounds).exhausted);
    let repeatedly = Bounds {
        repeats: 1,
        ..bounds
    };
    finds(Fault::CountsTwice, repeatedly, "one winner");
}

#[test]
fn a_panic_is_a_violation_with_the_way_to_it() {
    let bounds = Bounds {
        crashes: 0,
        alarms: 1,
        ..CRASHES
    };
    assert!(
        explore(
            Fault::Panics,
            Bounds {
                alarms: 0,
                ..bounds
            }
        )
        .exhausted
    );
    finds(Fault::Panics, bounds, "no assertion fails");
}

#[test]
fn a_vote_released_before_it_is_written_anew_elects_two() {
    let bounds = Bounds {
        reclaims: 1,
        ..CRASHES
    };
    assert!(explore(Fault::None, bounds).exhausted);
    finds(Fault::Releases, bounds, "one vote a node");
}

#[test]
fn an_exploration_cut_short_is_not_exhausted() {
    let found = explore(
        Fault::None,
        Bounds {
            transitions: 500,
            ..CRASHES
        },
    );
    assert!(!found.exhausted && found.counterexample.is_none());
}
