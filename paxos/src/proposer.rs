//! The proposer: two phases under ballots of its own, again and again until something is chosen.
//!
//! What may overtake the disk, and why. A prepare and an accept are requests under a ballot, and a
//! ballot needs no record: it contains the boot, which is durable before the node starts. Hence
//! [`MY_BALLOT`], legal from the first input on. Neither message binds this node: its own promise
//! and its own acceptance count only once its own disk has them ([`Own`]). `Chosen` says what a
//! quorum's disks hold.

use crate::node::Work;
use crate::{
    Ballots, Message, Paxos, Timer,
    acceptor::{Verdict, is_sound},
    learner::Source,
    message::Acceptance,
};
use alloc::{collections::BTreeMap, vec::Vec};
use bytes::Bytes;
use consensus_core::{
    Ballot, Early, Effects, Lsn, NodeId, Tally, Token,
    contract::register::{Event, Instance, Key, Reason, Version},
};

/// A request under a ballot or read of this run, whose boot was on disk before the first record.
pub(crate) const MY_BALLOT: Early = Early::Authority(Lsn::ZERO);

/// What this node's own acceptor will have said once its disk holds the record.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Own {
    Promise {
        instance: Instance,
        ballot: Ballot,
        accepted: Option<Acceptance>,
    },
    Acceptance {
        instance: Instance,
        ballot: Ballot,
    },
    Report {
        read: crate::message::ReadId,
        report: crate::reader::Report,
    },
}

/// Where a proposal stands.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Phase {
    /// Phase 1: promises so far, and the highest acceptance that they report.
    Preparing {
        promised: Tally,
        highest: Option<Acceptance>,
    },
    /// Phase 2: the one value of this ballot, and who has accepted it.
    Accepting { value: Bytes },
    /// The ballot is lost; the next follows when the back-off is over.
    Waiting,
}

/// One instance that this node tries to decide. At most one a key: the proposer of a version knows
/// the one before to be chosen.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Proposal {
    /// Its name in timers.
    pub(crate) number: u64,
    pub(crate) version: Version,
    /// What is proposed if nothing has been accepted.
    pub(crate) value: Bytes,
    /// Completes what a read has found; proposes nothing new.
    pub(crate) repair: bool,
    /// Whether `value` has been put to acceptors: if not, it cannot have been chosen through us.
    pub(crate) offered: bool,
    /// Who waits, and whether for this very value.
    pub(crate) waiting: Vec<(Token, bool)>,
    pub(crate) ballot: Ballot,
    /// The highest ballot seen for this instance.
    pub(crate) seen: Ballot,
    pub(crate) phase: Phase,
    /// Who has accepted this ballot.
    pub(crate) accepted: Tally,
    /// Who has been asked in this phase.
    pub(crate) asked: Tally,
    /// Who has rejected this ballot.
    pub(crate) rejected: Tally,
    /// Rounds begun or repeated.
    pub(crate) attempts: u32,
    /// Ballots lost.
    pub(crate) lost: u32,
}

impl Proposal {
    /// Who has consented to what this phase asks.
    pub(crate) fn answered(&self) -> Tally {
        match &self.phase {
            Phase::Preparing { promised, .. } => *promised,
            Phase::Accepting { .. } => self.accepted,
            Phase::Waiting => self.asked,
        }
    }
}

/// The running proposal of `instance`, if `ballot` is its current one.
pub(crate) fn current<'a>(
    proposals: &'a mut BTreeMap<Key, Proposal>,
    instance: &Instance,
    ballot: Ballot,
) -> Option<&'a mut Proposal> {
    proposals
        .get_mut(&instance.key)
        .filter(|proposal| proposal.version == instance.version && proposal.ballot == ballot)
}

impl Paxos {
    /// The application asks. Several requests for one instance share one proposal: the first one's
    /// value is as good as any.
    pub(crate) fn on_propose(
        &mut self,
        token: Token,
        instance: Instance,
        value: Bytes,
        effects: &mut Effects<Self>,
    ) {
        if !is_sound(instance.version) {
            let reason = Reason::NoSuchVersion;
            effects.emit(Event::Rejected { token, reason });
            return;
        }
        if self.answer_decided(token, &instance, effects) {
            return;
        }
        if let Some(running) = self.proposals.get(&instance.key)
            && running.version < instance.version
        {
            // Whoever proposes this version knows the older one to be chosen.
            self.supersede(&instance.key, instance.version, effects);
        }
        if let Some(running) = self.proposals.get_mut(&instance.key) {
            running.waiting.push((token, running.value == value));
            self.tokens.insert(token, Work::Proposal(instance.key));
            return;
        }
        if self.is_full() {
            let reason = Reason::Busy;
            effects.emit(Event::Rejected { token, reason });
            return;
        }
        self.tokens
            .insert(token, Work::Proposal(instance.key.clone()));
        self.begin(instance, value, Some(token), effects);
    }

