//! Who leads: heartbeat rounds between all nodes, and phase 1 for the whole log.
//!
//! A leader is whoever gathers promises from a phase 1 quorum; that alone is safe. *Who* should try is
//! decided as in Omni-Paxos [Ng23 §5]: a node that reaches a quorum, both ways, campaigns when it sees
//! no leader that reaches one too. It sees the leader itself, or somebody who has heard the leader with
//! his own ears; not further, or the word could go round in circles.
//!
//! ```text
//!   quorum lost            chain                 what the others see
//!   b   d                  a --- b --- c         a hears from b that c leads, and that b
//!    \ /                   (c leads)             has heard c itself: a keeps quiet.
//!     a --- c (leads)                            If b is lost to c, c says that it reaches no
//!    /                                           quorum, and a campaigns.
//!   e
//! ```

use crate::{
    acceptor::answer,
    leader::Leader,
    message::{Message, Page},
    node::{MultiPaxos, Role, Timer},
    record::Record,
    slots::Slots,
};
use alloc::{boxed::Box, vec::Vec};
use consensus_core::{
    Ballot, Early, Effects, Index, Members, NodeId, Since, Tally, contract::replicated_log::Event,
};

/// Heartbeat rounds without an answer after which a peer counts as unreachable. Two, so that an answer
/// may take a whole round to arrive.
const ROUNDS: u64 = 2;

/// What a peer last said of itself.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Heard {
    peer: NodeId,
    /// Rounds since it last answered.
    ago: u64,
    promised: Ballot,
    leader: Ballot,
}

/// The heartbeat of one node.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Pulse {
    round: u64,
    peers: Vec<Heard>,
    /// Reached a quorum in the last rounds, both ways.
    pub(crate) connected: bool,
    /// A leader's own message came since the last round.
    pub(crate) leader_spoke: bool,
    /// What the candidate of the promised ballot asked about last, and whether that was news since
    /// the last round: whoever gets on is not disturbed by another campaign.
    candidate: (Ballot, Index),
    candidate_gets_on: bool,
    /// The alarm to campaign is set.
    armed: bool,
}

impl Pulse {
    pub(crate) fn new(members: &Members, node: NodeId) -> Self {
        let unheard = |peer| Heard {
            peer,
            ago: ROUNDS,
            promised: Ballot::ZERO,
            leader: Ballot::ZERO,
        };
        Self {
            round: 0,
            peers: members.others(node).map(unheard).collect(),
            connected: false,
            leader_spoke: false,
            candidate: (Ballot::ZERO, Index::ZERO),
            candidate_gets_on: false,
            armed: false,
        }
    }

    fn lately(&self) -> impl Iterator<Item = &Heard> + '_ {
        self.peers.iter().filter(|heard| heard.ago < ROUNDS)
    }

    /// The newest leader that somebody speaks of.
    fn leader(&self) -> Ballot {
        self.lately()
            .map(|heard| heard.leader)
            .max()
            .unwrap_or_default()
    }

    /// Whether the leader of `ballot` has said so itself.
    fn heard_itself(&self, ballot: Ballot) -> bool {
        self.lately()
            .any(|heard| heard.peer == ballot.node && heard.leader == ballot)
    }

    /// The highest promise that anybody has spoken of.
    fn promised(&self) -> Ballot {
        let promised = self.peers.iter().map(|heard| heard.promised);
        promised.max().unwrap_or_default()
    }
}

/// A candidate's promises.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Candidate {
    /// Up to where each peer has told what it accepted.
    asked: Vec<(NodeId, Index)>,
    /// Whose promise is complete.
    promised: Tally,
    /// The entries of the highest ballot in each slot, of those told.
    highest: Slots,
    /// The highest ballot told so far: for a planted bug alone.
    best: Ballot,
}

impl Candidate {
    /// A planted bug: keeps the promise with the highest ballot and forgets the others.
    fn take_one_promise(&mut self, page: &Page) {
        let best = page.accepted.iter().map(|(ballot, _)| *ballot).max();
        if best.is_some_and(|best| best > self.best) {
            self.best = best.unwrap_or_default();
            self.highest = Slots::default();
            for (ballot, run) in &page.accepted {
                self.highest.put(*ballot, run.clone());
            }
        }
    }
}

