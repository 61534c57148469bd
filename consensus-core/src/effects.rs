//! What a batch of inputs wants from the world.

use crate::{Lsn, NodeId, Protocol};
use alloc::vec::Vec;
use core::{fmt, hash, ops::RangeInclusive, time::Duration};

/// The only reasons to overtake the disk. A closed list; traces print the reason.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Early {
    /// A request under a term, ballot or transaction id that this disk holds since the record
    /// named; asserted in the call. What else the message carries binds nobody yet.
    Authority(Lsn),
    /// A request for votes or promises while the sender's own term is being written. The sender
    /// takes office only when that record is durable; otherwise it could lead one term twice.
    Campaign,
    /// A quorum's disks hold the fact.
    QuorumHolds,
    /// A read under a lease, judged by the `now` of this batch.
    LeaseHolds,
}

/// What one batch wants from the world. Made once a node, emptied after every batch.
///
/// **Safe by default**: [`send`](Self::send) and [`emit`](Self::emit) wait for every record forced
/// so far, this batch's included, whatever the order of calls. Overtaking the disk is a visible word
/// with a reason from the closed list [`Early`].
///
/// Owned by the driver together with its [`Gate`](crate::Gate): held items stay in the vectors here
/// and the gate keeps marks into them.
pub struct Effects<P: Protocol> {
    /// The newest record numbered.
    pub(crate) last: Lsn,
    /// The newest record that must be on disk before anything held may leave.
    pub(crate) forced: Lsn,
    /// What is on disk, as of this batch.
    pub(crate) durable: Lsn,
    pub(crate) records: Vec<P::Record>,
    pub(crate) early: Vec<(NodeId, P::Message, Early)>,
    pub(crate) held: Vec<(NodeId, P::Message)>,
    pub(crate) events: Vec<P::Event>,
    /// How many of `events` belong to earlier batches and wait in the gate.
    pub(crate) waiting: usize,
    /// How many of this batch's events came early with nothing held before them in this batch.
    pub(crate) events_early: usize,
    pub(crate) timers: Vec<(P::Timer, Option<RangeInclusive<Duration>>)>,
    pub(crate) release: Option<Lsn>,
}

impl<P: Protocol> Effects<P> {
    /// For drivers. `durable`: the last record that recovery handed to [`Protocol::recover`].
    #[must_use]
    pub const fn new(durable: Lsn) -> Self {
        Self {
            last: durable,
            forced: durable,
            durable,
            records: Vec::new(),
            early: Vec::new(),
            held: Vec::new(),
            events: Vec::new(),
            waiting: 0,
            events_early: 0,
            timers: Vec::new(),
            release: None,
        }
    }

    /// Writes a record; nothing held in this batch or later leaves before it is on disk.
    #[inline]
    pub fn persist(&mut self, record: P::Record) -> Lsn {
        let lsn = self.persist_lazily(record);
        self.forced = lsn;
        lsn
    }

    /// Writes a record in order, but waits for nobody: the next forced write carries it, on an idle
    /// node within 100 ms. A crash before that loses it.
    #[inline]
    pub fn persist_lazily(&mut self, record: P::Record) -> Lsn {
        self.last = self.last.next();
        self.records.push(record);
        self.last
    }

    /// Permission to forget: records before `before` are no longer needed once this batch is
    /// durable. Waits in the gate like anything held; recovery may still see them.
    #[inline]
    pub fn release(&mut self, before: Lsn) {
        self.release = self.release.max(Some(before));
    }

    /// Sends once everything forced so far is on disk.
    #[inline]
    pub fn send(&mut self, to: NodeId, message: P::Message) {
        self.held.push((to, message));
    }

    /// Tells the application once everything forced so far is on disk. Events reach it in the order
    /// of the calls, early ones too.
    #[inline]
    pub fn emit(&mut self, event: P::Event) {
        self.events.push(event);
    }

    /// Sends at once.
    ///
    /// # Panics
    /// When [`Early::Authority`] names a record that is not on disk.
    #[inline]
    #[track_caller]
    pub fn send_early(&mut self, to: NodeId, message: P::Message, why: Early) {
        self.justify(why);
        self.early.push((to, message, why));
    }

