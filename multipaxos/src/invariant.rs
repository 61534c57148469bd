//! The safety properties of Multi-Paxos, by the papers' names, judged from what is on disk, what is
//! sent and what applications are told.

use crate::{
    config::{Config, Options},
    group,
    message::Message,
    node::MultiPaxos,
    record::Record,
};
use alloc::{collections::BTreeMap, format, string::String, vec, vec::Vec};
use consensus_core::{
    Ballot, Index, Invariants, Members, NodeId, Tally, Violation,
    contract::replicated_log::{Event, Membership},
    log::{EntryKind, Run},
};
use core::hash::{Hash, Hasher};

const AGREEMENT: usize = 0;
const ONE_VALUE: usize = 1;
const PROMISE_KEPT: usize = 2;
const QUORUM_PROMISED: usize = 3;
const QUORUM_ACCEPTED: usize = 4;
const HOLES: usize = 5;
const MEMBERS: usize = 6;

/// Who has accepted a slot under a ballot, and what.
#[derive(Clone, Debug, Default)]
struct Vote {
    value: u64,
    acceptors: Tally,
}

/// Who decides the slots from one on.
#[derive(Clone, Debug)]
struct Reign {
    /// What says so; zero for the founders.
    entry: Index,
    from: Index,
    voters: Tally,
    phase1: usize,
    phase2: usize,
}

/// The history of one cluster.
#[derive(Clone, Debug)]
pub struct MultiPaxosInvariants {
    /// Everybody who may ever vote: the founders, learners among them.
    members: Members,
    options: Options,
    /// In the order of the slots, by what a quorum's disks have accepted.
    reigns: Vec<Reign>,
    /// The highest ballot that each disk has promised.
    promised: BTreeMap<NodeId, Ballot>,
    /// Whose disks have promised each ballot.
    promisers: BTreeMap<Ballot, Tally>,
    /// What was proposed or accepted in each slot under each ballot.
    votes: BTreeMap<(Index, Ballot), Vote>,
    /// What any application was told of each slot.
    told: BTreeMap<Index, u64>,
    /// For each ballot, and each reign by its first slot, the last slot taken over from an older ballot,
    /// and the first new command.
    recovered: BTreeMap<(Ballot, Index), (Index, Index)>,
    judged: [u64; 7],
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

    fn reign(&self, slot: Index) -> &Reign {
        let after = self.reigns.partition_point(|reign| reign.from <= slot);
        &self.reigns[after - 1]
    }

    fn begin_reign(&mut self, entry: Index, from: Index, membership: &Membership) {
        let Ok(voters) = Members::new(membership.voters.iter().map(|member| member.node)) else {
            return;
        };
        let mut tally = Tally::EMPTY;
        for voter in voters.iter() {
            tally.add(&self.members, voter);
        }
        let quorums = group::quorums(voters, &self.options);
        let at = self.reigns.partition_point(|reign| reign.from < from);
        if self.reigns.get(at).is_none_or(|reign| reign.from > from) {
            let reign = Reign {
                entry,
                from,
                voters: tally,
                phase1: quorums.phase1_size(),
                phase2: quorums.phase2_size(),
            };
            self.reigns.insert(at, reign);
        }
    }

    /// What is accepted by a quorum's disks is chosen, and may say who decides later slots.
    fn note_members(&mut self, ballot: Ballot, run: &Run) {
        if run.kind() != EntryKind::Membership {
            return;
        }
        for (slot, payload) in (run.first().0..).map(Index).zip(run.iter()) {
            let reign = self.reign(slot);
            let acceptors = self.votes.get(&(slot, ballot)).map(|vote| vote.acceptors);
            if acceptors.is_some_and(|a| a.common(reign.voters) >= reign.phase2)
                && let Some(membership) = Membership::from_entry(payload)
            {
                let from = Index(slot.0 + self.options.alpha);
                self.begin_reign(slot, from, &membership);
            }
        }
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

    /// Nothing is proposed under a ballot that no phase 1 quorum's disks have promised, of those who
    /// decide the slot.
    fn quorum_promised(
        &mut self,
        node: NodeId,
        ballot: Ballot,
        run: &Run,
    ) -> Result<(), Violation> {
        let promisers = self.promisers.get(&ballot).copied().unwrap_or_default();
        for slot in [run.first(), run.last()] {
            let reign = self.reign(slot);
            let (count, enough) = (promisers.common(reign.voters), reign.phase1);
            self.judge(QUORUM_PROMISED, count >= enough, || {
                format!(
                    "node {node} proposes {slot} under {ballot}, which {count} disks have promised"
                )
            })?;
        }
        Ok(())
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
            let reign = self.reign(index);
            let chosen = self.votes.range(ballots).any(|(_, vote)| {
                vote.value == value && vote.acceptors.common(reign.voters) >= reign.phase2
            });
            self.judge(QUORUM_ACCEPTED, chosen, || {
                format!("node {node} was told slot {index}, which no quorum's disks have accepted")
            })?;
        }
        Ok(())
    }

    /// What an application is told of members a quorum's disks have accepted.
    fn members_told(
        &mut self,
        node: NodeId,
        entry: Index,
        members: &Membership,
    ) -> Result<(), Violation> {
        let mut voters = Tally::EMPTY;
        for member in &members.voters {
            voters.add(&self.members, member.node);
        }
        let reign = self.reigns.iter().find(|reign| reign.entry == entry);
        // What a snapshot names need not be the entry.
        let known = |reign: &Reign| reign.voters == voters;
        let holds = reign.map_or_else(|| self.reigns.iter().any(known), known);
        self.judge(MEMBERS, holds, || {
            format!("node {node} was told members in {entry} that were never chosen there")
        })
    }

    /// A new command never stands before what its ballot took over of slots that the same members
    /// decide: holes hold no-ops.
    fn holes(&mut self, node: NodeId, ballot: Ballot, run: &Run) -> Result<(), Violation> {
        let reign = self.reign(run.first()).from;
        let (recovered, new) = self
            .recovered
            .entry((ballot, reign))
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
        "told members are those chosen",
    ];

    fn new(config: &Config) -> Self {
        let founders = config.members.nodes();
        let mut history = Self {
            members: Members::new(founders).expect("a configuration names voters"),
            options: config.options.clone(),
            reigns: vec![],
            promised: BTreeMap::new(),
            promisers: BTreeMap::new(),
            votes: BTreeMap::new(),
            told: BTreeMap::new(),
            recovered: BTreeMap::new(),
            judged: [0; 7],
        };
        history.begin_reign(Index::ZERO, Index::ZERO, &config.members);
        history
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
                self.note_members(*ballot, run);
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
                self.quorum_promised(node, *ballot, run)?;
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
            Event::MembersChanged { index, members } => self.members_told(node, *index, members),
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
