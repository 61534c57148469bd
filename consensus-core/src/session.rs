//! Exactly-once execution by client and sequence [Ongaro14 §6.3].
//!
//! Every node keeps the same table because it changes with the log alone, expiry included: a table
//! that looked at a clock would differ between nodes.

use crate::{ClientId, DecodeError, Decoder, Field, Index, Sequence, wire};
use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    vec::Vec,
};
use bytes::Bytes;

/// What became of one command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Admission {
    /// Not seen before: carried out now, with this result.
    Executed(Bytes),
    /// Carried out before, with this result.
    Repeated(Bytes),
    /// The session was never opened, or has expired, or the sequence is older than what it
    /// remembers: it may have been carried out or not.
    Expired,
}

/// One client's memory.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Session {
    /// When it was last used.
    used: Index,
    /// The highest sequence carried out.
    newest: Sequence,
    results: Results,
    /// Everything at or below this that is not in `results` has been forgotten.
    floor: Sequence,
}

impl Session {
    const fn new(used: Index) -> Self {
        Self {
            used,
            newest: Sequence(0),
            results: Results::new(),
            floor: Sequence(0),
        }
    }

    fn record(&mut self, sequence: Sequence, result: &[u8]) {
        self.newest = self.newest.max(sequence);
        self.results.push(sequence, result);
        if self.results.count() > Sessions::WINDOW
            && let Some(forgotten) = self.results.pop()
        {
            self.floor = self.floor.max(forgotten);
        }
    }
}

/// Results in the order in which they came about, in one stretch of bytes: what is forgotten was made
/// many commands of other clients ago, and to free it one by one would touch cold memory each time.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Results {
    /// Whose, and how long.
    of: VecDeque<(Sequence, u32)>,
    bytes: VecDeque<u8>,
}

impl Results {
    const fn new() -> Self {
        Self {
            of: VecDeque::new(),
            bytes: VecDeque::new(),
        }
    }

    fn count(&self) -> usize {
        self.of.len()
    }

    fn push(&mut self, sequence: Sequence, result: &[u8]) {
        self.of.push_back((sequence, result.len() as u32));
        self.bytes.extend(result);
    }

    /// Forgets the oldest.
    fn pop(&mut self) -> Option<Sequence> {
        let (sequence, length) = self.of.pop_front()?;
        self.bytes.drain(..length as usize);
        Some(sequence)
    }

    fn iter(&self) -> impl Iterator<Item = (Sequence, Bytes)> + '_ {
        let mut start = 0;
        self.of.iter().map(move |(sequence, length)| {
            let range = start..start + *length as usize;
            start = range.end;
            let result: Vec<u8> = self.bytes.range(range).copied().collect();
            (*sequence, result.into())
        })
    }

    fn find(&self, wanted: Sequence) -> Option<Bytes> {
        let position = self.of.iter().position(|(known, _)| *known == wanted)?;
        let before = self.of.iter().take(position);
        let start: usize = before.map(|(_, length)| *length as usize).sum();
        let length = self.of[position].1 as usize;
        let bytes: Vec<u8> = self.bytes.range(start..start + length).copied().collect();
        Some(bytes.into())
    }
}

/// Who has asked for what, and what came of it.
///
/// A session is opened by its own log entry and stays until more than `sessions_max` newer ones have
/// been used since. It remembers the results of the newest [`Sessions::WINDOW`] commands, which is
/// how many calls one client may have in flight.
#[derive(Clone, Debug)]
pub struct Sessions {
    table: BTreeMap<ClientId, Session>,
    /// Every session once, under a moment at which it was used. Its last use may be later: that is
    /// looked up only when room is needed, so that using a session costs nothing here.
    by_use: BTreeSet<(Index, ClientId)>,
    sessions_max: usize,
}

impl PartialEq for Sessions {
    fn eq(&self, other: &Self) -> bool {
        self.sessions_max == other.sessions_max && self.table == other.table
    }
}

impl Eq for Sessions {}

impl Sessions {
    /// Calls that one client may have in flight.
    pub const WINDOW: usize = 64;

    /// An empty table that holds `sessions_max` sessions; the least recently used go first.
    #[must_use]
    pub const fn new(sessions_max: usize) -> Self {
        Self {
            table: BTreeMap::new(),
            by_use: BTreeSet::new(),
            sessions_max,
        }
    }

    /// How many sessions are open.
    #[must_use]
    pub fn count(&self) -> usize {
        self.table.len()
    }

    /// The entry at `index` opens a session; opening it again changes nothing but its last use.
    pub fn open(&mut self, index: Index, client: ClientId) {
        if let Some(session) = self.table.get_mut(&client) {
            session.used = index;
            return;
        }
        self.insert(client, Session::new(index));
        while self.table.len() > self.sessions_max && self.expire_oldest() {}
    }

    fn insert(&mut self, client: ClientId, session: Session) {
        self.by_use.insert((session.used, client));
        self.table.insert(client, session);
    }

    /// Closes the session that has not been used for longest. No entry of `by_use` is later than its
    /// session's last use, so the first that is not earlier either is that one's.
    fn expire_oldest(&mut self) -> bool {
        while let Some((moment, client)) = self.by_use.pop_first() {
            match self.table.get(&client) {
                Some(session) if session.used > moment => {
                    self.by_use.insert((session.used, client));
                }
                _ => return self.table.remove(&client).is_some(),
            }
        }
        false
    }

