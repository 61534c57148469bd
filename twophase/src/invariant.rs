//! The safety properties, judged from what is durable and not from what nodes believe.
//!
//! | property | says |
//! |---|---|
//! | `ac1_agreement` | no disk holds a commit beside another's abort, or against the coordinator's decision |
//! | `ac2_stability` | no participant changes its outcome, on its disk or towards its resource |
//! | `ac3_validity` | a commit is decided only if everybody asked has voted yes, on disk, or read-only |
//! | `vote_is_prepared` | no yes vote leaves before its prepared record is on disk: in doubt begins there |
//! | `decision_is_durable` | no commit leaves before the decision is on disk, and no abort against it |
//! | `acknowledged_is_durable` | no commit is acknowledged, or ended, before the participants' disks hold it |
//! | `told_is_durable` | what clients and resources are told stands on a disk, and nothing stands against it |
//!
//! AC4 (all vote yes and nothing fails: commit) is in `tests/paper.rs`, AC5 (everybody reaches an
//! outcome once failures are repaired) in the liveness phase of the simulator. A decision by hand is
//! nobody's promise: what was decided by hand is left out at that participant.

use crate::{Ballot, Message, Record, TwoPhase};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec::Vec,
};
use consensus_core::{
    Invariants, NodeId, Violation,
    contract::atomic_commit::{Event, Outcome, Transaction},
};

/// Places in [`TwoPhaseInvariants::PROPERTIES`].
#[derive(Clone, Copy)]
enum Property {
    Agreement,
    Stability,
    Validity,
    VoteIsPrepared,
    DecisionIsDurable,
    AcknowledgedIsDurable,
    ToldIsDurable,
}

/// What has happened to one transaction, as disks know it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
struct History {
    prepared: BTreeSet<NodeId>,
    committed: BTreeSet<NodeId>,
    aborted: BTreeSet<NodeId>,
    by_hand: BTreeSet<NodeId>,
    /// The coordinator's.
    decided: Option<Outcome>,
    /// The coordinator's, contradicting the first.
    reversed: bool,
    /// Who was asked under presumed commit.
    asked: Vec<NodeId>,
    /// Who has to acknowledge.
    owing: Vec<NodeId>,
    ended: bool,
    /// Seen leaving.
    read_only: BTreeSet<NodeId>,
    refused: BTreeSet<NodeId>,
    told: BTreeMap<NodeId, Outcome>,
}

/// Watches one cluster. Each call touches one transaction.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct TwoPhaseInvariants {
    transactions: BTreeMap<Transaction, History>,
    /// Those that have changed on some disk since they were last judged: what several disks hold is
    /// judged when all of them have been looked at.
    changed: BTreeSet<Transaction>,
    judged: [u64; 7],
}

impl History {
    fn outcome(&self) -> Option<Outcome> {
        let committed = self.committed.difference(&self.by_hand).next();
        self.decided.or(committed.map(|_| Outcome::Commit))
    }

    fn disagreement(&self) -> Option<String> {
        let committed = self.committed.difference(&self.by_hand).next();
        let aborted = self.aborted.difference(&self.by_hand).next();
        let against = match self.decided {
            Some(Outcome::Commit) => aborted,
            Some(Outcome::Abort) => committed,
            None => aborted.filter(|_| committed.is_some()),
        };
        against.map(|node| {
            format!(
                "decided {:?}, committed at {:?}, aborted at {:?}; node {node} is in the wrong",
                self.decided, self.committed, self.aborted
            )
        })
    }

    /// Who has to acknowledge the decision, and could not.
    fn lagging(&self) -> Option<NodeId> {
        let has = match self.decided {
            Some(Outcome::Commit) => &self.committed,
            Some(Outcome::Abort) | None => &self.aborted,
        };
        let mut owing = self.owing().iter().copied();
        owing.find(|node| {
            !has.contains(node) && !self.by_hand.contains(node) && !self.refused.contains(node)
        })
    }

    /// Who has to acknowledge, as far as disks know.
    fn owing(&self) -> &[NodeId] {
        match self.decided {
            // An abort under presumed commit is written lazily: all that were asked.
            None => &self.asked,
            Some(_) => &self.owing,
        }
    }

