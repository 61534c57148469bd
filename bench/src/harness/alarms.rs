//! Alarms that hardly ever go off.

use consensus_core::{Time, Timers};
use rand::RngExt;
use rand_pcg::Pcg64;
use std::{ops::RangeInclusive, time::Duration};

/// A change of one alarm, as a batch asks for it.
type Change<T> = (T, Option<RangeInclusive<Duration>>);

/// Changes that are written down before they are looked at.
const UNREAD: usize = 8_192;

/// One node's alarms. Changes are only written down, and looked at when nothing else can happen or
/// there are many: most alarms are set for a command and taken back when it is decided.
#[derive(Debug)]
pub(super) struct Alarms<T> {
    changes: Vec<Change<T>>,
    pending: Timers<T>,
    chance: Pcg64,
}

impl<T: Copy + Ord> Alarms<T> {
    pub(super) fn seeded(seed: u128) -> Self {
        Self {
            changes: Vec::new(),
            pending: Timers::default(),
            chance: Pcg64::new(seed, 1),
        }
    }

    /// Writes down the changes of a batch at `now`. Between two calls with different `now`,
    /// [`fold`](Self::fold) is called.
    #[inline]
    pub(super) fn note(&mut self, changes: impl Iterator<Item = Change<T>>, now: Time) {
        for (timer, after) in changes {
            // An alarm that every message sets anew is among the newest.
            let newest = self.changes.iter_mut().rev().take(4);
            match newest.into_iter().find(|(known, _)| *known == timer) {
                Some(known) => known.1 = after,
                None => self.changes.push((timer, after)),
            }
        }
        if self.changes.len() > UNREAD {
            self.shorten(now);
        }
    }

    #[cold]
    fn shorten(&mut self, now: Time) {
        self.forget_overridden();
        if self.changes.len() > UNREAD / 2 {
            self.fold(now);
        }
    }

    /// Keeps the last change of each alarm, and carries out those that take one back.
    fn forget_overridden(&mut self) {
        self.changes.reverse();
        self.changes.sort_by_key(|(timer, _)| *timer);
        self.changes.dedup_by_key(|(timer, _)| *timer);
        let pending = &mut self.pending;
        self.changes.retain(|(timer, after)| {
            if after.is_none() {
                pending.cancel(*timer);
            }
            after.is_some()
        });
    }

    /// Carries out all changes; their spans count from `now`.
    #[cold]
    pub(super) fn fold(&mut self, now: Time) {
        for (timer, after) in self.changes.drain(..) {
            match after {
                None => self.pending.cancel(timer),
                Some(range) => {
                    let (low, high) = (range.start().as_nanos(), range.end().as_nanos());
                    let draw = self.chance.random_range(low..=high.max(low));
                    let draw = u64::try_from(draw).unwrap_or(u64::MAX);
                    self.pending.set(timer, now + Duration::from_nanos(draw));
                }
            }
        }
    }

    /// When the next one goes off, after [`fold`](Self::fold).
    pub(super) fn next(&self) -> Option<Time> {
        self.pending.next()
    }

    /// Takes out one that has gone off by `now`.
    pub(super) fn pop(&mut self, now: Time) -> Option<T> {
        self.pending.pop(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanoseconds: u64) -> Option<RangeInclusive<Duration>> {
        let moment = Duration::from_nanos(nanoseconds);
        Some(moment..=moment)
    }

    #[test]
    fn the_last_change_of_an_alarm_counts_however_many_there_were() {
        for rounds in [1, UNREAD as u64] {
            let mut alarms = Alarms::seeded(1);
            for i in 1..=rounds {
                alarms.note(
                    [(1, at(i)), (2, at(i)), (3, at(i)), (2, None)].into_iter(),
                    Time::ZERO,
                );
            }
            alarms.note([(3, None), (1, at(7))].into_iter(), Time::ZERO);
            alarms.fold(Time::ZERO);
            assert_eq!(alarms.next(), Some(Time::from_nanos(7)));
            assert_eq!(alarms.pop(Time::from_nanos(7)), Some(1));
            assert_eq!(alarms.next(), None);
        }
    }

    #[test]
    fn many_live_alarms_are_all_kept() {
        let mut alarms = Alarms::seeded(1);
        let count = 3 * UNREAD as u64;
        for i in 0..count {
            alarms.note(std::iter::once((i, at(i))), Time::ZERO);
        }
        alarms.fold(Time::ZERO);
        for i in 0..count {
            assert_eq!(alarms.pop(Time::MAX), Some(i));
        }
    }
}
