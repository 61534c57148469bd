//! Frames on a stream: a length of four bytes, little endian, then as many bytes.

use bytes::{Buf, Bytes, BytesMut};
use quinn::{ReadError, RecvStream};
use std::time::Duration;
use tokio::time::Instant;

/// Bytes of the length before every frame.
pub(crate) const PREFIX: usize = 4;

/// The most that one read takes, in bytes.
const READ: usize = 64 << 10;

/// Why no more frames come.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a frame of {0} bytes exceeds the limit")]
    Oversize(u32),
    #[error("a frame of no bytes")]
    Empty,
    #[error("a frame was begun and not ended in time")]
    Slow,
    #[error("the stream ended inside a frame")]
    Torn,
    #[error(transparent)]
    Lost(#[from] ReadError),
}

/// Cuts arriving bytes into frames. A frame that lies whole in what arrived is a slice of it.
///
/// Memory: what has arrived of one frame, and one read. A length is believed only after it has been
/// checked, and even then nothing is allocated ahead of the bytes.
#[derive(Debug)]
pub(crate) struct Cutter {
    arrived: Bytes,
    partial: BytesMut,
    most: u32,
}

impl Cutter {
    pub(crate) fn new(most: u32) -> Self {
        Self {
            arrived: Bytes::new(),
            partial: BytesMut::new(),
            most,
        }
    }

    /// Adds what has arrived. Called when [`next`](Self::next) has nothing left.
    pub(crate) fn add(&mut self, bytes: Bytes) {
        debug_assert!(
            self.arrived.is_empty(),
            "frames are taken before more is read"
        );
        self.arrived = bytes;
    }

    /// Whether a frame has begun and not ended.
    pub(crate) fn is_inside(&self) -> bool {
        !self.partial.is_empty()
    }

    fn length(&self, prefix: &[u8]) -> Result<usize, FrameError> {
        let mut bytes = [0; PREFIX];
        bytes.copy_from_slice(&prefix[..PREFIX]);
        match u32::from_le_bytes(bytes) {
            0 => Err(FrameError::Empty),
            length if length > self.most => Err(FrameError::Oversize(length)),
            length => Ok(length as usize),
        }
    }

    /// The next whole frame.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        if self.partial.is_empty() {
            if self.arrived.len() >= PREFIX {
                let length = self.length(&self.arrived)?;
                if self.arrived.len() >= PREFIX + length {
                    self.arrived.advance(PREFIX);
                    return Ok(Some(self.arrived.split_to(length)));
                }
            }
            self.keep(usize::MAX);
            return Ok(None);
        }
        if self.partial.len() < PREFIX {
            self.keep(PREFIX - self.partial.len());
            if self.partial.len() < PREFIX {
                return Ok(None);
            }
        }
        let whole = PREFIX + self.length(&self.partial)?;
        self.keep(whole - self.partial.len());
        if self.partial.len() < whole {
            return Ok(None);
        }
        let mut frame = std::mem::take(&mut self.partial).freeze();
        frame.advance(PREFIX);
        Ok(Some(frame))
    }

    fn keep(&mut self, most: usize) {
        let count = most.min(self.arrived.len());
        self.partial.extend_from_slice(&self.arrived[..count]);
        self.arrived.advance(count);
    }
}

/// The frames of one stream.
#[derive(Debug)]
pub(crate) struct Frames {
    stream: RecvStream,
    cutter: Cutter,
    deadline: Duration,
    inside_since: Option<Instant>,
}

impl Frames {
    pub(crate) fn new(stream: RecvStream, most: u32, deadline: Duration) -> Self {
        Self {
            stream,
            cutter: Cutter::new(most),
            deadline,
            inside_since: None,
        }
    }

    /// The stream, and what has been read of it beyond the last frame.
    pub(crate) fn into_parts(self) -> (RecvStream, Bytes) {
        let rest = if self.cutter.partial.is_empty() {
            self.cutter.arrived
        } else {
            self.cutter.partial.freeze()
        };
        (self.stream, rest)
    }

    /// From now on frames up to `most` bytes, each within `deadline`.
    pub(crate) const fn expect(&mut self, most: u32, deadline: Duration) {
        self.cutter.most = most;
        self.deadline = deadline;
    }

    /// Nobody reads for a while: the time of a frame that has begun starts anew when somebody does.
    pub(crate) const fn pause(&mut self) {
        self.inside_since = None;
    }

