//! One acceptor as the leader sees it.

use alloc::{collections::VecDeque, vec::Vec};
use consensus_core::{Index, NodeId};

/// One acceptor as the leader sees it. Acceptances may come in any order.
///
/// Invariant: `through` never decreases under one ballot.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Window {
    pub(crate) peer: NodeId,
    /// Whether its acceptance counts in the next slot.
    pub(crate) votes: bool,
    /// Everything up to here it has accepted under this ballot, or is chosen.
    pub(crate) through: Index,
    /// What it has accepted beyond a gap: disjoint, in order.
    islands: Vec<(Index, Index)>,
    /// What to send next.
    pub(crate) next: Index,
    /// Accepts on their way: their last slots and payload bytes.
    inflight: VecDeque<(Index, usize)>,
    inflight_bytes: usize,
    /// What it was last told to be chosen.
    pub(crate) announced: Option<Index>,
    /// `through` as of the last heartbeat: no movement with accepts on their way means loss.
    stalled_at: Option<Index>,
    /// The newest question for a read that it has answered.
    pub(crate) round: u64,
    /// And the newest with which it has granted a lease.
    pub(crate) granted: u64,
}

impl Window {
    /// A window onto an acceptor of a leader that knows everything up to `chosen` as chosen.
    pub(crate) const fn new(peer: NodeId, chosen: Index) -> Self {
        Self {
            peer,
            votes: false,
            through: chosen,
            islands: Vec::new(),
            next: chosen.next(),
            inflight: VecDeque::new(),
            inflight_bytes: 0,
            announced: None,
            stalled_at: None,
            round: 0,
            granted: 0,
        }
    }

    /// What may go out now: from where, and up to where at most; none when there is nothing or no
    /// room.
    #[inline]
    pub(crate) fn due(
        &mut self,
        last: Index,
        accepts_max: usize,
        bytes_max: usize,
    ) -> Option<(Index, Index)> {
        if self.next > last
            || self.inflight.len() >= accepts_max
            || self.inflight_bytes >= bytes_max
        {
            return None;
        }
        let mut end = last;
        for (first, island) in &self.islands {
            if self.next < *first {
                end = end.min(first.previous());
                break;
            }
            self.next = self.next.max(island.next());
        }
        (self.next <= end).then_some((self.next, end))
    }

    /// An accept up to `last` has gone out.
    #[inline]
    pub(crate) fn sent(&mut self, last: Index, bytes: usize) {
        self.next = last.next();
        self.inflight.push_back((last, bytes));
        self.inflight_bytes += bytes;
    }

    /// It has accepted `first..=last`; whether that moves `through`.
    #[inline]
    pub(crate) fn accepted(&mut self, first: Index, last: Index) -> bool {
        let before = self.through;
        if first <= self.through.next() {
            self.reach(last);
        } else {
            let at = self.islands.partition_point(|island| island.0 < first);
            self.islands.insert(at, (first, last));
        }
        self.through > before
    }

    /// Everything up to `through` needs no more acceptances.
    #[inline]
    fn reach(&mut self, through: Index) {
        self.through = self.through.max(through);
        while let Some((first, last)) = self.islands.first().copied()
            && first <= self.through.next()
        {
            self.through = self.through.max(last);
            self.islands.remove(0);
        }
        while let Some((last, bytes)) = self.inflight.front().copied()
            && last <= self.through
        {
            self.inflight_bytes -= bytes;
            self.inflight.pop_front();
        }
        self.next = self.next.max(self.through.next());
    }

    /// Everything up to `base` is chosen and no longer held: it has to come by another way.
    #[inline]
    pub(crate) fn skip(&mut self, base: Index) {
        if self.next <= base {
            self.reach(base);
        }
    }

    /// A heartbeat interval has passed. Accepts that made no progress in it are taken for lost: what is
    /// missing and not chosen yet goes out once more, and no more than that.
    pub(crate) fn tick(&mut self, chosen: Index) {
        let waiting = self.next > self.through.next();
        if waiting && self.stalled_at == Some(self.through) {
            self.reach(chosen);
            self.inflight.clear();
            self.inflight_bytes = 0;
            self.next = self.through.next();
            self.stalled_at = None;
        } else {
            self.stalled_at = waiting.then_some(self.through);
        }
    }
}
