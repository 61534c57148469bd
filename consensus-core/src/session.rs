//! Exactly-once execution by client and sequence [Ongaro14 §6.3].
//!
//! Every node keeps the same table because it changes with the log alone, expiry included: a table
//! that looked at a clock would differ between nodes.

use crate::{ClientId, DecodeError, Decoder, Field, Index, Sequence, wire};
use alloc::{collections::BTreeSet, vec::Vec};
use bytes::Bytes;
use core::{hash::Hasher, ops::Range};
use hashbrown::HashTable;
use rustc_hash::FxHasher;

/// What became of one command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// Not seen before: carried out now.
    Executed,
    /// Carried out before; the result is that of then.
    Repeated,
    /// The session was never opened, or has expired, or the sequence is older than what it
    /// remembers: it may have been carried out or not.
    Expired,
}

/// One client's memory.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Session {
    client: ClientId,
    /// When it was last used.
    used: Index,
    /// The highest sequence carried out.
    newest: Sequence,
    /// Everything at or below this that is not in `results` has been forgotten.
    floor: Sequence,
    results: Results,
}

impl Session {
    const fn new(client: ClientId, used: Index) -> Self {
        Self {
            client,
            used,
            newest: Sequence(0),
            floor: Sequence(0),
            results: Results::new(),
        }
    }

    #[inline]
    fn record(&mut self, sequence: Sequence, result: &[u8]) {
        self.newest = self.newest.max(sequence);
        self.results.push(sequence, result);
        if self.results.count > Sessions::WINDOW
            && let Some(forgotten) = self.results.forget()
        {
            self.floor = self.floor.max(forgotten);
        }
    }
}

/// Results in the order in which they came about, in one stretch of bytes: how far the sequence is from
/// that of the result before, how long, and the result. A busy node touches every client's memory anew
/// with each batch, so a result of a few bytes must not cost more than those.
#[derive(Clone, Debug)]
struct Results {
    bytes: Vec<u8>,
    /// Where the oldest begins that is still held, and the sequence before it: where the distances count
    /// from.
    start: usize,
    before: Sequence,
    /// How many of those are forgotten, and how many are not.
    forgotten: u32,
    count: usize,
    last: Sequence,
    /// So many of the newest followed one on another.
    in_order: u32,
}

// After a snapshot the distances count from elsewhere.
impl PartialEq for Results {
    fn eq(&self, other: &Self) -> bool {
        self.iter()
            .map(|(sequence, result)| (sequence, &self.bytes[result]))
            .eq(other
                .iter()
                .map(|(sequence, result)| (sequence, &other.bytes[result])))
    }
}

impl Eq for Results {}

impl Results {
    /// So many forgotten ones are held at most.
    const FORGOTTEN_MAX: u32 = 16;

    const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            start: 0,
            before: Sequence(0),
            forgotten: 0,
            count: 0,
            last: Sequence(0),
            in_order: 0,
        }
    }

    #[inline]
    fn push(&mut self, sequence: Sequence, result: &[u8]) {
        let distance = sequence.0.wrapping_sub(self.last.0).cast_signed();
        self.last = sequence;
        self.count += 1;
        self.in_order = match distance {
            1 => self.in_order.saturating_add(1),
            _ => 0,
        };
        // Two numbers and the result.
        if self.bytes.capacity() - self.bytes.len() < 20 + result.len() {
            self.make_room();
        }
        // Near zero either way, for calls in flight may overtake each other.
        let distance = (distance << 1 ^ distance >> 63).cast_unsigned();
        wire::put_varint(distance, &mut self.bytes);
        wire::put_payload(result, &mut self.bytes);
    }

    /// Moves what is not forgotten to the front, where that gains enough to be worth it.
    fn make_room(&mut self) {
        if self.start >= self.bytes.capacity() / 4 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }

    /// Forgets the oldest; which that was. Where all since then followed one on another, that is known
    /// without a look at the oldest, which lies far from the newest: then it goes later, with others.
    #[inline]
    fn forget(&mut self) -> Option<Sequence> {
        let since = self.count.checked_sub(1)?;
        self.count = since;
        self.forgotten += 1;
        if self.in_order as usize >= since && self.forgotten < Self::FORGOTTEN_MAX {
            return Some(Sequence(self.last.0 - since as u64));
        }
        self.drop_forgotten();
        Some(self.before)
    }

    fn drop_forgotten(&mut self) {
        for _ in 0..self.forgotten {
            if let Some((sequence, result)) = self.at(self.start, self.before) {
                (self.start, self.before) = (result.end, sequence);
            }
        }
        self.forgotten = 0;
    }

    /// The result that begins at byte `start`, after one of the sequence `before`.
    #[inline]
    fn at(&self, start: usize, before: Sequence) -> Option<(Sequence, Range<usize>)> {
        let mut bytes = self.bytes[start..].iter().copied();
        let distance = number(&mut bytes)?;
        let distance = (distance >> 1) ^ (distance & 1).wrapping_neg();
        let size = number(&mut bytes)? as usize;
        let from = self.bytes.len() - bytes.len();
        Some((Sequence(before.0.wrapping_add(distance)), from..from + size))
    }

    fn iter(&self) -> impl Iterator<Item = (Sequence, Range<usize>)> + '_ {
        let mut next = (self.before, self.start);
        let held = core::iter::from_fn(move || {
            let (sequence, result) = self.at(next.1, next.0)?;
            next = (sequence, result.end);
            Some((sequence, result))
        });
        held.skip(self.forgotten as usize)
    }

    fn find(&self, wanted: Sequence) -> Option<&[u8]> {
        let (_, result) = self.iter().find(|(known, _)| *known == wanted)?;
        Some(&self.bytes[result])
    }
}

