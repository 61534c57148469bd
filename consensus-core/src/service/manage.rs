//! What an operator asks of a group through its leader: other members, another leader. And what a
//! service knows of who belongs.

use super::{Answer, CallId, Outbox, Refusal};
use crate::{
    Decoder, Field, Index, NodeId, Protocol, Token,
    contract::replicated_log::{Member, MemberChange, Membership, Reason, Request},
    wire::DecodeError,
};
use alloc::{boxed::Box, vec::Vec};
use bytes::Bytes;

/// What an operator asks of a group, at the node that leads it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Manage {
    /// Change who belongs, all at once. Done when the change is committed and no older membership
    /// decides anything any more; the answer is the log entry that says so.
    Change(Vec<MemberChange>),
    /// Hand leadership to this voter, or to the best placed other. Done when it is known to lead, at
    /// once if it does already; the answer is who leads.
    Transfer(Option<NodeId>),
}

impl Manage {
    /// The answer to a transfer: who leads.
    pub(super) fn led_by(leader: NodeId) -> Bytes {
        done(leader)
    }
}

/// Who belongs to a group, as one node knows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Group {
    /// The log entry that says so; zero for those who founded it.
    pub index: Index,
    /// Everybody.
    pub members: Membership,
    /// That entry is committed, and no older membership decides anything any more. Until then whoever
    /// belonged before may still be needed.
    pub is_settled: bool,
}

impl Group {
    /// One member, voting or not; those who only decide together with the others until a change is
    /// through are none.
    #[must_use]
    pub fn member(&self, node: NodeId) -> Option<&Member> {
        let all = self.members.voters.iter().chain(&self.members.learners);
        all.into_iter().find(|member| member.node == node)
    }

    /// Whether a node votes.
    #[must_use]
    pub fn is_voter(&self, node: NodeId) -> bool {
        let mut voters = self.members.voters.iter();
        voters.any(|member| member.node == node)
    }

    /// Whether a change has the effect that was asked for.
    fn shows(&self, change: &MemberChange) -> bool {
        match change {
            MemberChange::AddLearner(member) => self.member(member.node) == Some(member),
            MemberChange::Promote(node) => self.is_voter(*node),
            MemberChange::Demote(node) => self.member(*node).is_some() && !self.is_voter(*node),
            MemberChange::Remove(node) => self.member(*node).is_none(),
            MemberChange::SetContext(node, context) => {
                let member = self.member(*node);
                member.is_some_and(|member| member.context == *context)
            }
        }
    }
}

/// What is asked and not answered yet.
#[derive(Debug)]
struct Pending {
    id: CallId,
    token: Token,
    what: Manage,
    /// The newest membership when it was asked.
    since: Index,
}

/// Carries out what an operator asks, one thing at a time, and keeps the group in view.
#[derive(Debug, Default)]
pub(super) struct Manager {
    group: Group,
    pending: Option<Pending>,
}

impl Manager {
    /// Whether nothing has to be looked at when an entry is applied.
    #[inline]
    pub(super) const fn is_settled(&self) -> bool {
        self.group.is_settled
    }

    pub(super) fn ask<P: Protocol<Request = Request>>(
        &mut self,
        id: CallId,
        token: Token,
        what: Manage,
        out: &mut Outbox<P>,
    ) {
        if self.pending.is_some() {
            return out.answer(id, Answer::Refused(Refusal::ChangePending));
        }
        out.requests.push(match &what {
            Manage::Change(changes) => Request::ChangeMembers {
                token,
                changes: changes.clone(),
            },
            Manage::Transfer(to) => Request::TransferLeadership { token, to: *to },
        });
        self.pending = Some(Pending {
            id,
            token,
            what,
            since: self.group.index,
        });
    }

    /// The protocol says who belongs from now on.
    pub(super) fn members<P: Protocol>(
        &mut self,
        index: Index,
        members: Membership,
        applied: Index,
        out: &mut Outbox<P>,
    ) {
        self.group = Group {
            index,
            members,
            is_settled: false,
        };
        out.group = Some(Box::new(self.group.clone()));
        self.applied(applied, out);
    }

