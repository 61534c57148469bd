//! What stands in a snapshot file.
//!
//! ```text
//! header   magic 8 │ cluster 16 │ version 4 │ crc 4
//! frame    length 4 │ crc 4 │ a chunk                      … as many as there are chunks
//! end      ff ff ff ff │ crc 4 │ length 4 │ manifest, frames
//! ```
//!
//! A frame's checksum begins with its number and its length, so that frames cannot change places; the
//! end says how many there were, so that none can be missing. Nothing in a file depends on the node
//! that wrote it: a copy is the same bytes.

use super::error::{SnapshotError, io_error};
use crate::{
    ClusterId, Decoder, Field,
    contract::replicated_log::Manifest,
    storage::wal::{LogFile, write_all},
    wire,
};
use bytes::Bytes;
use crc32c::{crc32c, crc32c_append};
use std::{
    boxed::Box,
    path::{Path, PathBuf},
    string::ToString,
    vec,
    vec::Vec,
};

const MAGIC: [u8; 8] = *b"CSNAPSHT";
const VERSION: u32 = 1;
const HEADER: usize = 32;
/// Stands where a frame's length would: the end.
const END: u32 = u32::MAX;
/// Bytes written at a time.
const WRITE: usize = 256 << 10;
/// What is dirty and not synced is bounded, or the log beside it would wait for all of it.
pub(super) const SYNC_EVERY: u64 = 8 << 20;

fn frame_crc(number: u64, length: u32, bytes: &[u8]) -> u32 {
    let seed = crc32c_append(crc32c(&number.to_le_bytes()), &length.to_le_bytes());
    crc32c_append(seed, bytes)
}

/// Writes a file from its start, syncing on the way.
pub(super) struct Writer<'a> {
    file: &'a dyn LogFile,
    path: &'a Path,
    buffer: Vec<u8>,
    at: u64,
    synced: u64,
}

impl<'a> Writer<'a> {
    pub(super) const fn new(file: &'a dyn LogFile, path: &'a Path) -> Self {
        Self {
            file,
            path,
            buffer: Vec::new(),
            at: 0,
            synced: 0,
        }
    }

    /// Writes everything; the file is whole and synced when this returns. How long it is.
    pub(super) fn write(
        mut self,
        cluster: ClusterId,
        manifest: &Manifest,
        chunks: impl Iterator<Item = Bytes>,
    ) -> Result<u64, SnapshotError> {
        self.buffer.extend_from_slice(&MAGIC);
        self.buffer.extend_from_slice(&cluster.0.to_le_bytes());
        self.buffer.extend_from_slice(&VERSION.to_le_bytes());
        let crc = crc32c(&self.buffer);
        self.buffer.extend_from_slice(&crc.to_le_bytes());
        let mut number = 0;
        for chunk in chunks {
            let length = u32::try_from(chunk.len()).unwrap_or(END);
            assert!(length < END, "a chunk of a snapshot has below 4 GiB");
            self.buffer.extend_from_slice(&length.to_le_bytes());
            let crc = frame_crc(number, length, &chunk);
            self.buffer.extend_from_slice(&crc.to_le_bytes());
            self.buffer.extend_from_slice(&chunk);
            number += 1;
            if self.buffer.len() >= WRITE {
                self.out()?;
            }
        }
        let mut end = Vec::new();
        manifest.put(&mut end);
        wire::put_varint(number, &mut end);
        let length = end.len() as u32;
        self.buffer.extend_from_slice(&END.to_le_bytes());
        let crc = frame_crc(u64::MAX, length, &end);
        self.buffer.extend_from_slice(&crc.to_le_bytes());
        self.buffer.extend_from_slice(&length.to_le_bytes());
        self.buffer.extend_from_slice(&end);
        self.out()?;
        self.file.sync().map_err(io_error("sync", self.path))?;
        Ok(self.at)
    }

    fn out(&mut self) -> Result<(), SnapshotError> {
        write_all(self.file, &self.buffer, self.at).map_err(io_error("write", self.path))?;
        self.at += self.buffer.len() as u64;
        self.buffer.clear();
        self.buffer.shrink_to(WRITE * 2);
        if self.at - self.synced >= SYNC_EVERY {
            self.file.sync().map_err(io_error("sync", self.path))?;
            self.synced = self.at;
        }
        Ok(())
    }
}

/// Reads a file from its start and believes nothing that its checksum does not cover.
pub(super) struct Scanner {
    file: Box<dyn LogFile>,
    path: PathBuf,
    length: u64,
    /// The place of the next frame.
    at: u64,
    number: u64,
    buffer: Vec<u8>,
    /// What of the file is in `buffer`.
    buffered: core::ops::Range<u64>,
}

