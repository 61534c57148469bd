//! Transactions over resources outside the node, which answer in their own time: databases.
//!
//! A [`Resource`] speaks the contract itself: it hears [`Event`]s and says [`Request`]s, whenever it
//! has something to say. [`ExternalService`] stands between it, the protocol and clients, who ask by
//! [`Ask`] and are answered by [`Told`]. What the work of a participant means is the resource's
//! affair.

use super::{
    Answer, Call, CallId, Outbox, Refusal, Service, atomic_commit::words, waiting::Waiting,
};
use crate::{
    NodeId, Protocol, Sequence, Time, Token, codec,
    contract::atomic_commit::{Event, Outcome, Request, Transaction, Vote},
    kv::encode,
    wire::Wire,
};
use alloc::vec::Vec;
use bytes::Bytes;
use core::task::Waker;

/// A participant's resource outside the node. Neither call waits.
///
/// It is told [`Event::Prepare`], [`Event::Recovered`], [`Event::Commit`] and [`Event::Abort`], and
/// says [`Request::Vote`] and [`Request::Done`]; and [`Request::FoundPrepared`] after every start of
/// the node and of the resource, and whenever it finds something prepared that it has not been asked
/// about: what is nobody's is then aborted.
pub trait Resource: Send {
    /// Whom to wake when there is something to say.
    fn woken_by(&mut self, waker: Waker);
    /// Hears one of the four events.
    fn tell(&mut self, event: Event);
    /// Whether it has something to say.
    fn is_waiting(&self) -> bool;
    /// Moves what it has to say to the end of `requests`, in its order.
    fn take(&mut self, requests: &mut Vec<Request>);
}

/// The resource of a node that only coordinates: it votes no.
#[derive(Debug, Default)]
pub struct NoResource(Vec<Request>);

impl Resource for NoResource {
    fn woken_by(&mut self, _: Waker) {}

    fn tell(&mut self, event: Event) {
        if let Event::Prepare { transaction, .. } = event {
            let reason = Bytes::from_static(b"there is no resource at this node");
            let vote = Vote::No { reason };
            self.0.push(Request::Vote { transaction, vote });
        }
    }

    fn is_waiting(&self) -> bool {
        !self.0.is_empty()
    }

    fn take(&mut self, requests: &mut Vec<Request>) {
        requests.append(&mut self.0);
    }
}

/// What a client asks. The body of a [`Call`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Ask {
    /// Of the coordinator: all of this work or none. Not repeated by anybody: who gets no answer asks
    /// again by something of its own in the work.
    Begin {
        /// Each participant's.
        work: Vec<(NodeId, Bytes)>,
    },
    /// Of the coordinator: what became of a transaction.
    Inquire {
        /// Which.
        transaction: Transaction,
    },
    /// Of a participant: what is in doubt at it.
    ListInDoubt {},
    /// Of a participant, by an operator: ends a transaction in doubt at this node alone. If that was
    /// wrong it is reported as damage.
    DecideByHand {
        /// Which.
        transaction: Transaction,
        /// How.
        outcome: Outcome,
    },
    /// Of a participant, by an operator: the damage has been seen.
    AcknowledgeDamage {
        /// Which.
        transaction: Transaction,
    },
}

codec! {
    Ask version 1 {
        1 since 1 Log => Begin { work },
        2 since 1 Control => Inquire { transaction },
        3 since 1 Control => ListInDoubt {},
        4 since 1 Control => DecideByHand { transaction, outcome },
        5 since 1 Control => AcknowledgeDamage { transaction },
    }
}

/// What a client is told.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Told {
    /// Everywhere, now or soon.
    Committed {
        /// Its name.
        transaction: Transaction,
    },
    /// Nowhere.
    Aborted {
        /// Its name.
        transaction: Transaction,
        /// Why.
        reason: Bytes,
    },
    /// It was one or the other, and nobody knows any more.
    Forgotten {
        /// Its name.
        transaction: Transaction,
    },
    /// What is in doubt, and whose word would end each.
    InDoubt {
        /// All of it.
        transactions: Vec<(Transaction, Vec<NodeId>)>,
    },
    /// The request of an operator was passed on.
    Heard {},
}

codec! {
    Told version 1 {
        1 since 1 Log => Committed { transaction },
        2 since 1 Log => Aborted { transaction, reason },
        3 since 1 Control => Forgotten { transaction },
        4 since 1 Control => InDoubt { transactions },
        5 since 1 Control => Heard {},
    }
}

/// A resource outside the node behind any protocol that speaks the contract.
#[derive(Debug)]
pub struct ExternalService<R> {
    coordinator: Option<NodeId>,
    resource: R,
    waiting: Waiting,
    said: Vec<Request>,
    done: usize,
    checkpoint_every: usize,
}

impl<R: Resource> ExternalService<R> {
    /// `coordinator`: the only node that begins transactions, if there is only one. At most `calls_max`
    /// calls may wait for an answer at a time; more are refused as busy. After every `checkpoint_every`
    /// outcomes that the resource has carried out the protocol is told that it need not keep them.
    #[must_use]
    pub const fn new(
        coordinator: Option<NodeId>,
        resource: R,
        calls_max: usize,
        checkpoint_every: usize,
    ) -> Self {
        Self {
            coordinator,
            resource,
            waiting: Waiting::new(calls_max),
            said: Vec::new(),
            done: 0,
            checkpoint_every,
        }
    }

