//! Changing who belongs to the group, by entries in the log [Lamport01 §3].
//!
//! Safe because of α alone (see [`group`](crate::group)): a leader proposes in a slot only when it
//! knows who decides that slot, and when a phase 1 quorum of exactly those has promised its ballot. So
//! any set of voters may follow any other, several changes may stand in the log at once, and no
//! joint step is needed. One at a time is taken on nevertheless, for those who have to follow it.
//!
//! A change takes two round trips of the leader: one to choose it, and one to choose the no-ops that
//! fill the slots before it holds. Newcomers are asked for their promises meanwhile.

use crate::{
    message::Message,
    node::{MultiPaxos, Role},
    window::Window,
};
use alloc::{boxed::Box, sync::Arc};
use consensus_core::{
    Early, Effects, Index, NodeId, Token,
    contract::replicated_log::{Event, MemberChange, Membership, Reason},
};

impl MultiPaxos {
    /// Everything up to `chosen` is.
    #[inline]
    pub(crate) fn advance_to(&mut self, chosen: Index) {
        let first = self.chosen.next();
        self.chosen = chosen;
        let (group, options) = (&mut self.group, &self.config.0.options);
        let mut changed = false;
        self.slots.memberships(first, chosen, |entry, members| {
            Arc::make_mut(group).decide(entry, members, options);
            changed = true;
        });
        if group.is_changing() {
            changed |= Arc::make_mut(group).chosen(chosen);
        }
        self.group_changed |= changed;
    }

    /// Whoever came or went is known from here on, and the application is told.
    #[cold]
    pub(crate) fn meet_members(&mut self, effects: &mut Effects<Self>) {
        self.group_changed = false;
        let nodes = self.group.nodes();
        self.pulse.meet(&nodes, self.config.node);
        self.meet_acceptors();
        self.ask_promises(effects);
        let (index, members) = self.group.announced();
        // What is chosen a quorum holds on its disks.
        effects.emit_early(Event::MembersChanged { index, members }, Early::QuorumHolds);
    }

    /// A leader keeps one window for everybody who belongs, and asks newcomers for their promises.
    pub(crate) fn meet_acceptors(&mut self) {
        let (node, chosen) = (self.config.node, self.chosen);
        let nodes = self.group.nodes();
        match &mut self.role {
            Role::Follower => {}
            Role::Candidate(promises) => promises.meet(&self.group, node, chosen),
            Role::Leader(leader) => {
                leader.promises.meet(&self.group, node, chosen);
                leader.windows.retain(|window| nodes.contains(&window.peer));
                for peer in nodes.into_iter().filter(|peer| *peer != node) {
                    if leader.window(peer).is_none() {
                        leader.windows.push(Window::new(peer, chosen));
                    }
                }
                leader.windows.sort_by_key(|window| window.peer);
                self.count_votes();
            }
        }
    }

    /// Whose acceptances decide the next slot, and whether promises suffice for all that follow.
    pub(crate) fn count_votes(&mut self) {
        let node = self.config.node;
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let next = self.group.next();
        for window in &mut leader.windows {
            window.votes = next.has(window.peer);
        }
        leader.own_votes = next.has(node);
        leader.promised = leader.promises.are_enough(&self.group, Some(node))
            || planted!(self.config.options, NewGroupNotAsked);
        leader.last_allowed = self.group.leaves_after(node);
        if !leader.promised {
            let missing =
                |c: &&crate::group::Configuration| !leader.promises.is_quorum(c, Some(node));
            let missing = self.group.active().iter().find(missing);
            let limit = missing.map_or(Index::ZERO, |missing| missing.from.previous());
            leader.last_allowed = leader.last_allowed.min(limit);
        }
        leader.fill_through = self.group.fill_through();
        leader.moved = true;
    }

    /// The last slot that this leader may propose in: less than α beyond what is chosen, decided by
    /// nobody who was not asked, and none that are no business of a leader who leaves.
    #[inline]
    pub(crate) fn limit(&self) -> Index {
        let Role::Leader(leader) = &self.role else {
            return Index::ZERO;
        };
        let under_way = self.config.0.options.alpha - 1;
        Index(self.chosen.0.saturating_add(under_way)).min(leader.last_allowed)
    }

    pub(crate) fn change_members(
        &mut self,
        token: Token,
        changes: &[MemberChange],
        effects: &mut Effects<Self>,
    ) {
        match self.changed(changes) {
            Ok(membership) => self.propose_members(Box::new(membership)),
            Err(reason) => effects.emit(Event::Rejected {
                token: Some(token),
                reason,
            }),
        }
    }

    /// The membership that `changes` would make of the newest, if now is the time for it: not before
    /// everything taken over is chosen, for there may be another change in it.
    fn changed(&self, changes: &[MemberChange]) -> Result<Membership, Reason> {
        let Role::Leader(leader) = &self.role else {
            let hint = self.leader_known();
            return Err(Reason::NotLeader { hint });
        };
        let newest = self.group.newest();
        let pending = leader.change.max(leader.recovered);
        if pending > self.chosen {
            return Err(Reason::ChangePending {
                index: pending.min(leader.last.next()),
            });
        }
        if self.group.is_changing() || leader.transfer.is_some() {
            return Err(Reason::ChangePending { index: newest.0 });
        }
        newest.1.changed(changes, |node| self.is_caught_up(node))
    }

    /// A learner may vote when it lacks no more than what may be under way.
    fn is_caught_up(&self, node: NodeId) -> bool {
        let known = self.pulse.chosen_at(node);
        known.is_some_and(|known| known.0 + self.config.options.alpha >= self.chosen.0)
    }

    /// A leader that decides none of the slots to come has nothing left to do here: it hands over to
    /// whoever is furthest of those who do, and refuses what waits.
    #[cold]
    pub(crate) fn leave(&mut self, effects: &mut Effects<Self>) {
        let (ballot, authority) = (self.promised, self.since.lsn());
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        leader.lease.give_up();
        let voters = leader.windows.iter().filter(|window| window.votes);
        if let Some(heir) = voters.max_by_key(|window| window.through) {
            let message = Message::Succeed { ballot };
            effects.send_early(heir.peer, message, Early::Authority(authority));
        }
        self.become_follower(effects);
    }
}
