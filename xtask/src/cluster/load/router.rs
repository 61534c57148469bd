//! Which node clients turn to. All share one opinion: who leads, or who answers, is the same for
//! everybody.

use consensus_core::NodeId;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

/// The node that clients turn to.
pub(crate) struct Router {
    nodes: AtomicU16,
    preferred: AtomicU16,
}

impl Router {
    /// Clients of `nodes` nodes begin with the first.
    pub(crate) const fn new(nodes: u16) -> Self {
        Self {
            nodes: AtomicU16::new(nodes),
            preferred: AtomicU16::new(1),
        }
    }

    /// How many nodes there are.
    pub(crate) fn nodes(&self) -> u16 {
        self.nodes.load(Relaxed)
    }

    /// There are so many now.
    pub(crate) fn grow(&self, nodes: u16) {
        self.nodes.fetch_max(nodes, Relaxed);
    }

    /// Whom to ask now.
    pub(crate) fn preferred(&self) -> NodeId {
        NodeId(self.preferred.load(Relaxed))
    }

    /// `node` did not answer: try the one after it, unless somebody has turned elsewhere already.
    pub(crate) fn away_from(&self, node: NodeId) {
        let next = node.0 % self.nodes() + 1;
        // Lost races are fine: another client has moved on from the same node.
        let _ = self
            .preferred
            .compare_exchange(node.0, next, Relaxed, Relaxed);
    }

    /// `node` says that `leader` decides, or does not know who does.
    pub(crate) fn redirected(&self, node: NodeId, leader: Option<NodeId>) {
        match leader {
            Some(leader) if (1..=self.nodes()).contains(&leader.0) && leader != node => {
                let _ = self
                    .preferred
                    .compare_exchange(node.0, leader.0, Relaxed, Relaxed);
            }
            _ => self.away_from(node),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_go_round_the_nodes() {
        let router = Router::new(3);
        let mut visited = Vec::new();
        for _ in 0..4 {
            visited.push(router.preferred().0);
            router.away_from(router.preferred());
        }
        assert_eq!(visited, [1, 2, 3, 1]);
    }

    #[test]
    fn many_complaints_about_one_node_are_one() {
        let router = Router::new(3);
        router.away_from(NodeId(1));
        router.away_from(NodeId(1));
        assert_eq!(router.preferred(), NodeId(2));
    }

    #[test]
    fn a_hint_is_followed_unless_it_is_nonsense() {
        let router = Router::new(3);
        router.redirected(NodeId(1), Some(NodeId(3)));
        assert_eq!(router.preferred(), NodeId(3));
        router.redirected(NodeId(3), Some(NodeId(9)));
        assert_eq!(router.preferred(), NodeId(1));
        router.redirected(NodeId(1), Some(NodeId(1)));
        assert_eq!(router.preferred(), NodeId(2));
        router.redirected(NodeId(2), None);
        assert_eq!(router.preferred(), NodeId(3));
    }
}
