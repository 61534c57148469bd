//! Linearizable reads without a slot: a quorum confirms that nobody has outranked the leader.
//!
//! Whoever leads next gathers promises from a phase 1 quorum before it proposes. That quorum meets
//! every phase 2 quorum; so if a phase 2 quorum answers, after the read was asked, that it has promised
//! nothing higher, nothing was chosen under a higher ballot when it was asked.

use crate::{
    message::Message,
    node::{MultiPaxos, Role},
    window::Window,
};
use alloc::{collections::VecDeque, vec::Vec};
use consensus_core::{
    Ballot, Early, Effects, NodeId, Token,
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

    /// Begins a round if a read waits for one.
    #[inline]
    fn begin(&mut self) -> Option<u64> {
        self.waiting.back().filter(|read| read.round.is_none())?;
        self.round += 1;
        for read in &mut self.waiting {
            read.round.get_or_insert(self.round);
        }
        Some(self.round)
    }
}

impl MultiPaxos {
    pub(crate) fn on_read(&mut self, token: Token, effects: &mut Effects<Self>) {
        let hint = self.leader_known();
        let Role::Leader(leader) = &mut self.role else {
            return effects.emit(Event::Rejected {
                token: Some(token),
                reason: Reason::NotLeader { hint },
            });
        };
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
    pub(crate) fn ask_for_reads(&mut self, effects: &mut Effects<Self>) {
        let (ballot, authority) = (self.promised, self.since.lsn());
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let Some(round) = leader.reads.begin() else {
            return;
        };
        for window in &leader.windows {
            let message = Message::Confirm { ballot, round };
            effects.send_early(window.peer, message, Early::Authority(authority));
        }
        self.confirm_reads(effects);
    }

    pub(crate) fn on_confirmed(
        &mut self,
        from: NodeId,
        ballot: Ballot,
        round: u64,
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
            self.confirm_reads(effects);
        }
    }

    /// The newest round that a quorum has answered confirms every read that waited for it or an older
    /// one.
    pub(crate) fn confirm_reads(&mut self, effects: &mut Effects<Self>) {
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let own = leader.reads.round;
        let confirmed = self.group.active().iter().map(|configuration| {
            let votes = |window: &&Window| configuration.has(window.peer);
            let others = leader.windows.iter().filter(votes).map(|w| w.round);
            let own = configuration.has(self.config.node).then_some(own);
            let mut rounds: Vec<u64> = others.chain(own).collect();
            rounds.sort_unstable_by(|a, b| b.cmp(a));
            let size = configuration.quorums.phase2_size();
            rounds.get(size - 1).copied().unwrap_or(0)
        });
        // Whoever leads next was promised by a quorum of each that decides a slot not yet chosen.
        leader.reads.confirmed = confirmed.min().unwrap_or(0);
        self.serve_reads(effects);
    }

    /// Not before everything taken over from earlier ballots is chosen: an earlier leader may have
    /// told somebody of it.
    #[inline]
    pub(crate) fn serve_reads(&mut self, effects: &mut Effects<Self>) {
        let chosen = self.chosen;
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        if chosen < leader.recovered || !leader.promised {
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
