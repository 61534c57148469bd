//! Writing anew what still lives in old records, a little at a time, so that they may go.

use crate::{node::MultiPaxos, record::Record};
use consensus_core::{Effects, Index, Lsn};
use core::hash::{Hash, Hasher};

/// A rewriting under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reclaim {
    /// What may go in the end: everything that lived when the rewriting began is written after it.
    before: Lsn,
    /// The first slot not yet written anew.
    next: Index,
}

// The same under other record numbers is the same.
impl PartialEq for Reclaim {
    fn eq(&self, other: &Self) -> bool {
        self.next == other.next
    }
}
impl Eq for Reclaim {}
impl Hash for Reclaim {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.next.hash(state);
    }
}

impl MultiPaxos {
    /// Everything that lives is in memory, so it is written as it stands: the snapshot, the promise,
    /// chosen slots as learned, others as kept. What is accepted meanwhile follows in the log, and so
    /// takes precedence.
    pub(crate) fn on_reclaim(&mut self, before: Lsn, effects: &mut Effects<Self>) {
        let base = self.slots.base().next();
        let Reclaim { before, next } = match self.reclaim {
            Some(under_way) => under_way,
            None => {
                self.write_head_anew(effects);
                Reclaim { before, next: base }
            }
        };
        let next = self.write_anew(next.max(base), effects);
        if next <= self.slots.last() {
            self.reclaim = Some(Reclaim { before, next });
            return;
        }
        self.reclaim = None;
        self.record_chosen(effects);
        effects.release(before);
    }

    fn write_head_anew(&self, effects: &mut Effects<Self>) {
        if let Some(manifest) = &self.snapshot {
            effects.persist_lazily(Record::Snapshot {
                manifest: manifest.clone(),
            });
        }
        if self.promised != consensus_core::Ballot::ZERO {
            effects.persist_lazily(Record::Promised {
                ballot: self.promised,
            });
        }
    }

    /// Writes runs from `next` on, about as many as one message may carry. Returns the next slot.
    fn write_anew(&self, next: Index, effects: &mut Effects<Self>) -> Index {
        let mut room = self.config.options.append_bytes_max;
        let mut end = self.slots.last().next();
        self.slots.each(next, self.slots.last(), |ballot, run| {
            if room == 0 {
                end = end.min(run.first());
                return;
            }
            room = room.saturating_sub(run.payload_bytes().max(1));
            let (first, last) = (run.first(), run.last());
            if let Some(run) = run.cut(first..self.chosen.next()) {
                effects.persist_lazily(Record::Learned { run });
            }
            if let Some(run) = run.cut(self.chosen.next()..last.next()) {
                effects.persist_lazily(Record::Kept { ballot, run });
            }
        });
        end
    }
}
