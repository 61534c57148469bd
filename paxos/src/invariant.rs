//! The paper's safety properties, judged from what is durable and not from what nodes believe.
//!
//! | property | says |
//! |---|---|
//! | `agreement` | one value at most is chosen for an instance: accepted by a phase 2 quorum of disks at one ballot |
//! | `validity` | only proposed values are accepted |
//! | `one_value_per_ballot` | all acceptances of one ballot carry one value |
//! | `promise_monotone` | no disk takes a promise or acceptance below its promise, restarts included |
//! | `accept_needs_promises` | no accept is sent before a phase 1 quorum of disks holds its promise |
//! | `succession` | no version is begun before the one before it is chosen |
//! | `told_is_chosen` | what a learner or an application is told is chosen, with that value |

use crate::{Message, Paxos, Record};
use alloc::{collections::BTreeMap, format, string::String, vec, vec::Vec};
use bytes::Bytes;
use consensus_core::{
    Ballot, Flexible, Invariants, NodeId, Tally, Violation,
    contract::register::{Event, Instance, Key, Version},
};

/// Places in [`PaxosInvariants::PROPERTIES`].
#[derive(Clone, Copy)]
enum Property {
    Agreement,
    Validity,
    OneValuePerBallot,
    PromiseMonotone,
    AcceptNeedsPromises,
    Succession,
    ToldIsChosen,
}

/// What has happened to one instance, as disks know it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
struct History {
    promises: BTreeMap<Ballot, Tally>,
    acceptances: BTreeMap<Ballot, (Bytes, Tally)>,
    chosen: Option<(Ballot, Bytes)>,
    /// What applications have asked for.
    proposed: Vec<Bytes>,
}

/// One key: each member's place in the order of (version, ballot), and the versions' histories.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Register {
    promised: Vec<(Version, Ballot)>,
    versions: BTreeMap<Version, History>,
}

/// Watches one cluster. Each call touches one instance.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PaxosInvariants {
    quorums: Flexible,
    registers: BTreeMap<Key, Register>,
    /// The newest proposal seen of each member's current run, to see each one once; none while the
    /// member has never been seen at the beginning of a run.
    seen: Vec<Option<u64>>,
    judged: [u64; 7],
}

impl PaxosInvariants {
    fn judge(
        &mut self,
        property: Property,
        holds: bool,
        detail: impl FnOnce() -> String,
    ) -> Result<(), Violation> {
        self.judged[property as usize] += 1;
        if holds {
            return Ok(());
        }
        Err(Violation {
            property: Self::PROPERTIES[property as usize],
            detail: detail(),
        })
    }

    fn register(&mut self, key: &Key) -> &mut Register {
        if !self.registers.contains_key(key) {
            let register = Register {
                promised: vec![(Version::ZERO, Ballot::ZERO); self.quorums.members().count()],
                versions: BTreeMap::new(),
            };
            self.registers.insert(key.clone(), register);
        }
        self.registers
            .get_mut(key)
            .expect("it was there or has just been put there")
    }

    fn history(&self, instance: &Instance) -> Option<&History> {
        let register = self.registers.get(&instance.key)?;
        register.versions.get(&instance.version)
    }

    fn is_chosen(&self, instance: &Instance) -> bool {
        self.history(instance).is_some_and(|h| h.chosen.is_some())
    }

    /// A disk has moved to `ballot`, promising or accepting; `repeat`: it had done so before.
    fn promise_monotone(
        &mut self,
        node: NodeId,
        instance: &Instance,
        ballot: Ballot,
        repeat: bool,
    ) -> Result<(), Violation> {
        let Some(position) = self.quorums.members().position(node) else {
            return Ok(());
        };
        let place = (instance.version, ballot);
        let promised = &mut self.register(&instance.key).promised[position];
        let before = *promised;
        *promised = before.max(place);
        self.judge(Property::PromiseMonotone, repeat || place >= before, || {
            format!(
                "acceptor {node} took {instance} at ballot {ballot} after promising {} of version {}",
                before.1, before.0
            )
        })
    }

    fn promised(
        &mut self,
        node: NodeId,
        instance: &Instance,
        ballot: Ballot,
    ) -> Result<(), Violation> {
        let members = self.quorums.members().clone();
        let history = self
            .register(&instance.key)
            .versions
            .entry(instance.version);
        let news = history
            .or_default()
            .promises
            .entry(ballot)
            .or_default()
            .add(&members, node);
        self.promise_monotone(node, instance, ballot, !news)
    }

    fn accepted(
        &mut self,
        node: NodeId,
        instance: &Instance,
        ballot: Ballot,
        value: &Bytes,
    ) -> Result<(), Violation> {
        let quorums = self.quorums.clone();
        let all_seen = self.seen.iter().all(Option::is_some);
        let versions = &mut self.register(&instance.key).versions;
        let history = versions.entry(instance.version).or_default();
        let proposed = !all_seen || history.proposed.contains(value);
        let held = history
            .acceptances
            .entry(ballot)
            .or_insert_with(|| (value.clone(), Tally::EMPTY));
        let same = held.0 == *value;
        let news = held.1.add(quorums.members(), node);
        let mut other = None;
        if same && quorums.is_phase2(held.1) {
            match &history.chosen {
                None => history.chosen = Some((ballot, value.clone())),
                Some((earlier, chosen)) if chosen != value => {
                    other = Some((*earlier, chosen.clone()));
                }
                Some(_) => {}
            }
        }
        self.judge(Property::OneValuePerBallot, same, || {
            format!("acceptor {node} holds a second value for {instance} at ballot {ballot}")
        })?;
        self.promise_monotone(node, instance, ballot, !news)?;
        if all_seen {
            self.judge(Property::Validity, proposed, || {
                format!("acceptor {node} accepted for {instance} what nobody proposed: {value:?}")
            })?;
        }
        self.judge(Property::Agreement, other.is_none(), || {
            format!("{instance}: ballot {ballot} chose {value:?}, another before it {other:?}")
        })
    }

