//! A group and its frames: written by [`GroupBuffer`], read by [`GroupHeader`].

use super::{Flaw, VERSION, align, u32_at, u64_at};
use crate::{GroupId, Lsn, storage::Append};
use std::vec::Vec;

const GROUP_MAGIC: u32 = u32::from_le_bytes(*b"grp\x01");
const GROUP_FIXED: usize = 40;
const FRAME_FIXED: usize = 28;
const SEAL_ENTRY: usize = 12;

/// Where the checksums of the group at `offset` start from.
fn start(seed: u32, offset: u64, sequence: u64) -> u32 {
    let crc = crc32c::crc32c_append(seed, &offset.to_le_bytes());
    crc32c::crc32c_append(crc, &sequence.to_le_bytes())
}

const KIND_RECORDS: u8 = 1;
const KIND_RELEASE: u8 = 2;

/// Records of so many bytes are written from where the driver put them: to copy them would cost as
/// much as to sum them up.
const LARGE: usize = 32 << 10;

/// A group while it is put together. Its buffer is used again and again.
#[derive(Debug, Default)]
pub(in super::super) struct GroupBuffer {
    /// Everything but large records, and padding once it is finished.
    bytes: Vec<u8>,
    /// Large records, each with the place in `bytes` before which it stands.
    large: Vec<(usize, Vec<u8>)>,
    /// Of `bytes`, without padding.
    inline: usize,
    frames: u32,
    sealed: u32,
}

/// A group that is ready to be written.
#[derive(Debug)]
pub(in super::super) struct Finished<'a> {
    bytes: &'a [u8],
    large: &'a [(usize, Vec<u8>)],
    pub(in super::super) chain: u32,
}

impl Finished<'_> {
    /// Its bytes, piece by piece.
    pub(in super::super) fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let begins = core::iter::once(0).chain(self.large.iter().map(|(at, _)| *at));
        let ends = self.large.iter().map(|(at, _)| *at);
        let inline = begins.zip(ends.chain([self.bytes.len()]));
        let inline = inline.map(|(begin, end)| &self.bytes[begin..end]);
        let large = self.large.iter().map(|(_, bytes)| Some(&bytes[..]));
        inline
            .zip(large.chain([None]))
            .flat_map(|(inline, large)| [Some(inline), large])
            .flatten()
    }

    /// How many there are, padding included.
    pub(in super::super) fn length(&self) -> u64 {
        self.pieces().map(|piece| piece.len() as u64).sum()
    }
}

impl GroupBuffer {
    /// Starts a group that follows an acknowledged one, of whose records `sealed` are the newest.
    pub(in super::super) fn start(&mut self, sealed: &[(GroupId, Lsn)]) {
        self.bytes.clear();
        self.large.clear();
        self.bytes.resize(GROUP_FIXED, 0);
        for (group, lsn) in sealed {
            self.bytes.extend_from_slice(&group.0.to_le_bytes());
            self.bytes.extend_from_slice(&lsn.0.to_le_bytes());
        }
        self.sealed = sealed.len() as u32;
        self.frames = 0;
        self.inline = self.bytes.len();
    }

    /// Bytes so far.
    pub(in super::super) fn length(&self) -> u64 {
        let large: usize = self.large.iter().map(|(_, bytes)| bytes.len()).sum();
        (self.inline + large) as u64
    }

    /// Bytes that `append` will take.
    pub(in super::super) fn cost(append: &Append) -> u64 {
        (FRAME_FIXED + 4 * append.count() + append.bytes.len()) as u64
    }

    pub(in super::super) fn append(&mut self, append: Append) {
        let body = (4 * append.count() + append.bytes.len()) as u32;
        let count = append.count() as u32;
        self.frame(KIND_RECORDS, body, append.group, count, append.first);
        for end in &append.ends {
            self.bytes.extend_from_slice(&end.to_le_bytes());
        }
        if append.bytes.len() < LARGE {
            self.bytes.extend_from_slice(&append.bytes);
        } else {
            self.large.push((self.bytes.len(), append.bytes));
        }
        self.inline = self.bytes.len();
    }

    pub(in super::super) fn release(&mut self, group: GroupId, before: Lsn) {
        self.frame(KIND_RELEASE, 0, group, 0, before);
        self.inline = self.bytes.len();
    }

