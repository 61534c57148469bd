//! All or nothing.
//!
//! A transaction's work is given whole when it begins. Participants prepare it, vote, and are told
//! one outcome. Resources may be asynchronous (a database): delivery of [`Event::Commit`] and
//! [`Event::Abort`] is at least once, and [`Request::Done`] is the resource's own acknowledgement.
//!
//! Laws, for every protocol that speaks this contract, in the numbering of Bernstein, Hadzilacos and
//! Goodman (1987) §7.3:
//! 1. *AC1 agreement*: all that reach an outcome reach the same one.
//! 2. *AC2 stability*: nobody reverses its outcome.
//! 3. *AC3 validity of commit*: commit only if everybody voted yes or read-only.
//! 4. *AC4 non-triviality*: all vote yes and nothing fails: commit.
//! 5. *AC5 termination*: once all failures are repaired, everybody reaches an outcome.

use crate::{Boot, Field, NodeId, Token, wire};
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;

/// Names a transaction: made by the coordinator's protocol, never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Transaction {
    /// Whose it is.
    pub coordinator: NodeId,
    /// In which of its runs it began.
    pub boot: Boot,
    /// Which of that run, from 1 upwards.
    pub sequence: u64,
}

impl fmt::Display for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.coordinator, self.boot, self.sequence)
    }
}

impl Field for Transaction {
    fn put(&self, out: &mut Vec<u8>) {
        self.coordinator.put(out);
        self.boot.put(out);
        self.sequence.put(out);
    }
    fn take(input: &mut wire::Decoder) -> Result<Self, wire::DecodeError> {
        Ok(Self {
            coordinator: Field::take(input)?,
            boot: Field::take(input)?,
            sequence: Field::take(input)?,
        })
    }
}

/// The one outcome of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Outcome {
    /// Everywhere.
    Commit,
    /// Nowhere.
    Abort,
}

impl Field for Outcome {
    fn put(&self, out: &mut Vec<u8>) {
        (*self == Self::Commit).put(out);
    }
    fn take(input: &mut wire::Decoder) -> Result<Self, wire::DecodeError> {
        Ok(if bool::take(input)? {
            Self::Commit
        } else {
            Self::Abort
        })
    }
}

/// What a participant's resource says to a prepare.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Vote {
    /// Can do either from now on, whatever happens to this process. `redo` is what it takes to do
    /// so after a crash: the work, and the locks it holds.
    Yes {
        /// Logged with the prepared record and handed back with every later event.
        redo: Bytes,
    },
    /// Cannot.
    No {
        /// Passed on to whoever began it.
        reason: Bytes,
    },
    /// Has nothing to undo or redo and takes no part in phase two.
    ReadOnly,
}

/// Where the effect of an outcome is safe.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kept {
    /// In the resource's own durable storage: the participant's records of it may go.
    Resource,
    /// In the participant's log alone: the resource is rebuilt from it, so its records stay until a
    /// [`Request::Checkpoint`] covers them.
    Log,
}

/// What the application asks of its node.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Request {
    /// Begin a transaction with this node as its coordinator. Answered by [`Event::Started`], later
    /// by [`Event::Ended`].
    Begin {
        /// Ties the answers to the request.
        token: Token,
        /// Every participant and all of its work.
        work: Vec<(NodeId, Bytes)>,
    },
    /// The resource's answer to [`Event::Prepare`].
    Vote {
        /// Which.
        transaction: Transaction,
        /// The answer.
        vote: Vote,
    },
    /// Give up a transaction begun here, if it is not decided yet.
    Abort {
        /// Which.
        transaction: Transaction,
    },
    /// The resource has done what [`Event::Commit`] or [`Event::Abort`] told it.
    Done {
        /// Which.
        transaction: Transaction,
        /// Where the effect is safe.
        kept: Kept,
    },
    /// `state` is the resource's whole state, with the effect of every transaction it has been told
    /// the outcome of so far. Logged as one record; what it covers is not told again after a
    /// restart.
    Checkpoint {
        /// Handed back by [`Event::Restore`].
        state: Bytes,
    },
    /// After a restart: what the resource still holds prepared.
    FoundPrepared {
        /// All of it.
        transactions: Vec<Transaction>,
    },
    /// What became of a transaction begun here. Answered by [`Event::Ended`] or
    /// [`Event::Forgotten`].
    Inquire {
        /// Ties the answer to the request.
        token: Token,
        /// Which.
        transaction: Transaction,
    },
    /// An operator decides a blocked transaction at this participant. Forced, visible, and compared
    /// with the true outcome when that is learned.
    DecideByHand {
        /// Which.
        transaction: Transaction,
        /// What to do.
        outcome: Outcome,
    },
    /// Answered by [`Event::InDoubt`].
    ListInDoubt {
        /// Ties the answer to the request.
        token: Token,
    },
    /// An operator has seen a damage report; stop listing it.
    AcknowledgeDamage {
        /// Which.
        transaction: Transaction,
    },
}

