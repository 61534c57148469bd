//! A stretch of entries in one buffer: encoded once, shared by log, disk, every follower and the
//! application, at one reference count a hop.

use crate::{Epoch, Field, Index, wire};
use alloc::{sync::Arc, vec::Vec};
use core::{
    fmt,
    hash::{Hash, Hasher},
    ops::Range,
};

/// What the entries of a run are. One kind a run: all but commands are rare and come alone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(u8)]
pub enum EntryKind {
    /// For the application.
    #[default]
    Command = 0,
    /// For nobody: a term's first entry, or a filled hole.
    Noop = 1,
    /// Who belongs to the group.
    Membership = 2,
}

/// Facts about entries that never change once their leader has placed them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Place {
    /// Where the first entry stands.
    pub first: Index,
    /// Under which term or ballot they were placed.
    pub epoch: Epoch,
    /// The epoch of the entry before the first [Ongaro14 §3.5].
    pub previous: Epoch,
    /// What they are.
    pub kind: EntryKind,
}

/// Bytes before the first payload: first, epoch (2 words), previous (2 words), kind and count.
const HEAD: usize = 48;

/// Commands that have no place yet, laid out as a [`Run`] will hold them.
///
/// ```
/// use consensus_core::log::{Commands, Place};
/// let mut commands = Commands::default();
/// commands.push(b"x = 1");
/// commands.push(b"y = 2");
/// let run = commands.place(Place { first: consensus_core::Index(7), ..Place::default() });
/// assert_eq!(run.last(), consensus_core::Index(8));
/// assert_eq!(run.iter().nth(1), Some(&b"y = 2"[..]));
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Commands {
    /// `HEAD` bytes to be filled in, then the payloads; empty when there are none.
    bytes: Vec<u8>,
    /// Where each payload but the last ends, counted from the first payload: a lone command, the usual
    /// case of a client that waits for its answer, needs none.
    ends: Vec<u32>,
}

impl Commands {
    /// The most payload bytes one run can hold.
    pub const BYTES_MAX: usize = 1 << 30;

    /// None, with room for `count` commands of `bytes` in all.
    #[must_use]
    pub fn with_room(count: usize, bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(HEAD + bytes + 4 * count),
            ends: Vec::with_capacity(count.saturating_sub(1)),
        }
    }

    /// One command.
    #[inline]
    #[must_use]
    pub fn one(command: &[u8]) -> Self {
        let mut commands = Self::default();
        commands.push(command);
        commands
    }

    /// Adds a command at the end.
    ///
    /// # Panics
    /// When the payloads exceed [`Commands::BYTES_MAX`]; callers bound what they gather.
    #[inline]
    pub fn push(&mut self, command: &[u8]) {
        if self.is_empty() {
            self.bytes.reserve(HEAD + command.len() + 8);
            self.bytes.resize(HEAD, 0);
        } else {
            self.ends.push(self.payload_bytes() as u32);
        }
        self.bytes.extend_from_slice(command);
        self.check_bound();
    }

    /// Adds all of another's commands at the end.
    #[inline]
    pub fn append(&mut self, mut other: Self) {
        if self.is_empty() {
            *self = other;
            return;
        }
        let Some(payloads) = other.bytes.get(HEAD..) else {
            return;
        };
        let shift = self.payload_bytes() as u32;
        self.bytes.extend_from_slice(payloads);
        self.ends.push(shift);
        self.ends
            .extend(other.ends.drain(..).map(|end| end + shift));
        self.check_bound();
    }

    #[inline]
    fn check_bound(&self) {
        let bytes = self.payload_bytes();
        assert!(
            bytes <= Self::BYTES_MAX,
            "a run of {bytes} bytes exceeds the bound"
        );
    }

    /// How many.
    #[inline]
    #[must_use]
    pub fn count(&self) -> usize {
        self.ends.len() + usize::from(!self.is_empty())
    }

    /// Whether there are none.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes of all payloads.
    #[inline]
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        self.bytes.len().saturating_sub(HEAD)
    }

    /// Where each payload ends.
    fn ends(&self) -> impl Iterator<Item = u32> + '_ {
        let last = (!self.is_empty()).then(|| self.payload_bytes() as u32);
        self.ends.iter().copied().chain(last)
    }

    /// The commands in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> + '_ {
        let mut start = HEAD;
        self.ends().map(move |end| {
            let end = HEAD + end as usize;
            let command = &self.bytes[start..end];
            start = end;
            command
        })
    }

    /// Gives them their place: one allocation, one copy.
    ///
    /// # Panics
    /// When there are none.
    #[inline]
    #[must_use]
    pub fn place(mut self, place: Place) -> Run {
        assert!(!self.is_empty(), "a run has at least one entry");
        let (count, last) = (self.count() as u32, self.payload_bytes() as u32);
        let mut head = [0u8; HEAD];
        head[..8].copy_from_slice(&place.first.0.to_le_bytes());
        let [round, owner] = place.epoch.to_words();
        head[8..16].copy_from_slice(&round.to_le_bytes());
        head[16..24].copy_from_slice(&owner.to_le_bytes());
        let [round, owner] = place.previous.to_words();
        head[24..32].copy_from_slice(&round.to_le_bytes());
        head[32..40].copy_from_slice(&owner.to_le_bytes());
        head[40..44].copy_from_slice(&count.to_le_bytes());
        head[44] = place.kind as u8;
        self.bytes[..HEAD].copy_from_slice(&head);
        self.bytes.reserve_exact(4 * self.count());
        for end in &self.ends {
            self.bytes.extend_from_slice(&end.to_le_bytes());
        }
        self.bytes.extend_from_slice(&last.to_le_bytes());
        Run {
            shared: Arc::from(&self.bytes[..]),
            skip: 0,
            count,
        }
    }
}