#[inline]
fn number(bytes: &mut impl Iterator<Item = u8>) -> Option<u64> {
    let (mut number, mut shift) = (0, 0);
    loop {
        let byte = bytes.next()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
        shift += 7;
    }
}

/// Who has asked for what, and what came of it.
///
/// A session is opened by its own log entry and stays until more than `sessions_max` newer ones have
/// been used since. It remembers the results of the newest [`Sessions::WINDOW`] commands, which is
/// how many calls one client may have in flight.
#[derive(Clone, Debug)]
pub struct Sessions {
    /// Walked through only to be sorted: nothing depends on the order of a hash. The hash has no secret:
    /// whoever may open sessions at will can push everybody else's out, and gains nothing by making
    /// look-ups slow.
    table: HashTable<Session>,
    /// Every session once, under a moment at which it was used. Its last use may be later: that is
    /// looked up only when room is needed, so that using a session costs nothing here.
    by_use: BTreeSet<(Index, ClientId)>,
    sessions_max: usize,
}

impl PartialEq for Sessions {
    fn eq(&self, other: &Self) -> bool {
        self.sessions_max == other.sessions_max && self.sorted().eq(other.sorted())
    }
}

impl Eq for Sessions {}

#[inline]
fn hash(client: ClientId) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write_u128(client.0);
    hasher.finish()
}

impl Sessions {
    /// Calls that one client may have in flight.
    pub const WINDOW: usize = 64;

    /// An empty table that holds `sessions_max` sessions; the least recently used go first.
    #[must_use]
    pub const fn new(sessions_max: usize) -> Self {
        Self {
            table: HashTable::new(),
            by_use: BTreeSet::new(),
            sessions_max,
        }
    }

    /// How many sessions are open.
    #[must_use]
    pub fn count(&self) -> usize {
        self.table.len()
    }

    #[inline]
    fn session(&mut self, client: ClientId) -> Option<&mut Session> {
        self.table
            .find_mut(hash(client), |session| session.client == client)
    }

    fn sorted(&self) -> impl Iterator<Item = &Session> {
        let mut sessions: Vec<&Session> = self.table.iter().collect();
        sessions.sort_unstable_by_key(|session| session.client);
        sessions.into_iter()
    }

    /// The entry at `index` opens a session; opening it again changes nothing but its last use.
    pub fn open(&mut self, index: Index, client: ClientId) {
        if let Some(session) = self.session(client) {
            session.used = index;
            return;
        }
        self.insert(Session::new(client, index));
        while self.count() > self.sessions_max && self.expire_oldest() {}
    }

    fn insert(&mut self, session: Session) {
        let client = session.client;
        self.remove(client);
        self.by_use.insert((session.used, client));
        let rehash = |session: &Session| hash(session.client);
        self.table.insert_unique(hash(client), session, rehash);
    }

    /// Whether there was one.
    fn remove(&mut self, client: ClientId) -> bool {
        let is_its = |session: &Session| session.client == client;
        self.table
            .find_entry(hash(client), is_its)
            .map(hashbrown::hash_table::OccupiedEntry::remove)
            .is_ok()
    }

