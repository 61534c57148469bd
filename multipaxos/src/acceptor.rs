//! The acceptor: phase 2 [Lamport01 §2.2], in any order of slots.

use crate::{message::Message, node::MultiPaxos, record::Record};
use consensus_core::{Ballot, Effects, Index, NodeId, Time, log::Run};

impl MultiPaxos {
    /// Whether a message of a leader is to be obeyed. What outranks this node's promise is promised
    /// first; what is outranked is refused.
    #[inline]
    pub(crate) fn obeys(
        &mut self,
        from: NodeId,
        ballot: Ballot,
        effects: &mut Effects<Self>,
    ) -> bool {
        if ballot != self.promised || self.leader != ballot {
            return self.follow(from, ballot, effects);
        }
        self.pulse.leader_spoke = true;
        from == ballot.node
    }

    #[cold]
    fn follow(&mut self, from: NodeId, ballot: Ballot, effects: &mut Effects<Self>) -> bool {
        // Only a broken or hostile peer proposes under somebody else's ballot.
        if !ballot.is_sound() || ballot.node != from || from == self.config.node {
            return false;
        }
        if ballot < self.promised {
            let promised = self.promised;
            effects.send(from, Message::Reject { ballot, promised });
            return false;
        }
        if ballot > self.promised {
            self.promise(ballot, effects);
        }
        self.leader = ballot;
        self.pulse.leader_spoke = true;
        true
    }

    #[inline]
    pub(crate) fn on_accept(
        &mut self,
        from: NodeId,
        ballot: Ballot,
        run: Run,
        chosen: Index,
        effects: &mut Effects<Self>,
    ) {
        if !self.obeys(from, ballot, effects) {
            return;
        }
        let (first, last) = (run.first(), run.last());
        self.acknowledge(from, first, last, effects);
        self.leader_chosen = self.leader_chosen.max(chosen);
        if first > self.slots.last() {
            let lsn = effects.persist(Record::Accepted {
                ballot,
                run: run.clone(),
            });
            self.marks.wrote(lsn, last);
            self.slots.put(ballot, run);
        } else {
            self.accept_late(ballot, &run, effects);
        }
    }

    /// Fills a hole, or takes the place of what was accepted under a lower ballot. What is chosen
    /// stays, and what came twice is written once.
    #[cold]
    fn accept_late(&mut self, ballot: Ballot, run: &Run, effects: &mut Effects<Self>) {
        let Some(rest) = run.cut(self.chosen.next()..run.last().next()) else {
            return;
        };
        let (first, last) = (rest.first(), rest.last());
        if self.slots.accepted_through(first, last, ballot) == last {
            return;
        }
        let lsn = effects.persist(Record::Accepted {
            ballot,
            run: rest.clone(),
        });
        self.marks.wrote(lsn, last);
        self.slots.put(ballot, rest);
    }

    /// One answer for what follows on each other in a batch.
    #[inline]
    fn acknowledge(
        &mut self,
        leader: NodeId,
        first: Index,
        last: Index,
        effects: &mut Effects<Self>,
    ) {
        match &mut self.acknowledge {
            Some((_, end)) if first == end.next() => *end = last,
            slot => {
                if let Some((first, last)) = slot.replace((first, last)) {
                    let ballot = self.promised;
                    let message = Message::Accepted {
                        ballot,
                        first,
                        last,
                    };
                    effects.send(leader, message);
                }
            }
        }
    }

    pub(crate) fn on_decide(
        &mut self,
        from: NodeId,
        ballot: Ballot,
        chosen: Index,
        effects: &mut Effects<Self>,
    ) {
        if self.obeys(from, ballot, effects) {
            self.leader_chosen = self.leader_chosen.max(chosen);
        }
    }

    pub(crate) fn on_confirm(
        &mut self,
        now: Time,
        from: NodeId,
        (ballot, round, lease): (Ballot, u64, u64),
        effects: &mut Effects<Self>,
    ) {
        if self.obeys(from, ballot, effects) {
            let granted = self.grant_asked(now, ballot, lease);
            let message = Message::Confirmed {
                ballot,
                round,
                granted,
            };
            effects.send(from, message);
        }
    }

    #[inline]
    pub(crate) fn flush_acceptor(&mut self, effects: &mut Effects<Self>) {
        if let Some((first, last)) = self.acknowledge.take() {
            let ballot = self.promised;
            let message = Message::Accepted {
                ballot,
                first,
                last,
            };
            effects.send(ballot.node, message);
        }
        self.verify_chosen();
    }

    /// The leader says up to where everything is chosen. Chosen is what it proposed: what stands here
    /// counts only if it was accepted under the leader's own ballot.
    #[inline]
    fn verify_chosen(&mut self) {
        if self.leader_chosen <= self.chosen {
            return;
        }
        let (first, known) = (self.chosen.next(), self.leader_chosen);
        let chosen = if planted!(self.config.options, ChosenUnverified) {
            self.slots.filled_through(first, known)
        } else {
            self.slots.accepted_through(first, known, self.promised)
        };
        self.advance_to(chosen);
    }
}

/// An answer waits for this node's disk; `overtakes` is true for planted bugs alone.
pub(crate) fn answer(
    to: NodeId,
    message: Message,
    overtakes: bool,
    effects: &mut Effects<MultiPaxos>,
) {
    #[cfg(feature = "faults")]
    if overtakes {
        effects.send_early(to, message, consensus_core::Early::QuorumHolds);
        return;
    }
    let _ = overtakes;
    effects.send(to, message);
}