    /// The next frame that has arrived already.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        let frame = self.cutter.next()?;
        if frame.is_some() {
            self.inside_since = None;
        }
        Ok(frame)
    }

    /// Waits until more has arrived; false at the stream's end. Nothing is lost when the waiting is
    /// given up.
    pub(crate) async fn fill(&mut self) -> Result<bool, FrameError> {
        let chunk = if self.cutter.is_inside() {
            // Counted from the frame's first byte: a byte now and then does not extend it.
            let since = *self.inside_since.get_or_insert_with(Instant::now);
            let read = self.stream.read_chunk(READ, true);
            let read = tokio::time::timeout_at(since + self.deadline, read);
            let chunk = read.await.map_err(|_| FrameError::Slow)??;
            if chunk.is_none() {
                return Err(FrameError::Torn);
            }
            chunk
        } else {
            self.stream.read_chunk(READ, true).await?
        };
        let Some(chunk) = chunk else { return Ok(false) };
        self.cutter.add(chunk.bytes);
        Ok(true)
    }

    /// Waits for one frame; `None` at the stream's end.
    pub(crate) async fn one(&mut self) -> Result<Option<Bytes>, FrameError> {
        loop {
            if let Some(frame) = self.next()? {
                return Ok(Some(frame));
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream_of(frames: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        for frame in frames {
            out.extend_from_slice(&(frame.len() as u32).to_le_bytes());
            out.extend_from_slice(frame);
        }
        out
    }

    #[test]
    fn frames_are_the_same_however_the_bytes_arrive() {
        let sent: [&[u8]; 4] = [b"a", b"two words", b"x", &[7; 300]];
        let bytes = stream_of(&sent);
        for step in 1..=bytes.len() {
            let mut cutter = Cutter::new(300);
            let mut seen = Vec::new();
            for chunk in bytes.chunks(step) {
                cutter.add(Bytes::copy_from_slice(chunk));
                while let Some(frame) = cutter.next().expect("well formed") {
                    seen.push(frame.to_vec());
                }
            }
            assert_eq!(seen, sent, "in steps of {step}");
            assert!(!cutter.is_inside());
        }
    }

    /// Fuzzed: the first byte says how the rest is cut. However it is, the same frames come out, none
    /// longer than allowed, and never more bytes than went in.
    #[test]
    fn any_bytes_are_cut_into_the_same_frames() {
        let cut = |bytes: &[u8], step: usize| {
            let mut cutter = Cutter::new(40);
            let (mut frames, mut error) = (Vec::new(), None);
            for chunk in bytes.chunks(step) {
                cutter.add(Bytes::copy_from_slice(chunk));
                loop {
                    match cutter.next() {
                        Ok(Some(frame)) => frames.push(frame),
                        Ok(None) => break,
                        Err(why) => {
                            error = Some(why.to_string());
                            return (frames, error);
                        }
                    }
                }
            }
            (frames, error)
        };
        bolero::check!().for_each(|bytes: &[u8]| {
            let Some((step, bytes)) = bytes.split_first() else {
                return;
            };
            let whole = cut(bytes, bytes.len().max(1));
            assert_eq!(cut(bytes, usize::from(*step).max(1)), whole);
            assert!(whole.0.iter().all(|frame| (1..=40).contains(&frame.len())));
            let taken: usize = whole.0.iter().map(|frame| PREFIX + frame.len()).sum();
            assert!(taken <= bytes.len());
        });
    }

    #[test]
    fn a_length_over_the_limit_is_refused_before_its_bytes_are_kept() {
        let mut cutter = Cutter::new(100);
        cutter.add(Bytes::from_static(&[0xff, 0xff, 0xff, 0xff]));
        assert!(matches!(cutter.next(), Err(FrameError::Oversize(u32::MAX))));
        assert_eq!(cutter.partial.capacity(), 0);
    }

    #[test]
    fn a_frame_of_no_bytes_is_refused() {
        let mut cutter = Cutter::new(100);
        cutter.add(Bytes::from_static(&[0, 0, 0, 0]));
        assert!(matches!(cutter.next(), Err(FrameError::Empty)));
    }

    #[test]
    fn a_large_length_alone_allocates_nothing_ahead() {
        let mut cutter = Cutter::new(1 << 30);
        let mut start = (1u32 << 30).to_le_bytes().to_vec();
        start.push(1);
        cutter.add(start.into());
        assert!(matches!(cutter.next(), Ok(None)));
        assert!(cutter.partial.capacity() < 1 << 10);
    }
}
