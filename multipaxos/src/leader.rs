//! The leader: recovering slots, proposing, and counting acceptances [Lamport01 §3].

use crate::{
    message::Message,
    node::{MultiPaxos, Role},
    read::Reads,
    record::Record,
    slots::Slots,
    transfer::Transfer,
    window::Window,
};
use alloc::vec::Vec;
use consensus_core::{
    Early, Effects, Epoch, Index, Lsn, NodeId, Token, Unsynced,
    contract::replicated_log::{Event, Reason},
    log::{Commands, EntryKind, Place, Run},
};

/// What a leader knows beyond the others.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Leader {
    pub(crate) windows: Vec<Window>,
    /// Commands of this batch, which become one run at its end.
    proposed: Vec<(Option<Token>, Commands)>,
    /// Own acceptances that the own disk has not reported yet.
    unsynced: Unsynced<Index>,
    /// Up to here the own acceptances are on disk.
    own: Index,
    /// The last slot proposed.
    pub(crate) last: Index,
    /// The last slot taken over from earlier ballots: reads wait until it is chosen.
    pub(crate) recovered: Index,
    /// Somebody's acceptances moved in this batch.
    moved: bool,
    /// Payload bytes proposed and not chosen.
    unchosen_bytes: usize,
    pub(crate) reads: Reads,
    pub(crate) transfer: Option<Transfer>,
}

impl Leader {
    pub(crate) fn new(peers: impl Iterator<Item = NodeId>, chosen: Index, durable: Lsn) -> Self {
        Self {
            windows: peers.map(|peer| Window::new(peer, chosen)).collect(),
            proposed: Vec::new(),
            unsynced: Unsynced::new(durable),
            own: chosen,
            last: chosen,
            recovered: chosen,
            // A group of one has nobody else to move.
            moved: true,
            unchosen_bytes: 0,
            reads: Reads::default(),
            transfer: None,
        }
    }

    /// The own disk has everything up to `lsn`.
    #[inline]
    pub(crate) fn settle(&mut self, lsn: Lsn) {
        if let Some(own) = self.unsynced.settle_newest(lsn) {
            self.own = own;
            self.moved = true;
        }
    }

    pub(crate) fn window(&mut self, peer: NodeId) -> Option<&mut Window> {
        self.windows.iter_mut().find(|window| window.peer == peer)
    }

    /// The last slot up to which `size` acceptors, this one included, have accepted everything.
    #[inline]
    fn accepted_by(&self, size: usize) -> Index {
        // Groups are small: comparing each with each beats sorting.
        let all = || {
            let others = self.windows.iter().map(|window| window.through);
            core::iter::once(self.own).chain(others)
        };
        let by_enough = |reached: &Index| all().filter(|other| other >= reached).count() >= size;
        all().filter(by_enough).max().unwrap_or_default()
    }

    /// What waits at a leader that leads no more is certainly not done.
    pub(crate) fn refuse_waiting(mut self, effects: &mut Effects<MultiPaxos>) {
        let reason = Reason::NotLeader { hint: None };
        let proposals = self.proposed.drain(..).map(|(token, _)| token);
        let reads = self.reads.take_all().into_iter().map(Some);
        for token in proposals.chain(reads) {
            let reason = reason.clone();
            effects.emit(Event::Rejected { token, reason });
        }
    }
}

impl MultiPaxos {
    /// Puts the value of the highest ballot into each slot that somebody has told of, and a no-op into
    /// each hole between: somebody who was not asked may hold a value there, and whoever proposed it
    /// must be able to learn that it is lost [Lamport01 §3].
    pub(crate) fn recover_slots(&mut self, mut highest: Slots, effects: &mut Effects<Self>) {
        let first = self.chosen.next();
        let last = highest.last().max(self.slots.last());
        self.slots
            .each(first, last, |ballot, run| highest.put_higher(ballot, &run));
        let mut next = first;
        let mut recovered = Vec::new();
        highest.each(first, last, |_, run| {
            if next < run.first() {
                recovered.push(self.noops(next, run.first()));
            }
            next = run.last().next();
            recovered.push(run);
        });
        if planted!(self.config, HoleFilledWithCommand) {
            self.plant_commands(&mut recovered);
        }
        for run in recovered {
            self.accept_own(run, effects);
        }
        if let Role::Leader(leader) = &mut self.role {
            leader.recovered = leader.last;
        }
    }

    /// No-ops for `first..end`.
    fn noops(&self, first: Index, end: Index) -> Run {
        let mut commands = Commands::default();
        (first.0..end.0).for_each(|_| commands.push(b""));
        commands.place(Place {
            first,
            epoch: self.promised.into(),
            previous: Epoch::ZERO,
            kind: EntryKind::Noop,
        })
    }

    /// A planted bug.
    fn plant_commands(&self, recovered: &mut [Run]) {
        for run in recovered.iter_mut().filter(|r| r.kind() == EntryKind::Noop) {
            if run.epoch() == self.promised.into() {
                let mut commands = Commands::default();
                (0..run.count()).for_each(|_| commands.push(b"a new command"));
                *run = commands.place(Place {
                    first: run.first(),
                    epoch: run.epoch(),
                    previous: Epoch::ZERO,
                    kind: EntryKind::Command,
                });
            }
        }
    }