impl Request {
    /// Whether it is for the node that coordinates, and not for the participant at this one.
    #[must_use]
    pub const fn is_for_coordinator(&self) -> bool {
        matches!(
            self,
            Self::Begin { .. } | Self::Abort { .. } | Self::Inquire { .. }
        )
    }

    /// What to say to a request for a coordinator where there is none. `hint`: where there may be.
    #[must_use]
    pub const fn refusal(&self, hint: Option<NodeId>) -> Option<Event> {
        match self {
            Self::Begin { token, .. } | Self::Inquire { token, .. } => Some(Event::Rejected {
                token: *token,
                reason: Reason::NotCoordinator { hint },
            }),
            _ => None,
        }
    }
}

/// What the application is told.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Event {
    /// A transaction asked for with this token has this name.
    Started {
        /// The request.
        token: Token,
        /// Its name.
        transaction: Transaction,
    },
    /// To a participant's resource: prepare and answer by [`Request::Vote`].
    Prepare {
        /// Which.
        transaction: Transaction,
        /// All of its work here.
        work: Bytes,
    },
    /// After a restart, before anything else: the newest checkpoint. Commits that it does not cover
    /// follow.
    Restore {
        /// What [`Request::Checkpoint`] gave.
        state: Bytes,
    },
    /// After a restart, before anything is served: this was prepared here and is in doubt. Take its locks
    /// again.
    Recovered {
        /// Which.
        transaction: Transaction,
        /// What was logged with the vote.
        redo: Bytes,
    },
    /// To a participant's resource: make it so, and answer by [`Request::Done`]. May be repeated.
    Commit {
        /// Which.
        transaction: Transaction,
        /// What was logged with the vote.
        redo: Bytes,
    },
    /// To a participant's resource: undo it, and answer by [`Request::Done`]. May be repeated, and
    /// may name a transaction never prepared.
    Abort {
        /// Which.
        transaction: Transaction,
    },
    /// To whoever began it: the outcome is durable.
    Ended {
        /// The request.
        token: Token,
        /// Which.
        transaction: Transaction,
        /// What happened.
        outcome: Outcome,
        /// Why, when it was aborted.
        reason: AbortReason,
    },
    /// The outcome was collected as garbage: it was one or the other, and nobody knows any more.
    Forgotten {
        /// The inquiry.
        token: Token,
        /// Which.
        transaction: Transaction,
    },
    /// A participant cannot end a transaction by itself; the driver stamps the time.
    Blocked {
        /// Which.
        transaction: Transaction,
        /// Whose word would end it.
        waiting_for: Vec<NodeId>,
    },
    /// Every transaction in doubt at this node, with those whose word would end it.
    InDoubt {
        /// The request.
        token: Token,
        /// All of them.
        transactions: Vec<(Transaction, Vec<NodeId>)>,
    },
    /// A decision by hand went against the true outcome. Repeated after a restart until
    /// acknowledged.
    Damage {
        /// Which.
        transaction: Transaction,
        /// What the hand decided.
        by_hand: Outcome,
        /// What was right.
        truth: Outcome,
    },
    /// Certainly not begun.
    Rejected {
        /// The request.
        token: Token,
        /// Why not.
        reason: Reason,
    },
}

/// Why a transaction was aborted.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum AbortReason {
    /// It was committed.
    None,
    /// Somebody voted no.
    VotedNo {
        /// Who.
        node: NodeId,
        /// What its resource said.
        reason: Bytes,
    },
    /// A vote did not come in time.
    Timeout {
        /// Whose.
        node: NodeId,
    },
    /// Its owner asked for it.
    Asked,
    /// The coordinator lost it in a crash, or the survivors decided without it.
    Recovery,
}

/// Why a transaction was certainly not begun.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Reason {
    /// Too many are under way; retry later.
    Busy,
    /// No participants, or one named twice, or one unknown; never retry.
    BadParticipants,
    /// This node coordinates nothing; retry elsewhere.
    NotCoordinator {
        /// Where to turn, if it is known.
        hint: Option<NodeId>,
    },
}
