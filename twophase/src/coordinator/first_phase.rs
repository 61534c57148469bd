//! The first phase: a transaction begins, its participants are asked, and their votes are counted.

use super::{Coordinator, Live, Phase};
use crate::{
    Ballot, Config, Message, Presumption, Record, Timer, TwoPhase, config::backoff, garbage::At,
};
use alloc::{collections::BTreeSet, vec, vec::Vec};
use bytes::Bytes;
use consensus_core::{
    Boot, Early, Effects, Lsn, NodeId, Token,
    contract::atomic_commit::{AbortReason, Event, Outcome, Reason, Transaction},
};

fn refusal(config: &Config, coordinator: &Coordinator, work: &[(NodeId, Bytes)]) -> Option<Reason> {
    let options = config.options();
    let nodes: BTreeSet<NodeId> = work.iter().map(|(node, _)| *node).collect();
    let known = |node: &NodeId| config.members().contains(*node);
    let oldest = coordinator.oldest_live();
    let span = match oldest.boot == coordinator.newest.boot {
        true => coordinator.newest.sequence + 1 - oldest.sequence,
        false => coordinator.newest.sequence,
    };
    if !config.coordinates() {
        Some(Reason::NotCoordinator {
            hint: options.coordinator,
        })
    } else if work.is_empty() || nodes.len() < work.len() || !nodes.iter().all(known) {
        Some(Reason::BadParticipants)
    } else if coordinator.live.len() >= options.running_max || span >= options.span_max {
        Some(Reason::Busy)
    } else {
        None
    }
}

impl TwoPhase {
    pub(crate) fn on_begin(
        &mut self,
        token: Token,
        work: Vec<(NodeId, Bytes)>,
        effects: &mut Effects<Self>,
    ) {
        if let Some(reason) = refusal(&self.config, &self.coordinator, &work) {
            return effects.emit_early(
                Event::Rejected { token, reason },
                Early::Authority(Lsn::ZERO),
            );
        }
        let transaction = self.coordinator.next();
        self.coordinator.newest = transaction;
        // The name contains the boot, on disk since before the start: nothing else bears it.
        let why = Early::Authority(Lsn::ZERO);
        effects.emit_early(Event::Started { token, transaction }, why);
        let live = Live {
            presumption: self.config.options().presumption,
            phase: Phase::Greeting {
                work: work.into_iter().collect(),
            },
            token: Some(token),
            inquiries: Vec::new(),
            rounds: 0,
            at: At::NONE,
        };
        self.coordinator.live.insert(transaction, live);
        self.ask_again_later(transaction, effects);
        self.begin_asking(transaction, effects);
    }

    fn ask_again_later(&self, transaction: Transaction, effects: &mut Effects<Self>) {
        let resend = self.config.options().resend;
        effects.set_timer(Timer::Votes(transaction), resend..=resend * 2);
    }

    /// Once it is known in which run each participant is, asks them all.
    fn begin_asking(&mut self, transaction: Transaction, effects: &mut Effects<Self>) {
        let Some(live) = self.coordinator.live.get_mut(&transaction) else {
            return;
        };
        let Phase::Greeting { work } = &mut live.phase else {
            return;
        };
        let boot = |node: &NodeId| self.boots.get(node).copied();
        if work.keys().any(|node| boot(node).is_none()) {
            for node in work.keys().filter(|node| boot(node).is_none()) {
                effects.send_early(*node, Message::Greet {}, Early::Authority(Lsn::ZERO));
            }
            return;
        }
        let participants: Vec<_> = work
            .keys()
            .map(|node| (*node, boot(node).unwrap_or_default()))
            .collect();
        let work = core::mem::take(work);
        if self.config.options().one_phase
            && let [(to, boot)] = participants[..]
            && let Some(work) = work.get(&to).cloned()
        {
            live.phase = Phase::Delegated { to, boot, work };
            return self.delegate(transaction, effects);
        }
        live.phase = Phase::Collecting {
            participants,
            missing: work,
            yes: BTreeSet::new(),
        };
        if live.presumption == Presumption::Commit {
            let nodes = match &live.phase {
                Phase::Collecting { missing, .. } => missing.keys().copied().collect(),
                _ => vec![],
            };
            live.at = At::new(effects.persist(Record::Collecting {
                transaction,
                participants: nodes,
            }));
        }
        self.ask(transaction, effects);
    }

