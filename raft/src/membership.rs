//! Who belongs to the group [Ongaro14 §4].

use crate::{
    message::Message,
    node::{Raft, Role},
    progress::Progress,
};
use alloc::{boxed::Box, vec, vec::Vec};
use consensus_core::{
    Effects, Index, Joint, Members, NodeId, Token,
    contract::replicated_log::{Event, Manifest, Member, MemberChange, Membership, Reason},
    log::{EntryKind, Place, Run},
};

/// The configurations that the log names, in its order. The last one holds, from the moment it is
/// appended [Ongaro14 §4.1]; a truncation goes back to the one before.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Configurations {
    /// The one that the snapshot, or the start, gives.
    base: (Index, Membership),
    appended: Vec<(Index, Membership)>,
    /// Of the newest.
    voters: Joint,
    snapshot: Option<Box<Manifest>>,
}

fn joint(membership: &Membership) -> Joint {
    let members = |list: &[_]| {
        Members::new(list.iter().map(|member: &Member| member.node))
            .expect("a membership is validated before it is logged")
    };
    if membership.outgoing.is_empty() {
        Joint::simple(members(&membership.voters))
    } else {
        Joint::both(members(&membership.voters), members(&membership.outgoing))
    }
}

impl Configurations {
    pub(crate) fn new(initial: Membership) -> Self {
        let voters = joint(&initial);
        Self {
            base: (Index::ZERO, initial),
            appended: vec![],
            voters,
            snapshot: None,
        }
    }

    pub(crate) fn newest(&self) -> &(Index, Membership) {
        self.appended.last().unwrap_or(&self.base)
    }

    /// Who belonged as of an entry that is not older than the base.
    pub(crate) fn as_of(&self, index: Index) -> &Membership {
        let before = |(at, _): &&(Index, Membership)| *at <= index;
        let newest = self.appended.iter().rev().find(before);
        &newest.unwrap_or(&self.base).1
    }

    pub(crate) const fn voters(&self) -> &Joint {
        &self.voters
    }

    pub(crate) fn snapshot(&self) -> Option<&Manifest> {
        self.snapshot.as_deref()
    }

    /// Everybody, in ascending order.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = NodeId> {
        let newest = &self.newest().1;
        let all = newest
            .voters
            .iter()
            .chain(&newest.outgoing)
            .chain(&newest.learners);
        let mut nodes: Vec<NodeId> = all.map(|member| member.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes.into_iter()
    }

    pub(crate) fn appended(&mut self, run: &Run) {
        if run.kind() != EntryKind::Membership {
            return;
        }
        for (offset, payload) in run.iter().enumerate() {
            if let Some(membership) = Membership::from_entry(payload) {
                self.appended
                    .push((Index(run.first().0 + offset as u64), membership));
            }
        }
        self.voters = joint(&self.newest().1);
    }

    /// Entries from `from` on are gone; whether that changes who belongs.
    pub(crate) fn truncate(&mut self, from: Index) -> bool {
        let before = self.appended.len();
        self.appended.retain(|(index, _)| *index < from);
        self.voters = joint(&self.newest().1);
        before != self.appended.len()
    }

    /// A snapshot says who belonged as of its last entry; whatever stood there before counts no more.
    pub(crate) fn restored(&mut self, manifest: Box<Manifest>) {
        self.appended.retain(|(index, _)| *index > manifest.index);
        self.base = (manifest.index, manifest.members.clone());
        self.voters = joint(&self.newest().1);
        self.snapshot = Some(manifest);
    }
}

/// A change that this leader is carrying out.
impl Raft {
    pub(crate) fn change_members(
        &mut self,
        token: Token,
        changes: &[MemberChange],
        effects: &mut Effects<Self>,
    ) {
        match self.changed(changes) {
            Ok(membership) => self.append_membership(&membership, effects),
            Err(reason) => self.reject(Some(token), reason, effects),
        }
    }

    /// The membership that `changes` would make of the newest, if now is the time for it.
    fn changed(&self, changes: &[MemberChange]) -> Result<Membership, Reason> {
        let Role::Leader(leader) = &self.role else {
            return Err(Reason::NotLeader { hint: self.leader });
        };
        let (index, newest) = self.members.newest();
        let hasty = planted!(self.config, ChangeWhilePending);
        // One change at a time, and none before an entry of the own term is committed: otherwise two
        // leaders could decide by disjoint majorities [Ongaro15].
        if (*index > self.commit && !hasty)
            || !newest.outgoing.is_empty()
            || leader.transfer.is_some()
        {
            return Err(Reason::ChangePending { index: *index });
        }
        if !leader.reads.may_serve() && !hasty {
            return Err(Reason::ChangePending {
                index: self.log.last(),
            });
        }
        let mut next = newest.changed(changes, |node| self.is_caught_up(node))?;
        let moved = |a: &[Member], b: &[Member]| {
            a.iter()
                .filter(|m| b.iter().all(|n| n.node != m.node))
                .count()
        };
        // One voter more or less: any two majorities overlap, so no joint step is needed
        // [Ongaro14 §4.1]. More: both sets must agree until it is committed [Ongaro14 §4.3].
        if moved(&next.voters, &newest.voters) + moved(&newest.voters, &next.voters) > 1 {
            next.outgoing.clone_from(&newest.voters);
        }
        Ok(next)
    }