/// Entries that follow one another, placed by one leader under one epoch: two words and a half to
/// move, one reference count to share, never copied.
///
/// A part of a run ([`Run::cut`]) shares its buffer. Two runs are equal when their entries are,
/// however their buffers were cut.
#[derive(Clone)]
pub struct Run {
    shared: Arc<[u8]>,
    skip: u32,
    count: u32,
}

impl Run {
    /// One entry without a payload, or with the payload of a membership.
    #[must_use]
    pub fn single(place: Place, payload: &[u8]) -> Self {
        Commands::one(payload).place(place)
    }

    #[inline]
    fn word(&self, at: usize) -> u64 {
        // The head is always there: only `place` and `take` make runs.
        self.shared[at..at + 8]
            .try_into()
            .map_or(0, u64::from_le_bytes)
    }

    #[inline]
    fn stored(&self) -> usize {
        self.shared[40..44].try_into().map_or(0, u32::from_le_bytes) as usize
    }

    /// How many entries.
    #[inline]
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count as usize
    }

    /// Where the first entry stands.
    #[inline]
    #[must_use]
    pub fn first(&self) -> Index {
        Index(self.word(0) + u64::from(self.skip))
    }

    /// Where the last entry stands.
    #[inline]
    #[must_use]
    pub fn last(&self) -> Index {
        Index(self.word(0) + u64::from(self.skip + self.count) - 1)
    }

    /// The epoch of every entry.
    #[inline]
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        Epoch::from_words([self.word(8), self.word(16)])
    }

    /// The epoch of the entry before the first.
    #[inline]
    #[must_use]
    pub fn previous(&self) -> Epoch {
        if self.skip > 0 {
            self.epoch()
        } else {
            Epoch::from_words([self.word(24), self.word(32)])
        }
    }

    /// What the entries are.
    #[inline]
    #[must_use]
    pub fn kind(&self) -> EntryKind {
        match self.shared[44] {
            0 => EntryKind::Command,
            1 => EntryKind::Noop,
            _ => EntryKind::Membership,
        }
    }

    /// Bytes of the payloads that this run shows.
    #[inline]
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        let ends = self.ends();
        let last = ends[self.skip as usize + self.count as usize - 1];
        u32::from_le_bytes(last) as usize - self.start(ends)
    }

    /// Bytes of memory that the buffer holds, shared by all runs cut from it.
    #[inline]
    #[must_use]
    pub fn buffer_bytes(&self) -> usize {
        self.shared.len()
    }

    #[inline]
    fn ends(&self) -> &[[u8; 4]] {
        self.shared[self.shared.len() - 4 * self.stored()..]
            .as_chunks()
            .0
    }

    #[inline]
    fn start(&self, ends: &[[u8; 4]]) -> usize {
        match self.skip {
            0 => 0,
            skip => u32::from_le_bytes(ends[skip as usize - 1]) as usize,
        }
    }

    /// The payloads in order.
    #[inline]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> + '_ {
        let ends = self.ends();
        let payloads = &self.shared[HEAD..];
        let mut start = self.start(ends);
        let skip = self.skip as usize;
        ends[skip..skip + self.count()].iter().map(move |end| {
            let end = u32::from_le_bytes(*end) as usize;
            let payload = &payloads[start..end];
            start = end;
            payload
        })
    }

    /// The part whose places lie in `range`, sharing the buffer; none when there is none.
    #[inline]
    #[must_use]
    pub fn cut(&self, range: Range<Index>) -> Option<Self> {
        let first = self.first().max(range.start);
        let end = self.last().next().min(range.end);
        if first >= end {
            return None;
        }
        Some(Self {
            shared: self.shared.clone(),
            skip: self.skip + (first.0 - self.first().0) as u32,
            count: (end.0 - first.0) as u32,
        })
    }
}

