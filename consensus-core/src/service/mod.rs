//! The application's side of a contract: turns clients' calls into requests, and events into answers.
//!
//! A [`Service`] is as deterministic as a protocol and runs beside it in every world: in the
//! simulator on virtual time, in a process over channels, on a real node behind QUIC. What a client
//! sees is therefore the same code everywhere.

pub mod atomic_commit;
pub mod bank;
pub mod external;
pub mod key_value;
pub mod locks;
mod manage;
pub mod register;
pub mod replicated_log;
mod snapshot;
mod unrest;
mod waiting;

pub use manage::{Group, Manage};
pub use snapshot::{Chunks, SnapshotOrder, SnapshotReport};
pub use unrest::Unrest;

use crate::{ClientId, Index, NodeId, Protocol, Sequence, Time};
use alloc::{boxed::Box, vec::Vec};
use bytes::Bytes;
use core::task::Waker;

/// Ties an answer to a call within one run of a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct CallId(pub u64);

/// What a client asks.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Call {
    /// Given by the gateway.
    pub id: CallId,
    /// Whose call.
    pub client: ClientId,
    /// Which of that client's; a repeat carries the same.
    pub sequence: Sequence,
    /// The operation, in the service's own encoding.
    pub body: Bytes,
}

/// What a client is told. Three outcomes, never two: done, certainly not, unknown.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Answer {
    /// Carried out, with this result.
    Done(Bytes),
    /// Certainly not carried out; retrying is safe.
    Refused(Refusal),
    /// Carried out, or not, or perhaps later. A retry under the same client and sequence is executed
    /// at most once where the service keeps sessions.
    Unknown,
}

/// Why a call was certainly not carried out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Another node decides; try there.
    #[error("this node does not lead; {}", .0.map_or("the leader is not known".into(), |n| alloc::format!("node {n} does")))]
    NotLeader(Option<NodeId>),
    /// A bounded queue is full; try again later.
    #[error("too much is under way; try again later")]
    Busy,
    /// The disk is full; try again when there is room.
    #[error("the disk is full")]
    DiskFull,
    /// The body is not an operation of this service; never retry.
    #[error("the operation cannot be decoded")]
    Malformed,
    /// The operation exceeds what the service accepts; never retry.
    #[error("the operation is too large")]
    TooLarge,
    /// The node is going down; try another.
    #[error("the node is shutting down")]
    ShuttingDown,
    /// Rolled back by a lock policy or a no vote; may be tried again as a new operation.
    #[error("the transaction was aborted")]
    Aborted,
    /// The session has expired: it may have been carried out before that. Open a new one.
    #[error("the session has expired")]
    SessionExpired,
    /// Another change of members, or of the leader, is under way; try again when it is through.
    #[error("another change is under way; try again when it is through")]
    ChangePending,
    /// A learner may not vote before it has caught up; try again later.
    #[error("node {0} has not caught up yet")]
    TooFarBehind(NodeId),
    /// The change makes no sense, such as the removal of the last voter or of a stranger; never retry.
    #[error("the group cannot be changed like that")]
    Impossible,
    /// Leadership was not handed over; service has resumed.
    #[error("leadership was not handed over")]
    TransferFailed,
    /// This service has no members or leaders to manage; never retry.
    #[error("nothing of the kind can be managed here")]
    Unmanaged,
}

/// What a service wants after a call or an event. Emptied by the driver.
#[derive(Debug)]
pub struct Outbox<P: Protocol> {
    /// For this node's protocol, in order.
    pub requests: Vec<P::Request>,
    /// For clients. Each call is answered at most once.
    pub answers: Vec<(CallId, Answer)>,
    /// For the driver. Done in order, before the service hears anything else.
    pub snapshots: Vec<SnapshotOrder>,
    /// For the driver, which tells its network: who belongs from now on, when that has changed.
    pub group: Option<Box<Group>>,
}

impl<P: Protocol> Default for Outbox<P> {
    fn default() -> Self {
        Self {
            requests: Vec::new(),
            answers: Vec::new(),
            snapshots: Vec::new(),
            group: None,
        }
    }
}

impl<P: Protocol> Outbox<P> {
    /// Answers a call.
    pub fn answer(&mut self, id: CallId, answer: Answer) {
        self.answers.push((id, answer));
    }
}

/// The application's side of a contract at one node.
///
/// Its state is volatile unless it says otherwise: after a restart the driver makes a new one and
/// the protocol tells it again what it needs to know.
pub trait Service<P: Protocol> {
    /// How to be woken by somebody outside the node who has something for this service: after that
    /// its [`next_wake`](Self::next_wake) is asked again. Called once, first, by drivers that run in
    /// real time.
    fn woken_by(&mut self, waker: Waker) {
        let _ = waker;
    }

    /// A client asks. The answer may come now, later, or (after a crash) never.
    fn call(&mut self, now: Time, call: Call, out: &mut Outbox<P>);

    /// The protocol tells.
    fn event(&mut self, now: Time, event: P::Event, out: &mut Outbox<P>);

    /// An operator asks. The answer may come now, later, or (after a crash) never. Only for services
    /// whose groups have members or leaders to manage.
    fn manage(&mut self, now: Time, id: CallId, what: Manage, out: &mut Outbox<P>) {
        let _ = (now, what);
        out.answer(id, Answer::Refused(Refusal::Unmanaged));
    }

    /// The driver has done something about a snapshot. Only for services that order any.
    fn snapshot(&mut self, now: Time, report: SnapshotReport, out: &mut Outbox<P>) {
        let _ = (now, report, out);
    }

    /// The last entry of a replicated log whose effect the state has. None for services of other
    /// contracts.
    fn applied(&self) -> Option<Index> {
        None
    }

    /// When [`wake`](Self::wake) wants to be called next, if ever.
    fn next_wake(&self) -> Option<Time> {
        None
    }

    /// The moment of [`next_wake`](Self::next_wake) has come.
    fn wake(&mut self, now: Time, out: &mut Outbox<P>) {
        let _ = (now, out);
    }

    /// A client no longer waits for this call. Never answered after this.
    fn abandon(&mut self, now: Time, id: CallId, out: &mut Outbox<P>) {
        let _ = (now, id, out);
    }
}