    /// Closes the session that has not been used for longest. No entry of `by_use` is later than its
    /// session's last use, so the first that is not earlier either is that one's.
    fn expire_oldest(&mut self) -> bool {
        while let Some((moment, client)) = self.by_use.pop_first() {
            match self.session(client).map(|session| session.used) {
                Some(used) if used > moment => {
                    self.by_use.insert((used, client));
                }
                _ => return self.remove(client),
            }
        }
        false
    }

    /// The command at `index`: carried out by `execute` unless it was before. `result` is empty, and
    /// then holds what to answer; `execute` writes it.
    #[inline]
    pub fn once(
        &mut self,
        index: Index,
        client: ClientId,
        sequence: Sequence,
        result: &mut Vec<u8>,
        execute: impl FnOnce(&mut Vec<u8>),
    ) -> Admission {
        let Some(session) = self.session(client) else {
            return Admission::Expired;
        };
        session.used = index;
        // Nearly always the newest: whether an older one is known is looked up only then.
        if sequence <= session.newest {
            if let Some(known) = session.results.find(sequence) {
                result.extend_from_slice(known);
                return Admission::Repeated;
            }
            if sequence <= session.floor {
                return Admission::Expired;
            }
        }
        execute(result);
        session.record(sequence, result);
        Admission::Executed
    }
}

// Sessions belong in every snapshot: a restored node must know old duplicates for what they are.
impl Field for Sessions {
    fn put(&self, out: &mut Vec<u8>) {
        wire::put_varint(self.sessions_max as u64, out);
        wire::put_varint(self.count() as u64, out);
        for session in self.sorted() {
            session.client.put(out);
            session.used.put(out);
            session.floor.put(out);
            wire::put_varint(session.results.count as u64, out);
            for (sequence, result) in session.results.iter() {
                sequence.put(out);
                wire::put_payload(&session.results.bytes[result], out);
            }
        }
    }

