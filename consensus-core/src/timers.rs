//! The driver's side of alarms: which name goes off when, in an order that depends on nothing but
//! the moments and the names.

use crate::Time;
use alloc::collections::{BTreeMap, BTreeSet};

/// Pending alarms of one protocol.
#[derive(Clone, Debug)]
pub struct Timers<T> {
    moments: BTreeMap<T, Time>,
    order: BTreeSet<(Time, T)>,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self {
            moments: BTreeMap::new(),
            order: BTreeSet::new(),
        }
    }
}

impl<T: Copy + Ord> Timers<T> {
    /// Sets `timer` to go off at `moment`, whatever it was set to before.
    pub fn set(&mut self, timer: T, moment: Time) {
        if let Some(old) = self.moments.insert(timer, moment) {
            self.order.remove(&(old, timer));
        }
        self.order.insert((moment, timer));
    }

    /// Takes `timer` back.
    pub fn cancel(&mut self, timer: T) {
        if let Some(old) = self.moments.remove(&timer) {
            self.order.remove(&(old, timer));
        }
    }

    /// When the next one goes off.
    #[must_use]
    pub fn next(&self) -> Option<Time> {
        self.order.first().map(|(moment, _)| *moment)
    }

    /// Takes out the earliest alarm that has gone off by `now`; equal moments in the order of names.
    pub fn pop(&mut self, now: Time) -> Option<T> {
        let (moment, timer) = *self.order.first()?;
        if moment > now {
            return None;
        }
        self.order.pop_first();
        self.moments.remove(&timer);
        Some(timer)
    }

    /// All pending alarms in the order in which they go off.
    pub fn iter(&self) -> impl Iterator<Item = (Time, T)> + '_ {
        self.order.iter().copied()
    }
}
