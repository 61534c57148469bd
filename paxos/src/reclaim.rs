//! Writing anew what old records still hold, so that a log can be cut from behind.
//!
//! A register needs its acceptance and, if that is higher, its promise: two records at most. The old
//! ones may go once the new ones are on disk, which is what [`Effects::release`] waits for. Replay
//! takes the maximum, so that a log in which old and new overlap gives the same register.

use crate::{
    Paxos, Record,
    acceptor::{Acceptor, Oldest, Register},
};
use consensus_core::{
    Ballot, Effects, Lsn,
    contract::register::{Instance, Key},
};
use core::ops::Bound;

impl Paxos {
    /// Writes anew what old records still hold, a little each call.
    pub(crate) fn on_reclaim(&mut self, before: Lsn, effects: &mut Effects<Self>) {
        let step = self.config.options().reclaim_step;
        if self.acceptor.reclaim(before, step, effects) {
            effects.release(before);
        }
    }
}

impl Acceptor {
    /// Writes anew up to `step` registers that need a record older than `before`, looking at no more
    /// than sixteen times as many. True once a pass has found none left.
    fn reclaim(&mut self, before: Lsn, step: usize, effects: &mut Effects<Paxos>) -> bool {
        let start = self.cursor.take().map_or(Bound::Unbounded, Bound::Excluded);
        let mut written = 0;
        let keys = self
            .registers
            .range_mut::<Key, _>((start, Bound::Unbounded));
        for (looked, (key, register)) in keys.enumerate() {
            if register.oldest.0 < before {
                register.write_anew(key, effects);
                written += 1;
            }
            if written >= step || looked >= step.saturating_mul(16) {
                self.cursor = Some(key.clone());
                return false;
            }
        }
        true
    }
}

impl Register {
    /// The acceptance first: a log cut between the two holds an acceptance with its own promise, as
    /// legal as any. The older records stay until the permission to forget them is durable.
    fn write_anew(&mut self, key: &Key, effects: &mut Effects<Paxos>) {
        let mut first = None;
        if let Some((version, acceptance)) = &self.accepted {
            first = Some(effects.persist(Record::Accepted {
                instance: Instance {
                    key: key.clone(),
                    version: *version,
                },
                ballot: acceptance.ballot,
                value: acceptance.value.clone(),
            }));
        }
        let covered = self
            .accepted
            .as_ref()
            .is_some_and(|(v, a)| (*v, a.ballot) == (self.version, self.promised));
        if !covered && self.promised > Ballot::ZERO {
            let lsn = effects.persist(Record::Promised {
                instance: Instance {
                    key: key.clone(),
                    version: self.version,
                },
                ballot: self.promised,
            });
            first = first.or(Some(lsn));
        }
        self.oldest = Oldest(first.unwrap_or(effects.last()));
    }
}