    /// Asks those that have not voted.
    fn ask(&mut self, transaction: Transaction, effects: &mut Effects<Self>) {
        let oldest_live = self.coordinator.oldest_live();
        let Some(live) = self.coordinator.live.get(&transaction) else {
            return;
        };
        let (me, presumption) = (self.config.node(), live.presumption);
        let Phase::Collecting {
            participants,
            missing,
            ..
        } = &live.phase
        else {
            return;
        };
        for (node, work) in missing {
            let message = Message::Prepare {
                transaction,
                work: work.clone(),
                participants: participants.clone(),
                presumption,
                oldest_live,
            };
            if *node == me {
                self.local.push_back(message);
            } else if presumption == Presumption::Commit {
                // Held: whoever is asked must be on disk as asked.
                effects.send(*node, message);
            } else {
                // The name's boot is on disk since before the start, and a question binds nobody.
                effects.send_early(*node, message, Early::Authority(Lsn::ZERO));
            }
        }
    }

    pub(crate) fn on_votes_late(&mut self, transaction: Transaction, effects: &mut Effects<Self>) {
        let rounds = self.config.options().vote_rounds;
        let Some(live) = self.coordinator.live.get_mut(&transaction) else {
            return;
        };
        live.rounds = live.rounds.saturating_add(1);
        let late = live.rounds >= rounds;
        match &mut live.phase {
            Phase::Greeting { work } if late => {
                let boot = |node: &&NodeId| !self.boots.contains_key(node);
                let node = work.keys().find(boot).copied().unwrap_or_default();
                self.decide_early(transaction, AbortReason::Timeout { node }, effects);
            }
            Phase::Greeting { .. } => {
                self.begin_asking(transaction, effects);
                self.ask_again_later(transaction, effects);
            }
            Phase::Collecting { missing, yes, .. } if late => {
                let node = missing.keys().next().copied().unwrap_or_default();
                if planted!(self.config, SilenceIsConsent) {
                    yes.extend(core::mem::take(missing).into_keys());
                    self.decide(transaction, Outcome::Commit, AbortReason::None, effects);
                } else {
                    self.decide(
                        transaction,
                        Outcome::Abort,
                        AbortReason::Timeout { node },
                        effects,
                    );
                }
            }
            Phase::Collecting { .. } => {
                self.ask(transaction, effects);
                self.ask_again_later(transaction, effects);
            }
            // Neither outcome is certain before the answer comes.
            Phase::Delegated { .. } => {
                let after = backoff(self.config.options().resend, live.rounds);
                effects.set_timer(Timer::Votes(transaction), after);
                self.delegate(transaction, effects);
            }
            Phase::Decided { .. } => {}
        }
    }

    pub(crate) fn on_vote(
        &mut self,
        from: NodeId,
        transaction: Transaction,
        vote: Ballot,
        boot: Boot,
        effects: &mut Effects<Self>,
    ) {
        self.on_hello(from, boot, effects);
        let Some(live) = self.coordinator.live.get_mut(&transaction) else {
            // Forgotten: the voter will ask under the presumption that it was told.
            return;
        };
        match &mut live.phase {
            Phase::Collecting { missing, yes, .. } => {
                if missing.remove(&from).is_none() {
                    return;
                }
                match vote {
                    Ballot::Yes => {
                        yes.insert(from);
                    }
                    Ballot::ReadOnly => {}
                    Ballot::No(reason) => {
                        let reason = AbortReason::VotedNo { node: from, reason };
                        return self.decide(transaction, Outcome::Abort, reason, effects);
                    }
                }
                if missing.is_empty() {
                    self.decide(transaction, Outcome::Commit, AbortReason::None, effects);
                }
            }
            // A late vote: the decision stands, and the voter is being told.
            Phase::Decided { .. } | Phase::Greeting { .. } | Phase::Delegated { .. } => {}
        }
    }

    pub(crate) fn on_hello(&mut self, from: NodeId, boot: Boot, effects: &mut Effects<Self>) {
        let known = self.boots.entry(from).or_insert(Boot(0));
        if boot <= *known {
            return;
        }
        *known = boot;
        let greeting = |live: &Live| matches!(&live.phase, Phase::Greeting { work } if work.contains_key(&from));
        let waiting: Vec<_> = self
            .coordinator
            .live
            .iter()
            .filter(|(_, live)| greeting(live))
            .map(|(transaction, _)| *transaction)
            .collect();
        for transaction in waiting {
            self.begin_asking(transaction, effects);
        }
    }

    pub(crate) fn on_give_up(&mut self, transaction: Transaction, effects: &mut Effects<Self>) {
        match self
            .coordinator
            .live
            .get(&transaction)
            .map(|live| &live.phase)
        {
            Some(Phase::Greeting { .. }) => {
                self.decide_early(transaction, AbortReason::Asked, effects);
            }
            Some(Phase::Collecting { .. }) => {
                self.decide(transaction, Outcome::Abort, AbortReason::Asked, effects);
            }
            // Decided, here or elsewhere.
            Some(Phase::Decided { .. } | Phase::Delegated { .. }) | None => {}
        }
    }
}
