//! The key-value store that harnesses replicate, as a state machine.

use crate::{
    Decoder, Field, Index, NodeId, StateMachine, Wire,
    contract::register::Version,
    kv::{self, Operation, Outcome, decode, encode},
    wire::put_payload,
};
use alloc::{sync::Arc, vec, vec::Vec};
use bytes::Bytes;
use core::{fmt, hash::Hasher};
use hashbrown::HashTable;
use rustc_hash::FxHasher;

/// In so many parts are the keys split. A state is frozen by sharing all of them; what is written while it
/// is, copies its part first. So the longest pause is a copy of this share of the state, whatever its
/// size, and a part that nobody shares is written in place.
const PARTS: usize = 1024;

/// A key with the version and the newest value. Key and value share their memory: a busy node writes to
/// another key each time, and every piece of memory that it has to fetch for that costs as much as the rest.
#[derive(Clone, PartialEq, Eq)]
struct Entry {
    version: Version,
    key_bytes: usize,
    bytes: Vec<u8>,
}

impl Entry {
    fn new(key: &[u8]) -> Self {
        Self {
            version: Version::ZERO,
            key_bytes: key.len(),
            bytes: key.to_vec(),
        }
    }

    #[inline]
    fn key(&self) -> &[u8] {
        &self.bytes[..self.key_bytes]
    }

    #[inline]
    fn value(&self) -> &[u8] {
        &self.bytes[self.key_bytes..]
    }

    /// The room of the value before is used again: a put of a known key allocates nothing.
    #[inline]
    fn set(&mut self, value: &[u8]) {
        self.version = self.version.next();
        self.bytes.truncate(self.key_bytes);
        self.bytes.extend_from_slice(value);
    }
}

/// A share of the keys. Walked through only to be sorted: nothing depends on the order of a hash.
#[derive(Clone, Default)]
struct Part(HashTable<Entry>);

impl Part {
    fn sorted(&self) -> Vec<&Entry> {
        let mut entries: Vec<&Entry> = self.0.iter().collect();
        entries.sort_unstable_by(|one, other| one.key().cmp(other.key()));
        entries
    }

    #[inline]
    fn find(&self, hash: u64, key: &[u8]) -> Option<&Entry> {
        self.0.find(hash, |entry| entry.key() == key)
    }

    #[inline]
    fn entry(&mut self, hash: u64, key: &[u8]) -> &mut Entry {
        let is_its = |entry: &Entry| entry.key() == key;
        let rehash = |entry: &Entry| self::hash(entry.key());
        self.0
            .entry(hash, is_its, rehash)
            .or_insert_with(|| Entry::new(key))
            .into_mut()
    }
}

impl PartialEq for Part {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.sorted() == other.sorted()
    }
}

impl Eq for Part {}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.sorted().into_iter();
        f.debug_map()
            .entries(entries.map(|entry| (entry.key(), (entry.version, entry.value()))))
            .finish()
    }
}

/// Keys with the version and the newest value of each.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyValue {
    parts: Vec<Arc<Part>>,
}

impl Default for KeyValue {
    fn default() -> Self {
        // One empty part, shared until it is written.
        Self {
            parts: vec![Arc::default(); PARTS],
        }
    }
}

#[inline]
fn hash(key: &[u8]) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(key);
    hasher.finish()
}

/// By other bits than those by which a part's own table goes.
#[inline]
const fn place(hash: u64) -> usize {
    (hash >> 12) as usize % PARTS
}

impl KeyValue {
    #[inline]
    fn known(&self, key: &[u8]) -> Option<&Entry> {
        let hash = hash(key);
        self.parts[place(hash)].find(hash, key)
    }

    #[inline]
    fn entry(&mut self, key: &[u8]) -> &mut Entry {
        let hash = hash(key);
        Arc::make_mut(&mut self.parts[place(hash)]).entry(hash, key)
    }

    #[inline]
    fn write(&mut self, index: Index, key: &[u8], value: &[u8]) -> Outcome {
        let entry = self.entry(key);
        entry.set(value);
        Outcome::Written {
            position: index.0,
            version: entry.version,
        }
    }

    fn get(&self, index: Index, key: &Bytes) -> Outcome {
        let known = self.known(key);
        let (version, value) = known.map_or((Version::ZERO, &[][..]), |entry| {
            (entry.version, entry.value())
        });
        Outcome::Value {
            position: index.0,
            version,
            value: Bytes::copy_from_slice(value),
        }
    }
}

impl KeyValue {
    /// What cannot be decoded has no outcome.
    fn execute(&mut self, index: Index, command: &[u8]) -> Option<Outcome> {
        if let Some((key, value)) = kv::as_put(command) {
            return Some(self.write(index, key, value));
        }
        match decode(Bytes::copy_from_slice(command)) {
            Ok(Operation::Put { key, value }) => Some(self.write(index, &key, &value)),
            Ok(Operation::CompareAndSet {
                key,
                expected,
                value,
            }) => {
                let newest = self
                    .known(&key)
                    .map_or(Version::ZERO, |entry| entry.version);
                Some(if newest == expected {
                    self.write(index, &key, &value)
                } else {
                    Outcome::Mismatch {
                        position: index.0,
                        version: newest,
                    }
                })
            }
            Ok(Operation::Get { key }) => Some(self.get(index, &key)),
            Ok(Operation::WhoLeads {}) | Err(_) => None,
        }
    }
}

