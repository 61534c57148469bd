//! What changes make of a group, for every protocol that lets its members change.

use super::replicated_log::{Manifest, Member, MemberChange, Membership, Reason};
use crate::{Decoder, Field, Index, Members, NodeId};
use alloc::{collections::BTreeSet, vec::Vec};
use bytes::Bytes;

fn take(list: &mut Vec<Member>, node: NodeId) -> Option<Member> {
    let position = list.iter().position(|member| member.node == node)?;
    Some(list.remove(position))
}

impl Membership {
    /// This group after `changes`, all at once. `caught_up` says whether a learner may vote: a voter
    /// far behind would stall the quorum [Ongaro14 §4.2.1].
    ///
    /// # Errors
    /// [`Reason::Impossible`] when a change makes no sense or nobody, or more than [`Members::MAX`],
    /// would vote; [`Reason::TooFarBehind`] for a learner that may not vote yet.
    pub fn changed(
        &self,
        changes: &[MemberChange],
        caught_up: impl Fn(NodeId) -> bool,
    ) -> Result<Self, Reason> {
        let mut next = self.clone();
        for change in changes {
            next.change(change, &caught_up)?;
        }
        next.voters.sort_by_key(|member| member.node);
        next.learners.sort_by_key(|member| member.node);
        if next.voters.is_empty() || next.voters.len() > Members::MAX {
            return Err(Reason::Impossible);
        }
        Ok(next)
    }

    fn change(
        &mut self,
        change: &MemberChange,
        caught_up: &impl Fn(NodeId) -> bool,
    ) -> Result<(), Reason> {
        let known = |it: &Self, node| it.voters.iter().chain(&it.learners).any(|m| m.node == node);
        match change {
            MemberChange::AddLearner(member) => {
                if member.node.0 == 0 || known(self, member.node) {
                    return Err(Reason::Impossible);
                }
                self.learners.push(member.clone());
            }
            MemberChange::Promote(node) => {
                let member = take(&mut self.learners, *node).ok_or(Reason::Impossible)?;
                if !caught_up(*node) {
                    return Err(Reason::TooFarBehind { node: *node });
                }
                self.voters.push(member);
            }
            MemberChange::Demote(node) => {
                let member = take(&mut self.voters, *node).ok_or(Reason::Impossible)?;
                self.learners.push(member);
            }
            MemberChange::Remove(node) => {
                take(&mut self.voters, *node)
                    .or_else(|| take(&mut self.learners, *node))
                    .ok_or(Reason::Impossible)?;
            }
            MemberChange::SetContext(node, context) => {
                self.voters
                    .iter_mut()
                    .chain(&mut self.learners)
                    .find(|member| member.node == *node)
                    .ok_or(Reason::Impossible)?
                    .context = context.clone();
            }
        }
        Ok(())
    }

    /// Everybody, voting or not.
    #[must_use]
    pub fn nodes(&self) -> BTreeSet<NodeId> {
        let all = self.voters.iter().chain(&self.outgoing);
        all.chain(&self.learners).map(|m| m.node).collect()
    }

    /// Reads the payload of a log entry that says who belongs; none when it says nothing sensible.
    #[must_use]
    pub fn from_entry(payload: &[u8]) -> Option<Self> {
        let mut input = Decoder::new(Bytes::copy_from_slice(payload));
        let membership = Self::take(&mut input).ok()?;
        membership.is_sound().then_some(membership)
    }

    /// Whether somebody votes, nobody twice, and not too many do.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        Members::new(self.voters.iter().map(|member| member.node)).is_ok()
    }

    /// The payload of a log entry that says who belongs.
    #[must_use]
    pub fn to_entry(&self) -> Vec<u8> {
        let mut payload = Vec::new();
        self.put(&mut payload);
        payload
    }
}

impl Manifest {
    /// The last membership decided by the snapshot's last entry, and the entry that decided it where
    /// that is known; whether or not it holds yet.
    #[must_use]
    pub fn newest(&self) -> (Index, &Membership) {
        let coming = self.coming.last();
        coming.map_or((self.index, &self.members), |(entry, members)| {
            (*entry, members)
        })
    }
}