    fn frame(&mut self, kind: u8, body: u32, group: GroupId, count: u32, lsn: Lsn) {
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&body.to_le_bytes());
        self.bytes.extend_from_slice(&group.0.to_le_bytes());
        self.bytes.extend_from_slice(&count.to_le_bytes());
        self.bytes.extend_from_slice(&lsn.0.to_le_bytes());
        self.bytes.extend_from_slice(&[kind, VERSION as u8, 0, 0]);
        self.frames += 1;
    }

    /// The buffers of a group that is on disk, which is gone with them.
    pub(in super::super) fn spent(&mut self) -> impl Iterator<Item = Vec<u8>> + '_ {
        self.bytes.clear();
        self.inline = 0;
        self.large.drain(..).map(|(_, bytes)| bytes)
    }

    /// Fills in every checksum for this place. May be called again for another place.
    pub(in super::super) fn finish(
        &mut self,
        seed: u32,
        offset: u64,
        sequence: u64,
        previous: u32,
    ) -> Finished<'_> {
        let length = self.length();
        self.bytes.truncate(self.inline);
        let mut tail = start(seed, offset, sequence);
        let mut large = self.large.iter().peekable();
        let mut at = GROUP_FIXED + SEAL_ENTRY * self.sealed as usize;
        while at < self.inline {
            let mut end = at + FRAME_FIXED + u32_at(&self.bytes, at + 4) as usize;
            // A large body stands behind what of its frame is here.
            let body = large.next_if(|(place, _)| *place <= end);
            if let Some((place, _)) = body {
                end = *place;
            }
            tail = crc32c::crc32c_append(tail, &self.bytes[at + 4..end]);
            if let Some((_, body)) = body {
                tail = crc32c::crc32c_append(tail, body);
            }
            self.bytes[at..at + 4].copy_from_slice(&tail.to_le_bytes());
            at = end;
        }
        self.bytes[4..8].copy_from_slice(&GROUP_MAGIC.to_le_bytes());
        self.bytes[8..16].copy_from_slice(&sequence.to_le_bytes());
        self.bytes[16..20].copy_from_slice(&(length as u32).to_le_bytes());
        self.bytes[20..24].copy_from_slice(&tail.to_le_bytes());
        self.bytes[24..28].copy_from_slice(&previous.to_le_bytes());
        self.bytes[28..32].copy_from_slice(&self.frames.to_le_bytes());
        self.bytes[32..36].copy_from_slice(&self.sealed.to_le_bytes());
        let head = GROUP_FIXED + SEAL_ENTRY * self.sealed as usize;
        let chain = crc32c::crc32c_append(start(seed, offset, sequence), &self.bytes[4..head]);
        self.bytes[..4].copy_from_slice(&chain.to_le_bytes());
        self.bytes
            .resize(self.inline + (align(length) - length) as usize, 0);
        Finished {
            bytes: &self.bytes,
            large: &self.large,
            chain,
        }
    }
}

/// For tests of readers: a group with made-up content under checksums that hold.
#[cfg(test)]
impl GroupBuffer {
    /// Lets `change` write what it likes into a finished group that seals nothing and has one frame,
    /// then makes its checksums hold, as far as the lengths in it allow.
    pub(in super::super) fn forge(
        &mut self,
        seed: u32,
        offset: u64,
        change: impl FnOnce(&mut [u8]),
    ) {
        let frame = GROUP_FIXED + FRAME_FIXED + u32_at(&self.bytes, GROUP_FIXED + 4) as usize;
        change(&mut self.bytes);
        let start = start(seed, offset, u64_at(&self.bytes, 8));
        let body = u32_at(&self.bytes, GROUP_FIXED + 4) as usize;
        let end = (GROUP_FIXED + FRAME_FIXED).saturating_add(body);
        let end = if end > self.bytes.len() { frame } else { end };
        let tail = crc32c::crc32c_append(start, &self.bytes[GROUP_FIXED + 4..end]);
        self.bytes[GROUP_FIXED..GROUP_FIXED + 4].copy_from_slice(&tail.to_le_bytes());
        self.bytes[20..24].copy_from_slice(&tail.to_le_bytes());
        let chain = crc32c::crc32c_append(start, &self.bytes[4..GROUP_FIXED]);
        self.bytes[..4].copy_from_slice(&chain.to_le_bytes());
    }

