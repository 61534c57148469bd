//! The learner: what this node knows to be chosen. Volatile, one value a key; after a restart a read
//! or a proposal finds it again at the acceptors.

use crate::{Message, Paxos, acceptor::is_sound, message::Acceptance};
use alloc::collections::BTreeMap;
use bytes::Bytes;
use consensus_core::{
    Ballot, Early, Effects, NodeId,
    contract::register::{Event, Instance, Key, Version},
};

/// The newest chosen version of a key that this node knows, with its value.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Learned {
    pub(crate) version: Version,
    pub(crate) acceptance: Acceptance,
}

/// How a node came to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    /// Its own proposer counted a quorum.
    Counted,
    /// Somebody said so.
    Told,
    /// A read found it, and answers with it.
    Found,
}

impl Paxos {
    pub(crate) fn learned(&self, key: &Key) -> Option<&Learned> {
        self.learner.get(key)
    }

    /// Takes note of a choice, which ends what this node still does for that version or an older
    /// one.
    pub(crate) fn learn(
        &mut self,
        instance: &Instance,
        acceptance: Acceptance,
        source: Source,
        effects: &mut Effects<Self>,
    ) {
        let known = self.learner.get(&instance.key);
        if known.is_some_and(|known| known.version >= instance.version) {
            return;
        }
        let acceptance = self.shared(instance, acceptance);
        let value = acceptance.value.clone();
        insert(
            &mut self.learner,
            &instance.key,
            Learned {
                version: instance.version,
                acceptance,
            },
        );
        let answered = self.settle_proposal(instance, &value, effects);
        // Below what this node's acceptor has accepted, a repeat may follow a `Forget`: not news.
        let overtaken = self
            .acceptor
            .register(&instance.key)
            .and_then(|register| register.accepted.as_ref())
            .is_some_and(|(version, _)| *version > instance.version);
        if !answered && !overtaken && source != Source::Found {
            let event = Event::Chosen {
                token: None,
                instance: instance.clone(),
                value,
            };
            effects.emit_early(event, Early::QuorumHolds);
        }
        self.review_reads(&instance.key, effects);
    }

    /// Keeps one copy of a value that this node's acceptor holds as well.
    fn shared(&self, instance: &Instance, acceptance: Acceptance) -> Acceptance {
        self.acceptor
            .register(&instance.key)
            .and_then(|register| register.accepted_of(instance.version))
            .filter(|held| held.value == acceptance.value)
            .map_or(acceptance, Clone::clone)
    }

    pub(crate) fn on_chosen(
        &mut self,
        instance: Instance,
        ballot: Ballot,
        value: Option<Bytes>,
        effects: &mut Effects<Self>,
    ) {
        if !is_sound(instance.version) || !ballot.is_sound() {
            self.counters.refused.unsound_numbers += 1;
            return;
        }
        let held = || {
            let register = self.acceptor.register(&instance.key)?;
            let held = register.accepted_of(instance.version)?;
            (held.ballot == ballot).then(|| held.value.clone())
        };
        // Without the value only the acceptance of that very ballot says which one it is.
        let Some(value) = value.or_else(held) else {
            return;
        };
        self.learn(
            &instance,
            Acceptance { ballot, value },
            Source::Told,
            effects,
        );
    }

    /// Tells a proposer what this node knows to be chosen, if it asks about that or less.
    pub(crate) fn informs(
        &self,
        to: NodeId,
        instance: &Instance,
        effects: &mut Effects<Self>,
    ) -> bool {
        let Some(learned) = self.learner.get(&instance.key) else {
            return false;
        };
        if learned.version < instance.version {
            return false;
        }
        let message = if learned.version == instance.version {
            Message::Chosen {
                instance: instance.clone(),
                ballot: learned.acceptance.ballot,
                value: Some(learned.acceptance.value.clone()),
            }
        } else {
            Message::Superseded {
                instance: instance.clone(),
                by: learned.version,
            }
        };
        effects.send_early(to, message, Early::QuorumHolds);
        true
    }

    /// The application will not ask again. What was learned goes if a newer version is accepted
    /// here; otherwise it stays, one value a key, until a newer choice replaces it.
    pub(crate) fn on_forget(&mut self, instance: &Instance) {
        let accepted = self
            .acceptor
            .register(&instance.key)
            .and_then(|register| register.accepted.as_ref())
            .map_or(Version::ZERO, |(version, _)| *version);
        if accepted > instance.version
            && self
                .learner
                .get(&instance.key)
                .is_some_and(|learned| learned.version <= instance.version)
        {
            self.learner.remove(&instance.key);
        }
    }
}

fn insert(learner: &mut BTreeMap<Key, Learned>, key: &Key, learned: Learned) {
    match learner.get_mut(key) {
        Some(old) => *old = learned,
        None => {
            learner.insert(key.clone(), learned);
        }
    }
}
