//! A protocol inside another: its records stand among those of the outer one, under the outer one's
//! numbers.

use crate::{Effects, Input, Lsn, NodeId, Protocol, Time};
use alloc::vec::Vec;

/// A protocol and what it wants from the world, until that is handed over.
#[derive(Clone)]
pub(super) struct Inner<P: Protocol> {
    pub(super) protocol: P,
    pub(super) effects: Effects<P>,
    /// What it does not need on disk any more.
    pub(super) released: Lsn,
}

/// What the items of an inner protocol are called outside.
pub(super) struct Names<P: Protocol, O: Protocol> {
    pub(super) record: fn(P::Record) -> O::Record,
    pub(super) timer: fn(P::Timer) -> O::Timer,
}

impl<P: Protocol> Inner<P> {
    pub(super) const fn new(protocol: P, durable: Lsn) -> Self {
        Self {
            protocol,
            effects: Effects::new(durable),
            released: Lsn::ZERO,
        }
    }

    /// One input. Whatever it writes is numbered as the outer protocol's next records.
    pub(super) fn handle<O: Protocol>(
        &mut self,
        now: Time,
        input: Input<P>,
        names: &Names<P, O>,
        outer: &mut Effects<O>,
    ) {
        self.effects.last = outer.last;
        self.protocol.handle(now, input, &mut self.effects);
        self.hand_over(names, outer);
    }

    pub(super) fn flush<O: Protocol>(
        &mut self,
        now: Time,
        names: &Names<P, O>,
        outer: &mut Effects<O>,
    ) {
        self.effects.last = outer.last;
        self.protocol.flush(now, &mut self.effects);
        self.hand_over(names, outer);
    }

    /// Records and alarms. Messages and events are taken by whoever knows where they go.
    fn hand_over<O: Protocol>(&mut self, names: &Names<P, O>, outer: &mut Effects<O>) {
        let effects = &mut self.effects;
        outer
            .records
            .extend(effects.records.drain(..).map(names.record));
        outer.last = effects.last;
        outer.forced = outer.forced.max(effects.forced);
        let timers = effects.timers.drain(..);
        let timers = timers.map(|(timer, range)| ((names.timer)(timer), range));
        outer.timers.extend(timers);
        if let Some(before) = effects.release.take() {
            self.released = self.released.max(before);
        }
    }

    /// Sends on what it sends, early or held as it says.
    pub(super) fn post<O: Protocol>(
        &mut self,
        outer: &mut Effects<O>,
        address: impl Fn(NodeId, P::Message, &mut Vec<(NodeId, O::Message)>),
    ) {
        let mut addressed = Vec::new();
        for (to, message, why) in self.effects.early.drain(..) {
            address(to, message, &mut addressed);
            let early = addressed.drain(..).map(|(to, message)| (to, message, why));
            outer.early.extend(early);
        }
        for (to, message) in self.effects.held.drain(..) {
            address(to, message, &mut outer.held);
        }
    }

    /// Tells on what it tells, early or held as it says.
    pub(super) fn tell<O: Protocol<Event = P::Event>>(&mut self, outer: &mut Effects<O>) {
        let early = core::mem::take(&mut self.effects.events_early);
        for (place, event) in self.effects.events.drain(..).enumerate() {
            if place < early && outer.waiting + outer.events_early == outer.events.len() {
                outer.events_early += 1;
            }
            outer.events.push(event);
        }
    }
}
