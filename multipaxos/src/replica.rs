//! The replica: telling what is chosen, in order, and catching up on exactly what is missing.

use crate::{
    message::Message,
    node::{MultiPaxos, Role},
    record::Record,
};
use alloc::vec::Vec;
use consensus_core::{Early, Effects, Index, NodeId, contract::replicated_log::Event, log::Run};

/// Slots between two notes on disk of how far everything is chosen.
const NOTE_EVERY: u64 = 4_096;

impl MultiPaxos {
    /// Tells the application what is newly chosen, and notes it now and then, so that a restart need
    /// not wait for a leader to apply what it knew.
    #[inline]
    pub(crate) fn tell_chosen(&mut self, effects: &mut Effects<Self>) {
        if self.told >= self.chosen {
            return;
        }
        self.slots.each(self.told.next(), self.chosen, |_, run| {
            effects.emit_early(Event::Committed(run), Early::QuorumHolds);
        });
        self.told = self.chosen;
        if self.chosen.0 - self.chosen_recorded.0 >= NOTE_EVERY {
            self.record_chosen(effects);
        }
    }

    #[cold]
    pub(crate) fn record_chosen(&mut self, effects: &mut Effects<Self>) {
        self.chosen_recorded = self.chosen;
        let through = self.chosen;
        effects.persist_lazily(Record::Chosen { through });
    }

    /// Somebody knows more than this node.
    pub(crate) fn note_ahead(&mut self, peer: NodeId, chosen: Index) {
        if chosen > self.ahead.0 {
            self.ahead = (chosen, peer);
        }
    }

    /// Asks for chosen slots that stand empty here, or hold what the leader has not confirmed: once a
    /// heartbeat round, so that what is merely under way is not asked for.
    pub(crate) fn fetch_missing(&mut self, effects: &mut Effects<Self>) {
        if matches!(self.role, Role::Leader(_)) {
            return;
        }
        let (mut known, mut peer) = (self.leader_chosen, self.promised.node);
        if known <= self.chosen {
            // Who knew may be gone: its word counts for one round.
            (known, peer) = core::mem::take(&mut self.ahead);
        }
        if known > self.chosen && peer != self.config.node {
            self.fetch(peer, known, effects);
        }
    }

    fn fetch(&self, peer: NodeId, known: Index, effects: &mut Effects<Self>) {
        let after = self.chosen;
        // What was accepted under the leader's ballot beyond the gap need not be sent again.
        let beyond = if known <= self.leader_chosen {
            let held = self.slots.first_under(self.promised, after.next());
            held.map_or(known, Index::previous)
        } else {
            known
        };
        let through = known.min(beyond);
        if through > after {
            effects.send(peer, Message::Fetch { after, through });
        }
    }

    pub(crate) fn on_fetch(
        &mut self,
        from: NodeId,
        after: Index,
        through: Index,
        effects: &mut Effects<Self>,
    ) {
        if after < self.slots.base() {
            if let Some(through) = self.send_snapshot(from, effects) {
                effects.send(from, Message::SnapshotSent { through });
            }
            return;
        }
        let mut runs = Vec::new();
        let (mut next, end) = (after.next(), through.min(self.chosen));
        let mut room = self.config.options.append_bytes_max;
        while next <= end
            && let Some(run) = self.slots.gather(next, end, room)
            && (runs.is_empty() || run.payload_bytes() <= room)
        {
            room -= run.payload_bytes().min(room);
            next = run.last().next();
            runs.push(run);
        }
        if !runs.is_empty() {
            let chosen = self.chosen;
            effects.send(from, Message::Learn { runs, chosen });
        }
    }

    pub(crate) fn on_learn(
        &mut self,
        from: NodeId,
        runs: Vec<Run>,
        chosen: Index,
        effects: &mut Effects<Self>,
    ) {
        if matches!(self.role, Role::Leader(_)) {
            return;
        }
        let before = self.chosen;
        for run in runs {
            self.learn(run, chosen, effects);
        }
        self.flush_acceptor(effects);
        if self.chosen > before && chosen > self.chosen {
            self.fetch(from, chosen, effects);
        }
    }

    /// Entries that are chosen up to `known` take their slots, as far as they follow what is chosen
    /// here already. A lazy record does: they are on the disks of a quorum.
    pub(crate) fn learn(&mut self, run: Run, known: Index, effects: &mut Effects<Self>) {
        let next = self.chosen.next();
        if run.first() > next {
            return;
        }
        let Some(run) = run.cut(next..known.next()) else {
            return;
        };
        if self.chosen_recorded < self.chosen {
            self.record_chosen(effects);
        }
        let last = run.last();
        let lsn = effects.persist_lazily(Record::Learned { run: run.clone() });
        self.marks.wrote(lsn, last);
        self.slots.put(run.epoch().ballot(), run);
        self.chosen_recorded = last;
        self.advance_to(last);
    }
}
