//! The leader: recovering slots, proposing, and counting acceptances [Lamport01 §3].

use crate::{
    lease::Lease,
    message::Message,
    node::{MultiPaxos, Role},
    promises::Promises,
    read::Reads,
    record::Record,
    transfer::Transfer,
    window::Window,
};
use alloc::{boxed::Box, collections::VecDeque, vec::Vec};
use consensus_core::{
    Early, Effects, Epoch, Index, Lsn, NodeId, Time, Token, Unsynced,
    contract::replicated_log::{Event, Membership, Reason},
    log::{Commands, EntryKind, Place, Run},
};

/// What waits for its place in the log.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Proposed {
    Commands(Option<Token>, Commands),
    /// Who shall belong.
    Members(Box<Membership>),
}

/// What a leader knows beyond the others.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Leader {
    pub(crate) windows: Vec<Window>,
    /// What has no place yet. All that there is room for gets it at the end of a batch.
    proposed: VecDeque<Proposed>,
    /// Its own acceptance counts in the next slot.
    pub(crate) own_votes: bool,
    /// Phase 1, which goes on when others decide.
    pub(crate) promises: Box<Promises>,
    /// A phase 1 quorum of each that decides a slot not yet chosen has promised.
    pub(crate) promised: bool,
    /// The last slot to propose in for other reasons than α.
    pub(crate) last_allowed: Index,
    /// Up to here nothing may stay empty for long: a change holds after it.
    pub(crate) fill_through: Index,
    /// The newest entry about members that it has placed; beyond everything while one waits for its
    /// place.
    pub(crate) change: Index,
    /// Own acceptances that the own disk has not reported yet.
    unsynced: Unsynced<Index>,
    /// Up to here the own acceptances are on disk.
    own: Index,
    /// The last slot proposed.
    pub(crate) last: Index,
    /// The last slot taken over from earlier ballots: reads wait until it is chosen.
    pub(crate) recovered: Index,
    /// Somebody's acceptances moved in this batch.
    pub(crate) moved: bool,
    /// Payload bytes proposed and not chosen.
    unchosen_bytes: usize,
    pub(crate) reads: Reads,
    pub(crate) lease: Lease,
    pub(crate) transfer: Option<Transfer>,
}

