//! The slots of one acceptor: what was accepted in each, and under which ballot. There may be holes.

use alloc::{collections::VecDeque, vec::Vec};
use consensus_core::{
    Ballot, Epoch, Index,
    contract::replicated_log::Membership,
    log::{Commands, EntryKind, Place, Run},
};
use core::hash::{Hash, Hasher};

/// Entries that were accepted together.
#[derive(Clone, Debug)]
pub(crate) struct Accepted {
    /// Under which ballot, last.
    pub(crate) ballot: Ballot,
    pub(crate) run: Run,
}

/// Everything accepted after the newest snapshot. Equal contents cut differently are equal.
///
/// Invariant: the runs are in slot order, do not overlap, and lie after `base`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slots {
    runs: VecDeque<Accepted>,
    base: Index,
    base_epoch: Epoch,
    /// The last slot that holds something; the base when none does.
    last: Index,
    bytes: usize,
}

impl Slots {
    pub(crate) const fn after(base: Index, epoch: Epoch) -> Self {
        Self {
            runs: VecDeque::new(),
            base,
            base_epoch: epoch,
            last: base,
            bytes: 0,
        }
    }

    /// The last slot that is no longer here.
    #[inline]
    pub(crate) const fn base(&self) -> Index {
        self.base
    }

    /// The last slot that holds something; the base when none does.
    #[inline]
    pub(crate) const fn last(&self) -> Index {
        self.last
    }

