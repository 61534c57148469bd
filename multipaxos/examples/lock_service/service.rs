//! The service as a state machine. Everything that happens to it, the passing of time included, comes
//! from the log, so that every replica agrees on who holds what.

use crate::words::{Change, Event, Operation, Outcome, SessionId, Token, encode};
use bytes::Bytes;
use consensus_core::{Index, LogClock, StateMachine, Tick, Wire};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

/// Events that a client may still ask for.
const EVENTS: usize = 10_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Session {
    pub(crate) lease: Duration,
    /// When the clock says so.
    pub(crate) ends: Duration,
}

/// A lock that somebody has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Lock {
    pub(crate) holder: SessionId,
    pub(crate) token: Token,
    /// First come, first served.
    pub(crate) waiting: VecDeque<SessionId>,
}

/// The state.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Service {
    pub(crate) clock: LogClock,
    /// Invariant: every holder and everybody who waits is one of these.
    pub(crate) sessions: BTreeMap<SessionId, Session>,
    pub(crate) locks: BTreeMap<Bytes, Lock>,
    /// The last change of a lock.
    pub(crate) changed: u64,
    /// Changes after this are among `events`.
    pub(crate) forgotten: u64,
    pub(crate) events: VecDeque<Event>,
}

impl Service {
    fn tell(&mut self, at: u64, name: Bytes, token: Token, change: Change) {
        self.changed = at;
        self.events.push_back(Event {
            at,
            name,
            token,
            change,
        });
        // Whole places only: one tick can end many sessions.
        while self.events.len() > EVENTS
            && let Some(oldest) = self.events.pop_front()
        {
            self.forgotten = oldest.at;
        }
    }

    /// The holder is gone: the lock goes to the first who waits.
    fn pass_on(&mut self, at: u64, name: &Bytes, change: Change) {
        let Some(lock) = self.locks.get_mut(name) else {
            return;
        };
        let before = lock.token;
        let heir = lock.waiting.pop_front();
        match heir {
            Some(heir) => (lock.holder, lock.token) = (heir, at),
            None => drop(self.locks.remove(name)),
        }
        self.tell(at, name.clone(), before, change);
        if heir.is_some() {
            self.tell(at, name.clone(), at, Change::Granted);
        }
    }

    /// These sessions are over. All of them go before any of their locks is passed on: an heir must
    /// outlive the moment, or one token would be given twice.
    fn end(&mut self, at: u64, ended: &[SessionId]) {
        for session in ended {
            self.sessions.remove(session);
        }
        let mut lost = Vec::new();
        for (name, lock) in &mut self.locks {
            lock.waiting.retain(|one| self.sessions.contains_key(one));
            if !self.sessions.contains_key(&lock.holder) {
                lost.push(name.clone());
            }
        }
        for name in lost {
            self.pass_on(at, &name, Change::Lost);
        }
    }

    fn tick(&mut self, at: u64, tick: Tick) {
        self.clock.hear(tick);
        let now = self.clock.now();
        let sessions = self.sessions.iter();
        let over = sessions.filter(|(_, session)| session.ends <= now);
        let over: Vec<SessionId> = over.map(|(id, _)| *id).collect();
        if !over.is_empty() {
            self.end(at, &over);
        }
    }

    fn acquire(&mut self, at: u64, session: SessionId, name: Bytes, waits: bool) -> Outcome {
        let Some(lock) = self.locks.get_mut(&name) else {
            let lock = Lock {
                holder: session,
                token: at,
                waiting: VecDeque::new(),
            };
            self.locks.insert(name.clone(), lock);
            self.tell(at, name, at, Change::Granted);
            return Outcome::Held { token: at };
        };
        if waits && lock.holder != session && !lock.waiting.contains(&session) {
            lock.waiting.push_back(session);
        }
        match self.stands(session, &name) {
            Outcome::NotHeld {} => Outcome::Busy {
                token: self.locks[&name].token,
            },
            stands => stands,
        }
    }

    fn release(&mut self, at: u64, session: SessionId, name: &Bytes) -> Outcome {
        match self.stands(session, name) {
            Outcome::Held { .. } => self.pass_on(at, name, Change::Released),
            Outcome::Waiting { .. } => {
                let lock = self.locks.get_mut(name).expect("it waits for it");
                lock.waiting.retain(|one| *one != session);
            }
            other => return other,
        }
        Outcome::Done {}
    }

    fn stands(&self, session: SessionId, name: &Bytes) -> Outcome {
        let Some(lock) = self.locks.get(name) else {
            return Outcome::NotHeld {};
        };
        if lock.holder == session {
            return Outcome::Held { token: lock.token };
        }
        match lock.waiting.iter().position(|one| *one == session) {
            Some(before) => Outcome::Waiting {
                before: before as u64,
            },
            None => Outcome::NotHeld {},
        }
    }

    fn events(&self, prefix: &Bytes, after: u64) -> Outcome {
        if after < self.forgotten {
            return Outcome::Forgotten {
                until: self.changed,
            };
        }
        let first = self.events.partition_point(|event| event.at <= after);
        let events = self.events.range(first..);
        Outcome::Events {
            until: self.changed,
            events: events
                .filter(|event| event.name.starts_with(prefix))
                .cloned()
                .collect(),
        }
    }

