//! The acceptor: what this node has promised and accepted, a few words and one value a key.
//!
//! # One register, many instances, one value kept
//!
//! The versions of a key form a chain: nobody proposes v+1 without knowing what was chosen for v
//! (the contract's assumption, *succession*). So an acceptor keeps, for each key,
//!
//! ```text
//!     version   the newest in which it takes part             } raised together, never lowered
//!     promised  the highest ballot promised for that version  }
//!     accepted  its newest acceptance, of `version` or of an older one
//! ```
//!
//! and compares (version, ballot) in that order. It answers *superseded* for every version below
//! `version`, and overwrites `accepted` when it accepts something newer. Why that is safe:
//!
//! 1. *Agreement of one version* is the Synod's: within one version the rules are the paper's, and
//!    refusing to take part further (in an older version) never breaks them.
//! 2. *Nothing is refused that still matters*: a prepare or accept for v+1 exists only once v is
//!    chosen, so a proposer for v who is told *superseded* has nothing left to decide.
//! 3. *What was chosen stays discoverable until it is replaced*: let v be chosen by the phase 2
//!    quorum Q. Any phase 1 quorum R meets Q in some x, whose disk held an acceptance of v. Either x
//!    still holds it, or x has overwritten it by an acceptance of a newer version. So the newest
//!    accepted version in the reports of R is never below v. If it is above, the reader completes or
//!    confirms that one, whose value is in the report, and v has been replaced. `x` may be lost
//!    afterwards: the argument is made for each R anew, from those who do answer.
//! 4. A mere promise for v+1 overwrites nothing: v's value stays until v+1 is *accepted*.
//!
//! How a reader tells a chosen value from an accepted one stands in `reader.rs`.

use crate::{Message, Paxos, Record, message::Acceptance, proposer::Own};
use alloc::collections::BTreeMap;
use bytes::Bytes;
use consensus_core::{
    Ballot, Effects, Lsn, NodeId,
    contract::register::{Instance, Key, Version},
};
use core::hash;

/// What one acceptor holds about one key.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Register {
    /// The newest version in which this acceptor takes part.
    pub(crate) version: Version,
    /// Invariant: accepted.ballot ≤ promised whenever accepted is of `version`.
    pub(crate) promised: Ballot,
    /// Invariant: accepted.version ≤ version.
    pub(crate) accepted: Option<(Version, Acceptance)>,
    pub(crate) oldest: Oldest,
}

/// The oldest record from which a register would have to be rebuilt. Not part of what it *is*: the
/// same register under other record numbers is the same.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Oldest(pub(crate) Lsn);

impl PartialEq for Oldest {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Oldest {}

impl hash::Hash for Oldest {
    fn hash<H: hash::Hasher>(&self, _: &mut H) {}
}

/// What an acceptor says to a prepare or an accept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// It takes part. `news`: and did not before, so there is something to write.
    Yes { news: bool },
    /// It has promised more.
    Reject { promised: Ballot },
    /// It takes part in a newer version.
    Superseded { by: Version },
    /// It holds another value under the same ballot: somebody breaks the protocol.
    Conflict,
}

impl Register {
    fn verdict(&self, version: Version, ballot: Ballot) -> Option<Verdict> {
        if version < self.version {
            return Some(Verdict::Superseded { by: self.version });
        }
        (version == self.version && ballot < self.promised).then_some(Verdict::Reject {
            promised: self.promised,
        })
    }

    /// The acceptance of `version`, which is what a promise for it reports.
    pub(crate) fn accepted_of(&self, version: Version) -> Option<&Acceptance> {
        self.accepted
            .as_ref()
            .filter(|(accepted, _)| *accepted == version)
            .map(|(_, acceptance)| acceptance)
    }
}

/// All registers of one acceptor.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Acceptor {
    pub(crate) registers: BTreeMap<Key, Register>,
    /// The last key that `reclaim` has looked at.
    pub(crate) cursor: Option<Key>,
}

impl Acceptor {
    pub(crate) fn count(&self) -> usize {
        self.registers.len()
    }

    pub(crate) fn register(&self, key: &Key) -> Option<&Register> {
        self.registers.get(key)
    }

    /// The ballot promised for `instance`; zero when none is.
    pub(crate) fn promised(&self, instance: &Instance) -> Ballot {
        self.registers
            .get(&instance.key)
            .filter(|register| register.version == instance.version)
            .map_or(Ballot::ZERO, |register| register.promised)
    }

