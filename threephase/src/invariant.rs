//! The safety properties, judged from what is durable and not from what nodes believe.
//!
//! | property | says |
//! |---|---|
//! | `ac1_agreement` | no disk holds a commit beside another's abort |
//! | `ac2_stability` | no participant changes its outcome, on its disk or towards its resource |
//! | `ac3_validity` | a commit is decided only if the disks of all participants hold their yes |
//! | `vote_is_durable` | no yes leaves before its record is on disk |
//! | `attempt_is_durable` | no pre-commit or pre-abort is acknowledged before it is on disk |
//! | `report_is_durable` | nobody reports to a round that its disk does not hold |
//! | `told_is_durable` | no commit is told, to a node, a resource or a client, before a disk holds it |
//!
//! AC4 (all vote yes and nothing fails: commit) is in `tests/cost.rs`, AC5 (everybody reaches an
//! outcome once failures are repaired) in the liveness phase of the simulator.

use crate::{Epoch, Message, Record, ThreePhase};
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

/// Places in [`ThreePhaseInvariants::PROPERTIES`].
#[derive(Clone, Copy)]
enum Property {
    Agreement,
    Stability,
    Validity,
    VoteIsDurable,
    AttemptIsDurable,
    ReportIsDurable,
    ToldIsDurable,
}

/// What has happened to one transaction, as disks know it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
struct History {
    participants: Vec<NodeId>,
    voted: BTreeSet<NodeId>,
    elected: BTreeMap<NodeId, Epoch>,
    attempts: BTreeSet<(NodeId, Epoch)>,
    /// Where a coordinator has decided to commit.
    decided: Option<NodeId>,
    committed: BTreeSet<NodeId>,
    aborted: BTreeSet<NodeId>,
    told: BTreeMap<NodeId, Outcome>,
}

impl History {
    fn commits(&self) -> bool {
        self.decided.is_some() || !self.committed.is_empty()
    }
}

/// Watches one cluster. Each call touches one transaction.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct ThreePhaseInvariants {
    transactions: BTreeMap<Transaction, History>,
    /// Those that have changed on some disk since they were last judged.
    changed: BTreeSet<Transaction>,
    judged: [u64; 7],
}

impl ThreePhaseInvariants {
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
        let history = self.of(transaction);
        let both = history.committed.intersection(&history.aborted).next();
        let both = both.copied();
        let agree = !history.commits() || history.aborted.is_empty();
        let (commits, decided) = (history.commits(), history.decided);
        let (committed, aborted) = (history.committed.clone(), history.aborted.clone());
        let unwilling = history
            .participants
            .iter()
            .copied()
            .find(|node| !history.voted.contains(node));
        self.judge(Property::Stability, both.is_none(), || {
            format!("{transaction}: node {both:?} both committed and aborted")
        })?;
        self.judge(Property::Agreement, agree, || {
            format!(
                "{transaction}: committed at {committed:?}, aborted at {aborted:?}, committed by the coordinator {decided:?}"
            )
        })?;
        if !commits {
            return Ok(());
        }
        self.judge(Property::Validity, unwilling.is_none(), || {
            format!("{transaction} was committed without the vote of {unwilling:?}")
        })
    }

    fn stands(
        &mut self,
        node: NodeId,
        transaction: Transaction,
        outcome: Outcome,
    ) -> Result<(), Violation> {
        let committed = self.of(transaction).commits();
        let stands = outcome == Outcome::Abort || committed;
        self.judge(Property::ToldIsDurable, stands, || {
            format!("{transaction}: node {node} tells of a commit that no disk holds")
        })
    }

    /// An abort leaves no record at a coordinator, so a client's word for it is compared with the disks.
    fn client_told(
        &mut self,
        node: NodeId,
        transaction: Transaction,
        outcome: Outcome,
    ) -> Result<(), Violation> {
        self.stands(node, transaction, outcome)?;
        let agrees = outcome == Outcome::Commit || !self.of(transaction).commits();
        self.judge(Property::Agreement, agrees, || {
            format!(
                "{transaction}: a client at node {node} was told of an abort, disks hold a commit"
            )
        })
    }
}

