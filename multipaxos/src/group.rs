//! Who belongs to the group, slot by slot [Lamport01 §3].
//!
//! An entry about members in slot c governs the slots from c + α on, and nobody proposes a slot before
//! everything up to α slots below it is known as chosen. So whoever proposes in a slot knows for
//! certain who decides it, and every slot is an instance of consensus with one fixed group: nothing
//! is asked of two groups that follow each other, not even that they share a member.
//!
//! ```text
//!   chosen c: {2, 3, 4} from c + α on             α = 4
//!   ── c ── c+1 ── c+2 ── c+3 ─│─ c+4 ── c+5 ──
//!      └──── {1, 2, 3} ────────┘  └─ {2, 3, 4} ─   the leader fills what is left with no-ops
//! ```

use crate::config::Options;
use alloc::{boxed::Box, collections::BTreeSet, vec, vec::Vec};
use consensus_core::{
    Flexible, Index, Members, NodeId,
    contract::replicated_log::{Manifest, Membership},
};

/// What one chosen entry says about members.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Decided {
    entry: Index,
    members: Membership,
    /// The first slot that they decide.
    from: Index,
}

/// Who decides a stretch of slots.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Configuration {
    /// The first slot.
    pub(crate) from: Index,
    pub(crate) quorums: Flexible,
}

impl Configuration {
    fn of(decided: &Decided, options: &Options) -> Self {
        let voters = decided.members.voters.iter().map(|member| member.node);
        let members = Members::new(voters).expect("a membership is validated before it is decided");
        Self {
            from: decided.from,
            quorums: quorums(members, options),
        }
    }

    #[inline]
    pub(crate) fn has(&self, node: NodeId) -> bool {
        self.quorums.members().contains(node)
    }

    /// Whether at least `size` voters are among those for whom `agrees` holds.
    pub(crate) fn has_enough(&self, size: usize, mut agrees: impl FnMut(NodeId) -> bool) -> bool {
        let voters = self.quorums.members().iter();
        voters.filter(|voter| agrees(*voter)).count() >= size
    }
}

/// The sizes chosen by the operator where they fit so many members, else majorities: the same on every
/// node.
pub(crate) fn quorums(members: Members, options: &Options) -> Flexible {
    let majority = consensus_core::majority(members.count());
    let phase1 = options.phase1.unwrap_or(majority);
    let phase2 = options.phase2.unwrap_or(majority);
    Flexible::new(members.clone(), phase1, phase2).unwrap_or_else(|_| Flexible::majority(members))
}

/// Everything that is known as decided about members.
///
/// Invariant: what governs the slots `chosen + 1 ..= chosen + α` is in `active`; entries up to
/// `chosen` alone determine it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Group {
    /// Since the newest snapshot, which gives the first: whom a later snapshot has to name.
    decided: Vec<Decided>,
    active: Vec<Configuration>,
}

impl Group {
    pub(crate) fn new(members: Membership, options: &Options) -> Self {
        let initial = Decided {
            entry: Index::ZERO,
            members,
            from: Index::ZERO,
        };
        Self {
            active: vec![Configuration::of(&initial, options)],
            decided: vec![initial],
        }
    }

    /// As a snapshot says.
    pub(crate) fn restored(manifest: &Manifest, options: &Options) -> Self {
        let mut group = Self::new(manifest.members.clone(), options);
        group.decided[0].entry = manifest.index;
        for (entry, members) in &manifest.coming {
            group.decide(*entry, members.clone(), options);
        }
        group.chosen(manifest.index);
        group
    }

    /// The chosen `entry` says so.
    pub(crate) fn decide(&mut self, entry: Index, members: Membership, options: &Options) {
        let decided = Decided {
            entry,
            members,
            from: if planted!(options, ChangeInForceAtOnce) {
                entry.next()
            } else {
                Index(entry.0.saturating_add(options.alpha))
            },
        };
        self.active.push(Configuration::of(&decided, options));
        self.decided.push(decided);
    }

