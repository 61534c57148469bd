//! The key-value store that harnesses replicate, as a state machine.

use crate::{
    Decoder, Field, Index, NodeId, StateMachine, Wire,
    contract::register::Version,
    kv::{self, Operation, Outcome, decode, encode},
    wire::put_payload,
};
use alloc::{collections::BTreeMap, sync::Arc, vec, vec::Vec};
use bytes::Bytes;

/// Keys with the version and the newest value of each.
type Part = BTreeMap<Bytes, (Version, Vec<u8>)>;

/// In so many parts are the keys split. A state is frozen by sharing all of them; what is written while it
/// is, copies its part first. So the longest pause is a copy of this share of the state, whatever its
/// size, and a part that nobody shares is written in place.
const PARTS: usize = 1024;

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

/// Fowler–Noll–Vo: the same on every node.
fn place(key: &[u8]) -> usize {
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = key.iter().fold(0xcbf2_9ce4_8422_2325, mix);
    // The low bits know little of the first bytes.
    (hash ^ hash >> 32) as usize % PARTS
}

impl KeyValue {
    fn known(&self, key: &[u8]) -> Option<&(Version, Vec<u8>)> {
        self.parts[place(key)].get(key)
    }

    /// The room of the value before is used again: a put of a known key allocates nothing.
    fn write(&mut self, index: Index, key: &[u8], value: &[u8]) -> Outcome {
        let part = Arc::make_mut(&mut self.parts[place(key)]);
        let (version, held) = match part.get_mut(key) {
            Some(known) => known,
            None => part.entry(Bytes::copy_from_slice(key)).or_default(),
        };
        *version = version.next();
        held.clear();
        held.extend_from_slice(value);
        Outcome::Written {
            position: index.0,
            version: *version,
        }
    }

    fn get(&self, index: Index, key: &Bytes) -> Outcome {
        let known = self.known(key);
        let (version, value) = known.map_or((Version::ZERO, &[][..]), |(v, value)| (*v, value));
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
                    .map_or(Version::ZERO, |(version, _)| *version);
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
                    Ok::<_, crate::DecodeError>((
                        key,
                        (
                            Version::take(&mut input)?,
                            <Bytes as Field>::take(&mut input)?.into(),
                        ),
                    ))
                };
                let (key, value) = entry().map_err(|_| "the snapshot's entries are damaged")?;
                Arc::make_mut(&mut self.parts[place(&key)]).insert(key, value);
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
            for (key, (version, value)) in &*part {
                key.put(&mut chunk);
                version.put(&mut chunk);
                put_payload(value, &mut chunk);
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
        for key in 0..5_000 {
            put(&mut machine, key + 1, key, &[7; 100]);
        }
        let frozen = machine.snapshot();
        for index in 0..50 {
            put(&mut machine, 6_000 + index, 3, b"again and again");
        }
        let shared = |part: &&Arc<Part>| Arc::strong_count(part) > 1;
        assert_eq!(machine.parts.iter().filter(shared).count(), PARTS - 1);
        drop(frozen);
        put(&mut machine, 7_000, 4, b"in place");
        assert_eq!(machine.parts.iter().filter(shared).count(), 0);
    }

    /// Keys that are numbers, or names that end in numbers, are spread evenly enough.
    #[test]
    fn parts_are_of_similar_size() {
        for name in ["", "key-", "user/profile/"] {
            let mut sizes = vec![0; PARTS];
            for number in 0..100_000_u32 {
                let text = alloc::format!("{name}{number}");
                sizes[place(text.as_bytes())] += 1;
            }
            let most = sizes.iter().max().copied().unwrap_or(0);
            assert!(most < 3 * 100_000 / PARTS, "{name}: {most}");
        }
    }
}