    /// Answers at once if this node knows the outcome, or that it lies in the past.
    fn answer_decided(
        &mut self,
        token: Token,
        instance: &Instance,
        effects: &mut Effects<Self>,
    ) -> bool {
        let learned = self.learned(&instance.key);
        if let Some(learned) = learned
            && learned.version == instance.version
        {
            let event = Event::Chosen {
                token: Some(token),
                instance: instance.clone(),
                value: learned.acceptance.value.clone(),
            };
            effects.emit_early(event, Early::QuorumHolds);
            return true;
        }
        let here = self.acceptor.register(&instance.key);
        let by = learned
            .map_or(Version::ZERO, |learned| learned.version)
            .max(here.map_or(Version::ZERO, |register| register.version));
        if by <= instance.version {
            return false;
        }
        effects.emit(Event::Superseded {
            token,
            instance: instance.clone(),
            by,
            offered: false,
        });
        true
    }

    /// Completes what a read has found.
    pub(crate) fn repair(&mut self, instance: Instance, value: Bytes, effects: &mut Effects<Self>) {
        if self.proposals.contains_key(&instance.key) {
            return;
        }
        self.begin(instance, value, None, effects);
    }

    fn begin(
        &mut self,
        instance: Instance,
        value: Bytes,
        token: Option<Token>,
        effects: &mut Effects<Self>,
    ) {
        let number = self.number();
        self.numbers.insert(number, instance.key.clone());
        let proposal = Proposal {
            number,
            version: instance.version,
            value,
            repair: token.is_none(),
            offered: false,
            waiting: token.map(|token| (token, true)).into_iter().collect(),
            ballot: Ballot {
                round: 0,
                ..self.own
            },
            seen: self.acceptor.promised(&instance),
            phase: Phase::Waiting,
            accepted: Tally::EMPTY,
            asked: Tally::EMPTY,
            rejected: Tally::EMPTY,
            attempts: 0,
            lost: 0,
        };
        self.proposals.insert(instance.key.clone(), proposal);
        self.prepare(instance.key, effects);
    }

    /// Phase 1a under the next ballot.
    pub(crate) fn prepare(&mut self, key: Key, effects: &mut Effects<Self>) {
        let Some(proposal) = self.proposals.get_mut(&key) else {
            return;
        };
        let instance = Instance {
            key,
            version: proposal.version,
        };
        let outrank = proposal.lost == 0 || self.config.options().ballots == Ballots::Outrank;
        proposal.seen = proposal.seen.max(self.acceptor.promised(&instance));
        let seen = if outrank { proposal.seen } else { Ballot::ZERO };
        let Some(ballot) = proposal.ballot.above(seen) else {
            self.exhausted(&instance.key, effects);
            return;
        };
        proposal.ballot = ballot;
        proposal.attempts += 1;
        proposal.rejected = Tally::EMPTY;
        proposal.phase = Phase::Preparing {
            promised: Tally::EMPTY,
            highest: None,
        };
        let number = proposal.number;
        self.counters.rounds += 1;
        let verdict = self.prepare_here(&instance, ballot, effects);
        if !matches!(verdict, Verdict::Superseded { .. }) {
            let message = Message::Prepare {
                instance: instance.clone(),
                ballot,
            };
            self.ask(&instance, Tally::EMPTY, message, effects);
            self.arm(Timer::Resend(number), effects);
        }
        self.on_own_verdict(&instance, ballot, verdict, effects);
    }

    /// Sends to as many as the phase needs (thrifty) or to all, `first` before others.
    fn ask(
        &mut self,
        instance: &Instance,
        first: Tally,
        message: Message,
        effects: &mut Effects<Self>,
    ) {
        let quorums = self.config.quorums();
        let Some(proposal) = self.proposals.get(&instance.key) else {
            return;
        };
        let needed = match proposal.phase {
            Phase::Preparing { .. } => quorums.phase1_size(),
            Phase::Accepting { .. } | Phase::Waiting => quorums.phase2_size(),
        };
        let mut asked = Tally::EMPTY;
        for node in self.to_ask(needed, first) {
            asked.add(quorums.members(), node);
            effects.send_early(node, message.clone(), MY_BALLOT);
        }
        if let Some(proposal) = self.proposals.get_mut(&instance.key) {
            proposal.asked = asked;
        }
    }