impl Run {
    /// The longest beginning whose payloads take at most `bytes_max`, but at least one entry.
    #[must_use]
    pub fn beginning(&self, bytes_max: usize) -> Self {
        if self.payload_bytes() <= bytes_max {
            return self.clone();
        }
        let ends = self.ends();
        let (start, skip) = (self.start(ends), self.skip as usize);
        let fits = |end: &[u8; 4]| u32::from_le_bytes(*end) as usize - start <= bytes_max;
        let count = ends[skip..skip + self.count()].partition_point(fits).max(1);
        Self {
            shared: self.shared.clone(),
            skip: self.skip,
            count: count as u32,
        }
    }
}

impl PartialEq for Run {
    fn eq(&self, other: &Self) -> bool {
        self.first() == other.first()
            && self.count == other.count
            && self.kind() == other.kind()
            && self.epoch() == other.epoch()
            && self.previous() == other.previous()
            && self.iter().eq(other.iter())
    }
}

impl Eq for Run {}

impl Hash for Run {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (
            self.first(),
            self.count,
            self.kind(),
            self.epoch(),
            self.previous(),
        )
            .hash(state);
        self.iter().for_each(|payload| payload.hash(state));
    }
}

/// A few payloads; long ones are cut.
fn show<'a>(payloads: impl Iterator<Item = &'a [u8]>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut more = 0;
    for (place, payload) in payloads.enumerate() {
        if place >= 4 {
            more += 1;
            continue;
        }
        let shown = &payload[..payload.len().min(16)];
        let cut = if shown.len() < payload.len() {
            "…"
        } else {
            ""
        };
        write!(f, " \"{}{cut}\"", shown.escape_ascii())?;
    }
    if more > 0 {
        write!(f, " … {more} more")?;
    }
    Ok(())
}

impl fmt::Debug for Commands {
    /// `["x = 1" "y = 2"]`, as a [`Run`] writes its own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        show(self.iter(), f)?;
        f.write_str(" ]")
    }
}

impl fmt::Debug for Run {
    /// `[7..=8 @3 "x = 1" "y = 2"]`; long payloads are cut.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}", self.first())?;
        if self.count > 1 {
            write!(f, "..={}", self.last())?;
        }
        write!(f, " @{}", self.epoch())?;
        match self.kind() {
            EntryKind::Command => {}
            kind => write!(f, " {kind:?}")?,
        }
        show(self.iter(), f)?;
        f.write_str("]")
    }
}

impl Field for Run {
    fn put(&self, out: &mut Vec<u8>) {
        wire::put_varint(self.first().0, out);
        self.epoch().put(out);
        self.previous().put(out);
        out.push(self.kind() as u8);
        wire::put_varint(self.count() as u64, out);
        let ends = self.ends();
        let (skip, start) = (self.skip as usize, self.start(ends));
        let mut before = start;
        for end in &ends[skip..skip + self.count()] {
            let end = u32::from_le_bytes(*end) as usize;
            wire::put_varint((end - before) as u64, out);
            before = end;
        }
        out.extend_from_slice(&self.shared[HEAD + start..HEAD + before]);
    }

    fn take(input: &mut wire::Decoder) -> Result<Self, wire::DecodeError> {
        let first = Index::take(input)?;
        let place = Place {
            first,
            epoch: Field::take(input)?,
            previous: Field::take(input)?,
            kind: match input.byte("entry kind")? {
                0 => EntryKind::Command,
                1 => EntryKind::Noop,
                2 => EntryKind::Membership,
                kind => {
                    return Err(wire::DecodeError::UnknownKind {
                        kind,
                        what: "entry",
                    });
                }
            },
        };
        let count = input.count(1, "entries of a run")?;
        let out_of_range = wire::DecodeError::OutOfRange { what: "run" };
        if count == 0 || first.0 == 0 || first.0.checked_add(count as u64).is_none() {
            return Err(out_of_range);
        }
        let mut ends = Vec::with_capacity((count - 1).min(input.remaining()));
        let mut end = 0u64;
        for number in 0..count {
            if number > 0 {
                ends.push(end as u32);
            }
            end = end
                .checked_add(input.varint("entry length")?)
                .ok_or(out_of_range.clone())?;
            if end > input.remaining() as u64 || end > Commands::BYTES_MAX as u64 {
                return Err(out_of_range);
            }
        }
        let payloads = input.slice(end as usize, "payloads of a run")?;
        let mut bytes = Vec::with_capacity(HEAD + payloads.len() + 4 * count);
        bytes.resize(HEAD, 0);
        bytes.extend_from_slice(&payloads);
        Ok(Commands { bytes, ends }.place(place))
    }
}
