//! The safety properties of Multi-Paxos, by the papers' names, judged from what is on disk, what is
//! sent and what applications are told.

use crate::{config::Config, message::Message, node::MultiPaxos, record::Record};
use alloc::{collections::BTreeMap, format, string::String};
use consensus_core::{
    Ballot, Index, Invariants, Members, NodeId, Tally, Violation,
    contract::replicated_log::Event,
    log::{EntryKind, Run},
};
use core::hash::{Hash, Hasher};

const AGREEMENT: usize = 0;
const ONE_VALUE: usize = 1;
const PROMISE_KEPT: usize = 2;
const QUORUM_PROMISED: usize = 3;
const QUORUM_ACCEPTED: usize = 4;
const HOLES: usize = 5;

/// Who has accepted a slot under a ballot, and what.
#[derive(Clone, Debug, Default)]
struct Vote {
    value: u64,
    acceptors: Tally,
}

/// The history of one cluster.
#[derive(Clone, Debug)]
pub struct MultiPaxosInvariants {
    members: Members,
    phase1: usize,
    phase2: usize,
    /// The highest ballot that each disk has promised.
    promised: BTreeMap<NodeId, Ballot>,
    /// Whose disks have promised each ballot.
    promisers: BTreeMap<Ballot, Tally>,
    /// What was proposed or accepted in each slot under each ballot.
    votes: BTreeMap<(Index, Ballot), Vote>,
    /// What any application was told of each slot.
    told: BTreeMap<Index, u64>,
    /// For each ballot the last slot taken over from an older one, and the first new command.
    recovered: BTreeMap<Ballot, (Index, Index)>,
    judged: [u64; 6],
}

/// Fowler–Noll–Vo: the same on every machine and in every release.
struct Digest(u64);

impl Hasher for Digest {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// The entries of a run: slot and digest. A value is what it says and who proposed it first.
fn entries(run: &Run) -> impl Iterator<Item = (Index, u64)> + '_ {
    run.iter().enumerate().map(|(offset, payload)| {
        let mut digest = Digest(0xcbf2_9ce4_8422_2325);
        (run.kind(), run.epoch(), payload).hash(&mut digest);
        (Index(run.first().0 + offset as u64), digest.finish())
    })
}

impl MultiPaxosInvariants {
    fn judge(
        &mut self,
        property: usize,
        holds: bool,
        detail: impl FnOnce() -> String,
    ) -> Result<(), Violation> {
        self.judged[property] += 1;
        if holds {
            return Ok(());
        }
        Err(Violation {
            property: <Self as Invariants<MultiPaxos>>::PROPERTIES[property],
            detail: detail(),
        })
    }

    /// Under one ballot a slot has one value.
    fn one_value(&mut self, node: NodeId, ballot: Ballot, run: &Run) -> Result<(), Violation> {
        for (index, value) in entries(run) {
            let vote = self.votes.entry((index, ballot));
            let known = vote
                .or_insert(Vote {
                    value,
                    acceptors: Tally::EMPTY,
                })
                .value;
            self.judge(ONE_VALUE, known == value, || {
                format!("slot {index} has two values under ballot {ballot}, one of them at {node}")
            })?;
        }
        Ok(())
    }

    fn promise(&mut self, node: NodeId, ballot: Ballot) {
        let promised = self.promised.entry(node).or_default();
        *promised = (*promised).max(ballot);
        self.promisers
            .entry(ballot)
            .or_default()
            .add(&self.members, node);
    }

    /// Nobody accepts below its promise, over its whole life. A record found again after a restart is
    /// not a new acceptance.
    fn promise_kept(&mut self, node: NodeId, ballot: Ballot, run: &Run) -> Result<(), Violation> {
        let promised = self.promised.get(&node).copied().unwrap_or_default();
        for (index, _) in entries(run) {
            let known = self.votes.get(&(index, ballot));
            let again = known.is_some_and(|vote| vote.acceptors.has(&self.members, node));
            self.judge(PROMISE_KEPT, again || ballot >= promised, || {
                format!("node {node} accepted {index} under {ballot} after promising {promised}")
            })?;
        }
        Ok(())
    }

    /// Nothing is proposed under a ballot that no phase 1 quorum's disks have promised.
    fn quorum_promised(&mut self, node: NodeId, ballot: Ballot) -> Result<(), Violation> {
        let promisers = self.promisers.get(&ballot).copied().unwrap_or_default();
        let (count, phase1) = (promisers.count(), self.phase1);
        self.judge(QUORUM_PROMISED, count >= phase1, || {
            format!("node {node} proposes under {ballot}, which {count} disks have promised")
        })
    }