    /// Tells the application at once, unless an earlier event still waits: then right behind that.
    ///
    /// # Panics
    /// When [`Early::Authority`] names a record that is not on disk.
    #[inline]
    #[track_caller]
    pub fn emit_early(&mut self, event: P::Event, why: Early) {
        self.justify(why);
        if self.waiting + self.events_early == self.events.len() {
            self.events_early += 1;
        }
        self.events.push(event);
    }

    /// Sets the alarm `timer` to go off once, at a moment that the environment draws from `after`.
    /// Acts at the end of the batch, not gated; the last call per name wins.
    #[inline]
    pub fn set_timer(&mut self, timer: P::Timer, after: RangeInclusive<Duration>) {
        self.timers.push((timer, Some(after)));
    }

    /// Takes the alarm `timer` back. An alarm that has gone off already may still be delivered.
    #[inline]
    pub fn cancel_timer(&mut self, timer: P::Timer) {
        self.timers.push((timer, None));
    }

    /// What is on disk, as of this batch.
    #[inline]
    #[must_use]
    pub const fn durable(&self) -> Lsn {
        self.durable
    }

    /// The newest record numbered so far.
    #[inline]
    #[must_use]
    pub const fn last(&self) -> Lsn {
        self.last
    }

    #[inline]
    #[track_caller]
    fn justify(&self, why: Early) {
        if let Early::Authority(lsn) = why {
            assert!(
                lsn <= self.durable,
                "authority claimed before its record {lsn} is on disk"
            );
        }
    }
}

/// For drivers: what a batch leaves behind besides messages and events, which the
/// [`Gate`](crate::Gate) hands out.
impl<P: Protocol> Effects<P> {
    /// The records of this batch, in order. Returns the number of the newest, whether any record
    /// not yet on disk is forced, and the records.
    #[inline]
    pub fn take_records(&mut self) -> (Lsn, bool, alloc::vec::Drain<'_, P::Record>) {
        (
            self.last,
            self.forced > self.durable,
            self.records.drain(..),
        )
    }

    /// Whether this batch wrote anything.
    #[inline]
    #[must_use]
    pub fn has_records(&self) -> bool {
        !self.records.is_empty()
    }

    /// The alarms of this batch, in the order of the calls; none takes an alarm back.
    #[inline]
    pub fn take_timers(
        &mut self,
    ) -> alloc::vec::Drain<'_, (P::Timer, Option<RangeInclusive<Duration>>)> {
        self.timers.drain(..)
    }
}

// What counts as the same: everything that can still act, watermarks as distances from the disk's.
impl<P: Protocol> Effects<P> {
    fn parts(&self) -> impl Eq + hash::Hash + '_ {
        (
            self.last.beyond(self.durable),
            self.forced.beyond(self.durable),
            &self.records,
            &self.held,
            (&self.events, self.waiting, self.events_early),
            self.release.map(|lsn| lsn.beyond(self.durable)),
        )
    }
}

impl<P: Protocol> Clone for Effects<P> {
    fn clone(&self) -> Self {
        Self {
            last: self.last,
            forced: self.forced,
            durable: self.durable,
            records: self.records.clone(),
            early: self.early.clone(),
            held: self.held.clone(),
            events: self.events.clone(),
            waiting: self.waiting,
            events_early: self.events_early,
            timers: self.timers.clone(),
            release: self.release,
        }
    }
}

impl<P: Protocol> PartialEq for Effects<P> {
    fn eq(&self, other: &Self) -> bool {
        self.last.beyond(self.durable) == other.last.beyond(other.durable)
            && self.forced.beyond(self.durable) == other.forced.beyond(other.durable)
            && self.records == other.records
            && self.early == other.early
            && self.held == other.held
            && self.events == other.events
            && self.waiting == other.waiting
            && self.events_early == other.events_early
            && self.timers == other.timers
            && self.release.map(|lsn| lsn.beyond(self.durable))
                == other.release.map(|lsn| lsn.beyond(other.durable))
    }
}

impl<P: Protocol> Eq for Effects<P> {}

impl<P: Protocol> hash::Hash for Effects<P> {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl<P: Protocol> fmt::Debug for Effects<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Effects")
            .field("last", &self.last)
            .field("forced", &self.forced)
            .field("durable", &self.durable)
            .field("records", &self.records)
            .field("early", &self.early)
            .field("held", &self.held)
            .field("events", &self.events)
            .field("timers", &self.timers)
            .field("release", &self.release)
            .finish()
    }
}
