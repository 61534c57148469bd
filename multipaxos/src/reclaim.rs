//! Which records still live, and writing the few of them anew so that old ones may be forgotten.
//!
//! Slots are never written anew: what a snapshot does not cover stays where it was written, so only a
//! snapshot shortens a log. (A log that rewrites its slots to get rid of the records before them rewrites
//! them again and again: they are most of it.) The promise and the snapshot's own record are written
//! again behind them.

use crate::{node::MultiPaxos, record::Record};
use alloc::collections::VecDeque;
use consensus_core::{Ballot, Effects, Index, Lsn};

/// How far two marks are apart, in slots.
const SPARSE: u64 = 64;

/// Where on disk slots are, for [`MultiPaxos::on_reclaim`] alone. Absolute positions: kept out of
/// comparisons, for two nodes that differ in nothing else are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Marks {
    /// Ascending in both: no record before the first of a mark holds a slot beyond the second of the
    /// mark before it.
    slots: VecDeque<(Lsn, Index)>,
    /// The last slot of the record that began the last mark.
    opened: Index,
    /// What has been let go already.
    released: Lsn,
}

impl Marks {
    /// Record `lsn`, the newest, holds slots up to `last`.
    #[inline]
    pub(crate) fn wrote(&mut self, lsn: Lsn, last: Index) {
        match self.slots.back_mut() {
            // An earlier record that must stay as long, or nearly.
            Some((_, known)) if *known >= last => {}
            Some((_, known)) if last.0 < self.opened.0 + SPARSE => *known = last,
            _ => {
                self.opened = last;
                self.slots.push_back((lsn, last));
            }
        }
    }

    /// The first record that holds a slot beyond `base`; none when no record does.
    fn oldest(&mut self, base: Index) -> Option<Lsn> {
        while self.slots.pop_front_if(|(_, last)| *last <= base).is_some() {}
        self.slots.front().map(|(lsn, _)| *lsn)
    }
}

impl MultiPaxos {
    /// The disk asks for what lives before `before` to be written anew.
    pub(crate) fn on_reclaim(&mut self, before: Lsn, effects: &mut Effects<Self>) {
        let oldest = self.marks.oldest(self.slots.base());
        let before = oldest.map_or(before, |oldest| oldest.min(before));
        if before <= self.marks.released {
            return;
        }
        self.marks.released = before;
        // Lazily: the old ones stay until the new ones are on disk. Small enough to be written again
        // whether or not their old records go.
        if let Some(manifest) = &self.snapshot {
            effects.persist_lazily(Record::Snapshot {
                manifest: manifest.clone(),
            });
        }
        if self.promised != Ballot::ZERO {
            effects.persist_lazily(Record::Promised {
                ballot: self.promised,
            });
        }
        self.record_chosen(effects);
        effects.release(before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_snapshot_covers_is_let_go_and_nothing_after_it() {
        for slots in [1, 7, 32, 64, 100] {
            let mut marks = Marks::default();
            for record in 1..=2_000 {
                marks.wrote(Lsn(record), Index(record * slots));
            }
            let base = 1_000;
            let oldest = marks.oldest(Index(base * slots)).map(|lsn| lsn.0);
            // The next record has to stay, and few before it do.
            let needed = base + 1;
            assert!(
                oldest.is_some_and(|oldest| oldest <= needed && oldest + 2 * SPARSE > needed),
                "{slots} slots a record: {oldest:?}"
            );
            assert_eq!(marks.oldest(Index(2_000 * slots)), None);
        }
    }

    #[test]
    fn a_record_of_late_slots_keeps_those_of_early_ones_that_follow() {
        let mut marks = Marks::default();
        marks.wrote(Lsn(1), Index(1_000));
        marks.wrote(Lsn(2), Index(10));
        assert_eq!(marks.oldest(Index(5)), Some(Lsn(1)));
        assert_eq!(marks.oldest(Index(1_000)), None);
    }
}
