//! Linearizable reads without a slot: a quorum confirms that nobody has outranked the leader, or has
//! granted it a [lease](crate::lease).
//!
//! Whoever leads next gathers promises from a phase 1 quorum before it proposes. That quorum meets
//! every phase 2 quorum; so if a phase 2 quorum answers, after the read was asked, that it has promised
//! nothing higher, nothing was chosen under a higher ballot when it was asked.

use crate::{
    leader::Leader,
    message::Message,
    node::{MultiPaxos, Role},
    window::Window,
};
use alloc::{collections::VecDeque, vec::Vec};
use consensus_core::{
    Ballot, Early, Effects, Index, NodeId, Time, Token,
    contract::replicated_log::{Event, Reason},
};

/// A read that waits for proof that its leader still led when it was asked.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Waiting {
    token: Token,
    /// Confirmed by this round or a later one; none while it has not begun.
    round: Option<u64>,
}

/// A leader's reads.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Reads {
    round: u64,
    /// A quorum has answered this round.
    confirmed: u64,
    waiting: VecDeque<Waiting>,
}

impl Reads {
    pub(crate) fn take_all(&mut self) -> Vec<Token> {
        self.waiting.drain(..).map(|read| read.token).collect()
    }

    /// The answers may be lost: whoever waits still waits for the next round.
    pub(crate) fn ask_again(&mut self) {
        let confirmed = self.confirmed;
        for read in &mut self.waiting {
            if read.round.is_some_and(|round| round > confirmed) {
                read.round = None;
            }
        }
    }

    /// Begins a round if a read waits for one, or a lease is to be renewed.
    #[inline]
    fn begin(&mut self, renew: bool) -> Option<u64> {
        let waits = self.waiting.back().is_some_and(|read| read.round.is_none());
        if !waits && !renew {
            return None;
        }
        self.round += 1;
        for read in &mut self.waiting {
            read.round.get_or_insert(self.round);
        }
        Some(self.round)
    }
}

/// The newest round that `size` of those who reached these have reached.
fn newest(rounds: impl Iterator<Item = u64>, size: usize) -> u64 {
    let mut rounds: Vec<u64> = rounds.collect();
    rounds.sort_unstable_by(|a, b| b.cmp(a));
    rounds.get(size - 1).copied().unwrap_or(0)
}

impl Leader {
    /// Whether everything taken over from earlier ballots is among what is `chosen`, and everybody has
    /// promised who decides what follows: an earlier leader may have told somebody of it.
    const fn knows_all(&self, chosen: Index) -> bool {
        chosen.0 >= self.recovered.0 && self.promised
    }
}

impl MultiPaxos {
    pub(crate) fn on_read(&mut self, now: Time, token: Token, effects: &mut Effects<Self>) {
        let (hint, index) = (self.leader_known(), self.chosen);
        let trusted = self.config.options.lease_trusted();
        let Role::Leader(leader) = &mut self.role else {
            return effects.emit(Event::Rejected {
                token: Some(token),
                reason: Reason::NotLeader { hint },
            });
        };
        if leader.knows_all(index) && leader.lease.holds(now, trusted) {
            let ready = Event::ReadReady { token, index };
            return effects.emit_early(ready, Early::LeaseHolds);
        }
        leader
            .reads
            .waiting
            .push_back(Waiting { token, round: None });
    }

    pub(crate) fn cancel(&mut self, token: Token) {
        if let Role::Leader(leader) = &mut self.role {
            leader.reads.waiting.retain(|read| read.token != token);
        }
    }

    /// One question for all reads of a batch.
    #[inline]
    pub(crate) fn ask_for_reads(&mut self, now: Time, effects: &mut Effects<Self>) {
        let (ballot, authority, lease) = (self.promised, self.since.lsn(), self.lease_asked());
        let trusted = self.config.options.lease_trusted();
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let renew = core::mem::take(&mut leader.lease.renew);
        let Some(round) = leader.reads.begin(renew) else {
            return;
        };
        let asks = leader.lease.begin(round, now, trusted);
        let lease = if asks { lease } else { 0 };
        for window in &leader.windows {
            let message = Message::Confirm {
                ballot,
                round,
                lease,
            };
            effects.send_early(window.peer, message, Early::Authority(authority));
        }
        self.confirm_reads(effects);
    }

    pub(crate) fn on_confirmed(
        &mut self,
        from: NodeId,
        (ballot, round, granted): (Ballot, u64, bool),
        effects: &mut Effects<Self>,
    ) {
        let promised = self.promised;
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let newest = leader.reads.round;
        if ballot == promised
            && round <= newest
            && let Some(window) = leader.window(from)
        {
            window.round = window.round.max(round);
            if granted {
                window.granted = window.granted.max(round);
            }
            self.confirm_reads(effects);
        }
    }

    /// The newest round that a quorum has answered confirms every read that waited for it or an older
    /// one.
    pub(crate) fn confirm_reads(&mut self, effects: &mut Effects<Self>) {
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let (node, own) = (self.config.node, leader.reads.round);
        // Whoever leads next was promised by a quorum of each that decides a slot not yet chosen.
        let by_all = |of: fn(&Window) -> u64| {
            let rounds = self.group.active().iter().map(|configuration| {
                let reached = |window: &Window| configuration.has(window.peer).then(|| of(window));
                let others = leader.windows.iter().filter_map(reached);
                let own = configuration.has(node).then_some(own);
                newest(others.chain(own), configuration.quorums.phase2_size())
            });
            rounds.min().unwrap_or(0)
        };
        let (confirmed, granted) = (by_all(|w| w.round), by_all(|w| w.granted));
        leader.reads.confirmed = confirmed;
        leader.lease.grant(granted);
        self.serve_reads(effects);
    }

    #[inline]
    pub(crate) fn serve_reads(&mut self, effects: &mut Effects<Self>) {
        let chosen = self.chosen;
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        if !leader.knows_all(chosen) {
            return;
        }
        let reads = &mut leader.reads;
        while let Some(read) = reads.waiting.front()
            && read.round.is_some_and(|round| round <= reads.confirmed)
        {
            // Of those who were asked the first may have been history since: what they decided is
            // chosen.
            let (token, index) = (read.token, chosen);
            // What is chosen a quorum holds on its disks.
            effects.emit_early(Event::ReadReady { token, index }, Early::QuorumHolds);
            reads.waiting.pop_front();
        }
    }
}
