//! Clients that wait for the outcome of a transaction.

use super::{CallId, Refusal};
use crate::{
    NodeId, Token,
    contract::atomic_commit::{Reason, Transaction},
};
use alloc::collections::BTreeMap;

/// Who waits under which token, and what each has begun.
#[derive(Debug)]
pub(super) struct Waiting {
    limit: usize,
    next_token: u64,
    calls: BTreeMap<Token, CallId>,
    begun: BTreeMap<Token, Transaction>,
}

impl Waiting {
    /// At most `limit` calls at a time.
    pub(super) const fn new(limit: usize) -> Self {
        Self {
            limit,
            next_token: 0,
            calls: BTreeMap::new(),
            begun: BTreeMap::new(),
        }
    }

    /// One more. None: there are too many.
    pub(super) fn enter(&mut self, id: CallId) -> Option<Token> {
        if self.calls.len() >= self.limit {
            return None;
        }
        self.next_token += 1;
        let token = Token(self.next_token);
        self.calls.insert(token, id);
        Some(token)
    }

    /// What it asked for has a name now. Whether it still waits.
    pub(super) fn started(&mut self, token: Token, transaction: Transaction) -> bool {
        let waits = self.calls.contains_key(&token);
        if waits {
            self.begun.insert(token, transaction);
        }
        waits
    }

    /// Whom to answer, if it still waits.
    pub(super) fn end(&mut self, token: Token) -> Option<CallId> {
        self.begun.remove(&token);
        self.calls.remove(&token)
    }

    /// Whom to refuse, if it still waits, and how. `coordinator`: the only one, if there is only one.
    pub(super) fn reject(
        &mut self,
        token: Token,
        reason: Reason,
        coordinator: Option<NodeId>,
    ) -> Option<(CallId, Refusal)> {
        let refusal = match reason {
            Reason::Busy => Refusal::Busy,
            Reason::BadParticipants => Refusal::Malformed,
            Reason::NotCoordinator { hint } => Refusal::NotLeader(hint.or(coordinator)),
        };
        Some((self.end(token)?, refusal))
    }

    /// It no longer waits. What it has begun, if it has.
    pub(super) fn leave(&mut self, id: CallId) -> Option<Transaction> {
        let mut waiting = self.calls.iter();
        let token = *waiting.find(|(_, call)| **call == id)?.0;
        self.calls.remove(&token);
        self.begun.remove(&token)
    }
}
