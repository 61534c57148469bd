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

/// What the log says should happen to one command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Admission {
    /// Not seen before: carry it out and [`record`](Sessions::record) its result.
    Execute,
    /// Carried out before, with this result: answer it again.
    Repeat(Bytes),
    /// The session was never opened, or has expired, or the sequence is older than what it
    /// remembers: it may have been carried out or not.
    Expired,
}

/// One client's memory.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Session {
    /// When it was last used.
    used: Index,
    /// Results of the newest sequences, ascending.
    results: VecDeque<(Sequence, Bytes)>,
    /// Everything at or below this has been forgotten.
    floor: Sequence,
}

impl Session {
    fn is_newest(&self, sequence: Sequence) -> bool {
        self.results
            .back()
            .is_none_or(|(newest, _)| *newest < sequence)
    }
}

/// Who has asked for what, and what came of it.
///
/// A session is opened by its own log entry and stays until more than `sessions_max` newer ones have
/// been used since. It remembers the results of the newest [`Sessions::WINDOW`] sequences, which is
/// how many calls one client may have in flight.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sessions {
    table: BTreeMap<ClientId, Session>,
    by_use: BTreeSet<(Index, ClientId)>,
    sessions_max: usize,
}

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
            self.by_use.remove(&(session.used, client));
            session.used = index;
        } else {
            let session = Session {
                used: index,
                results: VecDeque::new(),
                floor: Sequence::default(),
            };
            self.table.insert(client, session);
        }
        self.by_use.insert((index, client));
        while self.table.len() > self.sessions_max
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.table.remove(&oldest);
        }
    }

    /// What to do with the command at `index`.
    pub fn admit(&mut self, index: Index, client: ClientId, sequence: Sequence) -> Admission {
        let Some(session) = self.table.get_mut(&client) else {
            return Admission::Expired;
        };
        if session.used != index {
            self.by_use.remove(&(session.used, client));
            session.used = index;
            self.by_use.insert((index, client));
        }
        if sequence <= session.floor {
            return Admission::Expired;
        }
        // Nearly always the newest. Searching would touch memory that was last used many commands of
        // other clients ago: with a thousand clients that was 40 % of a command's time.
        if session.is_newest(sequence) {
            return Admission::Execute;
        }
        match session
            .results
            .binary_search_by_key(&sequence, |(known, _)| *known)
        {
            Ok(position) => Admission::Repeat(session.results[position].1.clone()),
            Err(_) => Admission::Execute,
        }
    }

    /// The command just admitted has been carried out.
    pub fn record(&mut self, client: ClientId, sequence: Sequence, result: Bytes) {
        let Some(session) = self.table.get_mut(&client) else {
            return;
        };
        if session.is_newest(sequence) {
            session.results.push_back((sequence, result));
        } else {
            let position = session
                .results
                .partition_point(|(known, _)| *known < sequence);
            session.results.insert(position, (sequence, result));
        }
        if session.results.len() > Self::WINDOW
            && let Some((forgotten, _)) = session.results.pop_front()
        {
            session.floor = forgotten;
        }
    }

    /// The result of a command, if it is remembered; changes nothing.
    #[must_use]
    pub fn result(&self, client: ClientId, sequence: Sequence) -> Option<&Bytes> {
        let results = &self.table.get(&client)?.results;
        let position = results
            .binary_search_by_key(&sequence, |(known, _)| *known)
            .ok()?;
        Some(&results[position].1)
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
            wire::put_varint(session.results.len() as u64, out);
            for (sequence, result) in &session.results {
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
            let used = Index::take(input)?;
            let floor = Sequence::take(input)?;
            let mut results = VecDeque::new();
            for _ in 0..input.count(2, "results")? {
                results.push_back((Sequence::take(input)?, Field::take(input)?));
            }
            sessions.table.insert(
                client,
                Session {
                    used,
                    results,
                    floor,
                },
            );
            sessions.by_use.insert((used, client));
        }
        Ok(sessions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    const CLIENT: ClientId = ClientId(7);

    fn opened() -> Sessions {
        let mut sessions = Sessions::new(2);
        sessions.open(Index(1), CLIENT);
        sessions
    }

    #[test]
    fn a_repeat_is_answered_and_not_executed() {
        let mut sessions = opened();
        assert_eq!(
            sessions.admit(Index(2), CLIENT, Sequence(1)),
            Admission::Execute
        );
        sessions.record(CLIENT, Sequence(1), Bytes::from_static(b"one"));
        let again = sessions.admit(Index(3), CLIENT, Sequence(1));
        assert_eq!(again, Admission::Repeat(Bytes::from_static(b"one")));
    }

    #[test]
    fn calls_in_flight_may_overtake_each_other() {
        let mut sessions = opened();
        for sequence in [3, 1, 2] {
            let sequence = Sequence(sequence);
            assert_eq!(
                sessions.admit(Index(2), CLIENT, sequence),
                Admission::Execute
            );
            sessions.record(CLIENT, sequence, Bytes::new());
        }
        for sequence in 1..=3 {
            let again = sessions.admit(Index(3), CLIENT, Sequence(sequence));
            assert_eq!(again, Admission::Repeat(Bytes::new()));
        }
    }

    /// C3: a late duplicate of an expired session is refused, never executed again.
    #[test]
    fn a_late_duplicate_of_an_expired_session_is_refused() {
        let mut sessions = opened();
        sessions.admit(Index(2), CLIENT, Sequence(1));
        sessions.record(CLIENT, Sequence(1), Bytes::new());
        sessions.open(Index(3), ClientId(8));
        sessions.open(Index(4), ClientId(9));
        assert_eq!(
            sessions.admit(Index(5), CLIENT, Sequence(1)),
            Admission::Expired
        );
        assert_eq!(sessions.count(), 2);
    }

    #[test]
    fn what_fell_out_of_the_window_is_refused() {
        let mut sessions = opened();
        for sequence in 1..=Sessions::WINDOW as u64 + 1 {
            sessions.admit(Index(sequence), CLIENT, Sequence(sequence));
            sessions.record(CLIENT, Sequence(sequence), Bytes::new());
        }
        assert_eq!(
            sessions.admit(Index(99), CLIENT, Sequence(1)),
            Admission::Expired
        );
        let kept = sessions.admit(Index(99), CLIENT, Sequence(2));
        assert_eq!(kept, Admission::Repeat(Bytes::new()));
    }

    #[test]
    fn sessions_survive_a_snapshot() {
        let mut sessions = opened();
        sessions.admit(Index(2), CLIENT, Sequence(1));
        sessions.record(CLIENT, Sequence(1), Bytes::from_static(b"one"));
        let mut bytes = vec![];
        sessions.put(&mut bytes);
        let mut input = Decoder::new(bytes.into());
        assert_eq!(Sessions::take(&mut input), Ok(sessions));
        assert_eq!(input.remaining(), 0);
    }
}
