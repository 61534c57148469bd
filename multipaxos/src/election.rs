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
    group::{Configuration, Group},
    leader::Leader,
    message::{Message, Page},
    node::{MultiPaxos, Role, Timer},
    promises::{Promises, Taken},
    record::Record,
};
use alloc::{boxed::Box, collections::BTreeSet, vec::Vec};
use consensus_core::{
    Ballot, Early, Effects, Index, NodeId, Since, Time, contract::replicated_log::Event,
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
    chosen: Index,
}

impl Heard {
    const fn not_yet(peer: NodeId) -> Self {
        Self {
            peer,
            ago: ROUNDS,
            promised: Ballot::ZERO,
            leader: Ballot::ZERO,
            chosen: Index::ZERO,
        }
    }
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
    pub(crate) fn new(group: &Group, node: NodeId) -> Self {
        let mut pulse = Self {
            round: 0,
            peers: Vec::new(),
            connected: false,
            leader_spoke: false,
            candidate: (Ballot::ZERO, Index::ZERO),
            candidate_gets_on: false,
            armed: false,
        };
        pulse.meet(&group.nodes(), node);
        pulse
    }

    /// From here on it is these that `node` asks.
    pub(crate) fn meet(&mut self, nodes: &BTreeSet<NodeId>, node: NodeId) {
        let others = nodes.iter().filter(|peer| **peer != node);
        let peers = others.map(|peer| {
            let known = self.peers.iter().find(|heard| heard.peer == *peer);
            known.cloned().unwrap_or(Heard::not_yet(*peer))
        });
        self.peers = peers.collect();
    }

    /// What `peer` knew as chosen when it last answered, if that was lately.
    pub(crate) fn chosen_at(&self, peer: NodeId) -> Option<Index> {
        let heard = self.lately().find(|heard| heard.peer == peer);
        heard.map(|heard| heard.chosen)
    }

