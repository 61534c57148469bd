//! The application's side of atomic commit at one node: begins transactions for clients, and stands
//! between the protocol and this node's resource.

use super::{
    Answer, Call, CallId, Outbox, Refusal, Service,
    bank::{Bank, Resource, Votes},
    locks::LockPolicy,
    waiting::Waiting,
};
use crate::{
    NodeId, Protocol, Sequence, Time, Token,
    bank::{Operation, Outcome, Work},
    contract::atomic_commit::{self, AbortReason, Event, Kept, Request, Transaction},
    kv::encode,
    wire::Wire,
};
use alloc::{collections::BTreeMap, vec::Vec};
use bytes::Bytes;

/// What the service of a node and its bank may use, and how locks are given.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Limits {
    /// Calls that may wait for an answer at a time; more are refused as busy. Default: 65,536.
    pub calls_max: usize,
    /// What every account holds at the start. Default: 2⁴⁰, which is not used up by measuring.
    pub initial: i64,
    /// What happens to a transfer that finds a lock taken. Default: it gives up at once.
    pub policy: LockPolicy,
    /// Outcomes after which the bank asks for a checkpoint. Default: 4,096.
    pub checkpoint_every: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls_max: 65_536,
            initial: 1 << 40,
            policy: LockPolicy::NoWait,
            checkpoint_every: 4_096,
        }
    }
}

impl Limits {
    /// The service of `node` within these limits.
    #[must_use]
    pub fn service(&self, node: NodeId, coordinator: Option<NodeId>) -> CommitService {
        let bank = Bank::new(node, self.initial, self.policy, self.checkpoint_every);
        CommitService::new(coordinator, bank, self.calls_max)
    }
}

/// A bank behind any protocol that speaks the contract.
///
/// Calls go to the coordinator; another node answers [`Refusal::NotLeader`] with its name. An abort
/// is a result ([`Outcome::Aborted`]), not a refusal.
#[derive(Debug)]
pub struct CommitService {
    coordinator: Option<NodeId>,
    bank: Bank,
    waiting: Waiting,
    blocked: BTreeMap<Transaction, Vec<NodeId>>,
    damaged: BTreeMap<Transaction, atomic_commit::Outcome>,
}

impl CommitService {
    /// `coordinator`: the only node that begins transactions, if there is only one.
    #[must_use]
    pub const fn new(coordinator: Option<NodeId>, bank: Bank, calls_max: usize) -> Self {
        Self {
            coordinator,
            bank,
            waiting: Waiting::new(calls_max),
            blocked: BTreeMap::new(),
            damaged: BTreeMap::new(),
        }
    }

    /// This node's resource.
    #[must_use]
    pub const fn bank(&self) -> &Bank {
        &self.bank
    }

    /// Transactions that cannot end here, and whose word would end each.
    #[must_use]
    pub const fn blocked(&self) -> &BTreeMap<Transaction, Vec<NodeId>> {
        &self.blocked
    }

    /// Transactions decided by hand against the truth, with the truth.
    #[must_use]
    pub const fn damaged(&self) -> &BTreeMap<Transaction, atomic_commit::Outcome> {
        &self.damaged
    }

    fn begin<P: Protocol<Request = Request>>(
        &mut self,
        id: CallId,
        age: u64,
        updates: &[crate::bank::Update],
        note: &Bytes,
        out: &mut Outbox<P>,
    ) {
        let Some(token) = self.waiting.enter(id) else {
            return out.answer(id, Answer::Refused(Refusal::Busy));
        };
        let mut parts: BTreeMap<NodeId, Work> = BTreeMap::new();
        for update in updates {
            parts
                .entry(update.node)
                .or_insert_with(|| Work {
                    age,
                    updates: Vec::new(),
                    note: note.clone(),
                })
                .updates
                .push(*update);
        }
        let work = parts
            .into_iter()
            .map(|(node, work)| (node, work.encode()))
            .collect();
        out.requests.push(Request::Begin { token, work });
    }

    fn vote<P: Protocol<Request = Request>>(votes: Votes, out: &mut Outbox<P>) {
        for (transaction, vote) in votes {
            out.requests.push(Request::Vote { transaction, vote });
        }
    }