    /// The resource.
    #[must_use]
    pub const fn resource(&self) -> &R {
        &self.resource
    }

    /// Passes on what the resource has to say.
    fn listen<P: Protocol<Request = Request>>(&mut self, out: &mut Outbox<P>) {
        if !self.resource.is_waiting() {
            return;
        }
        self.resource.take(&mut self.said);
        for request in self.said.drain(..) {
            self.done += usize::from(matches!(request, Request::Done { .. }));
            out.requests.push(request);
        }
        if self.done >= self.checkpoint_every {
            self.done = 0;
            // The state is the resource's to keep: what is logged is that it has what it said it has.
            let state = Bytes::new();
            out.requests.push(Request::Checkpoint { state });
        }
    }

    fn ask<P: Protocol<Request = Request>>(&mut self, id: CallId, ask: Ask, out: &mut Outbox<P>) {
        let request = match ask {
            Ask::DecideByHand {
                transaction,
                outcome,
            } => Request::DecideByHand {
                transaction,
                outcome,
            },
            Ask::AcknowledgeDamage { transaction } => Request::AcknowledgeDamage { transaction },
            Ask::Begin { .. } | Ask::Inquire { .. } | Ask::ListInDoubt {} => {
                let Some(token) = self.waiting.enter(id) else {
                    return out.answer(id, Answer::Refused(Refusal::Busy));
                };
                out.requests.push(question(token, ask));
                return;
            }
        };
        out.requests.push(request);
        out.answer(id, Answer::Done(encode(&Told::Heard {})));
    }

    fn answer<P: Protocol>(&mut self, token: Token, told: &Told, out: &mut Outbox<P>) {
        if let Some(id) = self.waiting.end(token) {
            out.answer(id, Answer::Done(encode(told)));
        }
    }
}

/// What is answered later.
fn question(token: Token, ask: Ask) -> Request {
    match ask {
        Ask::Begin { work } => Request::Begin { token, work },
        Ask::Inquire { transaction } => Request::Inquire { token, transaction },
        _ => Request::ListInDoubt { token },
    }
}

impl<P, R> Service<P> for ExternalService<R>
where
    P: Protocol<Request = Request, Event = Event>,
    R: Resource,
{
    fn woken_by(&mut self, waker: Waker) {
        self.resource.woken_by(waker);
    }

    fn call(&mut self, _now: Time, call: Call, out: &mut Outbox<P>) {
        if call.sequence == Sequence(0) {
            // Transactions have names of their own; there is no session to open.
            return out.answer(call.id, Answer::Done(Bytes::new()));
        }
        match Ask::decode(call.body) {
            Ok(ask) => self.ask(call.id, ask, out),
            Err(_) => out.answer(call.id, Answer::Refused(Refusal::Malformed)),
        }
    }

    fn event(&mut self, _now: Time, event: Event, out: &mut Outbox<P>) {
        match event {
            Event::Prepare { .. }
            | Event::Recovered { .. }
            | Event::Commit { .. }
            | Event::Abort { .. } => {
                self.resource.tell(event);
                self.listen(out);
            }
            Event::Started { token, transaction } => {
                // Its client may have gone before it had a name.
                if !self.waiting.started(token, transaction) {
                    out.requests.push(Request::Abort { transaction });
                }
            }
            Event::Ended {
                token,
                transaction,
                outcome,
                reason,
            } => {
                let told = match outcome {
                    Outcome::Commit => Told::Committed { transaction },
                    Outcome::Abort => Told::Aborted {
                        transaction,
                        reason: words(reason),
                    },
                };
                self.answer(token, &told, out);
            }
            Event::Forgotten { token, transaction } => {
                self.answer(token, &Told::Forgotten { transaction }, out);
            }
            Event::InDoubt {
                token,
                transactions,
            } => self.answer(token, &Told::InDoubt { transactions }, out),
            Event::Rejected { token, reason } => {
                let refused = self.waiting.reject(token, reason, self.coordinator);
                if let Some((id, refusal)) = refused {
                    out.answer(id, Answer::Refused(refusal));
                }
            }
            // Asked for by `ListInDoubt`, and by the protocol's status.
            Event::Blocked { .. } | Event::Damage { .. } | Event::Restore { .. } => {}
        }
    }

    fn next_wake(&self) -> Option<Time> {
        self.resource.is_waiting().then_some(Time::ZERO)
    }

    fn wake(&mut self, _now: Time, out: &mut Outbox<P>) {
        self.listen(out);
    }

    /// Gives the transaction up, if it is not decided yet: its client no longer waits, and its locks
    /// should not either.
    fn abandon(&mut self, _now: Time, id: CallId, out: &mut Outbox<P>) {
        if let Some(transaction) = self.waiting.leave(id) {
            out.requests.push(Request::Abort { transaction });
        }
    }
}