/// Heartbeats.
impl MultiPaxos {
    pub(crate) fn start(&mut self, effects: &mut Effects<Self>) {
        self.since.settle(effects.durable());
        effects.emit(Event::MembersChanged {
            index: Index::ZERO,
            members: Box::new(self.config.membership()),
        });
        if let Some(manifest) = &self.snapshot {
            effects.emit(Event::Restore(manifest.clone()));
        }
        self.begin_round(effects);
    }

    /// Held like everything that is not a reply to the leader: a node whose disk hangs falls silent.
    fn begin_round(&mut self, effects: &mut Effects<Self>) {
        self.pulse.round += 1;
        let round = self.pulse.round;
        if self.config.options.elections {
            for heard in &mut self.pulse.peers {
                heard.ago = (heard.ago + 1).min(ROUNDS);
                effects.send(heard.peer, Message::Heartbeat { round });
            }
        }
        let heartbeat = self.config.options.heartbeat;
        effects.set_timer(Timer::Heartbeat, heartbeat..=heartbeat + heartbeat / 8);
    }

    pub(crate) fn on_heartbeat(&self, from: NodeId, round: u64, effects: &mut Effects<Self>) {
        let leader = match self.role {
            Role::Leader(_) if self.pulse.connected => self.promised,
            Role::Leader(_) => Ballot::ZERO,
            // Hearsay is not passed on.
            _ if self.pulse.leader_spoke || self.pulse.heard_itself(self.leader) => self.leader,
            _ => Ballot::ZERO,
        };
        effects.send(
            from,
            Message::Alive {
                round,
                promised: self.promised,
                leader,
                chosen: self.chosen,
            },
        );
    }

    pub(crate) fn on_alive(
        &mut self,
        from: NodeId,
        round: u64,
        promised: Ballot,
        leader: Ballot,
        chosen: Index,
    ) {
        let now = self.pulse.round;
        let sound = [promised, leader]
            .iter()
            .all(|ballot| *ballot == Ballot::ZERO || ballot.is_sound());
        if round > now || round + ROUNDS <= now || !sound {
            return;
        }
        if let Some(heard) = self.pulse.peers.iter_mut().find(|h| h.peer == from) {
            heard.ago = heard.ago.min(now - round);
            (heard.promised, heard.leader) = (heard.promised.max(promised), leader);
            self.note_ahead(from, chosen);
        }
    }

    pub(crate) fn on_round_over(&mut self, effects: &mut Effects<Self>) {
        let reached = self.pulse.lately().count() + 1;
        let elections = self.config.options.elections;
        self.pulse.connected = !elections || reached >= self.config.connected_size();
        let spoke = core::mem::take(&mut self.pulse.leader_spoke);
        match &self.role {
            Role::Leader(_) => self.reconsider_leading(effects),
            Role::Candidate(_) if self.pulse.connected => self.ask_promises(effects),
            Role::Candidate(_) => self.become_follower(effects),
            Role::Follower => self.look_for_leader(spoke, effects),
        }
        self.fetch_missing(effects);
        self.snapshot_round_over();
        self.begin_round(effects);
    }

    /// A leader that reaches no quorum is none, and one that somebody has promised to outrank will not
    /// be heard there.
    fn reconsider_leading(&mut self, effects: &mut Effects<Self>) {
        let outranked = self.pulse.lately().any(|h| h.promised > self.promised);
        if outranked || !self.pulse.connected {
            return self.become_follower(effects);
        }
        self.leader_round_over(effects);
    }

    fn look_for_leader(&mut self, spoke: bool, effects: &mut Effects<Self>) {
        let mut seen = self.pulse.leader();
        if spoke {
            seen = seen.max(self.leader);
        }
        self.leader = seen;
        let hopes = core::mem::take(&mut self.pulse.candidate_gets_on);
        let idle = hopes || !self.pulse.connected || !self.config.options.elections;
        if seen != Ballot::ZERO || idle {
            if core::mem::take(&mut self.pulse.armed) {
                effects.cancel_timer(Timer::Campaign);
            }
        } else if !core::mem::replace(&mut self.pulse.armed, true) {
            effects.set_timer(Timer::Campaign, self.config.options.campaign.clone());
        }
    }

    pub(crate) fn on_campaign_due(&mut self, effects: &mut Effects<Self>) {
        self.pulse.armed = false;
        if matches!(self.role, Role::Follower) && self.leader == Ballot::ZERO {
            self.campaign(effects);
        }
    }

