//! The key-value store that harnesses replicate, as a state machine.

use crate::{
    Decoder, Field, Index, NodeId, StateMachine,
    contract::register::Version,
    kv::{self, Operation, Outcome, decode, encode},
    wire::put_payload,
};
use alloc::{collections::BTreeMap, vec::Vec};
use bytes::Bytes;

/// Keys with the version and the newest value of each.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KeyValue {
    values: BTreeMap<Bytes, (Version, Vec<u8>)>,
}

impl KeyValue {
    /// The room of the value before is used again: a put of a known key allocates nothing.
    fn write(&mut self, index: Index, key: &[u8], value: &[u8]) -> Outcome {
        let (version, held) = match self.values.get_mut(key) {
            Some(known) => known,
            None => self.values.entry(Bytes::copy_from_slice(key)).or_default(),
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
        let known = self.values.get(key);
        let (version, value) = known.map_or((Version::ZERO, &[][..]), |(v, value)| (*v, value));
        Outcome::Value {
            position: index.0,
            version,
            value: Bytes::copy_from_slice(value),
        }
    }
}

impl StateMachine for KeyValue {
    /// What cannot be decoded is answered by an empty result.
    fn apply(&mut self, index: Index, command: &[u8]) -> Bytes {
        if let Some((key, value)) = kv::as_put(command) {
            return encode(&self.write(index, key, value));
        }
        let outcome = match decode(Bytes::copy_from_slice(command)) {
            Ok(Operation::Put { key, value }) => self.write(index, &key, &value),
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
                    self.write(index, &key, &value)
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
        (body == Operation::WHO_LEADS).then(|| {
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
            put_payload(value, &mut chunk);
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
                            <Bytes as Field>::take(&mut input)?.into(),
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