    fn answer(&self, query: &Operation) -> Outcome {
        match query {
            Operation::Stands { session, .. } if !self.sessions.contains_key(session) => {
                Outcome::NoSession {}
            }
            Operation::Stands { session, name } => self.stands(*session, name),
            Operation::Check { name, token } => Outcome::Sequencer {
                is_valid: self.locks.get(name).is_some_and(|l| l.token == *token),
            },
            Operation::Events { prefix, after } => self.events(prefix, *after),
            _ => Outcome::Malformed {},
        }
    }

    fn carry_out(&mut self, at: u64, operation: Operation) -> Outcome {
        let now = self.clock.now();
        match operation {
            Operation::Tick { tick } => self.tick(at, tick),
            Operation::Open { lease } => {
                let lease = Duration::from_millis(lease);
                let ends = now.saturating_add(lease);
                self.sessions.insert(at, Session { lease, ends });
                return Outcome::Session { session: at };
            }
            Operation::Keep { session }
            | Operation::Close { session }
            | Operation::Acquire { session, .. }
            | Operation::Release { session, .. }
                if !self.sessions.contains_key(&session) =>
            {
                return Outcome::NoSession {};
            }
            Operation::Keep { session } => {
                let session = self.sessions.get_mut(&session).expect("looked for above");
                session.ends = now.saturating_add(session.lease);
            }
            Operation::Close { session } => self.end(at, &[session]),
            Operation::Acquire {
                session,
                name,
                waits,
            } => return self.acquire(at, session, name, waits),
            Operation::Release { session, name } => return self.release(at, session, &name),
            query => return self.answer(&query),
        }
        Outcome::Done {}
    }
}

impl StateMachine for Service {
    fn apply(&mut self, index: Index, command: &[u8]) -> Bytes {
        let operation = Operation::decode(Bytes::copy_from_slice(command));
        encode(&match operation {
            Ok(operation) => self.carry_out(index.0, operation),
            Err(_) => Outcome::Malformed {},
        })
    }

    fn is_read(&self, body: &[u8]) -> bool {
        matches!(
            Operation::decode(Bytes::copy_from_slice(body)),
            Ok(Operation::Stands { .. } | Operation::Check { .. } | Operation::Events { .. })
        )
    }

    fn read(&self, _: Index, query: &[u8]) -> Bytes {
        let query = Operation::decode(Bytes::copy_from_slice(query));
        encode(&query.map_or(Outcome::Malformed {}, |query| self.answer(&query)))
    }

    type Snapshot = Box<dyn Iterator<Item = Bytes> + Send>;

    fn snapshot(&self) -> Self::Snapshot {
        self.clone().into_pieces()
    }

    fn restore(&mut self, chunks: impl Iterator<Item = Bytes>) -> Result<(), &'static str> {
        *self = Self::from_pieces(chunks)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use consensus_core::Epoch;

    fn ask(service: &mut Service, at: u64, operation: &Operation) -> Outcome {
        let answer = service.apply(Index(at), &encode(operation));
        Outcome::decode(answer).expect("just written")
    }

    /// Opens a session with a lease of so many milliseconds and has it wait for the lock.
    fn lines_up(service: &mut Service, at: u64, lease: u64) -> Outcome {
        ask(service, at, &Operation::Open { lease });
        let acquire = Operation::Acquire {
            session: at,
            name: "door".into(),
            waits: true,
        };
        ask(service, at + 1, &acquire)
    }

    fn tick(service: &mut Service, at: u64, led: u64) {
        let epoch = Epoch::of_term(1);
        let tick = Tick { epoch, led };
        ask(service, at, &Operation::Tick { tick });
    }

    fn service() -> Service {
        let mut service = Service::default();
        tick(&mut service, 1, 0);
        let held = lines_up(&mut service, 10, 100);
        assert_eq!(held, Outcome::Held { token: 11 });
        for (before, at) in [(0, 20), (1, 30), (2, 40)] {
            let waits = lines_up(&mut service, at, if at == 40 { 900 } else { 100 });
            assert_eq!(waits, Outcome::Waiting { before });
        }
        service
    }

    #[test]
    fn whoever_ends_in_the_same_moment_as_the_holder_inherits_nothing() {
        let mut service = service();
        tick(&mut service, 50, 99);
        assert_eq!(service.locks["door".as_bytes()].token, 11);
        tick(&mut service, 51, 100);
        let lock = &service.locks["door".as_bytes()];
        assert_eq!((lock.holder, lock.token), (40, 51));
        assert!(lock.waiting.is_empty());
        let events: Vec<_> = service.events.iter().map(|e| (e.token, e.change)).collect();
        let expected = [
            (11, Change::Granted),
            (11, Change::Lost),
            (51, Change::Granted),
        ];
        assert_eq!(events, expected);
    }

    #[test]
    fn a_lease_that_is_kept_begins_anew() {
        let mut service = service();
        tick(&mut service, 50, 99);
        ask(&mut service, 51, &Operation::Keep { session: 10 });
        tick(&mut service, 52, 198);
        assert_eq!(service.locks["door".as_bytes()].holder, 10);
        tick(&mut service, 53, 199);
        assert_eq!(service.locks["door".as_bytes()].holder, 40);
        let keep = Operation::Keep { session: 10 };
        assert_eq!(ask(&mut service, 54, &keep), Outcome::NoSession {});
    }

    #[test]
    fn everything_survives_a_snapshot() {
        let mut service = service();
        tick(&mut service, 50, 150);
        lines_up(&mut service, 60, 100);
        let mut restored = Service::default();
        restored.restore(service.snapshot()).expect("just written");
        assert_eq!(restored, service);
    }
}