    pub(crate) fn become_follower(&mut self, effects: &mut Effects<Self>) {
        self.leader = Ballot::ZERO;
        self.leader_chosen = Index::ZERO;
        let role = core::mem::replace(&mut self.role, Role::Follower);
        if let Role::Leader(leader) = role {
            leader.refuse_waiting(effects);
        }
    }

    /// Who leads, as this node knows.
    pub(crate) fn leader_known(&self) -> Option<NodeId> {
        match &self.role {
            Role::Leader(_) => Some(self.config.node),
            _ => (self.leader != Ballot::ZERO).then_some(self.leader.node),
        }
    }

    #[inline]
    pub(crate) fn tell_leader(&mut self, effects: &mut Effects<Self>) {
        let ballot = match &self.role {
            Role::Leader(_) => self.promised,
            _ => self.leader,
        };
        let told = self.leader_told.map_or(Ballot::ZERO, |(told, _)| told);
        // An older leader than the one told before is as good as none.
        let (epoch, leader) = if ballot < told || ballot == Ballot::ZERO {
            (told, None)
        } else {
            (ballot, Some(ballot.node))
        };
        if self.leader_told == Some((epoch, leader)) {
            return;
        }
        self.leader_told = Some((epoch, leader));
        effects.emit(Event::LeaderChanged {
            epoch: epoch.into(),
            leader,
        });
    }
}

/// Phase 1.
impl MultiPaxos {
    /// Raises this node's own promise to `ballot`.
    pub(crate) fn promise(&mut self, ballot: Ballot, effects: &mut Effects<Self>) {
        debug_assert!(ballot > self.promised, "promises only rise");
        self.promised = ballot;
        self.leader_chosen = Index::ZERO;
        self.acknowledge = None;
        self.become_follower(effects);
        let lsn = effects.persist(Record::Promised { ballot });
        self.since = Since::new(lsn, effects.durable());
    }

    /// Asks for promises while the own one is being written, but takes office only when it is on disk:
    /// otherwise it could accept for somebody else below its own ballot after a crash.
    pub(crate) fn campaign(&mut self, effects: &mut Effects<Self>) {
        let Some(ballot) = self.own.above(self.promised.max(self.pulse.promised())) else {
            return;
        };
        self.promise(ballot, effects);
        let members = self.config.quorums.members();
        self.role = Role::Candidate(Box::new(Candidate {
            asked: members
                .others(self.config.node)
                .map(|peer| (peer, self.chosen))
                .collect(),
            promised: Tally::EMPTY,
            highest: Slots::after(self.chosen, consensus_core::Epoch::ZERO),
            best: Ballot::ZERO,
        }));
        self.ask_promises(effects);
    }

    /// Asks whoever has not told everything yet.
    fn ask_promises(&self, effects: &mut Effects<Self>) {
        let Role::Candidate(candidate) = &self.role else {
            return;
        };
        let members = self.config.quorums.members();
        for (peer, told) in &candidate.asked {
            if !candidate.promised.has(members, *peer) {
                self.ask_promise(*peer, (*told).max(self.chosen), effects);
            }
        }
    }

    fn ask_promise(&self, peer: NodeId, after: Index, effects: &mut Effects<Self>) {
        let ballot = self.promised;
        effects.send_early(peer, Message::Prepare { ballot, after }, Early::Campaign);
    }

    pub(crate) fn on_prepare(
        &mut self,
        from: NodeId,
        ballot: Ballot,
        after: Index,
        effects: &mut Effects<Self>,
    ) {
        if !ballot.is_sound() || ballot.node != from || from == self.config.node {
            return;
        }
        if ballot < self.promised {
            let promised = self.promised;
            return effects.send(from, Message::Reject { ballot, promised });
        }
        if ballot > self.promised {
            self.promise(ballot, effects);
        }
        if (ballot, after) > self.pulse.candidate {
            self.pulse.candidate = (ballot, after);
            self.pulse.candidate_gets_on = true;
        }
        let overtakes = planted!(self.config, PromiseBeforeDisk);
        let message = match self.page(after) {
            Some(page) => Message::Promise {
                ballot,
                page: Box::new(page),
            },
            None => {
                let Some(through) = self.send_snapshot(from, effects) else {
                    return;
                };
                Message::Trimmed { ballot, through }
            }
        };
        answer(from, message, overtakes, effects);
    }