    /// Whose vote is missing, or was no, although the transaction was decided to commit.
    fn unwilling(&self, transaction: Transaction) -> Option<NodeId> {
        let willing = |node: &NodeId| {
            self.prepared.contains(node)
                || self.read_only.contains(node)
                // Its vote to itself is not sent.
                || *node == transaction.coordinator && !self.owing.contains(node)
        };
        let all = self.asked.iter().chain(&self.owing);
        let silent = all.copied().find(|node| !willing(node));
        silent.or(self.refused.first().copied())
    }
}

impl TwoPhaseInvariants {
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

    fn of(&mut self, transaction: Transaction) -> &mut History {
        self.transactions.entry(transaction).or_default()
    }

    fn look(&mut self, transaction: Transaction) -> Result<(), Violation> {
        let Some(history) = self.transactions.get(&transaction) else {
            return Ok(());
        };
        let disagreement = history.disagreement();
        let twice = history.committed.intersection(&history.aborted);
        let turned = twice.copied().find(|node| !history.by_hand.contains(node));
        let reversed = history.reversed;
        let commits = history.decided == Some(Outcome::Commit);
        let unwilling = history.unwilling(transaction).filter(|_| commits);
        let ended = history.ended && commits;
        let lagging = history
            .owing
            .iter()
            .copied()
            .find(|node| !history.committed.contains(node) && !history.by_hand.contains(node));
        self.judge(
            Property::Stability,
            turned.is_none() && !reversed,
            || match turned {
                Some(node) => format!("{transaction}: node {node} both committed and aborted"),
                None => format!("{transaction}: its coordinator decided it twice"),
            },
        )?;
        self.judge(Property::Agreement, disagreement.is_none(), || {
            format!("{transaction}: {}", disagreement.unwrap_or_default())
        })?;
        if commits {
            self.judge(Property::Validity, unwilling.is_none(), || {
                format!("{transaction} was decided to commit without the vote of {unwilling:?}")
            })?;
        }
        if ended {
            self.judge(Property::AcknowledgedIsDurable, lagging.is_none(), || {
                format!("{transaction} was ended before {lagging:?} had committed")
            })?;
        }
        Ok(())
    }

    fn resource_told(
        &mut self,
        node: NodeId,
        transaction: Transaction,
        outcome: Outcome,
    ) -> Result<(), Violation> {
        let history = self.of(transaction);
        if history.by_hand.contains(&node) {
            return Ok(());
        }
        let before = *history.told.entry(node).or_insert(outcome);
        let known = history.outcome();
        let stands = match outcome {
            Outcome::Commit => known == Some(Outcome::Commit),
            Outcome::Abort => known != Some(Outcome::Commit),
        };
        self.judge(Property::Stability, before == outcome, || {
            format!(
                "{transaction}: the resource of node {node} was told {before:?}, then {outcome:?}"
            )
        })?;
        self.judge(Property::ToldIsDurable, stands, || {
            format!("{transaction}: the resource of node {node} was told {outcome:?}, disks say {known:?}")
        })
    }

    fn client_told(
        &mut self,
        node: NodeId,
        transaction: Transaction,
        outcome: Outcome,
    ) -> Result<(), Violation> {
        let history = self.of(transaction);
        let known = history.outcome();
        // Where nobody voted yes there is nothing to write.
        let stands = match outcome {
            Outcome::Commit => known == Some(Outcome::Commit) || history.prepared.is_empty(),
            Outcome::Abort => known != Some(Outcome::Commit),
        };
        self.judge(Property::ToldIsDurable, stands, || {
            format!(
                "{transaction}: a client at node {node} was told {outcome:?}, disks say {known:?}"
            )
        })
    }
}

