//! The safety properties of Raft [Ongaro14 figure 3.2], by their names in the paper, judged from what
//! is on disk, what is sent and what applications are told.

use crate::{
    config::Config,
    message::Message,
    node::{Raft, Role},
    record::Record,
};
use alloc::{collections::BTreeMap, format, string::String};
use consensus_core::{
    Epoch, Index, Invariants, NodeId, Violation, contract::replicated_log::Event, log::Run,
    majority,
};
use core::hash::{Hash, Hasher};

const ELECTION_SAFETY: usize = 0;
const LEADER_APPEND_ONLY: usize = 1;
const LOG_MATCHING: usize = 2;
const LEADER_COMPLETENESS: usize = 3;
const STATE_MACHINE_SAFETY: usize = 4;
const ONE_VOTE: usize = 5;
const QUORUM_ON_DISK: usize = 6;

/// The history of one cluster.
#[derive(Clone, Debug)]
pub struct RaftInvariants {
    /// Who led each term.
    leaders: BTreeMap<u64, NodeId>,
    /// Whom each node voted for in each term, over its whole life.
    votes: BTreeMap<(NodeId, u64), NodeId>,
    /// Every entry ever written: its digest and the epoch before it.
    entries: BTreeMap<(Index, Epoch), (u64, Epoch)>,
    /// Every entry any application was told: epoch, digest, and the term of whoever was told first.
    committed: BTreeMap<Index, (Epoch, u64, u64)>,
    /// The term of each node.
    terms: BTreeMap<NodeId, u64>,
    /// What each node's disk holds.
    disks: BTreeMap<NodeId, Disk>,
    /// The term and the end of each leader's log.
    ends: BTreeMap<NodeId, (u64, Index)>,
    /// Voters, while no change has been logged.
    voters: Option<usize>,
    judged: [u64; 7],
}

/// What a disk holds: everything up to `covered` as part of a state, the rest as entries.
#[derive(Clone, Debug, Default)]
struct Disk {
    covered: Index,
    entries: BTreeMap<Index, Epoch>,
}

impl Disk {
    fn holds(&self, index: Index, epoch: Epoch) -> bool {
        index <= self.covered || self.entries.get(&index) == Some(&epoch)
    }
}

/// Fowler–Noll–Vo: the same on every machine and in every release.
#[derive(Default)]
struct Digest(u64);

impl Hasher for Digest {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 =
                (self.0 ^ 0xcbf2_9ce4_8422_2325 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

fn digest(run: &Run, payload: &[u8]) -> u64 {
    let mut digest = Digest::default();
    (run.kind(), payload).hash(&mut digest);
    digest.finish()
}

/// The entries of a run: place, digest, epoch before.
fn entries(run: &Run) -> impl Iterator<Item = (Index, u64, Epoch)> + '_ {
    run.iter().enumerate().map(move |(offset, payload)| {
        let previous = if offset == 0 {
            run.previous()
        } else {
            run.epoch()
        };
        (
            Index(run.first().0 + offset as u64),
            digest(run, payload),
            previous,
        )
    })
}

impl RaftInvariants {
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
            property: <Self as Invariants<Raft>>::PROPERTIES[property],
            detail: detail(),
        })
    }

    /// If two logs hold an entry of the same place and term, they hold the same entries up to it.
    fn log_matching(&mut self, node: NodeId, run: &Run) -> Result<(), Violation> {
        for (index, digest, previous) in entries(run) {
            let known = *self
                .entries
                .entry((index, run.epoch()))
                .or_insert((digest, previous));
            self.judge(LOG_MATCHING, known == (digest, previous), || {
                format!(
                    "node {node} wrote another entry at {index} of term {}",
                    run.epoch()
                )
            })?;
        }
        let disk = self.disks.entry(node).or_default();
        disk.entries.split_off(&run.first());
        disk.entries
            .extend((run.first().0..=run.last().0).map(|index| (Index(index), run.epoch())));
        Ok(())
    }

    /// What one application is told for a place, no other is told anything else for.
    fn state_machine_safety(&mut self, node: NodeId, run: &Run) -> Result<(), Violation> {
        let term = self.terms.get(&node).copied().unwrap_or(u64::MAX);
        for (index, digest, _) in entries(run) {
            let first = (run.epoch(), digest, term);
            let known = *self.committed.entry(index).or_insert(first);
            self.judge(STATE_MACHINE_SAFETY, known.1 == digest, || {
                format!("node {node} was told another entry at {index} than somebody before")
            })?;
        }
        Ok(())
    }

    /// Told means held by the disks of a majority, not of one node that believes so.
    fn quorum_on_disk(&mut self, node: NodeId, run: &Run) -> Result<(), Violation> {
        let Some(voters) = self.voters else {
            return Ok(());
        };
        let (last, epoch) = (run.last(), run.epoch());
        let holding = self
            .disks
            .values()
            .filter(|disk| disk.holds(last, epoch))
            .count();
        self.judge(QUORUM_ON_DISK, holding >= majority(voters), || {
            format!("node {node} was told {last} of term {epoch}, which {holding} disks hold")
        })
    }

    /// At most one leader a term.
    fn election_safety(&mut self, node: NodeId, term: u64) -> Result<(), Violation> {
        let leader = *self.leaders.entry(term).or_insert(node);
        self.judge(ELECTION_SAFETY, leader == node, || {
            format!("nodes {leader} and {node} both lead term {term}")
        })
    }

    /// Whoever leads holds every entry committed under earlier terms: an entry of an earlier term may have
    /// been committed under a later one, which a leader that learns late of its votes need not know.
    fn leader_completeness(&mut self, node: NodeId, state: &Raft) -> Result<(), Violation> {
        let newest = self
            .committed
            .iter()
            .rev()
            .find(|(_, (_, _, under))| *under < state.term);
        let Some((index, (epoch, _, _))) = newest.map(|(index, entry)| (*index, *entry)) else {
            return Ok(());
        };
        let holds = index <= state.log.base() || state.log.epoch(index) == Some(epoch);
        self.judge(LEADER_COMPLETENESS, holds, || {
            format!(
                "node {node} leads term {} without {index} of term {epoch}",
                state.term
            )
        })
    }

    /// A leader never overwrites or drops entries of its own log.
    fn leader_append_only(&mut self, node: NodeId, state: &Raft) -> Result<(), Violation> {
        let end = (state.term, state.log.last());
        let before = self.ends.insert(node, end);
        match before {
            Some((term, last)) if term == state.term => {
                self.judge(LEADER_APPEND_ONLY, last <= end.1, || {
                    format!(
                        "node {node} leads term {term} and went back from {last} to {}",
                        end.1
                    )
                })
            }
            _ => self.leader_completeness(node, state),
        }
    }
}

