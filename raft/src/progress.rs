//! One follower as its leader sees it.

use alloc::collections::VecDeque;
use consensus_core::{Index, NodeId};

/// How a leader sends to one follower.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Flow {
    /// Not known where the logs part: one append at a time. `true`: one is on its way.
    Probe(bool),
    /// Known: appends follow each other without waiting, within the window.
    Replicate,
    /// It needs a snapshot, up to this entry; appends wait.
    Snapshot(Index),
}

/// One follower as its leader sees it. Invariant: `matched` < `next`, and `matched` never decreases
/// within a term.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Progress {
    pub(crate) peer: NodeId,
    /// Up to here its log agrees and is on its disk.
    pub(crate) matched: Index,
    /// What to send next.
    pub(crate) next: Index,
    pub(crate) flow: Flow,
    /// Appends on their way: their last entries and payload bytes.
    inflight: VecDeque<(Index, usize)>,
    inflight_bytes: usize,
    /// The commit index it was last told.
    pub(crate) announced: Index,
    /// Heard from since the last quorum check.
    pub(crate) active: bool,
    /// `matched` as of the last heartbeat: no movement with appends on their way means loss.
    stalled_at: Option<Index>,
    /// The newest heartbeat round it has answered.
    pub(crate) round: u64,
    /// It has started again, and waits to hear that its log agrees.
    pub(crate) forgetful: bool,
}

impl Progress {
    pub(crate) const fn new(peer: NodeId, last: Index) -> Self {
        Self {
            peer,
            matched: Index::ZERO,
            next: last.next(),
            flow: Flow::Probe(false),
            inflight: VecDeque::new(),
            inflight_bytes: 0,
            announced: Index::ZERO,
            active: true,
            stalled_at: None,
            round: 0,
            forgetful: false,
        }
    }

    /// Whether an append may go out now.
    #[inline]
    pub(crate) fn has_room(&self, appends_max: usize, bytes_max: usize) -> bool {
        match self.flow {
            Flow::Probe(waiting) => !waiting,
            Flow::Replicate => self.inflight.len() < appends_max && self.inflight_bytes < bytes_max,
            Flow::Snapshot(_) => false,
        }
    }

    /// An append up to `last` has gone out.
    #[inline]
    pub(crate) fn sent(&mut self, last: Index, bytes: usize) {
        match &mut self.flow {
            Flow::Probe(waiting) => *waiting = true,
            Flow::Replicate => {
                self.next = last.next();
                self.inflight.push_back((last, bytes));
                self.inflight_bytes += bytes;
            }
            Flow::Snapshot(_) => {}
        }
    }

    /// Its log agrees up to `matched`; whether that is news.
    #[inline]
    pub(crate) fn accepted(&mut self, matched: Index) -> bool {
        self.active = true;
        let news = matched > self.matched;
        if news {
            self.matched = matched;
        }
        while let Some((last, bytes)) = self.inflight.front()
            && *last <= self.matched
        {
            self.inflight_bytes -= bytes;
            self.inflight.pop_front();
        }
        match self.flow {
            Flow::Probe(_) => self.replicate(),
            Flow::Snapshot(through) if self.matched >= through => self.replicate(),
            Flow::Replicate | Flow::Snapshot(_) => self.next = self.next.max(self.matched.next()),
        }
        news
    }

    fn replicate(&mut self) {
        self.clear_inflight();
        self.next = self.matched.next();
        self.flow = Flow::Replicate;
    }

    fn clear_inflight(&mut self) {
        self.inflight.clear();
        self.inflight_bytes = 0;
    }

    /// Its log does not agree at `asked`; it may agree at `hint`. Whether the answer is to what was
    /// last asked: an older one changes nothing, and none lowers what is proven.
    pub(crate) fn refused(&mut self, asked: Index, hint: Index) -> bool {
        self.active = true;
        let fresh = match self.flow {
            Flow::Probe(_) => asked == self.next.previous(),
            Flow::Replicate => asked > self.matched,
            Flow::Snapshot(_) => false,
        };
        if fresh {
            self.clear_inflight();
            self.flow = Flow::Probe(false);
            self.next = hint.min(asked.previous()).next().max(self.matched.next());
        }
        fresh
    }

    /// A heartbeat interval has passed. Appends that made no progress in it are taken for lost.
    pub(crate) fn tick(&mut self) {
        let waiting = match self.flow {
            Flow::Probe(waiting) => waiting,
            Flow::Replicate => !self.inflight.is_empty(),
            Flow::Snapshot(_) => false,
        };
        if waiting && self.stalled_at == Some(self.matched) {
            self.clear_inflight();
            if self.flow == Flow::Replicate {
                self.next = self.matched.next();
            }
            self.flow = Flow::Probe(false);
            self.stalled_at = None;
        } else {
            self.stalled_at = waiting.then_some(self.matched);
        }
    }

    /// Nothing is on its way to it, and it has everything up to `last`.
    pub(crate) fn is_idle(&self, last: Index) -> bool {
        self.flow == Flow::Replicate && self.inflight.is_empty() && self.matched == last
    }

    /// It needs a snapshot, up to `through`.
    pub(crate) fn needs_snapshot(&mut self, through: Index) {
        self.clear_inflight();
        self.flow = Flow::Snapshot(through);
    }

    /// The snapshot did not arrive: find out again what it has, after a heartbeat. At once, a
    /// transfer that fails at once would be tried for ever within one moment.
    pub(crate) fn snapshot_failed(&mut self) {
        if matches!(self.flow, Flow::Snapshot(_)) {
            self.flow = Flow::Probe(true);
            self.stalled_at = None;
            self.next = self.matched.next();
        }
    }
}