    /// The resource has carried an outcome out.
    fn done<P: Protocol<Request = Request>>(
        &mut self,
        transaction: Transaction,
        votes: Votes,
        out: &mut Outbox<P>,
    ) {
        self.blocked.remove(&transaction);
        out.requests.push(Request::Done {
            transaction,
            kept: Kept::Log,
        });
        if let Some(state) = self.bank.checkpoint() {
            out.requests.push(Request::Checkpoint { state });
        }
        Self::vote(votes, out);
    }

    fn ended<P: Protocol>(
        &mut self,
        token: Token,
        transaction: Transaction,
        outcome: atomic_commit::Outcome,
        reason: AbortReason,
        out: &mut Outbox<P>,
    ) {
        let Some(id) = self.waiting.end(token) else {
            return;
        };
        let outcome = match outcome {
            atomic_commit::Outcome::Commit => Outcome::Committed { transaction },
            atomic_commit::Outcome::Abort => Outcome::Aborted {
                transaction,
                reason: words(reason),
            },
        };
        out.answer(id, Answer::Done(encode(&outcome)));
    }
}

impl<P> Service<P> for CommitService
where
    P: Protocol<Request = Request, Event = Event>,
{
    fn call(&mut self, _now: Time, call: Call, out: &mut Outbox<P>) {
        if call.sequence == Sequence(0) {
            // Transactions have names of their own; there is no session to open.
            return out.answer(call.id, Answer::Done(Bytes::new()));
        }
        match Operation::decode(call.body) {
            Ok(Operation::Transfer { age, updates, note }) => {
                self.begin(call.id, age, &updates, &note, out);
            }
            Ok(Operation::Audit {}) => {
                let (changed, prepared) = self.bank.holdings();
                let holdings = Outcome::Holdings {
                    node: self.bank.node(),
                    changed,
                    prepared,
                    locks: self.bank.locks_held() as u64,
                };
                out.answer(call.id, Answer::Done(encode(&holdings)));
            }
            Err(_) => out.answer(call.id, Answer::Refused(Refusal::Malformed)),
        }
    }

    fn event(&mut self, _now: Time, event: Event, out: &mut Outbox<P>) {
        let mut votes = Votes::new();
        match event {
            Event::Started { token, transaction } => {
                // Its client may have gone before it had a name.
                if !self.waiting.started(token, transaction) {
                    out.requests.push(Request::Abort { transaction });
                }
            }
            Event::Prepare { transaction, work } => {
                self.bank.prepare(transaction, work, &mut votes);
                Self::vote(votes, out);
            }
            Event::Restore { state } => self.bank.restore(state),
            Event::Recovered { transaction, redo } => self.bank.recovered(transaction, redo),
            Event::Commit { transaction, redo } => {
                self.bank.commit(transaction, redo, &mut votes);
                self.done(transaction, votes, out);
            }
            Event::Abort { transaction } => {
                self.bank.abort(transaction, &mut votes);
                self.done(transaction, votes, out);
            }
            Event::Ended {
                token,
                transaction,
                outcome,
                reason,
            } => {
                self.ended(token, transaction, outcome, reason, out);
            }
            Event::Rejected { token, reason } => {
                let refused = self.waiting.reject(token, reason, self.coordinator);
                if let Some((id, refusal)) = refused {
                    out.answer(id, Answer::Refused(refusal));
                }
            }
            Event::Blocked {
                transaction,
                waiting_for,
            } => {
                self.blocked.insert(transaction, waiting_for);
            }
            Event::Damage {
                transaction, truth, ..
            } => {
                self.damaged.insert(transaction, truth);
            }
            Event::Forgotten { .. } | Event::InDoubt { .. } => {}
        }
    }

    /// Gives the transaction up, if it is not decided yet: its client no longer waits, and its locks
    /// should not either.
    fn abandon(&mut self, _now: Time, id: CallId, out: &mut Outbox<P>) {
        if let Some(transaction) = self.waiting.leave(id) {
            out.requests.push(Request::Abort { transaction });
        }
    }
}

/// Why a transaction was aborted, as clients are told.
pub(super) fn words(reason: AbortReason) -> Bytes {
    match reason {
        AbortReason::VotedNo { reason, .. } => reason,
        AbortReason::Timeout { .. } => Bytes::from_static(b"timeout"),
        AbortReason::Asked => Bytes::from_static(b"asked"),
        AbortReason::None | AbortReason::Recovery => Bytes::from_static(b"recovery"),
    }
}
