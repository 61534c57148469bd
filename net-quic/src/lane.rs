//! What waits to be written to one stream: bounded, coalesced, and written without a task between
//! the writer and the stream while the stream takes it.

use crate::frame::PREFIX;
use quinn::SendStream;
use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};
use tokio::sync::Notify;

/// Capacity that a lane keeps while it is empty, in bytes.
const KEPT: usize = 256 << 10;

/// Frames on their way into a stream that may change under them.
///
/// `flush` writes straight into the stream. Only when the stream takes no more (flow control, a slow
/// peer) does a task of its own wait for it: in the usual case a message costs no hop.
#[derive(Debug)]
pub(crate) struct Lane {
    state: Mutex<State>,
    blocked: Notify,
}

#[derive(Debug)]
struct State {
    stream: Option<SendStream>,
    /// Raised with every stream: a writer of an earlier one ends.
    epoch: u64,
    /// Frames not begun; those before `start` have been dropped.
    queue: Vec<u8>,
    start: usize,
    sizes: VecDeque<usize>,
    /// Frames of which the stream has a part: never dropped, they would tear the stream.
    writing: Vec<u8>,
    written: usize,
    /// Invariant: a task waits for the stream, and nobody else polls it.
    is_blocked: bool,
    limit: usize,
}

/// What became of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pushed {
    /// Queued, of so many bytes with its prefix; so many older frames were dropped for it.
    Queued { bytes: usize, dropped: usize },
    /// Nobody is connected.
    Closed,
    /// Exceeds what the other side accepts.
    Oversize(usize),
}

enum Pump {
    Done,
    Blocked,
    Broken,
}

impl Lane {
    /// Keeps at most `limit` bytes that are not begun, and as many that are.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            state: Mutex::new(State {
                stream: None,
                epoch: 0,
                queue: Vec::new(),
                start: 0,
                sizes: VecDeque::new(),
                writing: Vec::new(),
                written: 0,
                is_blocked: false,
                limit,
            }),
            blocked: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes to `stream` from now on; what waited for an earlier one is dropped. The returned
    /// epoch names this stream.
    pub(crate) fn attach(&self, stream: SendStream) -> u64 {
        let mut state = self.lock();
        state.clear();
        state.stream = Some(stream);
        state.epoch += 1;
        let epoch = state.epoch;
        drop(state);
        // The waiting task of the earlier stream looks at the epoch and ends.
        self.blocked.notify_waiters();
        epoch
    }

    /// Forgets the stream of `epoch`, if it is still the one written to.
    pub(crate) fn detach(&self, epoch: u64) {
        let mut state = self.lock();
        if state.epoch == epoch {
            state.clear();
            state.stream = None;
        }
    }

    /// Appends a frame that `encode` writes. `most` is the longest payload allowed.
    pub(crate) fn push(&self, most: usize, encode: impl FnOnce(&mut Vec<u8>)) -> Pushed {
        let mut state = self.lock();
        if state.stream.is_none() {
            return Pushed::Closed;
        }
        let begin = state.queue.len();
        state.queue.extend_from_slice(&[0; PREFIX]);
        encode(&mut state.queue);
        let bytes = state.queue.len() - begin;
        let length = bytes - PREFIX;
        let Some(prefix) = u32::try_from(length).ok().filter(|_| length <= most) else {
            state.queue.truncate(begin);
            return Pushed::Oversize(length);
        };
        state.queue[begin..begin + PREFIX].copy_from_slice(&prefix.to_le_bytes());
        state.sizes.push_back(bytes);
        let mut dropped = 0;
        while state.queue.len() - state.start > state.limit && state.sizes.len() > 1 {
            state.start += state.sizes.pop_front().unwrap_or(0);
            dropped += 1;
        }
        if state.start > state.limit {
            let start = std::mem::take(&mut state.start);
            state.queue.drain(..start);
        }
        Pushed::Queued { bytes, dropped }
    }

    /// Writes what is queued. Never waits: what the stream does not take is left to the task that
    /// runs [`drain`](Self::drain).
    pub(crate) fn flush(&self) {
        let mut state = self.lock();
        if state.is_blocked {
            return;
        }
        if matches!(
            state.pump(&mut Context::from_waker(Waker::noop())),
            Pump::Blocked
        ) {
            state.is_blocked = true;
            drop(state);
            self.blocked.notify_one();
        }
    }

    /// Has the task that runs [`drain`](Self::drain) write what is queued: better than
    /// [`flush`](Self::flush) when many write at the same time.
    pub(crate) fn flush_together(&self) {
        let mut state = self.lock();
        if state.is_blocked {
            return;
        }
        state.is_blocked = true;
        drop(state);
        self.blocked.notify_one();
    }

    /// Writes what [`flush`](Self::flush) could not, until the stream of `epoch` is gone.
    pub(crate) async fn drain(&self, epoch: u64) {
        loop {
            let notified = self.blocked.notified();
            if self.lock().epoch != epoch {
                return;
            }
            notified.await;
            let went_on = std::future::poll_fn(|context| {
                let mut state = self.lock();
                if state.epoch != epoch {
                    return Poll::Ready(false);
                }
                match state.pump(context) {
                    Pump::Blocked => Poll::Pending,
                    Pump::Done => {
                        state.is_blocked = false;
                        Poll::Ready(true)
                    }
                    Pump::Broken => Poll::Ready(false),
                }
            });
            if !went_on.await {
                return;
            }
        }
    }
}

impl State {
    fn clear(&mut self) {
        self.queue.clear();
        self.start = 0;
        self.sizes.clear();
        self.writing.clear();
        self.written = 0;
        self.is_blocked = false;
    }

    fn pump(&mut self, context: &mut Context<'_>) -> Pump {
        let Some(stream) = &mut self.stream else {
            return Pump::Broken;
        };
        loop {
            if self.written == self.writing.len() {
                self.writing.clear();
                self.writing.shrink_to(KEPT);
                self.written = 0;
                if self.sizes.is_empty() {
                    return Pump::Done;
                }
                std::mem::swap(&mut self.writing, &mut self.queue);
                self.written = std::mem::take(&mut self.start);
                self.sizes.clear();
            }
            match Pin::new(&mut *stream).poll_write(context, &self.writing[self.written..]) {
                Poll::Ready(Ok(count)) => self.written += count,
                Poll::Ready(Err(_)) => {
                    // The connection is lost; its own task sees that and tells everybody.
                    self.clear();
                    self.stream = None;
                    return Pump::Broken;
                }
                Poll::Pending => return Pump::Blocked,
            }
        }
    }
}
