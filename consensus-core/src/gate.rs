//! The persistence rule, written once for all four worlds.
//!
//! Early messages leave at once. Held ones leave when everything forced so far is on disk; until then
//! they wait as one parcel a batch, and pass straight through when nothing is pending. A permission to
//! forget waits for lazy records too: what was written anew must be down before the old may go.

use crate::{Early, Effects, Lsn, NodeId, Protocol};
use alloc::{collections::VecDeque, vec::Vec};
use core::hash::{Hash, Hasher};

/// Where effects go once they may leave.
pub trait Outlet<M, E> {
    /// A message leaves for `to`.
    fn message(&mut self, to: NodeId, message: M);
    /// A message leaves for `to` ahead of the disk. For traces; the same as any other by default.
    #[inline]
    fn early_message(&mut self, to: NodeId, message: M, why: Early) {
        let _ = why;
        self.message(to, message);
    }
    /// The application is told.
    fn event(&mut self, event: E);
    /// Records before `before` may be forgotten.
    fn release(&mut self, before: Lsn);
}

/// What waits of one batch: the ends of its items in the lanes of [`Effects`].
#[derive(Clone, Copy, Debug)]
struct Mark {
    after: Lsn,
    messages: usize,
    events: usize,
}

/// The persistence rule. Owned by a driver together with its [`Effects`].
///
/// In this order: after the last input of a batch [`Protocol::flush`], then [`Gate::admit`], then
/// write what [`Effects::take_records`] gives. When the disk reports, [`Gate::open`] **before**
/// [`Input::Durable`](crate::Input::Durable) is handled.
#[derive(Clone, Debug)]
pub struct Gate {
    durable: Lsn,
    marks: VecDeque<Mark>,
    /// Permissions to forget what is before the second, once the first is on disk.
    releases: VecDeque<(Lsn, Lsn)>,
}

impl Gate {
    /// `durable`: the same as for [`Effects::new`].
    #[must_use]
    pub const fn new(durable: Lsn) -> Self {
        Self {
            durable,
            marks: VecDeque::new(),
            releases: VecDeque::new(),
        }
    }

    /// What is on disk as far as this gate knows.
    #[inline]
    #[must_use]
    pub const fn durable(&self) -> Lsn {
        self.durable
    }

    /// Whether anything waits for the disk.
    #[inline]
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.marks.is_empty() || !self.releases.is_empty()
    }

    /// Ends a batch.
    #[inline]
    pub fn admit<P: Protocol>(
        &mut self,
        effects: &mut Effects<P>,
        outlet: &mut impl Outlet<P::Message, P::Event>,
    ) {
        debug_assert_eq!(
            self.durable, effects.durable,
            "gate and effects belong together"
        );
        each(&mut effects.early, |(to, message, why)| {
            outlet.early_message(to, message, why)
        });
        if effects.forced <= self.durable {
            // Nothing forced is pending, hence nothing waits either.
            debug_assert!(self.marks.is_empty(), "a parcel waits for nothing");
            each(&mut effects.held, |(to, message)| {
                outlet.message(to, message)
            });
            each(&mut effects.events, |event| outlet.event(event));
            effects.events_early = 0;
        } else {
            self.hold(effects, outlet);
        }
        if let Some(before) = effects.release.take() {
            if effects.last <= self.durable {
                outlet.release(before);
            } else {
                self.releases.push_back((effects.last, before));
            }
        }
    }

    #[inline]
    fn hold<P: Protocol>(
        &mut self,
        effects: &mut Effects<P>,
        outlet: &mut impl Outlet<P::Message, P::Event>,
    ) {
        let early = core::mem::take(&mut effects.events_early);
        if early > 0 {
            if effects.waiting > 0 {
                // Behind an older held event an early one waits for that one, not for this batch:
                // it joins the newest parcel that holds an event, and those after it (which hold
                // none) end where it ends.
                self.join(early);
                effects.waiting += early;
            } else {
                effects
                    .events
                    .drain(..early)
                    .for_each(|event| outlet.event(event));
            }
        }
        let (messages, events) = self.marks.back().map_or((0, 0), |m| (m.messages, m.events));
        if (messages, events) != (effects.held.len(), effects.events.len()) {
            self.marks.push_back(Mark {
                after: effects.forced,
                messages: effects.held.len(),
                events: effects.events.len(),
            });
        }
        effects.waiting = effects.events.len();
    }

    #[cold]
    fn join(&mut self, early: usize) {
        let end = self.marks.back().map_or(0, |mark| mark.events);
        for mark in self.marks.iter_mut().rev() {
            if mark.events != end {
                break;
            }
            mark.events += early;
        }
    }

    /// The disk has everything up to `durable`. Call before the protocol hears of it: an
    /// [`Early::Authority`] that rests on these records is legal from here on.
    ///
    /// # Panics
    /// When `durable` goes backwards.
    #[inline]
    pub fn open<P: Protocol>(
        &mut self,
        durable: Lsn,
        effects: &mut Effects<P>,
        outlet: &mut impl Outlet<P::Message, P::Event>,
    ) {
        assert!(
            durable >= self.durable,
            "the disk went back from {} to {durable}",
            self.durable
        );
        self.durable = durable;
        effects.durable = durable;
        self.open_parcels(effects, outlet);
        while let Some((after, before)) = self.releases.front().copied()
            && after <= durable
        {
            self.releases.pop_front();
            outlet.release(before);
        }
    }

    #[inline]
    fn open_parcels<P: Protocol>(
        &mut self,
        effects: &mut Effects<P>,
        outlet: &mut impl Outlet<P::Message, P::Event>,
    ) {
        let mut end = None;
        while let Some(mark) = self.marks.front()
            && mark.after <= self.durable
        {
            end = self.marks.pop_front();
        }
        let Some(end) = end else { return };
        if self.marks.is_empty() {
            each(&mut effects.held, |(to, message)| {
                outlet.message(to, message)
            });
            each(&mut effects.events, |event| outlet.event(event));
        } else {
            effects
                .held
                .drain(..end.messages)
                .for_each(|(to, m)| outlet.message(to, m));
            effects
                .events
                .drain(..end.events)
                .for_each(|event| outlet.event(event));
            for mark in &mut self.marks {
                mark.messages -= end.messages;
                mark.events -= end.events;
            }
        }
        effects.waiting = effects.events.len();
    }
}

// Watermarks count from `durable`: two gates that wait for as many records are the same gate.
impl Gate {
    fn parts(&self) -> impl Iterator<Item = (u64, usize, usize)> + '_ {
        let marks = self
            .marks
            .iter()
            .map(|mark| (mark.after.beyond(self.durable), mark.messages, mark.events));
        let releases = self.releases.iter().map(|(after, before)| {
            (
                after.beyond(self.durable),
                usize::MAX,
                before.beyond(self.durable) as usize,
            )
        });
        marks.chain(releases)
    }
}

impl PartialEq for Gate {
    fn eq(&self, other: &Self) -> bool {
        self.parts().eq(other.parts())
    }
}

impl Eq for Gate {}

impl Hash for Gate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.marks.len().hash(state);
        self.parts().for_each(|part| part.hash(state));
    }
}

/// Empties `items` in order. Most lanes are empty most of the time, and an empty `drain` is not free.
#[inline]
fn each<T>(items: &mut Vec<T>, mut f: impl FnMut(T)) {
    if items.len() <= 1 {
        if let Some(item) = items.pop() {
            f(item);
        }
        return;
    }
    items.drain(..).for_each(f);
}
