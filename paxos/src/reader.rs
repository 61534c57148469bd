//! Linearizable reads of the newest chosen version of a key, in one round trip when all is quiet.
//!
//! # What a reader may conclude
//!
//! A round asks acceptors what their disks hold *now*; [`ReadId`] keeps older answers out. Let R be
//! the phase 1 quorum that answered, A the newest version that any of R has accepted, M the newest
//! in which any takes part.
//!
//! 1. *Fresh enough*: whatever was chosen before the round began is of a version ≤ A, because R
//!    meets its quorum in an acceptor that held it, or something newer (see `acceptor.rs`). So A, if
//!    it is chosen, answers the read; and when nothing is accepted, *nothing chosen* answers it, even
//!    if version 1 is being chosen meanwhile.
//! 2. A *is* chosen if a phase 2 quorum reports it under one ballot, or somebody knows so.
//! 3. M > A says that M−1 was chosen before its successor was begun, but not with which value: the
//!    reports were given at different moments, and some may be older than that choice. So the round
//!    is repeated, and now M−1 was chosen before *every* report of the round (the round's *floor*).
//!    Then A ≥ floor; and if A = floor, the value of the highest ballot reported for it is the chosen
//!    one, by the same lemma that lets a proposer adopt it [Lamport01 §2.2, P2c]: R meets the quorum
//!    that chose it, and every acceptance from that ballot on carries its value. A repetition needs
//!    somebody else's progress, so reads are lock-free.
//! 4. Otherwise (A = M, some have accepted it, nobody knows more) its fate is open. Its proposer is
//!    given a moment to finish; then the reader completes the proposal itself, by both phases, with
//!    what it found as its value. It may propose for A, because whoever proposed it knew A−1 chosen.
//!
//! Never answered: a value that is accepted but perhaps not chosen, for a later read could miss it.

use crate::{
    Message, Paxos, Timer,
    learner::Source,
    message::{Acceptance, ReadId},
    node::Work,
    proposer::{MY_BALLOT, Own},
};
use alloc::vec::Vec;
use bytes::Bytes;
use consensus_core::{
    Early, Effects, NodeId, Tally, Token,
    contract::register::{Event, Instance, Key, Reason, Version},
};

/// What an acceptor, which may also know more as a learner, says about a key.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Report {
    pub(crate) version: Version,
    pub(crate) accepted: Option<(Version, Acceptance)>,
    pub(crate) chosen: bool,
}

/// A read that waits for answers.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Read {
    key: Key,
    token: Token,
    id: ReadId,
    /// Chosen before this round began.
    floor: Version,
    asked: Tally,
    answered: Tally,
    reports: Vec<(NodeId, Report)>,
    attempts: u32,
    /// The fate of what was found is open, and its proposer has its last chance.
    suspects: bool,
    /// A proposal of this node is completing what was found.
    repairing: bool,
}

/// What follows from the reports so far.
enum Finding {
    /// Not enough yet.
    Wait,
    /// Nothing was chosen when the read began.
    Nothing,
    /// This node knows a version that is new enough.
    Known,
    /// This is chosen.
    Chosen(Version, Acceptance),
    /// The version is chosen, but these reports may be too old to say with which value.
    Again { floor: Version },
    /// Accepted by some; chosen or not.
    Open(Version, Bytes),
}

impl Read {
    fn newest(&self) -> Version {
        let accepted = self.reports.iter().filter_map(|(_, r)| r.accepted.as_ref());
        accepted.map(|(v, _)| *v).max().unwrap_or_default()
    }

    /// The acceptances of `version` that were reported, and whether the reporter knows it chosen.
    fn acceptances(&self, version: Version) -> impl Iterator<Item = (&Acceptance, bool)> {
        self.reports.iter().filter_map(move |(_, report)| {
            let (accepted, acceptance) = report.accepted.as_ref()?;
            (*accepted == version).then_some((acceptance, report.chosen))
        })
    }
}

impl Paxos {
    pub(crate) fn on_read(&mut self, token: Token, key: Key, effects: &mut Effects<Self>) {
        if self.is_full() {
            let reason = Reason::Busy;
            effects.emit(Event::Rejected { token, reason });
            return;
        }
        let number = self.number();
        self.tokens.insert(token, Work::Read(number));
        self.readers.entry(key.clone()).or_default().push(number);
        let read = Read {
            key,
            token,
            id: ReadId {
                boot: self.boot,
                number,
                round: 0,
            },
            floor: Version::ZERO,
            asked: Tally::EMPTY,
            answered: Tally::EMPTY,
            reports: Vec::new(),
            attempts: 0,
            suspects: false,
            repairing: false,
        };
        self.reads.insert(number, read);
        self.query(number, Version::ZERO, effects);
    }

