//! The key-value operations that the register and the replicated-log services both understand, and
//! their bytes: one workload and one checker for every consensus algorithm.

use crate::{DecodeError, NodeId, codec, contract::register::Version, wire};
use bytes::Bytes;

/// What a client asks of a key-value service. The body of a [`Call`](crate::service::Call).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Operation {
    /// Read the newest value. Linearizable.
    Get {
        /// Which key.
        key: Bytes,
    },
    /// Write, whatever is there.
    Put {
        /// Which key.
        key: Bytes,
        /// The new value.
        value: Bytes,
    },
    /// Write if the newest version is `expected`; zero: if there is none.
    CompareAndSet {
        /// Which key.
        key: Bytes,
        /// The version that must be the newest.
        expected: Version,
        /// The new value.
        value: Bytes,
    },
    /// Which node decides for the others, as this one knows: for fault injection and tools, not
    /// linearizable.
    WhoLeads {},
}

codec! {
    Operation version 1 {
        1 since 1 Log => Get { key },
        2 since 1 Log => Put { key, value },
        3 since 1 Log => CompareAndSet { key, expected, value },
        4 since 1 Control => WhoLeads {},
    }
}

/// The result of an [`Operation`]: the body of an [`Answer::Done`](crate::service::Answer::Done).
///
/// `position` says where in the order of the key's (register) or the log's (replicated log) history
/// the operation took effect: the witness that the checker replays.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Outcome {
    /// The newest version and its value; version zero: there is none.
    Value {
        /// Where it took effect.
        position: u64,
        /// The newest version.
        version: Version,
        /// Its value.
        value: Bytes,
    },
    /// Written as this version.
    Written {
        /// Where it took effect.
        position: u64,
        /// The version that it became.
        version: Version,
    },
    /// Not written: the newest version is another.
    Mismatch {
        /// Where it took effect.
        position: u64,
        /// The newest version.
        version: Version,
    },
    /// Who decides, if that is known.
    Leader {
        /// Zero when it is not known.
        node: NodeId,
    },
}

codec! {
    Outcome version 1 {
        1 since 1 Log => Value { position, version, value },
        2 since 1 Log => Written { position, version },
        3 since 1 Log => Mismatch { position, version },
        4 since 1 Control => Leader { node },
    }
}

impl Operation {
    /// The body of a [`WhoLeads`](Self::WhoLeads).
    pub const WHO_LEADS: &[u8] = &[4];
}

/// Key and value of a body that is a [`Put`](Operation::Put), with nothing copied or shared; none when it
/// is anything else.
#[inline]
#[must_use]
pub fn as_put(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let (key, rest) = wire::split_payload(body.strip_prefix(&[2])?)?;
    let (value, end) = wire::split_payload(rest)?;
    end.is_empty().then_some((key, value))
}

/// The body of a [`Put`](Operation::Put), made with one allocation.
#[must_use]
pub fn put(key: &[u8], value: &[u8]) -> Bytes {
    // Exactly: room to spare would cost a second allocation to share.
    let bytes = 1 + wire::payload_bytes(key) + wire::payload_bytes(value);
    let mut bytes = alloc::vec::Vec::with_capacity(bytes);
    bytes.push(2);
    wire::put_payload(key, &mut bytes);
    wire::put_payload(value, &mut bytes);
    bytes.into()
}

/// Decodes a body, as [`Wire::decode`](crate::Wire::decode) does; here so that services need not
/// name the trait.
///
/// # Errors
/// When it is not an operation.
pub fn decode(body: Bytes) -> Result<Operation, DecodeError> {
    crate::Wire::decode(body)
}

/// Encodes any message of this module.
#[must_use]
pub fn encode(value: &impl crate::Wire) -> Bytes {
    let mut bytes = alloc::vec::Vec::with_capacity(64);
    value.encode(&mut bytes);
    // Room to spare would cost a second allocation to share.
    Bytes::from(bytes.into_boxed_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_cuts_agree_with_the_codec() {
        let (key, value) = (Bytes::from_static(b"k"), Bytes::from(alloc::vec![7; 300]));
        let put = encode(&Operation::Put {
            key: key.clone(),
            value: value.clone(),
        });
        assert_eq!(as_put(&put), Some((&key[..], &value[..])));
        assert_eq!(super::put(&key, &value), put);
        for cut in 0..put.len() {
            assert_eq!(as_put(&put[..cut]), None, "{cut}");
        }
        assert_eq!(as_put(&encode(&Operation::Get { key })), None);
        assert_eq!(as_put(&[&put[..], &[0]].concat()), None);
        assert_eq!(encode(&Operation::WhoLeads {}), Operation::WHO_LEADS);
    }
}
