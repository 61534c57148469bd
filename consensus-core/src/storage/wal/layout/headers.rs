//! The file of identity, and the header of a segment.

use super::{Flaw, VERSION, align, u16_at, u32_at, u64_at, u128_at};
use crate::{Boot, ClusterId, DiskId, GroupId, Lsn, NodeId};
use std::vec::Vec;

const IDENTITY_MAGIC: [u8; 8] = *b"agreenod";
const SEGMENT_MAGIC: [u8; 8] = *b"agreelog";
const IDENTITY_LENGTH: usize = 72;
const SEGMENT_FIXED: usize = 88;
const HEADER_ENTRY: usize = 20;

/// The file of identity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) struct Stored {
    pub(in super::super) cluster: ClusterId,
    pub(in super::super) node: NodeId,
    pub(in super::super) disk: DiskId,
    /// Of the last start; zero before the first.
    pub(in super::super) boot: Boot,
    /// The newest segment that may hold groups; zero before the first start.
    pub(in super::super) segment: u64,
    /// A group that is surely on disk; zero for none.
    pub(in super::super) sequence: u64,
}

impl Stored {
    pub(in super::super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(IDENTITY_LENGTH);
        out.extend_from_slice(&IDENTITY_MAGIC);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.node.0.to_le_bytes());
        out.extend_from_slice(&self.boot.0.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.cluster.0.to_le_bytes());
        out.extend_from_slice(&self.disk.0.to_le_bytes());
        out.extend_from_slice(&self.segment.to_le_bytes());
        out.extend_from_slice(&self.sequence.to_le_bytes());
        let crc = crc32c::crc32c(&out[12..]);
        out[8..12].copy_from_slice(&crc.to_le_bytes());
        out
    }

    pub(in super::super) fn decode(bytes: &[u8]) -> Result<Self, Flaw> {
        if bytes.len() < 14 || bytes[..8] != IDENTITY_MAGIC {
            return Err(Flaw::Bytes("not a file of identity"));
        }
        let version = u16_at(bytes, 12);
        if bytes.len() != IDENTITY_LENGTH && version <= VERSION {
            return Err(Flaw::Bytes("wrong length"));
        }
        if crc32c::crc32c(&bytes[12..]) != u32_at(bytes, 8) {
            return Err(Flaw::Bytes("wrong checksum"));
        }
        if version != VERSION {
            return Err(Flaw::Version(version));
        }
        Ok(Self {
            node: NodeId(u16_at(bytes, 14)),
            boot: Boot(u32_at(bytes, 16)),
            cluster: ClusterId(u128_at(bytes, 24)),
            disk: DiskId(u128_at(bytes, 40)),
            segment: u64_at(bytes, 56),
            sequence: u64_at(bytes, 64),
        })
    }
}

/// What a segment's header says of a group at the moment the segment was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) struct Standing {
    pub(in super::super) group: GroupId,
    /// Its newest record in older segments.
    pub(in super::super) last: Lsn,
    /// Its records before this one were released.
    pub(in super::super) released: Lsn,
}

/// A segment's header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in super::super) struct SegmentHeader {
    pub(in super::super) cluster: ClusterId,
    pub(in super::super) node: NodeId,
    pub(in super::super) disk: DiskId,
    pub(in super::super) boot: Boot,
    pub(in super::super) number: u64,
    /// Where the segment before ends; zero for the first of a disk.
    pub(in super::super) previous_end: u64,
    /// The last group before this segment.
    pub(in super::super) sequence: u64,
    /// That group's checksum.
    pub(in super::super) chain: u32,
    pub(in super::super) standings: Vec<Standing>,
}

impl SegmentHeader {
    /// The bytes, and the seed of the segment's groups.
    pub(in super::super) fn encode(&self) -> (Vec<u8>, u32) {
        let length = SEGMENT_FIXED + HEADER_ENTRY * self.standings.len();
        let mut out = Vec::with_capacity(align(length as u64) as usize);
        out.extend_from_slice(&SEGMENT_MAGIC);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&(length as u32).to_le_bytes());
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.node.0.to_le_bytes());
        out.extend_from_slice(&self.boot.0.to_le_bytes());
        out.extend_from_slice(&self.cluster.0.to_le_bytes());
        out.extend_from_slice(&self.disk.0.to_le_bytes());
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.previous_end.to_le_bytes());
        out.extend_from_slice(&self.sequence.to_le_bytes());
        out.extend_from_slice(&self.chain.to_le_bytes());
        out.extend_from_slice(&(self.standings.len() as u32).to_le_bytes());
        for standing in &self.standings {
            out.extend_from_slice(&standing.group.0.to_le_bytes());
            out.extend_from_slice(&standing.last.0.to_le_bytes());
            out.extend_from_slice(&standing.released.0.to_le_bytes());
        }
        let crc = crc32c::crc32c(&out[12..]);
        out[8..12].copy_from_slice(&crc.to_le_bytes());
        out.resize(align(length as u64) as usize, 0);
        (out, crc)
    }

    /// Where the first group starts.
    pub(in super::super) fn end(&self) -> u64 {
        align((SEGMENT_FIXED + HEADER_ENTRY * self.standings.len()) as u64)
    }

    /// The header, and the seed of the segment's groups.
    pub(in super::super) fn decode(bytes: &[u8]) -> Result<(Self, u32), Flaw> {
        if bytes.len() < SEGMENT_FIXED || bytes[..8] != SEGMENT_MAGIC {
            return Err(Flaw::Bytes("no header of a segment"));
        }
        let length = u32_at(bytes, 12) as usize;
        if length < SEGMENT_FIXED || length > bytes.len() {
            return Err(Flaw::Bytes("the header's length is out of range"));
        }
        let crc = crc32c::crc32c(&bytes[12..length]);
        if crc != u32_at(bytes, 8) {
            return Err(Flaw::Bytes("the header's checksum is wrong"));
        }
        let version = u16_at(bytes, 16);
        if version != VERSION {
            return Err(Flaw::Version(version));
        }
        let standings = &bytes[SEGMENT_FIXED..length];
        if standings.len() as u64 != HEADER_ENTRY as u64 * u64::from(u32_at(bytes, 84)) {
            return Err(Flaw::Content("the header's count does not fit its length"));
        }
        let header = Self {
            node: NodeId(u16_at(bytes, 18)),
            boot: Boot(u32_at(bytes, 20)),
            cluster: ClusterId(u128_at(bytes, 24)),
            disk: DiskId(u128_at(bytes, 40)),
            number: u64_at(bytes, 56),
            previous_end: u64_at(bytes, 64),
            sequence: u64_at(bytes, 72),
            chain: u32_at(bytes, 80),
            standings: standings
                .chunks_exact(HEADER_ENTRY)
                .map(|entry| Standing {
                    group: GroupId(u32_at(entry, 0)),
                    last: Lsn(u64_at(entry, 4)),
                    released: Lsn(u64_at(entry, 12)),
                })
                .collect(),
        };
        Ok((header, crc))
    }
}
