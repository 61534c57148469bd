//! Bytes on disk: the file of identity, a segment's header, a group's header, a frame.
//!
//! All numbers are little-endian. A checksum covers what follows it in its header, and continues
//! from a *seed* that is not stored: so each byte vouches for its own place.
//!
//! ```text
//! segment header ── crc ──▶ seed of every group in the segment
//!   (cluster, node, disk, boot, number)      │ + offset + sequence
//!                                            ▼
//!                              group start ──▶ frame crc ──▶ frame crc ──▶ … ──▶ tail
//!                                    └───────▶ group header crc (covers the tail)
//! ```
//!
//! A group copied to another place, segment, disk, node, cluster or boot fails its checksum, without
//! sixty bytes of identity in every frame.

mod group;
mod headers;

pub(super) use group::{Frame, GroupBuffer, GroupHeader};
pub(super) use headers::{SegmentHeader, Standing, Stored};

use std::string::String;

/// The format that this build writes; it reads no other yet.
pub(super) const VERSION: u16 = 1;
/// Groups start at multiples of this, so that a sector being written never holds a byte that was
/// acknowledged before.
pub(super) const SECTOR: u64 = 512;
/// No file of a log is longer.
pub(super) const FILE_MAX: u64 = 1 << 30;

pub(super) const IDENTITY: &str = "identity";
pub(super) const IDENTITY_NEW: &str = "identity.new";
pub(super) const LOCK: &str = "lock";
pub(super) const RESERVE: &str = "reserve";
pub(super) const SEGMENT_NEW: &str = "segment.new";

/// A segment's file name. Sorted by name is sorted by number.
pub(super) fn segment_name(number: u64) -> String {
    std::format!("{number:016x}.wal")
}

/// The number in a segment's file name; none for any other file.
pub(super) fn segment_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".wal")?;
    let number = u64::from_str_radix(digits, 16).ok()?;
    (segment_name(number) == name).then_some(number)
}

pub(super) const fn align(offset: u64) -> u64 {
    offset.next_multiple_of(SECTOR)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn u128_at(bytes: &[u8], at: usize) -> u128 {
    u128::from_le_bytes(bytes[at..at + 16].try_into().expect("sixteen bytes"))
}

/// Why bytes are not what they should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Flaw {
    /// Torn, rotten, or never written.
    Bytes(&'static str),
    /// The checksum holds and the content makes no sense: no crash does that.
    Content(&'static str),
    /// A newer format.
    Version(u16),
}