    /// What was accepted after `after`, as much as one message may carry; none when it is no longer
    /// here [Lamport01 §3: the snapshot takes its place].
    fn page(&self, after: Index) -> Option<Page> {
        let after = if planted!(self.config, TrimmedSaysNothing) {
            after.max(self.slots.base())
        } else {
            after
        };
        if after < self.slots.base() {
            return None;
        }
        let mut accepted = Vec::new();
        let (mut bytes, mut through, mut last) = (0, after, true);
        self.slots
            .each(after.next(), self.slots.last(), |ballot, run| {
                let room = self.config.options.append_bytes_max.saturating_sub(bytes);
                if !last || !accepted.is_empty() && run.payload_bytes() > room {
                    last = false;
                    return;
                }
                let part = run.beginning(room);
                last = part.count() == run.count();
                bytes += part.payload_bytes();
                through = part.last();
                accepted.push((ballot, part));
            });
        Some(Page {
            after,
            through,
            last,
            chosen: self.chosen,
            accepted,
        })
    }

    pub(crate) fn on_promise(
        &mut self,
        from: NodeId,
        ballot: Ballot,
        page: Page,
        effects: &mut Effects<Self>,
    ) {
        if ballot != self.promised {
            return;
        }
        let Role::Candidate(candidate) = &mut self.role else {
            return;
        };
        let Some((_, told)) = candidate.asked.iter_mut().find(|(peer, _)| *peer == from) else {
            return;
        };
        let trimmed = planted!(self.config, TrimmedSaysNothing);
        // An older page, or one that leaves a gap, proves nothing about the slots between.
        if page.through < *told || page.after > (*told).max(self.chosen) && !trimmed {
            return;
        }
        let news = page.through > *told;
        *told = page.through.max(*told);
        let next = *told;
        if page.last {
            candidate.promised.add(self.config.quorums.members(), from);
        }
        if planted!(self.config, OnePromiseForAll) {
            candidate.take_one_promise(&page);
        } else {
            for (ballot, run) in &page.accepted {
                candidate.highest.put_higher(*ballot, run);
            }
        }
        let (complete, known) = (page.last, page.chosen);
        for (_, run) in page.accepted {
            self.learn(run, known, effects);
        }
        if complete {
            self.take_office_if_elected(effects);
        } else if news {
            // A page that came twice is answered by one question.
            self.ask_promise(from, next, effects);
        }
    }

    /// The acceptor's snapshot covers what was asked about: its promise counts when that is here.
    pub(crate) fn on_trimmed(&mut self, from: NodeId, ballot: Ballot, through: Index) {
        if ballot == self.promised {
            self.note_ahead(from, through);
        }
    }

    pub(crate) fn on_reject(
        &mut self,
        ballot: Ballot,
        promised: Ballot,
        effects: &mut Effects<Self>,
    ) {
        let mine = ballot == self.promised && ballot.node == self.config.node;
        if mine && promised > ballot && promised.is_sound() {
            if let Some(heard) = self
                .pulse
                .peers
                .iter_mut()
                .find(|h| h.peer == promised.node)
            {
                // So that the next campaign outranks it.
                heard.promised = heard.promised.max(promised);
            }
            if !matches!(self.role, Role::Follower) {
                self.become_follower(effects);
            }
        }
    }

    pub(crate) fn own_promise_durable(&mut self, effects: &mut Effects<Self>) {
        if self.since.is_durable() {
            self.take_office_if_elected(effects);
        }
    }

    fn take_office_if_elected(&mut self, effects: &mut Effects<Self>) {
        let (quorums, node) = (&self.config.0.quorums, self.config.node);
        let Role::Candidate(candidate) = &mut self.role else {
            return;
        };
        if self.since.is_durable() {
            candidate.promised.add(quorums.members(), node);
        }
        // Without the own promise nothing is proposed: a leader is its own first acceptor.
        if !self.since.is_durable() || !quorums.is_phase1(candidate.promised) {
            return;
        }
        let highest = core::mem::take(&mut candidate.highest);
        self.role = Role::Leader(Box::new(Leader::new(
            quorums.members().others(node),
            self.chosen,
            effects.durable(),
        )));
        self.recover_slots(highest, effects);
    }
}