impl Invariants<Raft> for RaftInvariants {
    const PROPERTIES: &'static [&'static str] = &[
        "election safety",
        "leader append-only",
        "log matching",
        "leader completeness",
        "state machine safety",
        "one vote a term",
        "committed on a quorum's disks",
    ];

    fn new(config: &Config) -> Self {
        Self {
            leaders: BTreeMap::new(),
            votes: BTreeMap::new(),
            entries: BTreeMap::new(),
            committed: BTreeMap::new(),
            terms: BTreeMap::new(),
            disks: BTreeMap::new(),
            ends: BTreeMap::new(),
            voters: Some(config.members.voters.len()),
            judged: [0; 7],
        }
    }

    fn durable(&mut self, node: NodeId, record: &Record) -> Result<(), Violation> {
        match record {
            Record::HardState {
                term,
                vote: Some(vote),
            } => {
                let known = *self.votes.entry((node, *term)).or_insert(*vote);
                self.judge(ONE_VOTE, known == *vote, || {
                    format!("node {node} voted for {known} and {vote} in term {term}")
                })
            }
            Record::Append { run } => {
                if run.kind() == consensus_core::log::EntryKind::Membership {
                    self.voters = None;
                }
                self.log_matching(node, run)
            }
            Record::Snapshot { manifest } => {
                let disk = self.disks.entry(node).or_default();
                if !disk.holds(manifest.index, manifest.epoch) {
                    disk.entries.clear();
                }
                disk.covered = disk.covered.max(manifest.index);
                disk.entries.retain(|index, _| *index > manifest.index);
                Ok(())
            }
            Record::HardState { .. } | Record::Commit { .. } => Ok(()),
        }
    }

    fn sent(&mut self, node: NodeId, message: &Message) -> Result<(), Violation> {
        match message {
            Message::Append { term, .. }
            | Message::Heartbeat { term, .. }
            | Message::Commit { term, .. } => self.election_safety(node, *term),
            _ => Ok(()),
        }
    }

    fn told(&mut self, node: NodeId, event: &Event) -> Result<(), Violation> {
        match event {
            Event::Committed(run) => {
                self.state_machine_safety(node, run)?;
                self.quorum_on_disk(node, run)
            }
            _ => Ok(()),
        }
    }

    fn stepped(&mut self, node: NodeId, state: &Raft) -> Result<(), Violation> {
        debug_assert!(state.told <= state.commit && state.commit <= state.log.last());
        self.terms.insert(node, state.term);
        match state.role {
            Role::Leader(_) => self.leader_append_only(node, state),
            _ => {
                self.ends.remove(&node);
                Ok(())
            }
        }
    }

    fn judged(&self) -> &[u64] {
        &self.judged
    }
}
