//! The node: its state, and which input goes to which verb. Decides nothing.

use crate::{
    config::Config,
    message::Message,
    progress::Progress,
    read::{Forwarded, Reads},
    record::Record,
    status::{Role as RoleStatus, Status},
};
use alloc::{boxed::Box, vec::Vec};
use consensus_core::{
    Aside, Boot, Effects, Epoch, Index, Input, Joint, Lsn, NodeId, Protocol, RecoverError, Since,
    Time, Token, Unsynced,
    contract::replicated_log::{Event, Request},
    log::{Commands, Tail},
};

/// The names of alarms.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Timer {
    /// The shortest election timeout has passed without a word from the leader: from now on a
    /// candidate is listened to. Arms [`Timer::Election`].
    Quiet,
    /// The drawn rest of the election timeout has passed too.
    Election,
    /// A leader's next heartbeat.
    Heartbeat,
    /// A leader asks itself whether it still hears a quorum.
    CheckQuorum,
    /// A transfer of leadership has taken too long.
    Transfer,
    /// The leader has not answered a question about reads: it is asked again.
    Reads,
}

/// What a leader knows beyond the others [Ongaro14 figure 3.1, "volatile state on leaders"].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Leader {
    pub(crate) progress: Vec<Progress>,
    /// Commands of this batch, which become one run at its end.
    pub(crate) proposed: Vec<(Option<Token>, Commands)>,
    /// Own appends that the own disk has not reported yet.
    pub(crate) unsynced: Unsynced<Index>,
    /// Up to here the own disk has everything.
    pub(crate) own: Index,
    /// Somebody's `matched` moved in this batch.
    pub(crate) moved: bool,
    /// Payload bytes proposed and not committed.
    pub(crate) uncommitted_bytes: usize,
    pub(crate) reads: Reads,
    /// A record that waits for the disk, and for how many checks of the quorum it has.
    pub(crate) waiting: Option<(Since, u32)>,
    /// Quorum checks since the own disk last had something to do.
    pub(crate) idle: u8,
    /// The heir, while leadership is handed over.
    pub(crate) transfer: Option<crate::transfer::Transfer>,
}

/// What a node does in its term.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Role {
    /// Follows whoever leads.
    Follower,
    /// Asks whether it would be elected.
    PreCandidate { granted: Vec<NodeId> },
    /// Stands for election. Its own vote counts when it is on disk.
    Candidate { granted: Vec<NodeId> },
    /// Leads; boxed, for it is much larger than the others.
    Leader(Box<Leader>),
}

/// A Raft node \[Ongaro14\].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Raft {
    pub(crate) config: StaticConfig,

    // Durable [Ongaro14 figure 3.1].
    pub(crate) term: u64,
    pub(crate) vote: Option<NodeId>,
    pub(crate) log: Tail,

    // Volatile.
    /// The record that the present term rests on.
    pub(crate) since: Since,
    /// Invariant: told ≤ commit ≤ last.
    pub(crate) commit: Index,
    /// Told to the application.
    pub(crate) told: Index,
    /// The commit index last written down.
    pub(crate) commit_recorded: Index,
    pub(crate) role: Role,
    pub(crate) leader: Option<NodeId>,
    /// What the application was last told about leadership.
    pub(crate) leader_told: Option<(u64, Option<NodeId>)>,
    /// Heard from the leader within the shortest election timeout: candidates are ignored.
    pub(crate) sticky: bool,
    /// The leader was heard in this batch: the election timeout starts anew at its end.
    pub(crate) heard: bool,
    /// Up to here the log agrees with the present leader's [Ongaro14 §3.5].
    pub(crate) verified: Index,
    /// What the present leader says is committed.
    pub(crate) leader_commit: Index,
    /// The leader waits for an acknowledgement.
    pub(crate) ack: bool,
    pub(crate) members: crate::membership::Configurations,
    /// Reads asked here while somebody else leads.
    pub(crate) forwarded: Forwarded,
    /// Told that it belongs no more, by somebody who knows more than its own log does: it stands for
    /// no election until a leader is heard.
    pub(crate) dismissed: bool,
    /// Its disk hung while it led: it stands for no election before that record is on disk.
    pub(crate) hung: Option<Since>,
    pub(crate) marks: Aside<crate::reclaim::Marks>,
    #[cfg(feature = "faults")]
    pub(crate) late_restore: Option<Box<consensus_core::contract::replicated_log::Manifest>>,
}

/// The configuration and the number of this run, out of the way of comparisons: they never change within a run, so they never tell two
/// states apart.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct StaticConfig(pub(crate) Aside<(Config, Boot)>);

impl StaticConfig {
    /// Which run of this node it is.
    pub(crate) const fn boot(&self) -> Boot {
        self.0.0.1
    }
}
impl core::ops::Deref for StaticConfig {
    type Target = Config;
    fn deref(&self) -> &Config {
        &self.0.0.0
    }
}

impl Protocol for Raft {
    type Config = Config;
    type Message = Message;
    type Record = Record;
    type Request = Request;
    type Event = Event;
    type Timer = Timer;
    type Status = Status;

    fn recover(
        config: Config,
        boot: Boot,
        records: impl IntoIterator<Item = (Lsn, Record)>,
    ) -> Result<Self, RecoverError> {
        let mut recovery = crate::recovery::Recovery::new(config, boot);
        for (lsn, record) in records {
            recovery.replay(lsn, record)?;
        }
        recovery.finish()
    }