impl Invariants<ThreePhase> for ThreePhaseInvariants {
    const PROPERTIES: &'static [&'static str] = &[
        "ac1_agreement",
        "ac2_stability",
        "ac3_validity",
        "vote_is_durable",
        "attempt_is_durable",
        "report_is_durable",
        "told_is_durable",
    ];

    fn new(_: &crate::Config) -> Self {
        Self::default()
    }

    fn durable(&mut self, node: NodeId, record: &Record) -> Result<(), Violation> {
        let transaction = match record {
            Record::Voted { transaction, .. }
            | Record::Elected { transaction, .. }
            | Record::Attempted { transaction, .. }
            | Record::Decided { transaction, .. }
            | Record::Over { transaction, .. }
            | Record::Effect { transaction, .. }
            | Record::Committed { transaction, .. }
            | Record::End { transaction } => *transaction,
            Record::Checkpoint { .. } => return Ok(()),
        };
        let history = self.of(transaction);
        match record {
            Record::Voted { participants, .. } => {
                history.participants = participants.iter().map(|(node, _)| *node).collect();
                history.voted.insert(node);
            }
            Record::Elected { epoch, .. } => {
                let elected = history.elected.entry(node).or_insert(*epoch);
                *elected = (*elected).max(*epoch);
            }
            Record::Attempted { epoch, .. } => {
                let elected = history.elected.entry(node).or_insert(*epoch);
                *elected = (*elected).max(*epoch);
                history.attempts.insert((node, *epoch));
            }
            Record::Decided { outcome, .. } | Record::Over { outcome, .. } => {
                match outcome {
                    Outcome::Commit => history.committed.insert(node),
                    Outcome::Abort => history.aborted.insert(node),
                };
            }
            Record::Effect { .. } => {
                history.committed.insert(node);
            }
            Record::Committed { .. } => history.decided = Some(node),
            Record::End { .. } | Record::Checkpoint { .. } => {}
        }
        self.changed.insert(transaction);
        Ok(())
    }

    fn sent(&mut self, node: NodeId, message: &Message) -> Result<(), Violation> {
        match message {
            Message::Vote {
                transaction,
                yes: true,
                ..
            } => {
                let holds = self.of(*transaction).voted.contains(&node);
                self.judge(Property::VoteIsDurable, holds, || {
                    format!("{transaction}: node {node} says yes, its disk does not")
                })
            }
            Message::Attempted { transaction, epoch } => {
                let attempts = &self.of(*transaction).attempts;
                let holds = attempts.contains(&(node, *epoch));
                self.judge(Property::AttemptIsDurable, holds, || {
                    format!("{transaction}: node {node} acknowledges round {epoch}, its disk does not hold it")
                })
            }
            Message::Report {
                transaction,
                epoch,
                stage,
                ..
            } if *stage != crate::Stage::Gone => {
                let history = self.of(*transaction);
                let stored = history.elected.get(&node).copied();
                // A coordinator without work has nothing to store and nothing to lose.
                let without = !history.voted.contains(&node);
                let holds = without || stored >= Some(*epoch);
                self.judge(Property::ReportIsDurable, holds, || {
                    format!("{transaction}: node {node} reports to round {epoch} and has stored {stored:?}")
                })
            }
            Message::DoCommit { transaction } => self.stands(node, *transaction, Outcome::Commit),
            _ => Ok(()),
        }
    }

    fn told(&mut self, node: NodeId, event: &Event) -> Result<(), Violation> {
        let (transaction, outcome) = match event {
            Event::Commit { transaction, .. } => (*transaction, Outcome::Commit),
            Event::Abort { transaction } => (*transaction, Outcome::Abort),
            Event::Ended {
                transaction,
                outcome,
                ..
            } => return self.client_told(node, *transaction, *outcome),
            _ => return Ok(()),
        };
        let before = *self.of(transaction).told.entry(node).or_insert(outcome);
        self.judge(Property::Stability, before == outcome, || {
            format!(
                "{transaction}: the resource of node {node} was told {before:?}, then {outcome:?}"
            )
        })?;
        self.stands(node, transaction, outcome)
    }

    fn stepped(&mut self, _: NodeId, _: &ThreePhase) -> Result<(), Violation> {
        while let Some(transaction) = self.changed.pop_first() {
            self.look(transaction)?;
        }
        Ok(())
    }

    fn judged(&self) -> &[u64] {
        &self.judged
    }
}