    /// The state has everything up to `applied`.
    pub(super) fn applied<P: Protocol>(&mut self, applied: Index, out: &mut Outbox<P>) {
        let group = &mut self.group;
        if group.is_settled || applied < group.index || !group.members.outgoing.is_empty() {
            return;
        }
        group.is_settled = true;
        out.group = Some(Box::new(group.clone()));
        let shown = self.pending.take_if(|pending| match &pending.what {
            Manage::Change(changes) => {
                let mut changes = changes.iter();
                group.index > pending.since && changes.all(|change| group.shows(change))
            }
            Manage::Transfer(_) => false,
        });
        if let Some(pending) = shown {
            out.answer(pending.id, Answer::Done(done(group.index)));
        }
    }

    /// `me` is told who leads.
    pub(super) fn led<P: Protocol>(
        &mut self,
        leader: Option<NodeId>,
        me: NodeId,
        out: &mut Outbox<P>,
    ) {
        let Some(pending) = &self.pending else {
            return;
        };
        let answer = match (&pending.what, leader) {
            (Manage::Change(_), _) if leader == Some(me) => return,
            // Its entry may or may not survive.
            (Manage::Change(_), _) => Answer::Unknown,
            (Manage::Transfer(_), None) => return,
            (Manage::Transfer(to), Some(leader)) => {
                if *to == Some(leader) || (to.is_none() && leader != me) {
                    Answer::Done(Manage::led_by(leader))
                } else {
                    Answer::Refused(Refusal::TransferFailed)
                }
            }
        };
        out.answer(pending.id, answer);
        self.pending = None;
    }

    /// The protocol will not do it. False when it was about something else.
    pub(super) fn rejected<P: Protocol>(
        &mut self,
        token: Token,
        reason: &Reason,
        out: &mut Outbox<P>,
    ) -> bool {
        let Some(pending) = self.pending.take_if(|pending| pending.token == token) else {
            return false;
        };
        let refusal = match reason {
            Reason::NotLeader { hint } => Refusal::NotLeader(*hint),
            Reason::Busy => Refusal::Busy,
            Reason::ChangePending { .. } => Refusal::ChangePending,
            Reason::TooFarBehind { node } => Refusal::TooFarBehind(*node),
            Reason::Impossible => Refusal::Impossible,
            Reason::TransferFailed => Refusal::TransferFailed,
        };
        out.answer(pending.id, Answer::Refused(refusal));
        true
    }

    /// Nobody waits for it any more; it may happen all the same.
    pub(super) fn abandon(&mut self, id: CallId) {
        self.pending.take_if(|pending| pending.id == id);
    }
}

fn done(what: impl Field) -> Bytes {
    let mut bytes = Vec::new();
    what.put(&mut bytes);
    bytes.into()
}

impl Field for MemberChange {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::AddLearner(member) => {
                out.push(1);
                member.put(out);
            }
            Self::Promote(node) => {
                out.push(2);
                node.put(out);
            }
            Self::Demote(node) => {
                out.push(3);
                node.put(out);
            }
            Self::Remove(node) => {
                out.push(4);
                node.put(out);
            }
            Self::SetContext(node, context) => {
                out.push(5);
                node.put(out);
                context.put(out);
            }
        }
    }

    fn take(input: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(match input.byte("member change")? {
            1 => Self::AddLearner(Field::take(input)?),
            2 => Self::Promote(Field::take(input)?),
            3 => Self::Demote(Field::take(input)?),
            4 => Self::Remove(Field::take(input)?),
            5 => Self::SetContext(Field::take(input)?, Field::take(input)?),
            _ => {
                return Err(DecodeError::OutOfRange {
                    what: "member change",
                });
            }
        })
    }
}

impl Field for Manage {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Change(changes) => {
                out.push(1);
                changes.put(out);
            }
            Self::Transfer(to) => {
                out.push(2);
                to.put(out);
            }
        }
    }

    fn take(input: &mut Decoder) -> Result<Self, DecodeError> {
        Ok(match input.byte("request of an operator")? {
            1 => Self::Change(Field::take(input)?),
            2 => Self::Transfer(Field::take(input)?),
            _ => {
                return Err(DecodeError::OutOfRange {
                    what: "request of an operator",
                });
            }
        })
    }
}
