//! One node: a process that may be down, its disk, its clock.

use super::disk::Disk;
use crate::{
    Algorithm, Boot, Early, Effects, Gate, Input, Lsn, NodeId, Outlet, Protocol, Time, Timers,
    service::Outbox,
};
use alloc::vec::Vec;

/// What dies in a crash.
pub(crate) struct Process<A: Algorithm> {
    pub(crate) protocol: A,
    pub(crate) effects: Effects<A>,
    pub(crate) gate: Gate,
    pub(crate) timers: Timers<A::Timer>,
    pub(crate) service: A::Service,
    pub(crate) outbox: Outbox<A>,
    pub(crate) inbox: Vec<Input<A>>,
    /// A register, as [`Input::Durable`] says.
    pub(crate) durable: Option<Lsn>,
}

impl<A: Algorithm> Process<A> {
    pub(crate) fn new(protocol: A, service: A::Service, last: Lsn) -> Self {
        Self {
            protocol,
            effects: Effects::new(last),
            gate: Gate::new(last),
            timers: Timers::default(),
            service,
            outbox: Outbox::default(),
            inbox: Vec::new(),
            durable: None,
        }
    }

    pub(crate) fn has_work(&self) -> bool {
        self.durable.is_some() || !self.inbox.is_empty()
    }

    /// The next moment, on the node's clock, at which it has something to do unasked.
    pub(crate) fn next(&self) -> Option<Time> {
        use crate::service::Service as _;
        match (self.timers.next(), self.service.next_wake()) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Everything of one batch but what its records and events lead to.
    #[inline]
    pub(crate) fn batch(&mut self, now: Time, out: &mut Output<A>) {
        if let Some(lsn) = self.durable.take() {
            // The gate first: what rests on these records is legal from here on.
            self.gate.open(lsn, &mut self.effects, out);
            self.protocol
                .handle(now, Input::Durable(lsn), &mut self.effects);
        }
        for input in self.inbox.drain(..) {
            self.protocol.handle(now, input, &mut self.effects);
        }
        self.protocol.flush(now, &mut self.effects);
        self.gate.admit(&mut self.effects, out);
    }
}

/// What left a node in one batch. Kept between batches for its memory.
pub(crate) struct Output<A: Protocol> {
    pub(crate) messages: Vec<(NodeId, A::Message, Option<Early>)>,
    pub(crate) events: Vec<A::Event>,
    pub(crate) release: Option<Lsn>,
}

impl<A: Protocol> Default for Output<A> {
    fn default() -> Self {
        Self {
            messages: Vec::new(),
            events: Vec::new(),
            release: None,
        }
    }
}

impl<A: Protocol> Outlet<A::Message, A::Event> for Output<A> {
    #[inline]
    fn message(&mut self, to: NodeId, message: A::Message) {
        self.messages.push((to, message, None));
    }
    #[inline]
    fn early_message(&mut self, to: NodeId, message: A::Message, why: Early) {
        self.messages.push((to, message, Some(why)));
    }
    #[inline]
    fn event(&mut self, event: A::Event) {
        self.events.push(event);
    }
    fn release(&mut self, before: Lsn) {
        self.release = self.release.max(Some(before));
    }
}

/// A clock that may run too fast or too slow. Starts at zero with its process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    world: u64,
    local: u64,
    /// Local nanoseconds in a million of the world's.
    rate: u64,
}

impl Clock {
    pub(crate) const RATE: u64 = 1_000_000;

    pub(crate) const fn started(world: u64) -> Self {
        Self {
            world,
            local: 0,
            rate: Self::RATE,
        }
    }

    /// A clock that shows the world's time.
    pub(crate) const fn world() -> Self {
        Self {
            world: 0,
            local: 0,
            rate: Self::RATE,
        }
    }

    #[inline]
    pub(crate) fn read(&self, world: u64) -> Time {
        let passed = world - self.world;
        if self.rate == Self::RATE {
            return Time::from_nanos(self.local + passed);
        }
        let passed = u128::from(passed) * u128::from(self.rate) / u128::from(Self::RATE);
        Time::from_nanos(self.local + passed as u64)
    }

    /// When the world is at the moment at which this clock shows `local`, or just after.
    #[inline]
    pub(crate) fn when(&self, local: Time) -> u64 {
        let left = local.as_nanos().saturating_sub(self.local);
        if self.rate == Self::RATE {
            return self.world.saturating_add(left);
        }
        let left = (u128::from(left) * u128::from(Self::RATE)).div_ceil(u128::from(self.rate));
        self.world
            .saturating_add(u64::try_from(left).unwrap_or(u64::MAX))
    }

    /// Runs at another rate from now on.
    pub(crate) fn skew(&mut self, world: u64, rate: u64) {
        *self = Self {
            world,
            local: self.read(world).as_nanos(),
            rate,
        };
    }
}

pub(crate) struct Node<A: Algorithm> {
    pub(crate) id: NodeId,
    /// None: down.
    pub(crate) process: Option<Process<A>>,
    /// The run that is on, or was the last.
    pub(crate) boot: Boot,
    pub(crate) disk: Disk<A::Record>,
    pub(crate) clock: Clock,
    /// How many pauses are on.
    pub(crate) paused: u32,
    /// Every batch takes so many nanoseconds to begin.
    pub(crate) slow: u64,
    /// Raised by every start and every crash: what was scheduled for an earlier life is void.
    pub(crate) life: u32,
    /// The world's moment for which a look at the alarms is scheduled.
    pub(crate) armed: u64,
    /// A batch is scheduled.
    pub(crate) due: bool,
    /// A sync of records that nobody waits for is scheduled.
    pub(crate) lazy: bool,
    /// Dies when it has batched so many times more with records unsynced; zero: does not.
    pub(crate) trap: u32,
    /// Syncs that ended, for measuring and for reclaiming.
    pub(crate) syncs: u64,
}

impl<A: Algorithm> Node<A> {
    pub(crate) fn new(id: NodeId) -> Self {
        Self {
            id,
            process: None,
            boot: Boot(0),
            disk: Disk::new(),
            clock: Clock::world(),
            paused: 0,
            slow: 0,
            life: 0,
            armed: u64::MAX,
            due: false,
            lazy: false,
            trap: 0,
            syncs: 0,
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.process.is_some() && self.paused == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skewed_clock_is_read_back_at_the_moment_it_was_asked_for() {
        for rate in [950_000, 1_000_000, 1_050_001, 3] {
            let mut clock = Clock::started(1_000);
            clock.skew(5_000, rate);
            assert_eq!(clock.read(5_000), Time::from_nanos(4_000));
            for local in [4_000, 4_001, 5_123, 1_000_000] {
                let when = clock.when(Time::from_nanos(local));
                assert!(clock.read(when) >= Time::from_nanos(local));
                assert!(when == 5_000 || clock.read(when - 1) < Time::from_nanos(local));
            }
        }
    }
}
