//! Who belongs to the group [Ongaro14 §4].

use crate::node::Raft;
use alloc::{vec, vec::Vec};
use consensus_core::{
    Decoder, Effects, Field, Index, Joint, Members, NodeId,
    contract::replicated_log::{Event, Manifest, Membership},
    log::{EntryKind, Run},
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
    snapshot: Option<Manifest>,
}

fn joint(membership: &Membership) -> Joint {
    let members = |list: &[_]| {
        Members::new(list.iter().map(|member: &consensus_core::contract::replicated_log::Member| {
            member.node
        }))
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
        Self { base: (Index::ZERO, initial), appended: vec![], voters, snapshot: None }
    }

    pub(crate) fn newest(&self) -> &(Index, Membership) {
        self.appended.last().unwrap_or(&self.base)
    }

    pub(crate) const fn voters(&self) -> &Joint {
        &self.voters
    }

    pub(crate) const fn snapshot(&self) -> Option<&Manifest> {
        self.snapshot.as_ref()
    }

    /// Everybody, in ascending order.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = NodeId> {
        let newest = &self.newest().1;
        let all = newest.voters.iter().chain(&newest.outgoing).chain(&newest.learners);
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
            let mut input = Decoder::new(bytes::Bytes::copy_from_slice(payload));
            if let Ok(membership) = Membership::take(&mut input) {
                self.appended.push((Index(run.first().0 + offset as u64), membership));
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
    pub(crate) fn restored(&mut self, manifest: Manifest) {
        self.appended.retain(|(index, _)| *index > manifest.index);
        self.base = (manifest.index, manifest.members.clone());
        self.voters = joint(&self.newest().1);
        self.snapshot = Some(manifest);
    }
}

impl Raft {
    pub(crate) fn tell_members(&self, effects: &mut Effects<Self>) {
        let (index, members) = self.members.newest().clone();
        effects.emit(Event::MembersChanged { index, members });
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