    /// Begins a round. `floor` is chosen by now.
    fn query(&mut self, number: u64, floor: Version, effects: &mut Effects<Self>) {
        let Some(read) = self.reads.get_mut(&number) else {
            return;
        };
        read.id.round += 1;
        read.floor = read.floor.max(floor);
        read.answered = Tally::EMPTY;
        read.reports.clear();
        read.attempts = read.attempts.saturating_add(1);
        (read.suspects, read.repairing) = (false, false);
        let (id, key) = (read.id, read.key.clone());
        let me = self.config.node();
        let mut asked = Tally::EMPTY;
        for node in self.to_ask(self.config.quorums().phase1_size(), Tally::EMPTY) {
            asked.add(self.config.quorums().members(), node);
            let (key, read) = (key.clone(), id);
            effects.send_early(node, Message::Query { key, read }, MY_BALLOT);
        }
        if let Some(read) = self.reads.get_mut(&number) {
            read.asked = asked;
        }
        self.arm(Timer::Ask(number), effects);
        let report = self.report(&key);
        if effects.last() > effects.durable() {
            // Part of what this acceptor says may still be on its way to its disk.
            self.unsynced
                .push(effects.last(), Own::Report { read: id, report });
        } else {
            self.on_report(me, id, report, effects);
        }
    }

    /// What this node says about `key`: what it knows to be chosen, or has accepted if that is newer.
    fn report(&self, key: &Key) -> Report {
        let register = self.acceptor.register(key);
        let accepted = register.and_then(|register| register.accepted.clone());
        let version = register.map_or(Version::ZERO, |register| register.version);
        let newest = accepted.as_ref().map_or(Version::ZERO, |(v, _)| *v);
        match self.learned(key) {
            Some(learned) if learned.version >= newest => Report {
                version: version.max(learned.version),
                accepted: Some((learned.version, learned.acceptance.clone())),
                chosen: true,
            },
            _ => Report {
                version,
                accepted,
                chosen: false,
            },
        }
    }

    pub(crate) fn on_query(
        &mut self,
        from: NodeId,
        key: Key,
        read: ReadId,
        effects: &mut Effects<Self>,
    ) {
        let Report {
            version,
            accepted,
            chosen,
        } = self.report(&key);
        let message = Message::Report {
            key,
            read,
            version,
            accepted,
            chosen,
        };
        effects.send(from, message);
    }

    pub(crate) fn on_report(
        &mut self,
        from: NodeId,
        id: ReadId,
        report: Report,
        effects: &mut Effects<Self>,
    ) {
        let sound = report.version.0 < 1 << 62
            && report
                .accepted
                .as_ref()
                .is_none_or(|(v, a)| *v <= report.version && a.ballot.is_sound());
        if !sound {
            self.counters.refused.unsound_numbers += 1;
            return;
        }
        let members = self.config.quorums().members();
        let Some(read) = self.reads.get_mut(&id.number).filter(|read| read.id == id) else {
            return; // Of an older round, an older run, or a finished read.
        };
        if read.answered.add(members, from) {
            read.reports.push((from, report));
            self.review(id.number, effects);
        }
    }

    fn finding(&self, read: &Read) -> Finding {
        let quorums = self.config.quorums();
        if !quorums.is_phase1(read.answered) {
            return Finding::Wait;
        }
        let newest = read.newest();
        let known = self.learned(&read.key).map(|learned| learned.version);
        if known.is_some_and(|known| known >= newest) {
            return Finding::Known;
        }
        if newest == Version::ZERO {
            return Finding::Nothing;
        }
        let highest = read.acceptances(newest).map(|(a, _)| a).max();
        let highest = highest.expect("somebody has accepted the newest version");
        let is_chosen = |a: &Acceptance| {
            let at = read
                .acceptances(newest)
                .filter(|(b, _)| b.ballot == a.ballot);
            at.count() >= quorums.phase2_size()
        };
        let chosen = read
            .acceptances(newest)
            .find(|(a, knows)| *knows || is_chosen(a));
        if let Some((acceptance, _)) = chosen {
            return Finding::Chosen(newest, acceptance.clone());
        }
        if newest == read.floor || planted!(self.config, ReadUnchosen) {
            return Finding::Chosen(newest, highest.clone());
        }
        let begun = read.reports.iter().map(|(_, r)| r.version).max();
        let begun = begun.unwrap_or_default();
        if begun > newest {
            let floor = begun.previous();
            // Otherwise a version was begun whose predecessor was not chosen when this round began:
            // an application broke the contract. Ask again when the alarm goes off, not at once.
            return if floor > read.floor {
                Finding::Again { floor }
            } else {
                Finding::Wait
            };
        }
        Finding::Open(newest, highest.value.clone())
    }