impl StateMachine for KeyValue {
    /// What cannot be decoded is answered by an empty result.
    fn apply(&mut self, index: Index, command: &[u8]) -> Bytes {
        self.execute(index, command)
            .map_or_else(Bytes::new, |outcome| encode(&outcome))
    }

    fn apply_into(&mut self, index: Index, command: &[u8], result: &mut Vec<u8>) {
        if let Some(outcome) = self.execute(index, command) {
            outcome.encode(result);
        }
    }

    fn is_read(&self, body: &[u8]) -> bool {
        // The kind is the first byte: a get need not be decoded to be known.
        body.first() == Some(&1)
    }

    fn read(&self, applied: Index, query: &[u8]) -> Bytes {
        match decode(Bytes::copy_from_slice(query)) {
            Ok(Operation::Get { key }) => encode(&self.get(applied, &key)),
            _ => Bytes::new(),
        }
    }

    fn who_leads(&self, body: &[u8], leader: Option<NodeId>) -> Option<Bytes> {
        (body == Operation::WHO_LEADS).then(|| {
            let node = leader.unwrap_or(NodeId(0));
            encode(&Outcome::Leader { node })
        })
    }

    type Snapshot = Frozen;

    /// Shares everything and copies nothing.
    fn snapshot(&self) -> Frozen {
        Frozen(self.parts.clone().into_iter())
    }

    fn restore(&mut self, chunks: impl Iterator<Item = Bytes>) -> Result<(), &'static str> {
        *self = Self::default();
        for chunk in chunks {
            let mut input = Decoder::new(chunk);
            while input.remaining() > 0 {
                let mut entry = || {
                    let key = <Bytes as Field>::take(&mut input)?;
                    let version = Version::take(&mut input)?;
                    let value = <Bytes as Field>::take(&mut input)?;
                    Ok::<_, crate::DecodeError>((key, version, value))
                };
                let (key, version, value) =
                    entry().map_err(|_| "the snapshot's entries are damaged")?;
                let entry = self.entry(&key);
                entry.set(&value);
                entry.version = version;
            }
        }
        Ok(())
    }
}

/// A frozen [`KeyValue`], read in chunks of 64 KiB or a part. What has been read is let go.
#[derive(Debug)]
pub struct Frozen(vec::IntoIter<Arc<Part>>);

impl Iterator for Frozen {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut chunk = Vec::new();
        for part in self.0.by_ref() {
            for entry in part.sorted() {
                put_payload(entry.key(), &mut chunk);
                entry.version.put(&mut chunk);
                put_payload(entry.value(), &mut chunk);
            }
            if chunk.len() >= 64 * 1024 {
                break;
            }
        }
        (!chunk.is_empty()).then(|| chunk.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(machine: &mut KeyValue, index: u64, key: u64, value: &[u8]) {
        let command = encode(&Operation::Put {
            key: Bytes::copy_from_slice(&key.to_le_bytes()),
            value: Bytes::copy_from_slice(value),
        });
        machine.apply(Index(index), &command);
    }

    /// As the state machine's law says: a snapshot is the state of one moment, whatever comes after.
    #[test]
    fn a_frozen_state_stays_as_it_was_while_the_state_goes_on() {
        let mut machine = KeyValue::default();
        for key in 0..5_000 {
            put(&mut machine, key + 1, key, &[7; 100]);
        }
        let before = machine.clone();
        let mut frozen = machine.snapshot();
        let mut chunks = vec![frozen.next().expect("there is more than nothing")];
        for key in (0..6_000).step_by(3) {
            put(&mut machine, 5_001 + key, key, &[8; 90]);
        }
        chunks.extend(frozen);
        assert!(chunks.len() > 5 && chunks.iter().all(|chunk| chunk.len() < 1 << 20));
        let mut restored = KeyValue::default();
        put(&mut restored, 1, 9_999, b"gone");
        restored.restore(chunks.into_iter()).expect("it is whole");
        assert!(restored == before && restored != machine);
    }

    #[test]
    fn only_what_is_written_while_a_state_is_frozen_is_copied() {
        let mut machine = KeyValue::default();
        // So many that no part is empty: empty ones are shared anyhow.
        for key in 0..20_000 {
            put(&mut machine, key + 1, key, &[7; 100]);
        }
        let frozen = machine.snapshot();
        for index in 0..50 {
            put(&mut machine, 20_001 + index, 3, b"again and again");
        }
        let shared = |part: &&Arc<Part>| Arc::strong_count(part) > 1;
        assert_eq!(machine.parts.iter().filter(shared).count(), PARTS - 1);
        drop(frozen);
        put(&mut machine, 21_000, 4, b"in place");
        assert_eq!(machine.parts.iter().filter(shared).count(), 0);
    }

    /// Keys that are numbers, or names that end in numbers, are spread evenly enough.
    #[test]
    fn parts_are_of_similar_size() {
        for name in ["", "key-", "user/profile/"] {
            let mut sizes = vec![0; PARTS];
            for number in 0..100_000_u32 {
                let text = alloc::format!("{name}{number}");
                sizes[place(hash(text.as_bytes()))] += 1;
            }
            let most = sizes.iter().max().copied().unwrap_or(0);
            assert!(most < 3 * 100_000 / PARTS, "{name}: {most}");
        }
    }
}