/// What stands at one place.
pub(super) enum Piece {
    Chunk(Bytes),
    End(Manifest),
}

impl Scanner {
    /// Reads the header.
    pub(super) fn new(
        file: Box<dyn LogFile>,
        path: PathBuf,
        cluster: ClusterId,
    ) -> Result<Self, SnapshotError> {
        let length = file.length().map_err(io_error("read", &path))?;
        let mut scanner = Self {
            file,
            path,
            length,
            at: 0,
            number: 0,
            buffer: Vec::new(),
            buffered: 0..0,
        };
        let header = scanner.take(HEADER)?;
        let (body, crc) = header.split_at(HEADER - 4);
        if body[..8] != MAGIC || crc32c(body).to_le_bytes() != *crc {
            return Err(scanner.damaged(0, "it does not begin like a snapshot"));
        }
        let mut input = Decoder::new(header.slice(8..));
        let found = input
            .slice(16, "cluster")
            .ok()
            .and_then(|bytes| bytes[..].try_into().ok())
            .map(|bytes| ClusterId(u128::from_le_bytes(bytes)));
        if found != Some(cluster) {
            return Err(SnapshotError::Foreign {
                file: scanner.path,
                expected: cluster.to_string(),
                found: found.unwrap_or_default().to_string(),
            });
        }
        let version = u32::from_le_bytes([body[24], body[25], body[26], body[27]]);
        if version > VERSION {
            return Err(SnapshotError::Version {
                file: scanner.path,
                found: version,
                known: VERSION,
            });
        }
        Ok(scanner)
    }

    fn damaged(&self, offset: u64, what: &'static str) -> SnapshotError {
        SnapshotError::Damaged {
            file: self.path.clone(),
            offset,
            what,
        }
    }

    /// The next chunk, or the end: nothing may follow that.
    pub(super) fn next(&mut self) -> Result<Piece, SnapshotError> {
        let begin = self.at;
        let head = self.take(8)?;
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        let crc = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        if length == END {
            return self.end(begin, crc).map(Piece::End);
        }
        let chunk = self.take(length as usize)?;
        if frame_crc(self.number, length, &chunk) != crc {
            return Err(self.damaged(begin, "a chunk's checksum does not hold"));
        }
        self.number += 1;
        Ok(Piece::Chunk(chunk))
    }

    fn end(&mut self, begin: u64, crc: u32) -> Result<Manifest, SnapshotError> {
        let length = self.take(4)?;
        let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]);
        let end = self.take(length as usize)?;
        if frame_crc(u64::MAX, length, &end) != crc {
            return Err(self.damaged(begin, "the checksum of its end does not hold"));
        }
        let mut input = Decoder::new(end);
        let manifest = Manifest::take(&mut input);
        let frames = input.varint("frames");
        match (manifest, frames) {
            (Ok(mut manifest), Ok(frames)) if frames == self.number => {
                if self.at != self.length || input.remaining() > 0 {
                    return Err(self.damaged(self.at, "something follows its end"));
                }
                manifest.size = self.length;
                Ok(manifest)
            }
            _ => Err(self.damaged(begin, "its end does not fit what is before")),
        }
    }

    /// The next `count` bytes. A length is believed only as far as the file goes.
    fn take(&mut self, count: usize) -> Result<Bytes, SnapshotError> {
        let end = self.at + count as u64;
        if end > self.length {
            return Err(self.damaged(self.at, "it ends too early"));
        }
        if count >= WRITE {
            let mut bytes = vec![0; count];
            self.fill(&mut bytes, self.at)?;
            self.at = end;
            return Ok(bytes.into());
        }
        if self.at < self.buffered.start || end > self.buffered.end {
            let size = (self.length - self.at).min(WRITE as u64) as usize;
            let mut buffer = core::mem::take(&mut self.buffer);
            buffer.resize(size, 0);
            self.fill(&mut buffer, self.at)?;
            self.buffered = self.at..self.at + size as u64;
            self.buffer = buffer;
        }
        let from = (self.at - self.buffered.start) as usize;
        self.at = end;
        Ok(Bytes::copy_from_slice(&self.buffer[from..from + count]))
    }

    fn fill(&self, mut bytes: &mut [u8], mut offset: u64) -> Result<(), SnapshotError> {
        while !bytes.is_empty() {
            match self.file.read_at(bytes, offset) {
                Ok(0) => return Err(self.damaged(offset, "it ends too early")),
                Ok(count) => {
                    bytes = &mut bytes[count..];
                    offset += count as u64;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(io_error("read", &self.path)(error)),
            }
        }
        Ok(())
    }
}