    pub(crate) fn on_promise(
        &mut self,
        from: NodeId,
        instance: Instance,
        ballot: Ballot,
        accepted: Option<Acceptance>,
        effects: &mut Effects<Self>,
    ) {
        if accepted
            .as_ref()
            .is_some_and(|a| a.ballot >= ballot || !a.ballot.is_sound())
        {
            // A late repeat from an acceptor that has gone on to accept this ballot, or a broken peer.
            return;
        }
        let first_wins = planted!(self.config, WrongPromiseValue);
        let quorums = self.config.quorums();
        let Some(proposal) = current(&mut self.proposals, &instance, ballot) else {
            return; // Of a lost ballot or a finished proposal.
        };
        let Phase::Preparing { promised, highest } = &mut proposal.phase else {
            return; // Phase 2 has begun: one promise more changes nothing.
        };
        if !promised.add(quorums.members(), from) {
            return; // A repeat: quorums are sets.
        }
        // The value of the highest ballot, whichever promise comes first [Lamport01 §2.2, P2c].
        let higher = accepted.as_ref().map(|a| a.ballot) > highest.as_ref().map(|a| a.ballot);
        if higher && !(first_wins && highest.is_some()) {
            *highest = accepted;
        }
        if quorums.is_phase1(*promised) {
            self.accept(instance, effects);
        }
    }

    /// Phase 2a: a quorum has promised.
    fn accept(&mut self, instance: Instance, effects: &mut Effects<Self>) {
        let mixes = planted!(self.config, LearnerMixesBallots);
        let Some(proposal) = self.proposals.get_mut(&instance.key) else {
            return;
        };
        let Phase::Preparing { promised, highest } = &mut proposal.phase else {
            return;
        };
        let (promised, highest) = (*promised, highest.take());
        let value = highest.map_or_else(|| proposal.value.clone(), |held| held.value);
        proposal.offered |= value == proposal.value;
        // A value is chosen by a quorum at one ballot, never by a sum over ballots.
        if !mixes {
            proposal.accepted = Tally::EMPTY;
        }
        proposal.phase = Phase::Accepting {
            value: value.clone(),
        };
        let (number, ballot) = (proposal.number, proposal.ballot);
        let verdict = self.accept_here(&instance, ballot, &value, effects);
        if !matches!(verdict, Verdict::Superseded { .. }) {
            let message = Message::Accept {
                instance: instance.clone(),
                ballot,
                value,
            };
            self.ask(&instance, promised, message, effects);
            self.arm(Timer::Resend(number), effects);
        }
        self.on_own_verdict(&instance, ballot, verdict, effects);
    }

    /// Refusals of this node's own acceptor hold at once; consent waits for its disk.
    fn on_own_verdict(
        &mut self,
        instance: &Instance,
        ballot: Ballot,
        verdict: Verdict,
        effects: &mut Effects<Self>,
    ) {
        let me = self.config.node();
        match verdict {
            Verdict::Yes { .. } => {
                if planted!(self.config, WrongEarly) {
                    self.on_accepted(me, instance, ballot, effects);
                    let accepted = None;
                    self.on_promise(me, instance.clone(), ballot, accepted, effects);
                }
            }
            Verdict::Reject { promised } => {
                self.on_reject(me, instance, ballot, promised, effects);
            }
            Verdict::Superseded { by } => self.on_superseded(instance, by, effects),
            Verdict::Conflict => self.counters.refused.second_values += 1,
        }
    }

    pub(crate) fn on_accepted(
        &mut self,
        from: NodeId,
        instance: &Instance,
        ballot: Ballot,
        effects: &mut Effects<Self>,
    ) {
        let quorums = self.config.quorums();
        let Some(proposal) = current(&mut self.proposals, instance, ballot) else {
            return; // Of a lost ballot or a finished proposal.
        };
        let Phase::Accepting { value } = &proposal.phase else {
            return; // The ballot is lost as far as this proposer goes.
        };
        let value = value.clone();
        if proposal.accepted.add(quorums.members(), from) && quorums.is_phase2(proposal.accepted) {
            let accepted = proposal.accepted;
            self.announce(instance, ballot, &value, accepted, effects);
            self.learn(
                instance,
                Acceptance { ballot, value },
                Source::Counted,
                effects,
            );
        }
    }

    /// Tells the other learners: one message each, without the value to those that hold it.
    fn announce(
        &self,
        instance: &Instance,
        ballot: Ballot,
        value: &Bytes,
        accepted: Tally,
        effects: &mut Effects<Self>,
    ) {
        let members = self.config.quorums().members();
        for node in members.others(self.config.node()) {
            let message = Message::Chosen {
                instance: instance.clone(),
                ballot,
                value: (!accepted.has(members, node)).then(|| value.clone()),
            };
            effects.send_early(node, message, Early::QuorumHolds);
        }
    }

    /// The disk has what this node's own roles wait for.
    pub(crate) fn on_own(&mut self, fact: Own, effects: &mut Effects<Self>) {
        let me = self.config.node();
        match fact {
            Own::Promise {
                instance,
                ballot,
                accepted,
            } => self.on_promise(me, instance, ballot, accepted, effects),
            Own::Acceptance { instance, ballot } => {
                self.on_accepted(me, &instance, ballot, effects);
            }
            Own::Report { read, report } => self.on_report(me, read, report, effects),
        }
    }
}