    fn take(input: &mut Decoder) -> Result<Self, DecodeError> {
        let mut sessions =
            Self::new(usize::try_from(input.varint("sessions")?).unwrap_or(usize::MAX));
        for _ in 0..input.count(18, "sessions")? {
            let client = ClientId::take(input)?;
            let mut session = Session::new(client, Index::take(input)?);
            session.floor = Sequence::take(input)?;
            session.newest = session.floor;
            for _ in 0..input.count(2, "results")? {
                let sequence = Sequence::take(input)?;
                session.newest = session.newest.max(sequence);
                session
                    .results
                    .push(sequence, &<Bytes as Field>::take(input)?);
            }
            sessions.insert(session);
        }
        Ok(sessions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    const CLIENT: ClientId = ClientId(7);
    /// What became of it, and the result.
    type Outcome = (Admission, Vec<u8>);

    fn executed(result: &[u8]) -> Outcome {
        (Admission::Executed, result.to_vec())
    }

    fn repeated(result: &[u8]) -> Outcome {
        (Admission::Repeated, result.to_vec())
    }

    const EXPIRED: Outcome = (Admission::Expired, Vec::new());

    fn opened() -> Sessions {
        let mut sessions = Sessions::new(2);
        sessions.open(Index(1), CLIENT);
        sessions
    }

    fn write(
        sessions: &mut Sessions,
        index: u64,
        client: ClientId,
        sequence: u64,
        bytes: &[u8],
    ) -> Outcome {
        let (mut result, sequence) = (Vec::new(), Sequence(sequence));
        let admission = sessions.once(Index(index), client, sequence, &mut result, |result| {
            result.extend_from_slice(bytes);
        });
        (admission, result)
    }

    fn call(sessions: &mut Sessions, index: u64, client: ClientId, sequence: u64) -> Outcome {
        write(sessions, index, client, sequence, b"one")
    }

    #[test]
    fn a_repeat_is_answered_and_not_executed() {
        let mut sessions = opened();
        assert_eq!(call(&mut sessions, 2, CLIENT, 1), executed(b"one"));
        let again = write(&mut sessions, 3, CLIENT, 1, b"two");
        assert_eq!(again, repeated(b"one"));
    }

    #[test]
    fn calls_in_flight_may_overtake_each_other() {
        let mut sessions = opened();
        let result = |sequence: u64| vec![sequence as u8; 100 * sequence as usize];
        for sequence in [3, 1, 2] {
            let outcome = write(&mut sessions, 2, CLIENT, sequence, &result(sequence));
            assert_eq!(outcome, executed(&result(sequence)));
        }
        for sequence in 1..=3 {
            let again = call(&mut sessions, 3, CLIENT, sequence);
            assert_eq!(again, repeated(&result(sequence)));
        }
    }

    /// C3: a late duplicate of an expired session is refused, never executed again.
    #[test]
    fn a_late_duplicate_of_an_expired_session_is_refused() {
        let mut sessions = opened();
        call(&mut sessions, 2, CLIENT, 1);
        sessions.open(Index(3), ClientId(8));
        sessions.open(Index(4), ClientId(9));
        assert_eq!(call(&mut sessions, 5, CLIENT, 1), EXPIRED);
        assert_eq!(sessions.count(), 2);
    }

    #[test]
    fn the_session_that_was_not_used_for_longest_goes_first() {
        let mut sessions = opened();
        sessions.open(Index(2), ClientId(8));
        call(&mut sessions, 3, CLIENT, 1);
        sessions.open(Index(4), ClientId(9));
        assert_eq!(call(&mut sessions, 5, ClientId(8), 1), EXPIRED);
        assert_eq!(call(&mut sessions, 6, CLIENT, 2), executed(b"one"));
    }

    #[test]
    fn what_fell_out_of_the_window_is_refused() {
        let mut sessions = opened();
        for sequence in 1..=Sessions::WINDOW as u64 + 1 {
            call(&mut sessions, sequence, CLIENT, sequence);
        }
        assert_eq!(call(&mut sessions, 99, CLIENT, 1), EXPIRED);
        assert_eq!(call(&mut sessions, 99, CLIENT, 2), repeated(b"one"));
    }

    /// Against a list that forgets the oldest at once. Calls in order, overtaking each other, and with gaps.
    #[test]
    fn the_oldest_result_is_forgotten_whatever_the_order() {
        let orders: [fn(u64) -> u64; 4] = [
            |call| call,
            |call| call ^ 1,
            |call| call + call / 90,
            |call| if call % 70 < 3 { call ^ 2 } else { call },
        ];
        for order in orders {
            let mut session = Session::new(CLIENT, Index(1));
            let (mut known, mut floor) = (alloc::collections::VecDeque::new(), Sequence(0));
            for call in 4..900 {
                let sequence = Sequence(order(call));
                let result = vec![call as u8; call as usize % 7];
                session.record(sequence, &result);
                known.push_back((sequence, result));
                if known.len() > Sessions::WINDOW
                    && let Some((forgotten, _)) = known.pop_front()
                {
                    floor = floor.max(forgotten);
                }
                let results = &session.results;
                let held = results
                    .iter()
                    .map(|(known, at)| (known, &results.bytes[at]));
                assert!(held.eq(known.iter().map(|(known, result)| (*known, &result[..]))));
                assert_eq!((session.floor, results.count), (floor, known.len()));
                assert!(results.bytes.capacity() < 2048);
            }
        }
    }

    #[test]
    fn sessions_survive_a_snapshot() {
        let mut sessions = Sessions::new(9);
        for client in [9, 7, 8] {
            sessions.open(Index(1), ClientId(client));
            for sequence in (1..=70).chain([u64::MAX, 100]) {
                call(&mut sessions, 2, ClientId(client), sequence);
            }
        }
        let mut bytes = vec![];
        sessions.put(&mut bytes);
        let mut input = Decoder::new(bytes.into());
        let mut restored = Sessions::take(&mut input).expect("just written");
        assert_eq!(restored, sessions);
        assert_eq!(input.remaining(), 0);
        for sessions in [&mut sessions, &mut restored] {
            assert_eq!(call(sessions, 99, CLIENT, 3), EXPIRED);
            assert_eq!(call(sessions, 99, CLIENT, 70), repeated(b"one"));
            assert_eq!(call(sessions, 99, CLIENT, u64::MAX), repeated(b"one"));
        }
    }

    /// Against a table that is looked through from the start.
    #[test]
    fn sessions_that_come_and_go_are_found_again() {
        let mut sessions = Sessions::new(5);
        let mut known: Vec<(u128, u64)> = vec![];
        for index in 1..=500u64 {
            let client = u128::from(index * index % 23) << 100;
            sessions.open(Index(index), ClientId(client));
            known.retain(|(one, _)| *one != client);
            known.push((client, index));
            if known.len() > 5 {
                known.remove(0);
            }
            for client in (0..23).map(|client| client << 100) {
                let is_open = known.iter().any(|(one, _)| *one == client);
                let found = sessions.session(ClientId(client)).map(|one| one.used);
                let used = known.iter().find(|(one, _)| *one == client);
                assert_eq!(found, used.map(|(_, used)| Index(*used)));
                assert_eq!(found.is_some(), is_open);
            }
            assert_eq!(sessions.count(), known.len());
        }
    }
}