    /// A learner may vote when it lacks no more than what one window can carry, and has shown that it
    /// runs at all: a voter far behind would stall the quorum [Ongaro14 §4.2.1].
    fn is_caught_up(&self, node: NodeId) -> bool {
        let Role::Leader(leader) = &self.role else {
            return false;
        };
        leader.progress.iter().any(|p| {
            p.peer == node
                && p.active
                && p.matched > Index::ZERO
                && p.matched.0 + self.config.inflight_appends_max as u64 >= self.log.last().0
        })
    }

    fn append_membership(&mut self, membership: &Membership, effects: &mut Effects<Self>) {
        let place = Place {
            kind: EntryKind::Membership,
            ..self.log.next_place(self.epoch())
        };
        let run = Run::single(place, &membership.to_entry());
        self.membership_appended(&run, effects);
        self.append_own(run, effects);
        self.meet_members();
    }

    /// A leader keeps one progress for everybody who belongs. Whoever is new is sent the entry that says
    /// so: with nothing to send, an idle leader would never find out what it lacks.
    fn meet_members(&mut self) {
        let (peers, before) = (self.peers(), self.log.last().previous());
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        leader
            .progress
            .retain(|progress| peers.contains(&progress.peer));
        for peer in peers {
            if leader.progress.iter().all(|progress| progress.peer != peer) {
                leader.progress.push(Progress::new(peer, before));
            }
        }
        leader.progress.sort_by_key(|progress| progress.peer);
        leader.moved = true;
    }

    /// The newest membership may just have been committed: a joint one is left [Ongaro14 §4.3].
    pub(crate) fn membership_committed(&mut self, effects: &mut Effects<Self>) {
        let (index, newest) = self.members.newest();
        if *index > self.commit || !matches!(self.role, Role::Leader(_)) {
            return;
        }
        if !newest.outgoing.is_empty() {
            let mut next = newest.clone();
            next.outgoing.clear();
            self.append_membership(&next, effects);
        }
    }

    /// A leader that is no voter any more manages the group until that is committed and announced,
    /// then steps down [Ongaro14 §4.2.2].
    #[inline]
    pub(crate) fn leave_when_removed(&mut self, effects: &mut Effects<Self>) {
        if !self.voters().contains(self.config.node)
            && self.members.newest().0 <= self.commit
            && matches!(self.role, Role::Leader(_))
        {
            self.resign(effects);
        }
    }

    /// Whoever asks for votes with a log that lacks the committed entry that let it go is told: no
    /// leader sends it anything any more. One that was taken in later than this node knows has a log
    /// that says so.
    pub(crate) fn tell_removed(
        &self,
        from: NodeId,
        message: &Message,
        effects: &mut Effects<Self>,
    ) {
        let Message::RequestVote {
            last, last_term, ..
        } = message
        else {
            return;
        };
        let (index, members) = self.members.newest();
        let own = (self.log.last_epoch().round(), self.log.last());
        let knows = *index <= self.commit && *index > Index::ZERO && (*last_term, *last) < own;
        if knows && !members.nodes().contains(&from) {
            let (term, index, members) = (self.term, *index, Box::new(members.clone()));
            effects.send(
                from,
                Message::Removed {
                    term,
                    index,
                    members,
                },
            );
        }
    }

    /// Somebody whose log goes further says that this node belongs no more. Its own log does not say
    /// so and never will, so it takes it as a reason to keep quiet, not as a change of members.
    pub(crate) fn on_removed(
        &mut self,
        index: Index,
        members: Box<Membership>,
        effects: &mut Effects<Self>,
    ) {
        let newer = index > self.members.newest().0 && !self.dismissed;
        if newer && self.leader.is_none() && !members.nodes().contains(&self.config.node) {
            self.dismissed = true;
            self.role = Role::Follower;
            effects.emit(Event::MembersChanged { index, members });
        }
    }

    pub(crate) fn tell_members(&self, effects: &mut Effects<Self>) {
        let (index, members) = self.members.newest().clone();
        effects.emit(Event::MembersChanged {
            index,
            members: Box::new(members),
        });
    }

    pub(crate) fn membership_appended(&mut self, run: &Run, effects: &mut Effects<Self>) {
        self.members.appended(run);
        self.tell_members(effects);
    }

    pub(crate) fn truncate_members(&mut self, from: Index, effects: &mut Effects<Self>) {
        if self.members.truncate(from) {
            self.tell_members(effects);
        }
    }
}