    pub(in super::super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A group's header as read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in super::super) struct GroupHeader {
    pub(in super::super) sequence: u64,
    /// With its header, without padding.
    pub(in super::super) length: u64,
    pub(in super::super) previous: u32,
    pub(in super::super) frames: u32,
    pub(in super::super) sealed: Vec<(GroupId, Lsn)>,
    pub(in super::super) chain: u32,
    tail: u32,
    start: u32,
    head: usize,
}

impl GroupHeader {
    /// The header of the group at `offset` of a segment's bytes.
    pub(in super::super) fn decode(segment: &[u8], offset: u64, seed: u32) -> Result<Self, Flaw> {
        let bytes = usize::try_from(offset)
            .ok()
            .and_then(|offset| segment.get(offset..))
            .unwrap_or_default();
        if bytes.len() < GROUP_FIXED {
            return Err(Flaw::Bytes("the file ends in the header of a group"));
        }
        if u32_at(bytes, 4) != GROUP_MAGIC {
            return Err(Flaw::Bytes("no header of a group"));
        }
        let sealed = u32_at(bytes, 32) as usize;
        if sealed > (bytes.len() - GROUP_FIXED) / SEAL_ENTRY {
            return Err(Flaw::Bytes("a seal is longer than the file"));
        }
        let head = GROUP_FIXED + SEAL_ENTRY * sealed;
        let sequence = u64_at(bytes, 8);
        let start = start(seed, offset, sequence);
        let chain = u32_at(bytes, 0);
        if crc32c::crc32c_append(start, &bytes[4..head]) != chain {
            return Err(Flaw::Bytes("the checksum of a group's header is wrong"));
        }
        let length = u64::from(u32_at(bytes, 16));
        if length < head as u64 {
            return Err(Flaw::Content("a group is shorter than its header"));
        }
        Ok(Self {
            sequence,
            length,
            previous: u32_at(bytes, 24),
            frames: u32_at(bytes, 28),
            sealed: bytes[GROUP_FIXED..head]
                .chunks_exact(SEAL_ENTRY)
                .map(|entry| (GroupId(u32_at(entry, 0)), Lsn(u64_at(entry, 4))))
                .collect(),
            chain,
            tail: u32_at(bytes, 20),
            start,
            head,
        })
    }

    /// The frames of the group at `offset`, checked to the last byte. The places of those before a
    /// flaw are in `frames` even then.
    pub(in super::super) fn frames(
        &self,
        segment: &[u8],
        offset: u64,
        frames: &mut Vec<Frame>,
    ) -> Result<(), Flaw> {
        let group = &segment[offset as usize..];
        let length = self.length as usize;
        let mut tail = self.start;
        let mut at = self.head;
        for _ in 0..self.frames {
            if length - at < FRAME_FIXED {
                return Err(Flaw::Content("a group has fewer frames than it says"));
            }
            if group.len() < at + FRAME_FIXED {
                return Err(Flaw::Bytes("the file ends in a frame"));
            }
            let body = u32_at(group, at + 4) as usize;
            if body > length - at - FRAME_FIXED {
                return Err(Flaw::Bytes("a frame is longer than its group"));
            }
            let end = at + FRAME_FIXED + body;
            if end > group.len() {
                return Err(Flaw::Bytes("the file ends in a frame"));
            }
            tail = crc32c::crc32c_append(tail, &group[at + 4..end]);
            if tail != u32_at(group, at) {
                return Err(Flaw::Bytes("the checksum of a frame is wrong"));
            }
            frames.push(Frame::decode(&group[at..end], offset + at as u64)?);
            at = end;
        }
        if at != length {
            return Err(Flaw::Content("a group is longer than its frames"));
        }
        if tail != self.tail {
            return Err(Flaw::Bytes(
                "a frame is not the one its group was sealed with",
            ));
        }
        Ok(())
    }
}

/// A frame as read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in super::super) enum Frame {
    /// Records of one group.
    Records {
        group: GroupId,
        first: Lsn,
        /// Where the records' bytes start in the segment.
        at: u64,
        /// Where each ends, counted from `at`.
        ends: Vec<u32>,
    },
    /// Records before `before` are not needed.
    Release { group: GroupId, before: Lsn },
}

impl Frame {
    /// `bytes` are exactly one frame whose checksum holds.
    fn decode(bytes: &[u8], offset: u64) -> Result<Self, Flaw> {
        let body = &bytes[FRAME_FIXED..];
        let group = GroupId(u32_at(bytes, 8));
        let count = u32_at(bytes, 12) as usize;
        let lsn = Lsn(u64_at(bytes, 16));
        let (kind, version) = (bytes[24], bytes[25]);
        if u16::from(version) != VERSION {
            return Err(Flaw::Version(version.into()));
        }
        match kind {
            KIND_RELEASE if count == 0 && body.is_empty() => {
                Ok(Self::Release { group, before: lsn })
            }
            KIND_RECORDS => {
                if count > body.len() / 4 {
                    return Err(Flaw::Content("a frame is too short for its count"));
                }
                let (ends, records) = body.split_at(4 * count);
                let ends: Vec<u32> = ends.chunks_exact(4).map(|end| u32_at(end, 0)).collect();
                let ascending = ends.is_sorted();
                if !ascending || ends.last().copied().unwrap_or(0) as usize != records.len() {
                    return Err(Flaw::Content("records do not fill their frame"));
                }
                if lsn == Lsn::ZERO || lsn.0.checked_add(count as u64).is_none() {
                    return Err(Flaw::Content("a record's number is out of range"));
                }
                Ok(Self::Records {
                    group,
                    first: lsn,
                    at: offset + (FRAME_FIXED + 4 * count) as u64,
                    ends,
                })
            }
            _ => Err(Flaw::Content("unknown kind of frame")),
        }
    }
}
