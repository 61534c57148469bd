//! Facts about this node alone that become true when their record is on disk: its own vote, its own
//! acknowledgement.

use crate::Lsn;
use alloc::collections::VecDeque;
use core::hash::{Hash, Hasher};

/// Facts in the order of their records. Equal and hashed by the distance to the watermark, so that
/// the same state under other record numbers is the same state.
#[derive(Clone, Debug)]
pub struct Unsynced<T> {
    durable: Lsn,
    waiting: VecDeque<(Lsn, T)>,
}

impl<T> Unsynced<T> {
    /// No facts yet. `durable`: what is on disk.
    #[must_use]
    pub const fn new(durable: Lsn) -> Self {
        Self {
            durable,
            waiting: VecDeque::new(),
        }
    }

    /// `fact` becomes true when record `at` is on disk.
    #[inline]
    pub fn push(&mut self, at: Lsn, fact: T) {
        self.waiting.push_back((at, fact));
    }

    /// Everything up to `durable` is on disk: the facts that have become true, in order.
    #[inline]
    pub fn settle(&mut self, durable: Lsn) -> impl Iterator<Item = T> + '_ {
        self.durable = durable;
        core::iter::from_fn(move || {
            self.waiting
                .front()
                .is_some_and(|(at, _)| *at <= durable)
                .then_some(())?;
            self.waiting.pop_front().map(|(_, fact)| fact)
        })
    }

    /// As [`settle`](Self::settle), for facts of which each replaces the one before it: the newest
    /// that has become true.
    #[inline]
    pub fn settle_newest(&mut self, durable: Lsn) -> Option<T> {
        self.settle(durable).last()
    }

    /// Forgets the facts that `keep` does not hold for.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.waiting.retain(|(_, fact)| keep(fact));
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn parts(&self) -> impl Iterator<Item = (u64, &T)> + '_ {
        self.waiting
            .iter()
            .map(|(at, fact)| (at.beyond(self.durable), fact))
    }
}

impl<T: PartialEq> PartialEq for Unsynced<T> {
    fn eq(&self, other: &Self) -> bool {
        self.parts().eq(other.parts())
    }
}

impl<T: Eq> Eq for Unsynced<T> {}

impl<T: Hash> Hash for Unsynced<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.waiting.len().hash(state);
        self.parts().for_each(|part| part.hash(state));
    }
}

/// One authority (a term, a ballot) and the record it rests on. Once that is on disk, which one it
/// was no longer matters to equality.
#[derive(Clone, Copy, Debug)]
pub struct Since {
    at: Lsn,
    behind: u64,
}

impl Since {
    /// An authority that rests on record `at`; `durable`: what is on disk.
    #[must_use]
    pub const fn new(at: Lsn, durable: Lsn) -> Self {
        Self {
            at,
            behind: at.beyond(durable),
        }
    }

    /// Everything up to `durable` is on disk.
    #[inline]
    pub const fn settle(&mut self, durable: Lsn) {
        self.behind = self.at.beyond(durable);
    }

    /// Whether the authority is on disk.
    #[inline]
    #[must_use]
    pub const fn is_durable(&self) -> bool {
        self.behind == 0
    }

    /// The record it rests on, for [`Early::Authority`](crate::Early::Authority).
    #[inline]
    #[must_use]
    pub const fn lsn(&self) -> Lsn {
        self.at
    }
}

impl PartialEq for Since {
    fn eq(&self, other: &Self) -> bool {
        self.behind == other.behind
    }
}

impl Eq for Since {}

impl Hash for Since {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.behind.hash(state);
    }
}
