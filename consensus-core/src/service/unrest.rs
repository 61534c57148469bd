//! Rare requests made common: a replicated log under a simulator changes leaders and members all the
//! time.

use crate::{
    DiskId, NodeId, Token,
    contract::replicated_log::{Member, MemberChange, Membership, Request},
};
use alloc::{vec, vec::Vec};
use bytes::Bytes;

/// What a service asks for unasked, for simulations; nothing by default.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Unrest {
    /// Every so many entries; zero: never.
    pub every: u64,
    /// Voters come and go too, one and two at a time. Else only learners do, of whom nobody's
    /// progress depends.
    pub voters: bool,
}

/// A node that does not exist: a learner that never answers.
const NOBODY: NodeId = NodeId(999);

impl Unrest {
    /// What is asked for after entry number `applied`.
    pub(super) fn request(
        self,
        applied: u64,
        members: &Membership,
        token: impl FnOnce() -> Token,
    ) -> Option<Request> {
        if self.every == 0 || !applied.is_multiple_of(self.every) {
            return None;
        }
        let turn = applied / self.every;
        if turn.is_multiple_of(3) {
            let to = None;
            return Some(Request::TransferLeadership { token: token(), to });
        }
        let changes = if self.voters {
            Self::voters(turn, members)?
        } else {
            Self::learners(turn, members)
        };
        Some(Request::ChangeMembers {
            token: token(),
            changes,
        })
    }

    fn learners(turn: u64, members: &Membership) -> Vec<MemberChange> {
        let there = members.learners.iter().any(|m| m.node == NOBODY);
        vec![match (turn % 2, there) {
            (0, false) => MemberChange::AddLearner(Member {
                node: NOBODY,
                disk: DiskId::default(),
                context: Bytes::new(),
            }),
            (0, true) => MemberChange::Remove(NOBODY),
            _ => {
                let node = members.voters.first().map_or(NOBODY, |member| member.node);
                MemberChange::SetContext(node, Bytes::copy_from_slice(&turn.to_le_bytes()))
            }
        }]
    }

    /// Half of the changes are joint: two voters go, or one goes as others come.
    fn voters(turn: u64, members: &Membership) -> Option<Vec<MemberChange>> {
        let voters = &members.voters;
        let at = |offset: u64| voters.get(((turn + offset) % voters.len().max(1) as u64) as usize);
        let comes = members
            .learners
            .iter()
            .map(|m| MemberChange::Promote(m.node));
        match turn % 4 {
            0 if voters.len() > 1 => Some(vec![MemberChange::Demote(at(0)?.node)]),
            1 if voters.len() > 2 => Some(vec![
                MemberChange::Demote(at(0)?.node),
                MemberChange::Demote(at(1)?.node),
            ]),
            2 => comes.take(1).map(|change| vec![change]).next(),
            _ => Some(comes.collect()).filter(|changes: &Vec<_>| !changes.is_empty()),
        }
    }
}