impl Invariants<TwoPhase> for TwoPhaseInvariants {
    const PROPERTIES: &'static [&'static str] = &[
        "ac1_agreement",
        "ac2_stability",
        "ac3_validity",
        "vote_is_prepared",
        "decision_is_durable",
        "acknowledged_is_durable",
        "told_is_durable",
    ];

    fn new(_: &crate::Config) -> Self {
        Self::default()
    }

    fn durable(&mut self, node: NodeId, record: &Record) -> Result<(), Violation> {
        let transaction = match record {
            Record::Collecting { transaction, .. }
            | Record::Decided { transaction, .. }
            | Record::End { transaction }
            | Record::Prepared { transaction, .. }
            | Record::Committed { transaction, .. }
            | Record::Aborted { transaction }
            | Record::ByHand { transaction, .. } => *transaction,
            Record::Damage { .. } | Record::Seen { .. } | Record::Checkpoint { .. } => {
                return Ok(());
            }
        };
        let history = self.of(transaction);
        match record {
            Record::Collecting { participants, .. } => history.asked.clone_from(participants),
            Record::Decided {
                outcome,
                participants,
                ..
            } => {
                history.reversed |= history.decided.is_some_and(|before| before != *outcome);
                history.decided.get_or_insert(*outcome);
                if history.owing.is_empty() {
                    history.owing.clone_from(participants);
                }
            }
            Record::End { .. } => history.ended = true,
            Record::Prepared { .. } => {
                history.prepared.insert(node);
            }
            Record::Committed { .. } => {
                history.committed.insert(node);
            }
            Record::Aborted { .. } => {
                history.aborted.insert(node);
            }
            Record::ByHand { .. } => {
                history.by_hand.insert(node);
            }
            Record::Damage { .. } | Record::Seen { .. } | Record::Checkpoint { .. } => {}
        }
        self.changed.insert(transaction);
        Ok(())
    }

    fn sent(&mut self, node: NodeId, message: &Message) -> Result<(), Violation> {
        match message {
            Message::Vote {
                transaction, vote, ..
            } => {
                let history = self.of(*transaction);
                match vote {
                    Ballot::Yes => {
                        let holds = history.prepared.contains(&node);
                        self.judge(Property::VoteIsPrepared, holds, || {
                            format!(
                                "{transaction}: node {node} votes yes and is not prepared on disk"
                            )
                        })
                    }
                    Ballot::No(_) => {
                        // A repeat after the outcome, or from another run than voted, counts for nobody.
                        let before = history.read_only.contains(&node);
                        if history.outcome() != Some(Outcome::Commit) && !before {
                            history.refused.insert(node);
                        }
                        Ok(())
                    }
                    Ballot::ReadOnly => {
                        history.read_only.insert(node);
                        Ok(())
                    }
                }
            }
            Message::Decision {
                transaction,
                outcome,
                ..
            } => {
                let history = self.of(*transaction);
                let known = history.outcome();
                // Where everybody has the outcome the question was a late one, and the presumption that
                // answers it comes too late as well.
                let over = history.lagging().is_none() && !history.owing().is_empty();
                let holds = match outcome {
                    Outcome::Commit => known == Some(Outcome::Commit) || over,
                    Outcome::Abort => known != Some(Outcome::Commit) || over,
                };
                self.judge(Property::DecisionIsDurable, holds, || {
                    format!("{transaction}: node {node} says {outcome:?}, disks say {known:?}")
                })
            }
            Message::Acknowledge { transaction } => {
                let history = self.of(*transaction);
                let commits = history.decided == Some(Outcome::Commit);
                let holds = history.committed.contains(&node) || history.by_hand.contains(&node);
                if !commits {
                    return Ok(());
                }
                self.judge(Property::AcknowledgedIsDurable, holds, || {
                    format!("{transaction}: node {node} acknowledges a commit that its disk does not hold")
                })
            }
            Message::Prepare { .. }
            | Message::CommitOnePhase { .. }
            | Message::Ended { .. }
            | Message::Inquire { .. }
            | Message::Undecided { .. }
            | Message::Greet {}
            | Message::Hello { .. } => Ok(()),
        }
    }

    fn told(&mut self, node: NodeId, event: &Event) -> Result<(), Violation> {
        match event {
            Event::Commit { transaction, .. } => {
                self.resource_told(node, *transaction, Outcome::Commit)
            }
            Event::Abort { transaction } => self.resource_told(node, *transaction, Outcome::Abort),
            Event::Ended {
                transaction,
                outcome,
                ..
            } => self.client_told(node, *transaction, *outcome),
            Event::Started { .. }
            | Event::Prepare { .. }
            | Event::Restore { .. }
            | Event::Recovered { .. }
            | Event::Forgotten { .. }
            | Event::Blocked { .. }
            | Event::InDoubt { .. }
            | Event::Damage { .. }
            | Event::Rejected { .. } => Ok(()),
        }
    }

    fn stepped(&mut self, _: NodeId, _: &TwoPhase) -> Result<(), Violation> {
        while let Some(transaction) = self.changed.pop_first() {
            self.look(transaction)?;
        }
        Ok(())
    }

    fn judged(&self) -> &[u64] {
        &self.judged
    }
}