    /// Phase 1b.
    fn prepare(&mut self, instance: &Instance, ballot: Ballot) -> (Verdict, &mut Register) {
        let register = entry(&mut self.registers, &instance.key);
        if let Some(refusal) = register.verdict(instance.version, ballot) {
            return (refusal, register);
        }
        let news = (register.version, register.promised) != (instance.version, ballot);
        (register.version, register.promised) = (instance.version, ballot);
        (Verdict::Yes { news }, register)
    }

    /// Phase 2b. Accepting a ballot raises the promise to it [Lamport01 §2.3 leaves this open]:
    /// otherwise an acceptor that has accepted ballot 2 unprepared would go back to ballot 1.
    /// `raise` is false for the planted bug alone.
    fn accept(
        &mut self,
        instance: &Instance,
        ballot: Ballot,
        value: &Bytes,
        raise: bool,
    ) -> (Verdict, &mut Register) {
        let register = entry(&mut self.registers, &instance.key);
        if let Some(refusal) = register.verdict(instance.version, ballot) {
            return (refusal, register);
        }
        if let Some(held) = register.accepted_of(instance.version)
            && held.ballot == ballot
        {
            let same = held.value == *value;
            let verdict = if same {
                Verdict::Yes { news: false }
            } else {
                Verdict::Conflict
            };
            return (verdict, register);
        }
        let acceptance = Acceptance {
            ballot,
            value: value.clone(),
        };
        register.accepted = Some((instance.version, acceptance));
        if register.version < instance.version {
            (register.version, register.promised) = (instance.version, Ballot::ZERO);
        }
        if raise {
            register.promised = ballot;
        }
        (Verdict::Yes { news: true }, register)
    }

    /// Replays one record. Takes the maximum: a record that was written anew repeats older facts.
    pub(crate) fn restore(
        &mut self,
        lsn: Lsn,
        record: Record,
        raise: bool,
    ) -> Result<(), &'static str> {
        let (instance, ballot, value) = match record {
            Record::Promised { instance, ballot } => (instance, ballot, None),
            Record::Accepted {
                instance,
                ballot,
                value,
            } => (instance, ballot, Some(value)),
        };
        if !is_sound(instance.version) || !ballot.is_sound() {
            return Err("a version or ballot that no correct node can have written");
        }
        let register = entry(&mut self.registers, &instance.key);
        let Some(value) = value else {
            if (register.version, register.promised) < (instance.version, ballot) {
                register.promise(instance.version, ballot, lsn);
            }
            return Ok(());
        };
        let held = register.accepted.as_ref();
        if held
            .is_some_and(|(v, a)| (*v, a.ballot) == (instance.version, ballot) && a.value != value)
        {
            return Err("two values accepted under one ballot");
        }
        if held.is_none_or(|(v, a)| (*v, a.ballot) <= (instance.version, ballot)) {
            register.accepted = Some((instance.version, Acceptance { ballot, value }));
            register.oldest = Oldest(lsn);
        }
        if raise && (register.version, register.promised) < (instance.version, ballot) {
            (register.version, register.promised) = (instance.version, ballot);
        }
        Ok(())
    }
}

/// The register of `key`; the key is cloned for a new one only.
fn entry<'a>(registers: &'a mut BTreeMap<Key, Register>, key: &Key) -> &'a mut Register {
    if !registers.contains_key(key) {
        registers.insert(key.clone(), Register::default());
    }
    registers
        .get_mut(key)
        .expect("it was there or has just been put there")
}

impl Register {
    fn promise(&mut self, version: Version, ballot: Ballot, lsn: Lsn) {
        (self.version, self.promised) = (version, ballot);
        if self.accepted.is_none() {
            self.oldest = Oldest(lsn);
        }
    }
}

/// Whether a version of this size can come from a correct node: none can count that far.
pub(crate) const fn is_sound(version: Version) -> bool {
    version.0 > 0 && version.0 < 1 << 62
}

impl Paxos {
    /// Phase 1b, for a peer's proposer.
    pub(crate) fn on_prepare(
        &mut self,
        from: NodeId,
        instance: Instance,
        ballot: Ballot,
        effects: &mut Effects<Self>,
    ) {
        if !self.admits(from, &instance, ballot) || self.informs(from, &instance, effects) {
            return;
        }
        let (verdict, register) = self.acceptor.prepare(&instance, ballot);
        let message = match verdict {
            Verdict::Yes { news } => {
                if news {
                    let lsn = effects.persist(Record::Promised {
                        instance: instance.clone(),
                        ballot,
                    });
                    register.promise(instance.version, ballot, lsn);
                }
                Message::Promise {
                    accepted: register.accepted_of(instance.version).cloned(),
                    instance,
                    ballot,
                }
            }
            refusal => match self.refusal(refusal, instance, ballot) {
                Some(message) => message,
                None => return,
            },
        };
        let overtakes = planted!(self.config, PromiseBeforeDisk);
        answer(from, message, overtakes, effects);
    }

