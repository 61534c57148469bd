//! The end of a replicated log, kept in memory: everything after the newest snapshot.

use super::{Commands, EntryKind, Place, Run};
use crate::{Epoch, Index};
use alloc::collections::VecDeque;
use core::hash::{Hash, Hasher};

/// Entries by index, kept as the runs they came in. Equal logs cut differently are equal.
///
/// Invariant: the runs are contiguous, the first begins after `base`, the last ends at `last`.
#[derive(Clone, Debug)]
pub struct Tail {
    runs: VecDeque<Run>,
    base: Index,
    base_epoch: Epoch,
    last: Index,
    last_epoch: Epoch,
    bytes: usize,
}

impl Default for Tail {
    fn default() -> Self {
        Self::after(Index::ZERO, Epoch::ZERO)
    }
}

impl Tail {
    /// An empty log that goes on after `base`, whose epoch was `epoch`.
    #[must_use]
    pub const fn after(base: Index, epoch: Epoch) -> Self {
        Self {
            runs: VecDeque::new(),
            base,
            base_epoch: epoch,
            last: base,
            last_epoch: epoch,
            bytes: 0,
        }
    }

    /// The last entry that is no longer here: covered by a snapshot, or zero.
    #[inline]
    #[must_use]
    pub const fn base(&self) -> Index {
        self.base
    }

    /// The last entry.
    #[inline]
    #[must_use]
    pub const fn last(&self) -> Index {
        self.last
    }

    /// The epoch of the last entry.
    #[inline]
    #[must_use]
    pub const fn last_epoch(&self) -> Epoch {
        self.last_epoch
    }

    /// Bytes of payload held.
    #[inline]
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The epoch of the entry at `index`; none when it is no longer or not yet here.
    #[inline]
    #[must_use]
    pub fn epoch(&self, index: Index) -> Option<Epoch> {
        if index == self.last {
            return Some(self.last_epoch);
        }
        if index == self.base {
            return Some(self.base_epoch);
        }
        self.position(index)
            .map(|position| self.runs[position].epoch())
    }

    /// The place that a run has when it is appended under `epoch`.
    #[inline]
    #[must_use]
    pub fn next_place(&self, epoch: Epoch) -> Place {
        Place {
            first: self.last.next(),
            epoch,
            previous: self.last_epoch,
            ..Place::default()
        }
    }

    /// Which run holds `index`. Readers mostly want the newest: gallop from the back, then search.
    #[inline]
    fn position(&self, index: Index) -> Option<usize> {
        if index > self.last || index <= self.base {
            return None;
        }
        let (mut high, mut step) = (self.runs.len(), 1);
        loop {
            let low = high.saturating_sub(step);
            if low == 0 || self.runs[low].first() <= index {
                return Some(if high - low == 1 {
                    low
                } else {
                    self.search(low, high, index)
                });
            }
            (high, step) = (low, step * 2);
        }
    }

