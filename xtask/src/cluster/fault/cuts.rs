//! Which links are cut while which faults last, and the commands that make it so.
//!
//! Several faults may cut the same link, and one that ends must not heal what another still cuts:
//! what each node should do is computed anew from all that last, and only the difference is told.

use consensus_core::NodeId;
use std::collections::{BTreeMap, BTreeSet};

/// One direction of one link, as the node sees it that is told to cut it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Way {
    /// What it sends is lost.
    Out,
    /// What it is sent is not heard.
    In,
}

/// What one fault cuts: at a node, towards a peer, one way.
pub(crate) type Cut = BTreeSet<(NodeId, NodeId, Way)>;

/// Both ways between two nodes, at both.
pub(crate) fn between(a: NodeId, b: NodeId) -> Cut {
    [(a, b), (b, a)]
        .into_iter()
        .flat_map(|(at, peer)| [(at, peer, Way::Out), (at, peer, Way::In)])
        .collect()
}

/// A node and everybody else, the given ways, at that node alone.
pub(crate) fn around(node: NodeId, nodes: u16, ways: &[Way]) -> Cut {
    let peers = (1..=nodes).map(NodeId).filter(|peer| *peer != node);
    peers
        .flat_map(|peer| ways.iter().map(move |way| (node, peer, *way)))
        .collect()
}

/// Every pair of nodes for which `keep` does not hold.
pub(crate) fn all_but(nodes: u16, keep: impl Fn(u16, u16) -> bool) -> Cut {
    let pairs = (1..=nodes).flat_map(|a| (a + 1..=nodes).map(move |b| (a, b)));
    pairs
        .filter(|(a, b)| !keep(*a, *b))
        .flat_map(|(a, b)| between(NodeId(a), NodeId(b)))
        .collect()
}

/// All cuts that last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cuts {
    lasting: BTreeMap<usize, Cut>,
}

impl Cuts {
    /// A fault begins. Returns what to tell whom.
    pub(crate) fn begin(&mut self, fault: usize, cut: Cut) -> Vec<(NodeId, String)> {
        let before = self.all();
        self.lasting.insert(fault, cut);
        difference(&before, &self.all())
    }

    /// A fault ends. Returns what to tell whom.
    pub(crate) fn end(&mut self, fault: usize) -> Vec<(NodeId, String)> {
        let before = self.all();
        self.lasting.remove(&fault);
        difference(&before, &self.all())
    }

    /// What to tell a node that has just started and knows of no cuts.
    pub(crate) fn at(&self, node: NodeId) -> Vec<(NodeId, String)> {
        let mut told = difference(&Cut::new(), &self.all());
        told.retain(|(at, _)| *at == node);
        told
    }

    fn all(&self) -> Cut {
        self.lasting.values().flatten().copied().collect()
    }
}

fn difference(before: &Cut, after: &Cut) -> Vec<(NodeId, String)> {
    let mut told = Vec::new();
    // Healing knows no direction, so what remains of the link is cut again below.
    let mut healed = BTreeSet::new();
    for (at, peer, _) in before.difference(after) {
        if healed.insert((*at, *peer)) {
            told.push((*at, format!("heal {peer}")));
        }
    }
    for cut @ (at, peer, way) in after {
        if !before.contains(cut) || healed.contains(&(*at, *peer)) {
            let way = match way {
                Way::Out => "out",
                Way::In => "in",
            };
            told.push((*at, format!("cut {peer} {way}")));
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(told: &[(NodeId, String)]) -> Vec<String> {
        told.iter()
            .map(|(node, command)| format!("{node}: {command}"))
            .collect()
    }

    #[test]
    fn a_cut_is_told_at_both_ends_and_healed_at_both() {
        let mut cuts = Cuts::default();
        assert_eq!(
            shown(&cuts.begin(0, between(NodeId(1), NodeId(3)))),
            ["1: cut 3 out", "1: cut 3 in", "3: cut 1 out", "3: cut 1 in"]
        );
        assert_eq!(shown(&cuts.end(0)), ["1: heal 3", "3: heal 1"]);
    }

    #[test]
    fn what_ends_heals_nothing_that_another_still_cuts() {
        let mut cuts = Cuts::default();
        cuts.begin(0, around(NodeId(2), 3, &[Way::In]));
        assert_eq!(
            shown(&cuts.begin(1, around(NodeId(2), 3, &[Way::Out, Way::In]))),
            ["2: cut 1 out", "2: cut 3 out"]
        );
        assert_eq!(
            shown(&cuts.end(1)),
            ["2: heal 1", "2: heal 3", "2: cut 1 in", "2: cut 3 in"]
        );
    }

    #[test]
    fn a_restarted_node_is_told_its_own_cuts() {
        let mut cuts = Cuts::default();
        cuts.begin(0, between(NodeId(1), NodeId(2)));
        assert_eq!(shown(&cuts.at(NodeId(2))), ["2: cut 1 out", "2: cut 1 in"]);
    }

    #[test]
    fn a_chain_keeps_neighbours_and_a_star_its_centre() {
        let chain = all_but(4, |a, b| b - a == 1);
        assert!(!chain.contains(&(NodeId(2), NodeId(3), Way::Out)));
        assert!(chain.contains(&(NodeId(1), NodeId(3), Way::Out)));
        let star = all_but(4, |a, b| a == 2 || b == 2);
        assert_eq!(
            star.len(),
            3 * 4,
            "three pairs, told at both ends, both ways"
        );
        assert!(!star.iter().any(|(at, peer, _)| at.0 == 2 || peer.0 == 2));
    }
}