    /// Phase 2b, for a peer's proposer.
    pub(crate) fn on_accept(
        &mut self,
        from: NodeId,
        instance: Instance,
        ballot: Ballot,
        value: Bytes,
        effects: &mut Effects<Self>,
    ) {
        if !self.admits(from, &instance, ballot) || self.informs(from, &instance, effects) {
            return;
        }
        let raise = !planted!(self.config, AcceptDoesNotRaisePromise);
        let (verdict, register) = self.acceptor.accept(&instance, ballot, &value, raise);
        let message = match verdict {
            Verdict::Yes { news } => {
                if news {
                    register.oldest = Oldest(effects.persist(Record::Accepted {
                        instance: instance.clone(),
                        ballot,
                        value,
                    }));
                }
                Message::Accepted { instance, ballot }
            }
            refusal => match self.refusal(refusal, instance, ballot) {
                Some(message) => message,
                None => return,
            },
        };
        let overtakes = planted!(self.config, AcceptedBeforeDisk);
        answer(from, message, overtakes, effects);
    }

    /// This node's acceptor hears its own proposer: no message, and the promise counts only when
    /// this disk has it.
    pub(crate) fn prepare_here(
        &mut self,
        instance: &Instance,
        ballot: Ballot,
        effects: &mut Effects<Self>,
    ) -> Verdict {
        let (verdict, register) = self.acceptor.prepare(instance, ballot);
        if verdict == (Verdict::Yes { news: true }) {
            let lsn = effects.persist(Record::Promised {
                instance: instance.clone(),
                ballot,
            });
            register.promise(instance.version, ballot, lsn);
            let accepted = register.accepted_of(instance.version).cloned();
            let fact = Own::Promise {
                instance: instance.clone(),
                ballot,
                accepted,
            };
            self.unsynced.push(lsn, fact);
        }
        verdict
    }

    /// As [`prepare_here`](Self::prepare_here), for phase 2.
    pub(crate) fn accept_here(
        &mut self,
        instance: &Instance,
        ballot: Ballot,
        value: &Bytes,
        effects: &mut Effects<Self>,
    ) -> Verdict {
        let raise = !planted!(self.config, AcceptDoesNotRaisePromise);
        let (verdict, register) = self.acceptor.accept(instance, ballot, value, raise);
        if verdict == (Verdict::Yes { news: true }) {
            let lsn = effects.persist(Record::Accepted {
                instance: instance.clone(),
                ballot,
                value: value.clone(),
            });
            register.oldest = Oldest(lsn);
            let fact = Own::Acceptance {
                instance: instance.clone(),
                ballot,
            };
            self.unsynced.push(lsn, fact);
        }
        verdict
    }

    /// Whether a prepare or accept can come from a correct peer: a ballot belongs to the node that
    /// uses it, and rounds and versions stay where arithmetic on them is safe.
    fn admits(&mut self, from: NodeId, instance: &Instance, ballot: Ballot) -> bool {
        if ballot.node != from {
            self.counters.refused.foreign_ballots += 1;
        } else if !ballot.is_sound() || !is_sound(instance.version) {
            self.counters.refused.unsound_numbers += 1;
        } else {
            return true;
        }
        false
    }

    fn refusal(&mut self, verdict: Verdict, instance: Instance, ballot: Ballot) -> Option<Message> {
        match verdict {
            Verdict::Reject { promised } => Some(Message::Reject {
                instance,
                ballot,
                promised,
            }),
            Verdict::Superseded { by } => Some(Message::Superseded { instance, by }),
            Verdict::Conflict | Verdict::Yes { .. } => {
                self.counters.refused.second_values += 1;
                None
            }
        }
    }
}

/// An answer waits for this node's disk; `overtakes` is true for planted bugs alone.
fn answer(to: NodeId, message: Message, overtakes: bool, effects: &mut Effects<Paxos>) {
    #[cfg(feature = "faults")]
    if overtakes {
        effects.send_early(to, message, consensus_core::Early::QuorumHolds);
        return;
    }
    let _ = overtakes;
    effects.send(to, message);
}