    /// Only judged where the version before has been watched at all.
    fn succession(&mut self, node: NodeId, instance: &Instance) -> Result<(), Violation> {
        let before = Instance {
            key: instance.key.clone(),
            version: instance.version.previous(),
        };
        let holds = before.version == Version::ZERO || self.is_chosen(&before);
        self.judge(Property::Succession, holds, || {
            format!("node {node} began {instance} before {before} was chosen")
        })
    }

    fn told_is_chosen(
        &mut self,
        node: NodeId,
        instance: &Instance,
        value: Option<&Bytes>,
    ) -> Result<(), Violation> {
        let chosen = self.history(instance).and_then(|h| h.chosen.as_ref());
        let holds = chosen.is_some_and(|(_, chosen)| value.is_none_or(|value| chosen == value));
        let known = (!holds).then(|| format!("{chosen:?}"));
        self.judge(Property::ToldIsChosen, holds, || {
            let known = known.unwrap_or_default();
            format!("node {node}: {instance} is said to be {value:?}, disks hold {known}")
        })
    }
}

impl Invariants<Paxos> for PaxosInvariants {
    const PROPERTIES: &'static [&'static str] = &[
        "agreement",
        "validity",
        "one_value_per_ballot",
        "promise_monotone",
        "accept_needs_promises",
        "succession",
        "told_is_chosen",
    ];

    fn new(config: &crate::Config) -> Self {
        Self {
            quorums: config.quorums().clone(),
            registers: BTreeMap::new(),
            seen: vec![None; config.quorums().members().count()],
            judged: [0; 7],
        }
    }

    fn durable(&mut self, node: NodeId, record: &Record) -> Result<(), Violation> {
        match record {
            Record::Promised { instance, ballot } => self.promised(node, instance, *ballot),
            Record::Accepted {
                instance,
                ballot,
                value,
            } => self.accepted(node, instance, *ballot, value),
        }
    }

    fn sent(&mut self, node: NodeId, message: &Message) -> Result<(), Violation> {
        match message {
            Message::Prepare { instance, .. } => self.succession(node, instance),
            Message::Accept {
                instance, ballot, ..
            } => {
                let promises = self.history(instance).and_then(|h| h.promises.get(ballot));
                let tally = promises.copied().unwrap_or_default();
                let holds = self.quorums.is_phase1(tally);
                self.judge(Property::AcceptNeedsPromises, holds, || {
                    let count = tally.count();
                    format!(
                        "node {node} sent an accept for {instance} at ballot {ballot} with {count} promises on disk"
                    )
                })
            }
            Message::Chosen {
                instance, value, ..
            } => self.told_is_chosen(node, instance, value.as_ref()),
            Message::Promise { .. }
            | Message::Accepted { .. }
            | Message::Reject { .. }
            | Message::Superseded { .. }
            | Message::Query { .. }
            | Message::Report { .. } => Ok(()),
        }
    }

    fn told(&mut self, node: NodeId, event: &Event) -> Result<(), Violation> {
        match event {
            Event::Chosen {
                instance, value, ..
            } => self.told_is_chosen(node, instance, Some(value)),
            Event::Newest {
                key,
                version,
                value,
                ..
            } if *version > Version::ZERO => {
                let instance = Instance {
                    key: key.clone(),
                    version: *version,
                };
                self.told_is_chosen(node, &instance, Some(value))
            }
            Event::Newest { .. }
            | Event::Superseded { .. }
            | Event::Undecided { .. }
            | Event::Rejected { .. } => Ok(()),
        }
    }

    fn stepped(&mut self, node: NodeId, state: &Paxos) -> Result<(), Violation> {
        let Some(position) = self.quorums.members().position(node) else {
            return Ok(());
        };
        let newest = state.named;
        let seen = match self.seen[position] {
            // A new run, or the first look at a run that has not begun anything.
            _ if newest == 0 => {
                self.seen[position] = Some(0);
                return Ok(());
            }
            None => return Ok(()),
            Some(seen) if seen >= newest => return Ok(()),
            Some(seen) => seen,
        };
        self.seen[position] = Some(newest);
        for (_, key) in state.numbers.range(seen + 1..) {
            let Some(proposal) = state.proposals.get(key) else {
                continue;
            };
            // A repair proposes what it found: that has to be somebody's proposal already.
            if !proposal.repair {
                let (version, value) = (proposal.version, proposal.value.clone());
                let history = self.register(key).versions.entry(version).or_default();
                if !history.proposed.contains(&value) {
                    history.proposed.push(value);
                }
            }
        }
        Ok(())
    }

    fn judged(&self) -> &[u64] {
        &self.judged
    }
}
