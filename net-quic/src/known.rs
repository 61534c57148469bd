//! Where the nodes are: what an operator has said, and what the group itself says.

use consensus_core::{DiskId, NodeId, contract::replicated_log::Member, service::Group};
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

/// A member at `address`, for [`AddLearner`]: its context is how every node finds it.
///
/// `disk` is what [`init`](crate::node::init) gave; no other disk is then taken for this node. Zero:
/// any.
///
/// [`AddLearner`]: consensus_core::contract::replicated_log::MemberChange::AddLearner
#[must_use]
pub fn member(node: NodeId, disk: DiskId, address: SocketAddr) -> Member {
    Member {
        node,
        disk,
        context: address.to_string().into(),
    }
}

/// Where a member's context says it is. None when it says nothing, or something else.
#[must_use]
pub fn address_of(member: &Member) -> Option<SocketAddr> {
    std::str::from_utf8(&member.context).ok()?.parse().ok()
}

/// One node that is to be reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Whereabouts {
    pub(crate) address: SocketAddr,
    /// The only disk to be taken for it, if one is known.
    pub(crate) disk: Option<DiskId>,
}

/// What is known of who is where.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    told: BTreeMap<NodeId, SocketAddr>,
    group: Option<Arc<Group>>,
    /// The newest of which it was certain that it holds: while another is not settled, those who go
    /// have to be reached too, the leader perhaps among them.
    settled: Option<Arc<Group>>,
}

impl Known {
    pub(crate) fn tell(&mut self, told: BTreeMap<NodeId, SocketAddr>) {
        self.told = told;
    }

    pub(crate) fn group(&mut self, group: Arc<Group>) {
        if group.is_settled {
            self.settled = Some(Arc::clone(&group));
        }
        self.group = Some(group);
    }

    /// Whom `me` has to reach. What the group says of an address goes before what an operator has said.
    /// Who is no member any more is left out once that is certain, and not by one who is no member
    /// itself: it may lag, and needs whoever will tell it.
    pub(crate) fn all(&self, me: NodeId) -> BTreeMap<NodeId, Whereabouts> {
        let told = self.told.iter().map(|(node, address)| {
            let (address, disk) = (*address, None);
            (*node, Whereabouts { address, disk })
        });
        let mut all: BTreeMap<_, _> = told.collect();
        let Some(group) = &self.group else {
            return all;
        };
        // The newest word last: it goes before the others.
        for members in self
            .settled
            .iter()
            .chain([group])
            .map(|group| &group.members)
        {
            let belonging = members.outgoing.iter().chain(&members.voters);
            for member in belonging.chain(&members.learners) {
                let told = all.get(&member.node).map(|known| known.address);
                if let Some(address) = address_of(member).or(told) {
                    let disk = Some(member.disk).filter(|disk| *disk != DiskId::default());
                    all.insert(member.node, Whereabouts { address, disk });
                }
            }
        }
        if group.is_settled && group.index.0 > 0 && group.member(me).is_some() {
            all.retain(|node, _| group.member(*node).is_some());
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use consensus_core::{Index, contract::replicated_log::Membership};

    fn at(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    fn known(voters: &[Member], is_settled: bool) -> Known {
        let mut known = Known::default();
        known.tell((1..=3).map(|node| (NodeId(node), at(node))).collect());
        known.group(Arc::new(Group {
            index: Index(9),
            members: Membership {
                voters: voters.to_vec(),
                ..Membership::default()
            },
            is_settled,
        }));
        known
    }

    fn bare(node: u16) -> Member {
        Member {
            node: NodeId(node),
            disk: DiskId::default(),
            context: bytes::Bytes::new(),
        }
    }

    #[test]
    fn a_newcomer_is_reached_before_its_admission_is_certain() {
        let voters = [bare(1), bare(2), member(NodeId(4), DiskId(7), at(40))];
        let all = known(&voters, false).all(NodeId(1));
        assert_eq!(all[&NodeId(4)].address, at(40));
        assert_eq!(all[&NodeId(4)].disk, Some(DiskId(7)));
        assert_eq!(all[&NodeId(3)].address, at(3), "it may be needed yet");
    }

    #[test]
    fn who_was_removed_is_left_out_once_that_is_certain() {
        let known = known(&[bare(1), bare(2)], true);
        assert!(!known.all(NodeId(1)).contains_key(&NodeId(3)));
        assert!(known.all(NodeId(3)).contains_key(&NodeId(1)));
    }

    #[test]
    fn a_newcomer_that_goes_again_is_reached_until_that_is_certain() {
        let four = member(NodeId(4), DiskId(7), at(40));
        let with = |voters: &[Member], index, is_settled| {
            Arc::new(Group {
                index: Index(index),
                members: Membership {
                    voters: voters.to_vec(),
                    ..Membership::default()
                },
                is_settled,
            })
        };
        let mut known = known(&[bare(1), bare(2), four.clone()], true);
        known.group(with(&[bare(1), bare(2)], 12, false));
        assert_eq!(
            known.all(NodeId(1))[&NodeId(4)].address,
            at(40),
            "it may lead"
        );
        known.group(with(&[bare(1), bare(2)], 12, true));
        assert!(!known.all(NodeId(1)).contains_key(&NodeId(4)));
    }

    #[test]
    fn a_member_that_has_moved_is_looked_for_where_the_group_says() {
        let moved = member(NodeId(2), DiskId::default(), at(20));
        let all = known(&[bare(1), moved], true).all(NodeId(1));
        assert_eq!(all[&NodeId(2)].address, at(20));
        assert_eq!(all[&NodeId(1)].address, at(1));
    }
}
