//! The node: its state, and which input goes to which verb. Decides nothing.

use crate::{
    config::Config, election::Pulse, group::Group, leader::Leader, message::Message,
    promises::Promises, record::Record, slots::Slots, status::Status,
};
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use consensus_core::{
    Aside, Ballot, Boot, Effects, Index, Input, Lsn, NodeId, Protocol, RecoverError, Since, Time,
    contract::replicated_log::{Event, Manifest, Request},
};

/// The names of alarms.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Timer {
    /// A heartbeat round is over: look at the answers, begin the next.
    Heartbeat,
    /// A leader has been missing long enough: campaign.
    Campaign,
}

/// What a node is beside an acceptor and a replica, which every node always is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Role {
    /// Nothing else.
    Follower,
    /// Gathers promises for its ballot. Boxed, like the leader, for it is much larger.
    Candidate(Box<Promises>),
    /// Proposes under its ballot.
    Leader(Box<Leader>),
}

/// A Multi-Paxos node [Lamport01 §3].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct MultiPaxos {
    /// Never changes, so it never tells two states apart.
    pub(crate) config: Aside<Config>,

    // Durable: the acceptor.
    /// Nothing below is promised or accepted any more.
    pub(crate) promised: Ballot,
    /// Invariant: no ballot in here exceeds `promised`; up to `chosen`, what stands here is chosen.
    pub(crate) slots: Slots,
    /// The newest snapshot.
    pub(crate) snapshot: Option<Box<Manifest>>,
    /// Where on disk all that is.
    pub(crate) marks: Aside<crate::reclaim::Marks>,

    // Volatile: the replica.
    /// What `chosen` says about members; shared with the copies of this value in a model checker.
    pub(crate) group: Arc<Group>,
    /// That changed in this batch.
    pub(crate) group_changed: bool,
    pub(crate) sending: Vec<crate::snapshot::Sending>,
    /// Invariant: base ≤ told ≤ chosen ≤ last slot held.
    pub(crate) chosen: Index,
    /// Told to the application.
    pub(crate) told: Index,
    /// What was last written down of `chosen`.
    pub(crate) chosen_recorded: Index,
    /// What the owner of the promised ballot knows as chosen.
    pub(crate) leader_chosen: Index,
    /// Somebody who knows more as chosen than this node, and how much.
    pub(crate) ahead: (Index, NodeId),
    /// Slots accepted in this batch, of which the leader has not been told.
    pub(crate) acknowledge: Option<(Index, Index)>,
    /// The lease that this node has granted last, if it has not promised another ballot since.
    pub(crate) grant: Option<crate::lease::Grant>,

    // Volatile: elections.
    /// This run's own ballots: round zero of them.
    pub(crate) own: Ballot,
    /// The record that the present promise rests on.
    pub(crate) since: Since,
    pub(crate) role: Role,
    /// The ballot of the leader that this node follows; zero when it knows none.
    pub(crate) leader: Ballot,
    /// What the application was last told about leadership.
    pub(crate) leader_told: Option<(Ballot, Option<NodeId>)>,
    pub(crate) pulse: Pulse,
}

impl Protocol for MultiPaxos {
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
        Ok(recovery.finish())
    }

    #[inline]
    fn handle(&mut self, now: Time, input: Input<Self>, effects: &mut Effects<Self>) {
        match input {
            Input::Start => self.start(now, effects),
            Input::Receive { from, message } => self.receive(now, from, message, effects),
            Input::Request(request) => self.request(now, request, effects),
            Input::Timer(Timer::Heartbeat) => self.on_round_over(effects),
            Input::Timer(Timer::Campaign) => self.on_campaign_due(now, effects),
            Input::Durable(lsn) => self.on_durable(lsn, effects),
            Input::Unreachable(_) => {}
            Input::Reclaim(before) => self.on_reclaim(before, effects),
        }
    }

    #[inline]
    fn flush(&mut self, now: Time, effects: &mut Effects<Self>) {
        match &self.role {
            Role::Leader(_) => self.flush_leader(now, effects),
            Role::Follower | Role::Candidate(_) => self.flush_acceptor(effects),
        }
        self.tell_chosen(effects);
        if self.group_changed {
            self.meet_members(effects);
        }
        self.tell_leader(effects);
    }

    fn status(&self) -> Status {
        Status::of(self)
    }
}

impl MultiPaxos {
    #[inline]
    fn receive(&mut self, now: Time, from: NodeId, message: Message, effects: &mut Effects<Self>) {
        if let Some(ballot) = message.led_by()
            && !self.may_promise(now, ballot, Ballot::ZERO)
        {
            // Obeying is promising. Whoever leads in spite of a lease leads an older group; or it is an
            // heir, who says it again.
            return;
        }
        match message {
            Message::Prepare {
                ballot,
                after,
                released,
            } => {
                if self.may_promise(now, ballot, released) {
                    self.on_prepare(from, ballot, after, effects);
                }
            }
            Message::Promise { ballot, page } => self.on_promise(from, ballot, *page, effects),
            Message::Trimmed { ballot, through } => {
                self.on_trimmed(from, ballot, through, effects);
            }
            Message::Reject { ballot, promised } => self.on_reject(ballot, promised, effects),
            Message::Accept {
                ballot,
                run,
                chosen,
            } => self.on_accept(from, ballot, run, chosen, effects),
            Message::Accepted {
                ballot,
                first,
                last,
            } => self.on_accepted(from, ballot, first, last),
            Message::Decide { ballot, chosen } => self.on_decide(from, ballot, chosen, effects),
            Message::Confirm {
                ballot,
                round,
                lease,
            } => {
                self.on_confirm(now, from, (ballot, round, lease), effects);
            }
            Message::Confirmed {
                ballot,
                round,
                granted,
            } => {
                self.on_confirmed(from, (ballot, round, granted), effects);
            }
            Message::Succeed { ballot } => self.on_succeed(now, from, ballot, effects),
            Message::Heartbeat { round } => self.on_heartbeat(from, round, effects),
            Message::Alive {
                round,
                promised,
                leader,
                chosen,
            } => self.on_alive(from, round, promised, leader, chosen),
            Message::Fetch { after, through } => self.on_fetch(from, after, through, effects),
            Message::Learn { runs, chosen } => self.on_learn(from, runs, chosen, effects),
            Message::SnapshotSent { through } => self.on_snapshot_sent(through),
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
            Request::TransferLeadership { token, to } => self.transfer(now, token, to, effects),
            Request::Cancel { token } => self.cancel(token),
            Request::SnapshotTaken(manifest) => self.on_snapshot_taken(manifest, effects),
            Request::SnapshotReceived { manifest, .. } => {
                self.on_snapshot_received(manifest, effects);
            }
            Request::SnapshotProgress { peer, .. } => self.on_snapshot_progress(peer),
            Request::SnapshotFailed { peer, .. } => self.on_snapshot_failed(peer),
        }
    }

    #[inline]
    fn on_durable(&mut self, lsn: Lsn, effects: &mut Effects<Self>) {
        self.since.settle(lsn);
        match &mut self.role {
            Role::Leader(leader) => leader.settle(lsn),
            Role::Candidate(_) => self.own_promise_durable(effects),
            Role::Follower => {}
        }
    }
}
