//! Which records still live, and writing the few of them anew so that old ones may be forgotten.
//!
//! Entries are never written anew: replaying an append drops everything after its first entry, so
//! an old entry at a new place would take its successors with it. Only a snapshot frees entries;
//! term and vote, and the snapshot's own record, are written again behind them.

use crate::{node::Raft, record::Record};
use alloc::{boxed::Box, collections::VecDeque};
use consensus_core::{Effects, Index, Lsn};

/// How far two marks are apart, in entries.
const SPARSE: u64 = 64;

/// Where on disk things are, for [`Raft::on_reclaim`] alone. Absolute positions: kept out of
/// comparisons, for two nodes that differ in nothing else are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Marks {
    /// Ascending in both: entries from the second on are held by records from the first on.
    entries: VecDeque<(Lsn, Index)>,
    hard_state: Lsn,
    snapshot: Lsn,
    /// What has been let go already.
    released: Lsn,
}

impl Marks {
    /// Record `lsn` holds entries from `first` on; whatever stood there before is gone.
    #[inline]
    pub(crate) fn appended(&mut self, lsn: Lsn, first: Index) {
        while self.entries.back().is_some_and(|(_, mark)| *mark >= first) {
            self.entries.pop_back();
        }
        if self
            .entries
            .back()
            .is_none_or(|(_, mark)| mark.0 + SPARSE <= first.0)
        {
            self.entries.push_back((lsn, first));
        }
    }

    /// Entries up to `base` are in a snapshot.
    pub(crate) fn compacted(&mut self, base: Index, last: Index) {
        if base == last {
            self.entries.clear();
        }
        while self
            .entries
            .get(1)
            .is_some_and(|(_, next)| *next <= base.next())
        {
            self.entries.pop_front();
        }
    }

    pub(crate) const fn hard_state(&mut self, lsn: Lsn) {
        self.hard_state = lsn;
    }

    pub(crate) const fn snapshot(&mut self, lsn: Lsn) {
        self.snapshot = lsn;
    }
}

impl Raft {
    /// The disk asks for what lives before `before` to be written anew.
    pub(crate) fn on_reclaim(&mut self, before: Lsn, effects: &mut Effects<Self>) {
        let oldest = self.marks.entries.front().map(|(lsn, _)| *lsn);
        let before = oldest.map_or(before, |oldest| oldest.min(before));
        if before <= self.marks.released {
            return;
        }
        // Lazily: the old ones stay until the new ones are on disk.
        if self.marks.hard_state < before && (self.term, self.vote) != (0, None) {
            let (term, vote) = (self.term, self.vote);
            let lsn = effects.persist_lazily(Record::HardState { term, vote });
            self.marks.hard_state(lsn);
        }
        if self.marks.snapshot < before
            && let Some(manifest) = self.members.snapshot().cloned().map(Box::new)
        {
            let lsn = effects.persist_lazily(Record::Snapshot { manifest });
            self.marks.snapshot(lsn);
        }
        self.marks.released = before;
        effects.release(before);
    }
}