    #[inline]
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn runs(&self) -> impl DoubleEndedIterator<Item = &Accepted> + '_ {
        self.runs.iter()
    }

    /// The position of the first run that ends at or after `index`. Readers mostly want the newest:
    /// gallop from the back, then search.
    #[inline]
    fn position(&self, index: Index) -> usize {
        if let Some(back) = self.runs.back()
            && back.run.first() <= index
            && index <= self.last
        {
            return self.runs.len() - 1;
        }
        let (mut high, mut step) = (self.runs.len(), 1);
        loop {
            let low = high.saturating_sub(step);
            if low == high {
                return low;
            }
            if self.runs[low].run.last() < index {
                return if high - low == 1 {
                    high
                } else {
                    self.search(low, high, index)
                };
            }
            if low == 0 {
                return 0;
            }
            (high, step) = (low, step * 2);
        }
    }

    /// `low` ends before `index`, `high` does not.
    #[cold]
    fn search(&self, mut low: usize, mut high: usize, index: Index) -> usize {
        while high - low > 1 {
            let middle = usize::midpoint(low, high);
            if self.runs[middle].run.last() < index {
                low = middle;
            } else {
                high = middle;
            }
        }
        high
    }

    /// What `index` holds.
    pub(crate) fn at(&self, index: Index) -> Option<&Accepted> {
        self.runs
            .get(self.position(index))
            .filter(|accepted| accepted.run.first() <= index)
    }

    /// The epoch of the entry at `index`; none when the slot is empty.
    pub(crate) fn epoch(&self, index: Index) -> Option<Epoch> {
        if index == self.base {
            return Some(self.base_epoch);
        }
        self.at(index).map(|accepted| accepted.run.epoch())
    }

    /// Puts entries into their slots; whatever was there is gone.
    #[inline]
    pub(crate) fn put(&mut self, ballot: Ballot, run: Run) {
        if run.first() > self.last {
            self.last = run.last();
            self.bytes += run.payload_bytes();
            self.runs.push_back(Accepted { ballot, run });
        } else {
            self.replace(ballot, run);
        }
    }

    #[cold]
    fn replace(&mut self, ballot: Ballot, run: Run) {
        let (first, last) = (run.first(), run.last());
        let start = self.position(first);
        self.last = self.last.max(last);
        let mut end = start;
        let mut kept = Vec::new();
        while let Some(old) = self.runs.get(end)
            && old.run.first() <= last
        {
            self.bytes -= old.run.payload_bytes();
            kept.push(old.clone());
            end += 1;
        }
        let mut parts = Vec::new();
        let piece = |old: &Accepted, from, to| {
            old.run.cut(from..to).map(|run| Accepted {
                ballot: old.ballot,
                run,
            })
        };
        parts.extend(kept.first().and_then(|old| piece(old, Index::ZERO, first)));
        parts.push(Accepted { ballot, run });
        parts.extend(
            kept.last()
                .and_then(|old| piece(old, last.next(), old.run.last().next())),
        );
        self.bytes += parts.iter().map(|p| p.run.payload_bytes()).sum::<usize>();
        self.runs.drain(start..end);
        for (offset, part) in parts.into_iter().enumerate() {
            self.runs.insert(start + offset, part);
        }
    }

    /// Puts entries into those of their slots that are empty or hold something of a lower ballot.
    pub(crate) fn put_higher(&mut self, ballot: Ballot, run: &Run) {
        let mut first = run.first();
        while first <= run.last() {
            let yields = |index| self.at(index).is_none_or(|held| held.ballot < ballot);
            let same = yields(first);
            let mut end = first.next();
            while end <= run.last() && yields(end) == same {
                end = end.next();
            }
            if same && let Some(part) = run.cut(first..end) {
                self.put(ballot, part);
            }
            first = end;
        }
    }

    /// The last slot up to which, from `first` on, every slot was accepted under `ballot`; the slot
    /// before `first` when that one was not. Looks no further than `limit`.
    #[inline]
    pub(crate) fn accepted_through(&self, first: Index, limit: Index, ballot: Ballot) -> Index {
        self.through_while(first, limit, |accepted| accepted.ballot == ballot)
    }

    /// The first slot from `first` on that was accepted under `ballot`.
    pub(crate) fn first_under(&self, ballot: Ballot, first: Index) -> Option<Index> {
        let mut runs = self.runs.range(self.position(first)..);
        runs.find(|accepted| accepted.ballot == ballot)
            .map(|accepted| accepted.run.first().max(first))
    }

    /// The last slot up to which, from `first` on, no slot is empty.
    pub(crate) fn filled_through(&self, first: Index, limit: Index) -> Index {
        self.through_while(first, limit, |_| true)
    }

    #[inline]
    fn through_while(
        &self,
        first: Index,
        limit: Index,
        counts: impl Fn(&Accepted) -> bool,
    ) -> Index {
        let mut next = first;
        let start = self.position(first);
        for accepted in self.runs.range(start..) {
            if next > limit || accepted.run.first() > next || !counts(accepted) {
                break;
            }
            next = accepted.run.last().next();
        }
        next.previous().min(limit.max(first.previous()))
    }

    /// Hands out what stands in `from..=to`, cut at both ends.
    #[inline]
    pub(crate) fn each(&self, from: Index, to: Index, mut f: impl FnMut(Ballot, Run)) {
        if from > to {
            return;
        }
        for Accepted { ballot, run } in self.runs.range(self.position(from)..) {
            if run.first() > to {
                break;
            }
            if from <= run.first() && run.last() <= to {
                f(*ballot, run.clone());
            } else if let Some(part) = run.cut(from..to.next()) {
                f(*ballot, part);
            }
        }
    }

    /// Hands out what the entries of `from..=to` say about members.
    #[inline]
    pub(crate) fn memberships(&self, from: Index, to: Index, mut f: impl FnMut(Index, Membership)) {
        if from > to {
            return;
        }
        for Accepted { run, .. } in self.runs.range(self.position(from)..) {
            if run.first() > to {
                break;
            }
            if run.kind() == EntryKind::Membership {
                for (entry, payload) in (run.first().0..).map(Index).zip(run.iter()) {
                    if from <= entry && entry <= to {
                        // What says nothing sensible says nothing, and to everybody.
                        let members = Membership::from_entry(payload);
                        members.into_iter().for_each(|members| f(entry, members));
                    }
                }
            }
        }
    }

    /// Entries of `from..=to`, without a hole, to be sent: at most `bytes_max` of payload but at least
    /// one entry; none when `from` is empty. Small runs of one epoch are merged, so that catching up is
    /// not paid by the message.
    #[inline]
    pub(crate) fn gather(&self, from: Index, to: Index, bytes_max: usize) -> Option<Run> {
        if let Some(Accepted { run, .. }) = self.runs.back()
            && run.first() == from
            && run.last() <= to
            && run.payload_bytes() <= bytes_max
        {
            return Some(run.clone());
        }
        let start = self.position(from);
        let first = self.runs.get(start)?.run.cut(from..to.next())?;
        if first.first() != from {
            return None;
        }
        Some(self.merge(first.beginning(bytes_max), start + 1, to, bytes_max))
    }

    fn merge(&self, first: Run, next: usize, to: Index, bytes_max: usize) -> Run {
        let mut bytes = first.payload_bytes();
        let mut last = first.last();
        let fits = |accepted: &&Accepted| {
            let run = &accepted.run;
            bytes += run.payload_bytes();
            let follows = run.first() == last.next() && run.last() <= to;
            last = run.last();
            follows
                && run.epoch() == first.epoch()
                && run.kind() == EntryKind::Command
                && first.kind() == EntryKind::Command
                && bytes <= bytes_max
        };
        let more = self.runs.range(next..).take_while(fits).count();
        if more == 0 {
            return first;
        }
        let mut all = Commands::default();
        first.iter().for_each(|payload| all.push(payload));
        for accepted in self.runs.range(next..next + more) {
            accepted.run.iter().for_each(|payload| all.push(payload));
        }
        all.place(Place {
            first: first.first(),
            epoch: first.epoch(),
            previous: first.previous(),
            kind: EntryKind::Command,
        })
    }

    /// Drops everything up to and including `through`, whose entry had `epoch`.
    pub(crate) fn compact(&mut self, through: Index, epoch: Epoch) {
        if through <= self.base {
            return;
        }
        while let Some(front) = self.runs.front()
            && front.run.first() <= through
        {
            self.bytes -= front.run.payload_bytes();
            let rest = front.run.cut(through.next()..front.run.last().next());
            let ballot = front.ballot;
            self.runs.pop_front();
            if let Some(run) = rest {
                self.bytes += run.payload_bytes();
                self.runs.push_front(Accepted { ballot, run });
                break;
            }
        }
        (self.base, self.base_epoch) = (through, epoch);
        self.last = self.last.max(through);
    }

    fn entries(&self) -> impl Iterator<Item = (Index, Ballot, Epoch, EntryKind, &[u8])> + '_ {
        self.runs.iter().flat_map(|accepted| {
            let run = &accepted.run;
            run.iter().enumerate().map(move |(offset, entry)| {
                let index = Index(run.first().0 + offset as u64);
                (index, accepted.ballot, run.epoch(), run.kind(), entry)
            })
        })
    }
}

impl PartialEq for Slots {
    fn eq(&self, other: &Self) -> bool {
        (self.base, self.base_epoch) == (other.base, other.base_epoch)
            && self.entries().eq(other.entries())
    }
}

impl Eq for Slots {}

impl Hash for Slots {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.base.hash(state);
        self.entries().for_each(|entry| entry.hash(state));
    }
}