    #[cold]
    fn search(&self, mut low: usize, mut high: usize, index: Index) -> usize {
        while high - low > 1 {
            let middle = usize::midpoint(low, high);
            if self.runs[middle].first() <= index {
                low = middle;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Adds a run right after the last entry.
    ///
    /// # Panics
    /// *Log contiguity*: when it does not follow.
    #[inline]
    pub fn append(&mut self, run: Run) {
        assert!(
            run.first() == self.last.next(),
            "log contiguity: {run:?} after {}",
            self.last
        );
        self.last = run.last();
        self.last_epoch = run.epoch();
        self.bytes += run.payload_bytes();
        self.runs.push_back(run);
    }

    /// Drops everything after `keep`.
    ///
    /// # Panics
    /// When `keep` lies before the base: what a snapshot covers is committed and never truncated.
    pub fn truncate(&mut self, keep: Index) {
        assert!(
            keep >= self.base,
            "truncation to {keep} cuts into the snapshot at {}",
            self.base
        );
        while let Some(back) = self.runs.back()
            && back.last() > keep
        {
            self.bytes -= back.payload_bytes();
            let kept = back.cut(back.first()..keep.next());
            self.runs.pop_back();
            if let Some(run) = kept {
                self.bytes += run.payload_bytes();
                self.runs.push_back(run);
            }
        }
        self.last = self.last.min(keep);
        self.last_epoch = self.runs.back().map_or(self.base_epoch, Run::epoch);
    }

    /// Drops everything up to and including `through`, now covered by a snapshot.
    ///
    /// # Panics
    /// When `through` lies beyond the last entry.
    pub fn compact(&mut self, through: Index) {
        if through <= self.base {
            return;
        }
        let epoch = self.epoch(through);
        assert!(
            epoch.is_some(),
            "compaction to {through} goes beyond {}",
            self.last
        );
        while let Some(front) = self.runs.front()
            && front.first() <= through
        {
            self.bytes -= front.payload_bytes();
            let kept = front.cut(through.next()..front.last().next());
            self.runs.pop_front();
            if let Some(run) = kept {
                self.bytes += run.payload_bytes();
                self.runs.push_front(run);
                break;
            }
        }
        self.base = through;
        self.base_epoch = epoch.unwrap_or_default();
    }

    /// Hands out the runs that cover `from..=to`, cut at both ends.
    #[inline]
    pub fn each(&self, from: Index, to: Index, mut f: impl FnMut(Run)) {
        if let Some(back) = self.runs.back()
            && back.first() == from
            && to == self.last
        {
            return f(back.clone());
        }
        let Some(start) = self.position(from) else {
            return;
        };
        for run in self.runs.range(start..) {
            if run.first() > to {
                break;
            }
            if from <= run.first() && run.last() <= to {
                f(run.clone());
            } else if let Some(part) = run.cut(from..to.next()) {
                f(part);
            }
        }
    }

    /// Entries from `from` on, to be sent: at most `bytes_max` of payload but at least one entry; none
    /// when `from` is not here. Small runs of one epoch are merged, so that catching up is not paid by
    /// the message.
    #[inline]
    #[must_use]
    pub fn gather(&self, from: Index, bytes_max: usize) -> Option<Run> {
        if let Some(back) = self.runs.back()
            && back.first() == from
            && back.payload_bytes() <= bytes_max
        {
            return Some(back.clone());
        }
        let start = self.position(from)?;
        let first = &self.runs[start];
        let first = first.cut(from..first.last().next())?.beginning(bytes_max);
        Some(self.merge(first, start + 1, bytes_max))
    }

    /// `first` and the runs after it, as far as they belong to the same epoch and fit.
    fn merge(&self, first: Run, next: usize, bytes_max: usize) -> Run {
        let mut bytes = first.payload_bytes();
        let mut last = first.last();
        let more: usize = self
            .runs
            .range(next..)
            .take_while(|run| {
                bytes += run.payload_bytes();
                let follows = run.first() == last.next();
                last = run.last();
                follows
                    && run.epoch() == first.epoch()
                    && run.kind() == EntryKind::Command
                    && first.kind() == EntryKind::Command
                    && bytes <= bytes_max
            })
            .count();
        if more == 0 {
            return first;
        }
        let mut all = Commands::default();
        first.iter().for_each(|payload| all.push(payload));
        for run in self.runs.range(next..next + more) {
            run.iter().for_each(|payload| all.push(payload));
        }
        all.place(Place {
            first: first.first(),
            epoch: first.epoch(),
            previous: first.previous(),
            kind: EntryKind::Command,
        })
    }

    /// The newest entry at or before `index` whose epoch is at most `epoch`, and its epoch: where two
    /// logs may agree, given one entry of the other. The base when there is none after it.
    #[must_use]
    pub fn latest_at_most(&self, index: Index, epoch: Epoch) -> (Index, Epoch) {
        if index >= self.last && self.last_epoch <= epoch {
            return (self.last, self.last_epoch);
        }
        for run in self.runs.iter().rev() {
            if run.first() <= index && run.epoch() <= epoch {
                return (run.last().min(index), run.epoch());
            }
        }
        (self.base, self.base_epoch)
    }

    /// The runs held, oldest first.
    pub fn runs(&self) -> impl Iterator<Item = &Run> + '_ {
        self.runs.iter()
    }

    /// The runs held, newest first.
    pub fn runs_reversed(&self) -> impl Iterator<Item = &Run> + '_ {
        self.runs.iter().rev()
    }

    fn entries(&self) -> impl Iterator<Item = (Epoch, &[u8])> + '_ {
        self.runs
            .iter()
            .flat_map(|run| run.iter().map(move |entry| (run.epoch(), entry)))
    }
}

impl PartialEq for Tail {
    fn eq(&self, other: &Self) -> bool {
        (self.base, self.last, self.base_epoch) == (other.base, other.last, other.base_epoch)
            && self.entries().eq(other.entries())
    }
}

impl Eq for Tail {}

impl Hash for Tail {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.base, self.last).hash(state);
        self.entries().for_each(|entry| entry.hash(state));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Commands;
    use alloc::{vec, vec::Vec};

    fn run(tail: &Tail, epoch: u64, commands: &[&str]) -> Run {
        let mut all = Commands::default();
        commands.iter().for_each(|c| all.push(c.as_bytes()));
        all.place(tail.next_place(Epoch::of_term(epoch)))
    }

    fn tail(runs: &[(u64, &[&str])]) -> Tail {
        let mut tail = Tail::default();
        for (epoch, commands) in runs {
            let run = run(&tail, *epoch, commands);
            tail.append(run);
        }
        tail
    }

    #[test]
    fn equal_logs_cut_differently_are_equal() {
        assert_eq!(
            tail(&[(1, &["a", "b"]), (1, &["c"])]),
            tail(&[(1, &["a"]), (1, &["b", "c"])])
        );
        assert_ne!(
            tail(&[(1, &["a"]), (1, &["b"])]),
            tail(&[(1, &["a"]), (2, &["b"])])
        );
    }

    #[test]
    fn truncation_and_compaction_keep_exactly_what_lies_between() {
        for cut in 0..=6u64 {
            for keep in cut..=6u64 {
                let mut tail = tail(&[(1, &["1", "2", "3"]), (2, &["4"]), (3, &["5", "6"])]);
                tail.compact(Index(cut));
                tail.truncate(Index(keep));
                let mut seen = vec![];
                tail.each(Index(cut + 1), Index(keep), |run| {
                    seen.extend(run.iter().map(|p| p.to_vec()));
                });
                let expected: Vec<_> = (cut + 1..=keep)
                    .map(|i| i.to_string().into_bytes())
                    .collect();
                assert_eq!(seen, expected);
                let term = |i: u64| [0, 1, 1, 1, 2, 3, 3][i as usize];
                for index in cut..=keep {
                    assert_eq!(tail.epoch(Index(index)), Some(Epoch::of_term(term(index))));
                }
                assert_eq!(tail.last_epoch(), Epoch::of_term(term(keep)));
                assert_eq!(tail.bytes() as u64, keep - cut);
            }
        }
    }

    use alloc::string::ToString;
}