impl Leader {
    pub(crate) fn new(promises: Box<Promises>, chosen: Index, durable: Lsn) -> Self {
        Self {
            windows: Vec::new(),
            proposed: VecDeque::new(),
            own_votes: false,
            promises,
            promised: true,
            last_allowed: chosen,
            fill_through: chosen,
            change: Index::ZERO,
            unsynced: Unsynced::new(durable),
            own: chosen,
            last: chosen,
            recovered: chosen,
            // A group of one has nobody else to move.
            moved: true,
            unchosen_bytes: 0,
            reads: Reads::default(),
            lease: Lease::default(),
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

    /// The last slot up to which `size` of those who decide the next one have accepted everything.
    #[inline]
    fn accepted_by(&self, size: usize) -> Index {
        // Groups are small: comparing each with each beats sorting.
        let all = || {
            let others = self.windows.iter().filter(|window| window.votes);
            let own = self.own_votes.then_some(self.own);
            own.into_iter().chain(others.map(|window| window.through))
        };
        let by_enough = |reached: &Index| all().filter(|other| other >= reached).count() >= size;
        all().filter(by_enough).max().unwrap_or_default()
    }

    /// A batch that can never be under way as a whole. Its parts follow on each other.
    #[cold]
    fn propose_parts(&mut self, mut token: Option<Token>, commands: &Commands, room: u64) {
        let mut part = Commands::default();
        for command in commands.iter() {
            part.push(command);
            if part.count() as u64 == room {
                let part = core::mem::take(&mut part);
                self.proposed
                    .push_back(Proposed::Commands(token.take(), part));
            }
        }
        if !part.is_empty() {
            self.proposed
                .push_back(Proposed::Commands(token.take(), part));
        }
    }

    /// What waits at a leader that leads no more is certainly not done.
    pub(crate) fn refuse_waiting(mut self, effects: &mut Effects<MultiPaxos>) {
        let reason = Reason::NotLeader { hint: None };
        let tokens = self
            .proposed
            .drain(..)
            .filter_map(|proposed| match proposed {
                Proposed::Commands(token, _) => token.map(Some),
                Proposed::Members(_) => None,
            });
        let proposals: Vec<_> = tokens.collect();
        let reads = self.reads.take_all().into_iter().map(Some);
        for token in proposals.into_iter().chain(reads) {
            let reason = reason.clone();
            effects.emit(Event::Rejected { token, reason });
        }
    }
}

impl MultiPaxos {
    /// Puts the value of the highest ballot into each slot that somebody has told of, and a no-op into
    /// each hole between: somebody who was not asked may hold a value there, and whoever proposed it
    /// must be able to learn that it is lost [Lamport01 §3]. As far as slots may be proposed now.
    #[cold]
    pub(crate) fn recover_slots(&mut self, effects: &mut Effects<Self>) {
        let limit = self.limit();
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let (first, all) = (leader.last.next(), leader.promises.highest.last());
        leader.recovered = leader.recovered.max(all);
        let last = all.min(limit);
        let mut told = Vec::new();
        leader
            .promises
            .highest
            .each(first, last, |_, run| told.push(run));
        if all <= last {
            leader.promises.recovered(all);
        }
        let mut next = first;
        let mut recovered = Vec::new();
        for run in told {
            if next < run.first() {
                recovered.push(self.noops(next, run.first()));
            }
            next = run.last().next();
            recovered.push(run);
        }
        if next <= last {
            recovered.push(self.noops(next, last.next()));
        }
        if planted!(self.config.options, HoleFilledWithCommand) {
            self.plant_commands(&mut recovered);
        }
        for run in recovered {
            self.accept_own(run, effects);
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
        if commands.is_empty() {
            return;
        }
        leader.unchosen_bytes += bytes;
        let room = self.config.0.options.alpha - 1;
        if commands.count() as u64 <= room {
            leader
                .proposed
                .push_back(Proposed::Commands(token, commands));
        } else {
            leader.propose_parts(token, &commands, room);
        }
    }

    pub(crate) fn propose_members(&mut self, members: Box<Membership>) {
        if let Role::Leader(leader) = &mut self.role {
            leader.change = Index(u64::MAX);
            leader.proposed.push_back(Proposed::Members(members));
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
        self.marks.wrote(lsn, run.last());
        leader.last = run.last();
        leader.unsynced.push(lsn, run.last());
        if run.kind() == EntryKind::Membership {
            leader.change = run.last();
        }
        self.slots.put(ballot, run);
    }

    #[inline]
    pub(crate) fn flush_leader(&mut self, now: Time, effects: &mut Effects<Self>) {
        self.accept_proposed(effects);
        self.advance_chosen(effects);
        if self.has_unplaced() {
            self.accept_proposed(effects);
        }
        self.ask_for_reads(now, effects);
        self.replicate(effects);
        if !self.group.is_voter(self.config.node) {
            self.leave(effects);
        }
    }

    /// Whether anything waits for room, which may just have come.
    #[inline]
    fn has_unplaced(&self) -> bool {
        let Role::Leader(leader) = &self.role else {
            return false;
        };
        let most = leader.fill_through.max(leader.promises.highest.last());
        most > leader.last || !leader.proposed.is_empty()
    }

    /// Makes one run of everything proposed in this batch, as far as there is room.
    #[inline]
    fn accept_proposed(&mut self, effects: &mut Effects<Self>) {
        let (epoch, limit): (Epoch, _) = (self.promised.into(), self.limit());
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        if leader.promises.highest.last() > leader.last {
            return self.recover_slots(effects);
        }
        let mut last = leader.last;
        let mut all = Commands::default();
        while let Some(Proposed::Commands(token, commands)) = leader.proposed.front_mut() {
            let (first, count) = (last.next(), commands.count() as u64);
            if last.0 + count > limit.0 {
                break;
            }
            last.0 += count;
            if let Some(token) = *token {
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
            all.append(core::mem::take(commands));
            leader.proposed.pop_front();
        }
        let first = leader.last.next();
        let waits = leader.proposed.front().is_some();
        let fills = leader.fill_through > last && !waits;
        if !all.is_empty() {
            let place = Place {
                first,
                epoch,
                ..Place::default()
            };
            self.accept_own(all.place(place), effects);
        }
        if (waits || fills) && last < limit {
            self.accept_rare(limit, effects);
        }
    }

    /// A change of members takes its place; or no-ops bring the slots nearer from which one holds.
    #[cold]
    fn accept_rare(&mut self, limit: Index, effects: &mut Effects<Self>) {
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let next = leader.last.next();
        match leader.proposed.pop_front() {
            None => {
                let end = leader.fill_through.min(limit).next();
                let noops = self.noops(next, end);
                self.accept_own(noops, effects);
            }
            Some(Proposed::Members(members)) => {
                let place = Place {
                    first: next,
                    epoch: self.promised.into(),
                    kind: EntryKind::Membership,
                    ..Place::default()
                };
                self.accept_own(Run::single(place, &members.to_entry()), effects);
                // More may follow.
                self.accept_proposed(effects);
            }
            Some(commands) => leader.proposed.push_front(commands),
        }
    }

    /// A slot is chosen once a phase 2 quorum has accepted it under this ballot.
    #[inline]
    fn advance_chosen(&mut self, effects: &mut Effects<Self>) {
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        if !core::mem::take(&mut leader.moved) {
            return;
        }
        let size = self.group.next().quorums.phase2_size();
        let reached = leader.accepted_by(size).min(self.group.next_through());
        if reached <= self.chosen {
            return;
        }
        let mut bytes = 0;
        self.slots.each(self.chosen.next(), reached, |_, run| {
            bytes += run.payload_bytes();
        });
        leader.unchosen_bytes = leader.unchosen_bytes.saturating_sub(bytes);
        self.advance_to(reached);
        if self.group_changed {
            self.meet_acceptors();
            // Others may decide the next slot, and may have accepted it.
            self.advance_chosen(effects);
            return self.confirm_reads(effects);
        }
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
        let late =
            planted!(self.config.options, LateAcceptances) && ballot.node == self.config.node;
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
        if !leader.promised {
            self.ask_promises(effects);
        }
        self.renew_lease();
        self.transfer_round_over(effects);
    }
}