    #[inline]
    fn handle(&mut self, now: Time, input: Input<Self>, effects: &mut Effects<Self>) {
        match input {
            Input::Start => self.start(effects),
            Input::Receive { from, message } => self.receive(now, from, message, effects),
            Input::Request(request) => self.request(now, request, effects),
            Input::Timer(timer) => match timer {
                Timer::Quiet => self.on_quiet(effects),
                Timer::Election => self.on_election_timeout(effects),
                Timer::Heartbeat => self.on_heartbeat_due(now, effects),
                Timer::CheckQuorum => self.on_check_quorum(effects),
                Timer::Transfer => self.on_transfer_timeout(effects),
                Timer::Reads => self.ask_again(effects),
            },
            Input::Durable(lsn) => self.on_durable(lsn, effects),
            Input::Unreachable(node) => self.on_unreachable(node),
            Input::Reclaim(before) => self.on_reclaim(before, effects),
        }
    }

    #[inline]
    fn flush(&mut self, now: Time, effects: &mut Effects<Self>) {
        match &self.role {
            Role::Leader(_) => self.flush_leader(now, effects),
            Role::Follower => self.flush_follower(effects),
            Role::PreCandidate { .. } | Role::Candidate { .. } => {}
        }
        self.tell_committed(effects);
        self.tell_leader(effects);
        self.forward_reads(effects);
    }

    fn status(&self) -> Status {
        let (role, progress) = match &self.role {
            Role::Follower => (RoleStatus::Follower, Vec::new()),
            Role::PreCandidate { .. } => (RoleStatus::PreCandidate, Vec::new()),
            Role::Candidate { .. } => (RoleStatus::Candidate, Vec::new()),
            Role::Leader(leader) => (
                RoleStatus::Leader,
                leader.progress.iter().map(Into::into).collect(),
            ),
        };
        Status {
            role,
            term: self.term,
            leader: self.leader,
            last: self.log.last(),
            commit: self.commit,
            told: self.told,
            base: self.log.base(),
            log_bytes: self.log.bytes(),
            peers: progress,
        }
    }
}

impl Raft {
    #[inline]
    fn receive(&mut self, now: Time, from: NodeId, message: Message, effects: &mut Effects<Self>) {
        if !self.accepts_term(from, &message, effects) {
            return;
        }
        match message {
            Message::RequestVote {
                term,
                last,
                last_term,
                pre,
                transfer,
            } => {
                self.on_request_vote(from, term, (last, last_term), pre, transfer, effects);
            }
            Message::Vote { term, granted, pre } => {
                self.on_vote(from, term, granted, pre, effects);
            }
            Message::Append { run, commit, .. } => self.on_append(from, run, commit, effects),
            Message::Appended { matched, .. } => self.on_appended(from, matched),
            Message::Conflict {
                asked,
                hint,
                hint_term,
                ..
            } => {
                self.on_conflict(from, asked, hint, hint_term);
            }
            Message::Commit { commit, .. } => self.on_commit(from, commit, effects),
            Message::Heartbeat { commit, round, .. } => {
                self.on_heartbeat(from, commit, round, effects);
            }
            Message::Heard { round, .. } => self.on_heard(now, from, round, effects),
            Message::InstallSnapshot { manifest, .. } => {
                self.on_install_snapshot(from, &manifest, effects);
            }
            Message::TimeoutNow { last, .. } => self.on_timeout_now(from, last, effects),
            Message::ReadIndex { boot, number, .. } => {
                self.on_read_index(now, from, (boot, number), effects);
            }
            Message::ReadIndexed {
                boot,
                number,
                index,
                ..
            } => self.on_read_indexed((boot, number), index, effects),
            Message::Removed { index, members, .. } => self.on_removed(index, members, effects),
        }
    }

    #[inline]
    fn request(&mut self, now: Time, request: Request, effects: &mut Effects<Self>) {
        match request {
            Request::Propose { token, commands } => self.propose(token, commands, effects),
            Request::Read { token } => self.on_read(now, token, effects),
            Request::ChangeMembers { token, changes } => {
                self.change_members(token, &changes, effects);
            }
            Request::TransferLeadership { token, to } => self.transfer(token, to, effects),
            Request::Cancel { token } => self.cancel(token),
            Request::SnapshotTaken(manifest) => self.on_snapshot_taken(manifest, effects),
            Request::SnapshotProgress { peer, .. } => self.on_snapshot_progress(peer),
            Request::SnapshotReceived { from, manifest } => {
                self.on_snapshot_received(from, manifest, effects);
            }
            Request::SnapshotFailed { peer, .. } => self.on_snapshot_failed(peer),
        }
    }

    /// This node's term as the epoch of log entries.
    #[inline]
    pub(crate) const fn epoch(&self) -> Epoch {
        Epoch::of_term(self.term)
    }

    /// Everybody but this node, voters and learners.
    pub(crate) fn peers(&self) -> Vec<NodeId> {
        self.members
            .nodes()
            .filter(|node| *node != self.config.node)
            .collect()
    }

    pub(crate) const fn voters(&self) -> &Joint {
        self.members.voters()
    }
}