    fn lately(&self) -> impl Iterator<Item = &Heard> + '_ {
        self.peers.iter().filter(|heard| heard.ago < ROUNDS)
    }

    /// The newest leader that somebody speaks of. What they say of `node` itself it knows better: it
    /// led before it was outranked or went down, and they have not noticed.
    fn leader(&self, node: NodeId) -> Ballot {
        let spoken_of = self.lately().map(|heard| heard.leader);
        let others = spoken_of.filter(|leader| leader.node != node);
        others.max().unwrap_or_default()
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

/// Heartbeats.
impl MultiPaxos {
    pub(crate) fn start(&mut self, now: Time, effects: &mut Effects<Self>) {
        self.since.settle(effects.durable());
        self.grant_anew(now);
        let (index, members) = self.group.announced();
        effects.emit(Event::MembersChanged { index, members });
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
            heard.chosen = heard.chosen.max(chosen);
            self.note_ahead(from, chosen);
        }
    }

    pub(crate) fn on_round_over(&mut self, effects: &mut Effects<Self>) {
        self.pulse.connected = !self.config.options.elections || self.reaches_quorums();
        let spoke = core::mem::take(&mut self.pulse.leader_spoke);
        let votes = self.group.is_voter(self.config.node);
        match &self.role {
            Role::Leader(_) => self.reconsider_leading(effects),
            Role::Candidate(_) if self.pulse.connected && votes => self.ask_promises(effects),
            Role::Candidate(_) => self.become_follower(effects),
            Role::Follower => self.look_for_leader(spoke, effects),
        }
        self.fetch_missing(effects);
        self.snapshot_round_over();
        self.begin_round(effects);
    }

    /// Enough for either phase, of all who decide slots not yet chosen.
    fn reaches_quorums(&self) -> bool {
        self.group.active().iter().all(|configuration| {
            let quorums = &configuration.quorums;
            let size = quorums.phase1_size().max(quorums.phase2_size());
            configuration.has_enough(size, |voter| {
                voter == self.config.node || self.pulse.lately().any(|h| h.peer == voter)
            })
        })
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
        let mut seen = self.pulse.leader(self.config.node);
        if spoke {
            seen = seen.max(self.leader);
        }
        self.leader = seen;
        let hopes = core::mem::take(&mut self.pulse.candidate_gets_on);
        let idle = hopes
            || !self.pulse.connected
            || !self.config.options.elections
            || !self.group.is_voter(self.config.node);
        if seen != Ballot::ZERO || idle {
            if core::mem::take(&mut self.pulse.armed) {
                effects.cancel_timer(Timer::Campaign);
            }
        } else if !core::mem::replace(&mut self.pulse.armed, true) {
            effects.set_timer(Timer::Campaign, self.config.options.campaign.clone());
        }
    }

    /// Not while another's lease lasts that this node has granted.
    pub(crate) fn on_campaign_due(&mut self, now: Time, effects: &mut Effects<Self>) {
        self.pulse.armed = false;
        if !matches!(self.role, Role::Follower) || self.leader != Ballot::ZERO {
            return;
        }
        if let Some(left) = self.bound_for(now, self.own, Ballot::ZERO) {
            self.pulse.armed = true;
            let campaign = &self.config.options.campaign;
            let after = left + *campaign.start()..=left + *campaign.end();
            return effects.set_timer(Timer::Campaign, after);
        }
        self.campaign(Ballot::ZERO, effects);
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
        self.grant = None;
        self.leader_chosen = Index::ZERO;
        self.acknowledge = None;
        self.become_follower(effects);
        let lsn = effects.persist(Record::Promised { ballot });
        self.since = Since::new(lsn, effects.durable());
    }

    /// Asks for promises while the own one is being written, but takes office only when it is on disk:
    /// otherwise it could accept for somebody else below its own ballot after a crash. `released`: of
    /// the leader that hands over, if one does.
    pub(crate) fn campaign(&mut self, released: Ballot, effects: &mut Effects<Self>) {
        let node = self.config.node;
        if !self.group.is_voter(node) {
            return;
        }
        let Some(ballot) = self.own.above(self.promised.max(self.pulse.promised())) else {
            return;
        };
        self.promise(ballot, effects);
        let mut promises = Promises::new(self.chosen, released);
        promises.meet(&self.group, node, self.chosen);
        self.role = Role::Candidate(Box::new(promises));
        self.ask_promises(effects);
    }

    /// Asks whoever decides and has not told everything yet.
    pub(crate) fn ask_promises(&self, effects: &mut Effects<Self>) {
        let promises = match &self.role {
            Role::Follower => return,
            Role::Candidate(promises) => promises,
            Role::Leader(leader) if leader.promised => return,
            Role::Leader(leader) => &leader.promises,
        };
        for (peer, told) in promises.missing() {
            if self.group.active().iter().any(|c| c.has(peer)) {
                self.ask_promise(peer, told.max(self.chosen), promises.released, effects);
            }
        }
    }

    fn ask_promise(
        &self,
        peer: NodeId,
        after: Index,
        released: Ballot,
        effects: &mut Effects<Self>,
    ) {
        let message = Message::Prepare {
            ballot: self.promised,
            after,
            released,
        };
        effects.send_early(peer, message, Early::Campaign);
    }

    /// Whether no lease that this node has granted stands against `ballot`. Whoever is not answered
    /// asks again.
    pub(crate) fn may_promise(&self, now: Time, ballot: Ballot, released: Ballot) -> bool {
        ballot <= self.promised || self.bound_for(now, ballot, released).is_none()
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
        // No log is as long: nothing comes after its last place.
        if after == Index(u64::MAX) {
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
        let overtakes = planted!(self.config.options, PromiseBeforeDisk);
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
        let after = if planted!(self.config.options, TrimmedSaysNothing) {
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
        mut page: Page,
        effects: &mut Effects<Self>,
    ) {
        if ballot != self.promised {
            return;
        }
        if planted!(self.config.options, TrimmedSaysNothing) {
            page.after = Index::ZERO;
        }
        let (chosen, node) = (self.chosen, self.config.node);
        let taken = match &mut self.role {
            Role::Follower => None,
            Role::Candidate(promises) => {
                let taken = promises.take(from, &page, chosen);
                if planted!(self.config.options, OnePromiseForAll) && taken.is_some() {
                    promises.take_one(&page);
                } else if taken.is_some() {
                    promises.merge(&page, Index::ZERO);
                }
                taken
            }
            Role::Leader(leader) => {
                // What stands in slots that others decide. In the rest a quorum has spoken.
                let unasked = |c: &&Configuration| !leader.promises.is_quorum(c, Some(node));
                let first = self.group.active().iter().find(unasked).map(|c| c.from);
                let taken = leader.promises.take(from, &page, chosen);
                if let (Some(_), Some(first)) = (taken, first) {
                    leader.promises.merge(&page, first.max(leader.last.next()));
                    let told = leader.promises.highest.last();
                    leader.recovered = leader.recovered.max(told);
                }
                taken
            }
        };
        match taken {
            None => return,
            Some(Taken::AskAfter(next)) => {
                // It has promised: no lease stands against that any more.
                self.ask_promise(from, next, Ballot::ZERO, effects);
            }
            Some(Taken::Complete | Taken::Known) => {}
        }
        if matches!(self.role, Role::Leader(_)) {
            return self.count_votes();
        }
        let known = page.chosen;
        for (_, run) in page.accepted {
            self.learn(run, known, effects);
        }
        self.take_office_if_elected(effects);
    }

    /// The acceptor's snapshot covers what was asked about: its promise counts when that is here.
    /// A leader that still has to ask somebody cannot take it, and leaves the lead to others.
    pub(crate) fn on_trimmed(
        &mut self,
        from: NodeId,
        ballot: Ballot,
        through: Index,
        effects: &mut Effects<Self>,
    ) {
        if ballot != self.promised {
            return;
        }
        if let Role::Leader(leader) = &self.role {
            if leader.promised {
                return;
            }
            self.become_follower(effects);
        }
        self.note_ahead(from, through);
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
        let node = self.config.node;
        let own = self.since.is_durable().then_some(node);
        let Role::Candidate(promises) = &mut self.role else {
            return;
        };
        // Without the own promise nothing is proposed: a leader is its own first acceptor.
        if own.is_none() || !promises.are_enough(&self.group, own) {
            return;
        }
        let (first, last) = (self.chosen.next(), self.slots.last());
        self.slots.each(first, last, |ballot, run| {
            promises.highest.put_higher(ballot, &run);
        });
        let none = Promises::new(self.chosen, Ballot::ZERO);
        let promises = core::mem::replace(promises, Box::new(none));
        let leader = Leader::new(promises, self.chosen, effects.durable());
        self.role = Role::Leader(Box::new(leader));
        self.meet_acceptors();
        self.renew_lease();
        self.recover_slots(effects);
    }
}