    #[inline]
    pub(crate) fn propose(
        &mut self,
        token: Option<Token>,
        commands: Commands,
        effects: &mut Effects<Self>,
    ) {
        let (bound, hint) = (self.config.options.unchosen_bytes_max, self.leader_known());
        let Role::Leader(leader) = &mut self.role else {
            let reason = Reason::NotLeader { hint };
            return effects.emit(Event::Rejected { token, reason });
        };
        let bytes = commands.payload_bytes();
        if leader.unchosen_bytes > 0 && leader.unchosen_bytes + bytes > bound {
            let reason = Reason::Busy;
            return effects.emit(Event::Rejected { token, reason });
        }
        if !commands.is_empty() {
            leader.unchosen_bytes += bytes;
            leader.proposed.push((token, commands));
        }
    }

    /// The leader is its own first acceptor.
    #[inline]
    fn accept_own(&mut self, run: Run, effects: &mut Effects<Self>) {
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let ballot = self.promised;
        let lsn = effects.persist(Record::Accepted {
            ballot,
            run: run.clone(),
        });
        leader.last = run.last();
        leader.unsynced.push(lsn, run.last());
        self.slots.put(ballot, run);
    }

    #[inline]
    pub(crate) fn flush_leader(&mut self, effects: &mut Effects<Self>) {
        self.accept_proposed(effects);
        self.advance_chosen(effects);
        self.ask_for_reads(effects);
        self.replicate(effects);
    }

    /// Makes one run of everything proposed in this batch.
    #[inline]
    fn accept_proposed(&mut self, effects: &mut Effects<Self>) {
        let epoch: Epoch = self.promised.into();
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        if leader.proposed.is_empty() {
            return;
        }
        let place = Place {
            first: leader.last.next(),
            epoch,
            ..Place::default()
        };
        let mut first = place.first;
        let mut all = Commands::default();
        for (token, commands) in leader.proposed.drain(..) {
            let count = commands.count() as u64;
            if let Some(token) = token {
                // A fact about this leader's own memory; the disk has no say in it.
                effects.emit_early(
                    Event::Appended {
                        token,
                        first,
                        epoch,
                    },
                    Early::Authority(self.since.lsn()),
                );
            }
            first = Index(first.0 + count);
            all.append(commands);
        }
        self.accept_own(all.place(place), effects);
    }

    /// A slot is chosen once a phase 2 quorum has accepted it under this ballot.
    #[inline]
    fn advance_chosen(&mut self, effects: &mut Effects<Self>) {
        let size = self.config.quorums.phase2_size();
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        if !core::mem::take(&mut leader.moved) {
            return;
        }
        let reached = leader.accepted_by(size);
        if reached <= self.chosen {
            return;
        }
        let mut bytes = 0;
        self.slots.each(self.chosen.next(), reached, |_, run| {
            bytes += run.payload_bytes();
        });
        leader.unchosen_bytes = leader.unchosen_bytes.saturating_sub(bytes);
        self.chosen = reached;
        self.serve_reads(effects);
    }

    /// Sends everybody what they lack, within their windows.
    #[inline]
    fn replicate(&mut self, effects: &mut Effects<Self>) {
        let (ballot, chosen, authority) = (self.promised, self.chosen, self.since.lsn());
        let options = &self.config.0.options;
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        for window in &mut leader.windows {
            let mut carried = false;
            window.skip(self.slots.base());
            while let Some((from, to)) = window.due(
                leader.last,
                options.inflight_accepts_max,
                options.inflight_bytes_max,
            ) {
                let Some(run) = self.slots.gather(from, to, options.append_bytes_max) else {
                    break;
                };
                window.sent(run.last(), run.payload_bytes());
                let message = Message::Accept {
                    ballot,
                    run,
                    chosen,
                };
                if options.parallel_write {
                    effects.send_early(window.peer, message, Early::Authority(authority));
                } else {
                    effects.send(window.peer, message);
                }
                carried = true;
            }
            if carried {
                window.announced = Some(chosen);
            } else if window.announced.is_none_or(|announced| announced < chosen)
                && window.through >= chosen
            {
                // Nothing to ride on: it is announced by itself.
                window.announced = Some(chosen);
                let message = Message::Decide { ballot, chosen };
                effects.send_early(window.peer, message, Early::Authority(authority));
            }
        }
    }

    #[inline]
    pub(crate) fn on_accepted(
        &mut self,
        from: NodeId,
        ballot: consensus_core::Ballot,
        first: Index,
        last: Index,
    ) {
        let late = planted!(self.config, LateAcceptances) && ballot.node == self.config.node;
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        // An acceptance of a ballot that was given up says nothing about this one's values.
        let current = ballot == self.promised || late;
        if !current || first > last || last > leader.last {
            return;
        }
        if let Some(window) = leader.windows.iter_mut().find(|w| w.peer == from) {
            leader.moved |= window.accepted(first, last);
        }
    }

    /// A heartbeat round is over: what was lost goes out again.
    pub(crate) fn leader_round_over(&mut self, effects: &mut Effects<Self>) {
        let chosen = self.chosen;
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        leader.windows.iter_mut().for_each(|w| w.tick(chosen));
        leader.reads.ask_again();
        self.transfer_round_over(effects);
    }
}