    /// Everything up to `chosen` is: who decided only that much is history. Whether anybody was.
    #[inline]
    pub(crate) fn chosen(&mut self, chosen: Index) -> bool {
        let before = self.active.len();
        while self.active.len() > 1 && self.active[1].from <= chosen.next() {
            self.active.remove(0);
        }
        self.active.len() < before
    }

    /// Whether a slot not yet chosen has another group than the next one.
    #[inline]
    pub(crate) const fn is_changing(&self) -> bool {
        self.active.len() > 1
    }

    /// Who decides the next slot.
    #[inline]
    pub(crate) fn next(&self) -> &Configuration {
        &self.active[0]
    }

    /// The last slot that they decide, as far as is known.
    #[inline]
    pub(crate) fn next_through(&self) -> Index {
        let following = self.active.get(1);
        following.map_or(Index(u64::MAX), |following| following.from.previous())
    }

    /// Who decides the slots not yet chosen, in the order of the slots.
    #[inline]
    pub(crate) fn active(&self) -> &[Configuration] {
        &self.active
    }

    /// Whether `node` decides any slot not yet chosen.
    pub(crate) fn is_voter(&self, node: NodeId) -> bool {
        self.active
            .iter()
            .any(|configuration| configuration.has(node))
    }

    /// The last slot in which a leader at `node` has any business: all of them, unless its vote ends
    /// for good.
    pub(crate) fn leaves_after(&self, node: NodeId) -> Index {
        let last = self.active.iter().rposition(|c| c.has(node));
        let following = last.and_then(|last| self.active.get(last + 1));
        following.map_or(Index(u64::MAX), |following| following.from.previous())
    }

    /// Up to where slots have to be filled for the newest decision to hold.
    pub(crate) fn fill_through(&self) -> Index {
        self.active[self.active.len() - 1].from.previous()
    }

    /// Everybody who decides a slot not yet chosen, and everybody of the newest membership.
    pub(crate) fn nodes(&self) -> BTreeSet<NodeId> {
        let mut nodes = self.newest().1.nodes();
        nodes.extend(self.voters());
        nodes
    }

    /// Everybody who decides a slot not yet chosen.
    pub(crate) fn voters(&self) -> impl Iterator<Item = NodeId> + '_ {
        let members = |configuration: &Configuration| configuration.quorums.members().clone();
        let all = self.active.iter().map(members);
        let voters: BTreeSet<NodeId> = all.flat_map(|m| m.iter().collect::<Vec<_>>()).collect();
        voters.into_iter()
    }

    /// The newest decision.
    pub(crate) fn newest(&self) -> (Index, &Membership) {
        let newest = &self.decided[self.decided.len() - 1];
        (newest.entry, &newest.members)
    }

    /// The newest decision as an application is told of it: who still decides older slots is outgoing.
    pub(crate) fn announced(&self) -> (Index, Box<Membership>) {
        let (entry, newest) = self.newest();
        let mut members = Box::new(newest.clone());
        members.outgoing.clear();
        if self.is_changing() {
            let known = self.decided.iter().rev().flat_map(|d| &d.members.voters);
            for node in self.voters() {
                let older = |c: &Configuration| c.has(node);
                if self.active[..self.active.len() - 1].iter().any(older) {
                    members
                        .outgoing
                        .extend(known.clone().find(|m| m.node == node).cloned());
                }
            }
        }
        (entry, members)
    }

    /// Who decides the slot after `index`, and what was decided by then and holds later. `index` is
    /// chosen and not older than the newest snapshot.
    pub(crate) fn as_of(&self, index: Index) -> (Membership, Vec<(Index, Membership)>) {
        let holds = self.decided.iter().rposition(|d| d.from <= index.next());
        let holds = holds.unwrap_or(0);
        let coming = self.decided[holds + 1..].iter();
        let coming = coming.take_while(|decided| decided.entry <= index);
        (
            self.decided[holds].members.clone(),
            coming.map(|d| (d.entry, d.members.clone())).collect(),
        )
    }

    /// A snapshot at `index` names whoever was there before.
    pub(crate) fn forget(&mut self, index: Index) {
        let holds = self.decided.iter().rposition(|d| d.from <= index.next());
        self.decided.drain(..holds.unwrap_or(0));
    }
}