    /// The command at `index`: carried out by `execute` unless it was before.
    #[inline]
    pub fn once(
        &mut self,
        index: Index,
        client: ClientId,
        sequence: Sequence,
        execute: impl FnOnce() -> Bytes,
    ) -> Admission {
        let Some(session) = self.table.get_mut(&client) else {
            return Admission::Expired;
        };
        session.used = index;
        // Nearly always the newest: whether an older one is known is looked up only then.
        if sequence <= session.newest {
            if let Some(result) = session.results.find(sequence) {
                return Admission::Repeated(result);
            }
            if sequence <= session.floor {
                return Admission::Expired;
            }
        }
        let result = execute();
        session.record(sequence, &result);
        Admission::Executed(result)
    }
}

// Sessions belong in every snapshot: a restored node must know old duplicates for what they are.
impl Field for Sessions {
    fn put(&self, out: &mut Vec<u8>) {
        wire::put_varint(self.sessions_max as u64, out);
        wire::put_varint(self.table.len() as u64, out);
        for (client, session) in &self.table {
            client.put(out);
            session.used.put(out);
            session.floor.put(out);
            wire::put_varint(session.results.count() as u64, out);
            for (sequence, result) in session.results.iter() {
                sequence.put(out);
                result.put(out);
            }
        }
    }

    fn take(input: &mut Decoder) -> Result<Self, DecodeError> {
        let mut sessions =
            Self::new(usize::try_from(input.varint("sessions")?).unwrap_or(usize::MAX));
        for _ in 0..input.count(18, "sessions")? {
            let client = ClientId::take(input)?;
            let mut session = Session::new(Index::take(input)?);
            session.floor = Sequence::take(input)?;
            session.newest = session.floor;
            for _ in 0..input.count(2, "results")? {
                let sequence = Sequence::take(input)?;
                session.newest = session.newest.max(sequence);
                session
                    .results
                    .push(sequence, &<Bytes as Field>::take(input)?);
            }
            sessions.insert(client, session);
        }
        Ok(sessions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    const CLIENT: ClientId = ClientId(7);
    const ONE: Bytes = Bytes::from_static(b"one");

    fn opened() -> Sessions {
        let mut sessions = Sessions::new(2);
        sessions.open(Index(1), CLIENT);
        sessions
    }

    fn call(sessions: &mut Sessions, index: u64, client: ClientId, sequence: u64) -> Admission {
        sessions.once(Index(index), client, Sequence(sequence), || ONE)
    }

    #[test]
    fn a_repeat_is_answered_and_not_executed() {
        let mut sessions = opened();
        assert_eq!(call(&mut sessions, 2, CLIENT, 1), Admission::Executed(ONE));
        let again = sessions.once(Index(3), CLIENT, Sequence(1), || panic!("a second time"));
        assert_eq!(again, Admission::Repeated(ONE));
    }

    #[test]
    fn calls_in_flight_may_overtake_each_other() {
        let mut sessions = opened();
        for sequence in [3, 1, 2] {
            let result = Bytes::from(vec![sequence as u8; sequence]);
            let sequence = Sequence(sequence as u64);
            let admission = sessions.once(Index(2), CLIENT, sequence, || result.clone());
            assert_eq!(admission, Admission::Executed(result));
        }
        for sequence in 1..=3 {
            let again = call(&mut sessions, 3, CLIENT, sequence as u64);
            let result = Bytes::from(vec![sequence as u8; sequence]);
            assert_eq!(again, Admission::Repeated(result));
        }
    }

    /// C3: a late duplicate of an expired session is refused, never executed again.
    #[test]
    fn a_late_duplicate_of_an_expired_session_is_refused() {
        let mut sessions = opened();
        call(&mut sessions, 2, CLIENT, 1);
        sessions.open(Index(3), ClientId(8));
        sessions.open(Index(4), ClientId(9));
        assert_eq!(call(&mut sessions, 5, CLIENT, 1), Admission::Expired);
        assert_eq!(sessions.count(), 2);
    }

    #[test]
    fn the_session_that_was_not_used_for_longest_goes_first() {
        let mut sessions = opened();
        sessions.open(Index(2), ClientId(8));
        call(&mut sessions, 3, CLIENT, 1);
        sessions.open(Index(4), ClientId(9));
        assert_eq!(call(&mut sessions, 5, ClientId(8), 1), Admission::Expired);
        assert_eq!(call(&mut sessions, 6, CLIENT, 2), Admission::Executed(ONE));
    }

    #[test]
    fn what_fell_out_of_the_window_is_refused() {
        let mut sessions = opened();
        for sequence in 1..=Sessions::WINDOW as u64 + 1 {
            call(&mut sessions, sequence, CLIENT, sequence);
        }
        assert_eq!(call(&mut sessions, 99, CLIENT, 1), Admission::Expired);
        assert_eq!(call(&mut sessions, 99, CLIENT, 2), Admission::Repeated(ONE));
    }

    #[test]
    fn sessions_survive_a_snapshot() {
        let mut sessions = opened();
        for sequence in [1, 3, 2] {
            call(&mut sessions, 1 + sequence, CLIENT, sequence);
        }
        let mut bytes = vec![];
        sessions.put(&mut bytes);
        let mut input = Decoder::new(bytes.into());
        assert_eq!(Sessions::take(&mut input), Ok(sessions));
        assert_eq!(input.remaining(), 0);
    }
}
