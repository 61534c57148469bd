//! Where answers meet those who wait for them: one table a node, so that a whole batch of answers is
//! handed over under one lock, and a call costs no memory of its own.

use crate::service::{Answer, CallId};
use alloc::vec::Vec;
use core::task::Waker;
use tokio::time::Instant;

/// The calls of a node that are not over, by a number that is never used twice: place in the low half,
/// use of that place in the high half.
#[derive(Debug, Default)]
pub(super) struct Meetings {
    places: Vec<Place>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Place {
    uses: u32,
    accepted: Option<Instant>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Nobody's.
    Free,
    /// There is no answer yet. Who waits for it leaves a waker when he has looked in vain.
    Waiting(Option<Waker>),
    /// Nobody has come for it yet.
    Answered(Answer),
    /// Who asked does not wait any more, and the service has not been told.
    Abandoned,
}

/// What comes with the end of a call.
#[derive(Debug)]
pub(super) struct Over {
    pub(super) waker: Option<Waker>,
    /// When it was accepted, if its time is taken.
    pub(super) accepted: Option<Instant>,
}

impl Meetings {
    /// A call begins. `accepted`: if its time is taken.
    pub(super) fn begin(&mut self, accepted: Option<Instant>) -> CallId {
        let state = State::Waiting(None);
        let index = match self.free.pop() {
            Some(index) => {
                let place = &mut self.places[index as usize];
                (place.accepted, place.state) = (accepted, state);
                index
            }
            None => {
                let index = u32::try_from(self.places.len()).expect("open calls are bounded");
                self.places.push(Place {
                    uses: 1,
                    accepted,
                    state,
                });
                index
            }
        };
        CallId(u64::from(self.places[index as usize].uses) << 32 | u64::from(index))
    }

    fn place(&mut self, id: CallId) -> Option<&mut Place> {
        let place = self.places.get_mut(index(id) as usize)?;
        (u64::from(place.uses) == id.0 >> 32).then_some(place)
    }

    fn end(&mut self, id: CallId) -> Option<State> {
        let place = self.place(id)?;
        place.uses = place.uses.wrapping_add(1).max(1);
        let state = core::mem::replace(&mut place.state, State::Free);
        self.free.push(index(id));
        Some(state)
    }

    /// By who asked: the answer, or else `waker` is woken when it is there.
    pub(super) fn look(&mut self, id: CallId, waker: &Waker) -> Option<Answer> {
        if let Some(Place {
            state: State::Waiting(waiting),
            ..
        }) = self.place(id)
        {
            match waiting {
                Some(known) => known.clone_from(waker),
                None => *waiting = Some(waker.clone()),
            }
            return None;
        }
        match self.end(id) {
            Some(State::Answered(answer)) => Some(answer),
            _ => None,
        }
    }

    /// By who asked and does not wait any more. Whether the service must be told.
    pub(super) fn abandon(&mut self, id: CallId) -> bool {
        match self.place(id) {
            Some(place) if matches!(place.state, State::Waiting(_)) => {
                place.state = State::Abandoned;
                true
            }
            Some(_) => {
                self.end(id);
                false
            }
            None => false,
        }
    }

    /// By the service. None when the call is over already.
    #[inline]
    pub(super) fn answer(&mut self, id: CallId, answer: Answer) -> Option<Over> {
        let place = self.place(id)?;
        match &mut place.state {
            State::Waiting(waker) => {
                let ended = Over {
                    waker: waker.take(),
                    accepted: place.accepted,
                };
                place.state = State::Answered(answer);
                Some(ended)
            }
            State::Abandoned => {
                self.end(id);
                Some(Over {
                    waker: None,
                    accepted: None,
                })
            }
            State::Answered(_) | State::Free => None,
        }
    }

    /// By the service, which has been told that the call was abandoned. False when it is over already.
    pub(super) fn release(&mut self, id: CallId) -> bool {
        let is_abandoned =
            |place: &mut Place| matches!(place.state, State::Abandoned).then_some(());
        let is_open = self.place(id).and_then(is_abandoned).is_some();
        if is_open {
            self.end(id);
        }
        is_open
    }

    /// Calls that nobody has answered.
    pub(super) fn waiting(&self) -> Vec<CallId> {
        let is_waiting = |(_, place): &(usize, &Place)| matches!(place.state, State::Waiting(_));
        let places = self.places.iter().enumerate().filter(is_waiting);
        places
            .map(|(index, place)| CallId(u64::from(place.uses) << 32 | index as u64))
            .collect()
    }
}

const fn index(id: CallId) -> u32 {
    id.0 as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_is_over_is_never_taken_for_another_at_its_place() {
        let mut meetings = Meetings::default();
        let old = meetings.begin(None);
        assert!(meetings.look(old, Waker::noop()).is_none());
        assert!(meetings.answer(old, Answer::Unknown).is_some());
        assert_eq!(meetings.look(old, Waker::noop()), Some(Answer::Unknown));
        let new = meetings.begin(None);
        assert_eq!(index(old), index(new));
        assert!(meetings.answer(old, Answer::Unknown).is_none());
        assert!(!meetings.abandon(old) && !meetings.release(old));
        assert_eq!(meetings.waiting(), [new]);
    }

    #[test]
    fn an_abandoned_call_ends_once() {
        let mut meetings = Meetings::default();
        let [told, answered] = [(); 2].map(|()| meetings.begin(None));
        assert!(meetings.abandon(told) && meetings.abandon(answered));
        assert!(meetings.waiting().is_empty());
        assert!(meetings.release(told) && !meetings.release(told));
        assert!(meetings.answer(answered, Answer::Unknown).is_some());
        assert!(!meetings.release(answered));
        let late = meetings.begin(None);
        assert!(meetings.answer(late, Answer::Unknown).is_some());
        assert!(!meetings.abandon(late), "the service has done with it");
        assert_eq!(meetings.free.len(), meetings.places.len());
    }
}