    /// Acts on what is known about one read.
    fn review(&mut self, number: u64, effects: &mut Effects<Self>) {
        let Some(read) = self.reads.get(&number) else {
            return;
        };
        match self.finding(read) {
            Finding::Wait => {}
            Finding::Nothing => self.answer(number, Version::ZERO, Bytes::new(), effects),
            Finding::Known => {
                let learned = self.learned(&read.key).expect("this node knows it");
                let (version, value) = (learned.version, learned.acceptance.value.clone());
                self.answer(number, version, value, effects);
            }
            Finding::Chosen(version, acceptance) => {
                let key = read.key.clone();
                // Learning it answers every read of the key that has heard a quorum, this one too.
                let instance = Instance { key, version };
                self.learn(&instance, acceptance, Source::Found, effects);
            }
            Finding::Again { floor } => self.query(number, floor, effects),
            Finding::Open(..) => {
                let read = self.reads.get_mut(&number).expect("it is under review");
                if !read.suspects && !read.repairing {
                    read.suspects = true;
                    let patience = self.config.options().repair;
                    effects.set_timer(Timer::Ask(number), patience..=patience.saturating_mul(2));
                }
            }
        }
    }

    /// Something new is known about `key`.
    pub(crate) fn review_reads(&mut self, key: &Key, effects: &mut Effects<Self>) {
        for number in self.readers.get(key).cloned().unwrap_or_default() {
            self.review(number, effects);
        }
    }

    /// Answers are late, or the proposer of what was found has had its chance.
    pub(crate) fn on_ask(&mut self, number: u64, effects: &mut Effects<Self>) {
        let Some(read) = self.reads.get(&number) else {
            return;
        };
        if read.repairing {
            return; // The proposal has alarms of its own.
        }
        if let Finding::Open(version, value) = self.finding(read) {
            let key = read.key.clone();
            if self
                .proposals
                .get(&key)
                .is_some_and(|running| running.version != version)
            {
                self.query(number, Version::ZERO, effects);
                return;
            }
            let read = self.reads.get_mut(&number).expect("it was there");
            read.repairing = true;
            self.repair(Instance { key, version }, value, effects);
            return;
        }
        let limit = self.config.options().attempts;
        if limit.is_some_and(|limit| read.attempts >= limit) {
            self.give_up_read(number, effects);
            return;
        }
        let members = self.config.quorums().members();
        let read = self.reads.get_mut(&number).expect("it was there");
        read.attempts = read.attempts.saturating_add(1);
        let (key, id) = (read.key.clone(), read.id);
        let (asked, answered) = (read.asked, read.answered);
        for node in members.others(self.config.node()) {
            if !answered.has(members, node) {
                read.asked.add(members, node);
                let (key, read) = (key.clone(), id);
                effects.send_early(node, Message::Query { key, read }, MY_BALLOT);
            }
        }
        self.suspect(asked, answered);
        self.arm(Timer::Ask(number), effects);
    }

    /// A repair found a newer version under way: the one before `by` is chosen.
    pub(crate) fn restart_reads(&mut self, key: &Key, by: Version, effects: &mut Effects<Self>) {
        for number in self.repaired(key) {
            self.query(number, by.previous(), effects);
        }
    }

    /// A repair has used up its attempts.
    pub(crate) fn give_up_reads(&mut self, key: &Key, effects: &mut Effects<Self>) {
        for number in self.repaired(key) {
            self.give_up_read(number, effects);
        }
    }

    fn repaired(&self, key: &Key) -> Vec<u64> {
        let readers = self.readers.get(key).into_iter().flatten();
        let repairing = |number: &&u64| self.reads.get(number).is_some_and(|read| read.repairing);
        readers.filter(repairing).copied().collect()
    }

    /// Whether a read waits for the proposal of `key`.
    pub(crate) fn wants_repair(&self, key: &Key) -> bool {
        !self.repaired(key).is_empty()
    }

    fn give_up_read(&mut self, number: u64, effects: &mut Effects<Self>) {
        if let Some(read) = self.end_read(number, effects) {
            effects.emit(Event::Undecided { token: read.token });
        }
    }

    fn answer(&mut self, number: u64, version: Version, value: Bytes, effects: &mut Effects<Self>) {
        if let Some(Read { key, token, .. }) = self.end_read(number, effects) {
            let event = Event::Newest {
                token,
                key,
                version,
                value,
            };
            effects.emit_early(event, Early::QuorumHolds);
        }
    }

    pub(crate) fn cancel_read(&mut self, number: u64, effects: &mut Effects<Self>) {
        let Some(read) = self.end_read(number, effects) else {
            return;
        };
        self.suspect(read.asked, read.answered);
        let idle = self
            .proposals
            .get(&read.key)
            .is_some_and(|proposal| proposal.waiting.is_empty());
        if idle && !self.wants_repair(&read.key) {
            self.end(&read.key, effects);
        }
    }

    fn end_read(&mut self, number: u64, effects: &mut Effects<Self>) -> Option<Read> {
        let read = self.reads.remove(&number)?;
        self.tokens.remove(&read.token);
        if let Some(readers) = self.readers.get_mut(&read.key) {
            readers.retain(|reader| *reader != number);
            if readers.is_empty() {
                self.readers.remove(&read.key);
            }
        }
        effects.cancel_timer(Timer::Ask(number));
        Some(read)
    }
}
