//! The key-value store that harnesses replicate, as a state machine.

use crate::{
    Decoder, Field, Index, NodeId, StateMachine,
    contract::register::Version,
    kv::{Operation, Outcome, decode, encode},
};
use alloc::{collections::BTreeMap, vec::Vec};
use bytes::Bytes;

/// Keys with the version and the newest value of each.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KeyValue {
    values: BTreeMap<Bytes, (Version, Bytes)>,
}

impl KeyValue {
    fn write(&mut self, index: Index, key: Bytes, value: Bytes) -> Outcome {
        let entry = self.values.entry(key).or_default();
        entry.0 = entry.0.next();
        entry.1 = value;
        Outcome::Written {
            position: index.0,
            version: entry.0,
        }
    }

    fn get(&self, index: Index, key: &Bytes) -> Outcome {
        let (version, value) = self.values.get(key).cloned().unwrap_or_default();
        Outcome::Value {
            position: index.0,
            version,
            value,
        }
    }
}

impl StateMachine for KeyValue {
    /// What cannot be decoded is answered by an empty result.
    fn apply(&mut self, index: Index, command: &[u8]) -> Bytes {
        let outcome = match decode(Bytes::copy_from_slice(command)) {
            Ok(Operation::Put { key, value }) => self.write(index, key, value),
            Ok(Operation::CompareAndSet {
                key,
                expected,
                value,
            }) => {
                let newest = self
                    .values
                    .get(&key)
                    .map_or(Version::ZERO, |(version, _)| *version);
                if newest == expected {
                    self.write(index, key, value)
                } else {
                    Outcome::Mismatch {
                        position: index.0,
                        version: newest,
                    }
                }
            }
            Ok(Operation::Get { key }) => self.get(index, &key),
            Ok(Operation::WhoLeads {}) | Err(_) => return Bytes::new(),
        };
        encode(&outcome)
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
        let asked = encode(&Operation::WhoLeads {});
        (body == asked).then(|| {
            let node = leader.unwrap_or(NodeId(0));
            encode(&Outcome::Leader { node })
        })
    }

    type Snapshot = alloc::vec::IntoIter<Bytes>;

    fn snapshot(&self) -> Self::Snapshot {
        let mut chunks = Vec::new();
        let mut chunk = Vec::new();
        for (key, (version, value)) in &self.values {
            key.put(&mut chunk);
            version.put(&mut chunk);
            value.put(&mut chunk);
            if chunk.len() >= 64 * 1024 {
                chunks.push(core::mem::take(&mut chunk).into());
            }
        }
        if !chunk.is_empty() {
            chunks.push(chunk.into());
        }
        chunks.into_iter()
    }

    fn restore(&mut self, chunks: impl Iterator<Item = Bytes>) -> Result<(), &'static str> {
        self.values.clear();
        for chunk in chunks {
            let mut input = Decoder::new(chunk);
            while input.remaining() > 0 {
                let mut entry = || {
                    let key = <Bytes as Field>::take(&mut input)?;
                    Ok::<_, crate::DecodeError>((
                        key,
                        (
                            Version::take(&mut input)?,
                            <Bytes as Field>::take(&mut input)?,
                        ),
                    ))
                };
                let (key, value) = entry().map_err(|_| "the snapshot's entries are damaged")?;
                self.values.insert(key, value);
            }
        }
        Ok(())
    }
}