    /// What one application is told for a slot, no other is told anything else for.
    fn agreement(&mut self, node: NodeId, run: &Run) -> Result<(), Violation> {
        for (index, value) in entries(run) {
            let known = *self.told.entry(index).or_insert(value);
            self.judge(AGREEMENT, known == value, || {
                format!("node {node} was told another value of slot {index} than somebody before")
            })?;
        }
        Ok(())
    }

    /// Told means chosen: accepted under one ballot by the disks of a phase 2 quorum.
    fn quorum_accepted(&mut self, node: NodeId, run: &Run) -> Result<(), Violation> {
        for (index, value) in entries(run) {
            let ballots = (index, Ballot::ZERO)..(index.next(), Ballot::ZERO);
            let chosen = self
                .votes
                .range(ballots)
                .any(|(_, vote)| vote.value == value && vote.acceptors.count() >= self.phase2);
            self.judge(QUORUM_ACCEPTED, chosen, || {
                format!("node {node} was told slot {index}, which no quorum's disks have accepted")
            })?;
        }
        Ok(())
    }

    /// A new command never stands before what its ballot took over: holes hold no-ops.
    fn holes(&mut self, node: NodeId, ballot: Ballot, run: &Run) -> Result<(), Violation> {
        let (recovered, new) = self
            .recovered
            .entry(ballot)
            .or_insert((Index::ZERO, Index(u64::MAX)));
        if run.epoch() < ballot.into() {
            *recovered = (*recovered).max(run.last());
        } else if run.kind() != EntryKind::Noop {
            *new = (*new).min(run.first());
        }
        let (recovered, new) = (*recovered, *new);
        self.judge(HOLES, recovered < new, || {
            format!("node {node}, under {ballot}: a new command in {new}, before {recovered}")
        })
    }
}

impl Invariants<MultiPaxos> for MultiPaxosInvariants {
    const PROPERTIES: &'static [&'static str] = &[
        "agreement",
        "one value a ballot and slot",
        "promises are kept",
        "proposed after a quorum's promises",
        "told after a quorum's acceptances",
        "holes hold no-ops",
    ];

    fn new(config: &Config) -> Self {
        Self {
            members: config.quorums.members().clone(),
            phase1: config.quorums.phase1_size(),
            phase2: config.quorums.phase2_size(),
            promised: BTreeMap::new(),
            promisers: BTreeMap::new(),
            votes: BTreeMap::new(),
            told: BTreeMap::new(),
            recovered: BTreeMap::new(),
            judged: [0; 6],
        }
    }

    fn durable(&mut self, node: NodeId, record: &Record) -> Result<(), Violation> {
        match record {
            Record::Promised { ballot } => self.promise(node, *ballot),
            Record::Accepted { ballot, run } => {
                self.one_value(node, *ballot, run)?;
                self.holes(node, *ballot, run)?;
                self.promise_kept(node, *ballot, run)?;
                self.promise(node, *ballot);
                for (index, _) in entries(run) {
                    let vote = self.votes.entry((index, *ballot)).or_default();
                    vote.acceptors.add(&self.members, node);
                }
            }
            Record::Kept { ballot, run } => {
                for (index, value) in entries(run) {
                    let known = self.votes.get(&(index, *ballot));
                    let again = known.is_some_and(|vote| {
                        vote.value == value && vote.acceptors.has(&self.members, node)
                    });
                    self.judge(PROMISE_KEPT, again, || {
                        format!("node {node} keeps {index} under {ballot}, never accepted there")
                    })?;
                }
            }
            Record::Learned { .. } | Record::Chosen { .. } | Record::Snapshot { .. } => {}
        }
        Ok(())
    }

    fn sent(&mut self, node: NodeId, message: &Message) -> Result<(), Violation> {
        match message {
            Message::Accept { ballot, run, .. } => {
                self.quorum_promised(node, *ballot)?;
                self.holes(node, *ballot, run)?;
                self.one_value(node, *ballot, run)
            }
            _ => Ok(()),
        }
    }

    fn told(&mut self, node: NodeId, event: &Event) -> Result<(), Violation> {
        match event {
            Event::Committed(run) => {
                self.agreement(node, run)?;
                self.quorum_accepted(node, run)
            }
            _ => Ok(()),
        }
    }

    fn stepped(&mut self, _: NodeId, state: &MultiPaxos) -> Result<(), Violation> {
        debug_assert!(state.slots.base() <= state.told && state.told <= state.chosen);
        debug_assert!(state.chosen <= state.slots.last());
        Ok(())
    }

    fn judged(&self) -> &[u64] {
        &self.judged
    }
}
