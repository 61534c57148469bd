//! The first frame of a connection, before which nothing else is read.

use bytes::{BufMut, Bytes};
use consensus_core::{Boot, ClusterId, DiskId, NodeId};
use std::ops::RangeInclusive;

const MAGIC: [u8; 8] = *b"cnsnsus1";
const LENGTH: usize = 8 + 16 + 2 + 16 + 4 + 1 + 1 + 4;

/// Who speaks, and in which versions. Of a client only cluster, versions and frame limit count.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Hello {
    pub(crate) cluster: ClusterId,
    pub(crate) node: NodeId,
    pub(crate) disk: DiskId,
    pub(crate) boot: Boot,
    pub(crate) versions: RangeInclusive<u8>,
    pub(crate) frame_bytes_max: u32,
}

impl Hello {
    /// Its bytes, without a length: it never changes its size, in no version.
    pub(crate) fn encode(&self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        let mut out = &mut bytes[..];
        out.put_slice(&MAGIC);
        out.put_u128_le(self.cluster.0);
        out.put_u16_le(self.node.0);
        out.put_u128_le(self.disk.0);
        out.put_u32_le(self.boot.0);
        out.put_u8(*self.versions.start());
        out.put_u8(*self.versions.end());
        out.put_u32_le(self.frame_bytes_max);
        bytes
    }

    /// Reads a hello; `None` for anything else.
    pub(crate) fn decode(bytes: &Bytes) -> Option<Self> {
        use bytes::Buf;
        let mut input = bytes.clone();
        if input.len() != LENGTH || input.split_to(8)[..] != MAGIC {
            return None;
        }
        Some(Self {
            cluster: ClusterId(input.get_u128_le()),
            node: NodeId(input.get_u16_le()),
            disk: DiskId(input.get_u128_le()),
            boot: Boot(input.get_u32_le()),
            versions: input.get_u8()..=input.get_u8(),
            frame_bytes_max: input.get_u32_le(),
        })
    }

    /// Its length as a frame's payload.
    pub(crate) const BYTES: u32 = LENGTH as u32;
}

/// The newest version that both speak.
pub(crate) fn common(ours: &RangeInclusive<u8>, theirs: &RangeInclusive<u8>) -> Option<u8> {
    let newest = *ours.end().min(theirs.end());
    (newest >= *ours.start().max(theirs.start())).then_some(newest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Hello {
        Hello {
            cluster: ClusterId(7 << 100),
            node: NodeId(3),
            disk: DiskId(u128::MAX),
            boot: Boot(9),
            versions: 1..=4,
            frame_bytes_max: 1 << 20,
        }
    }

    #[test]
    fn a_hello_survives_the_wire() {
        let bytes = Bytes::copy_from_slice(&hello().encode());
        assert_eq!(Hello::decode(&bytes), Some(hello()));
    }

    #[test]
    fn a_hello_cut_short_or_with_a_tail_is_none() {
        let mut bytes = hello().encode().to_vec();
        for length in 0..bytes.len() {
            assert_eq!(
                Hello::decode(&Bytes::copy_from_slice(&bytes[..length])),
                None
            );
        }
        bytes.push(0);
        assert_eq!(Hello::decode(&bytes.into()), None);
    }

    /// Fuzzed: bytes are a hello exactly when they are what that hello writes.
    #[test]
    fn any_bytes_are_a_hello_or_none() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let bytes = Bytes::copy_from_slice(bytes);
            if let Some(hello) = Hello::decode(&bytes) {
                assert_eq!(hello.encode()[..], bytes);
            }
        });
    }

    #[test]
    fn versions_meet_at_the_newest_that_both_speak() {
        assert_eq!(common(&(1..=3), &(2..=5)), Some(3));
        assert_eq!(common(&(2..=3), &(1..=2)), Some(2));
        assert_eq!(common(&(3..=3), &(1..=2)), None);
        assert_eq!(common(&(1..=2), &(3..=9)), None);
    }
}
