//! One connection of a client to a node, shared by all its callers.

use crate::call::{Ask, Reply};
use crate::config::Limits;
use crate::connection;
use crate::error::CallError;
use crate::frame::Frames;
use crate::handshake::{Refused, Settled};
use crate::lane::{Lane, Pushed};
use crate::stats::Counter;
use consensus_core::{NodeId, Wire};
use quinn::Connection;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

/// Calls under way from which on they are written together by a task, instead of each by its caller.
const CROWD: usize = 8;

/// A connection and the calls that wait on it.
#[derive(Debug)]
pub(crate) struct Line {
    node: NodeId,
    connection: Connection,
    lane: Lane,
    frame_bytes_max: usize,
    next: AtomicU64,
    /// No longer used for new calls from here on.
    retires: Instant,
    /// `None` once the connection is lost.
    waiting: Mutex<Option<BTreeMap<u64, oneshot::Sender<Reply>>>>,
}

/// Takes a call off the list when its caller no longer waits.
struct Waiting<'a> {
    line: &'a Line,
    id: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(waiting) = &mut *self.line.waiting() {
            waiting.remove(&self.id);
        }
    }
}

impl Line {
    /// Goes on with a settled connection. Its two tasks end with the connection.
    pub(crate) fn lay(
        node: NodeId,
        connection: Connection,
        settled: Settled,
        limits: &Limits,
    ) -> Arc<Self> {
        let Settled {
            send,
            frames,
            hello,
            ..
        } = settled;
        let line = Arc::new(Self {
            node,
            connection,
            // Never dropped from: what callers may have under way is bounded by the callers.
            lane: Lane::new(usize::MAX),
            frame_bytes_max: hello.frame_bytes_max as usize,
            next: AtomicU64::new(1),
            retires: Instant::now() + limits.connection_age,
            waiting: Mutex::new(Some(BTreeMap::new())),
        });
        let epoch = line.lane.attach(send);
        let task = Arc::clone(&line);
        tokio::spawn(async move {
            tokio::select! {
                () = task.lane.drain(epoch) => {}
                refused = task.listen(frames) => {
                    tracing::debug!(node = %task.node, why = %refused.why, "line lost");
                }
                _ = task.connection.closed() => {}
            }
            task.connection.close(connection::CLOSED, b"line ended");
            // Every caller who waits is told that nobody will answer.
            task.waiting().take();
        });
        line
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Option<BTreeMap<u64, oneshot::Sender<Reply>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.waiting().is_some() && Instant::now() < self.retires
    }

    /// Asks, and waits for the reply until then.
    pub(crate) async fn ask(
        &self,
        ask: impl FnOnce(u64) -> Ask,
        until: Instant,
    ) -> Result<Reply, CallError> {
        let id = self.next.fetch_add(1, Relaxed);
        let (answer, answered) = oneshot::channel();
        let lost = || CallError::Unreachable {
            node: self.node,
            reason: "the connection was lost".into(),
        };
        let crowd = match &mut *self.waiting() {
            Some(waiting) => {
                waiting.insert(id, answer);
                waiting.len()
            }
            None => return Err(lost()),
        };
        let _waiting = Waiting { line: self, id };
        let ask = ask(id);
        match self.lane.push(self.frame_bytes_max, |out| ask.encode(out)) {
            Pushed::Queued { .. } => {}
            Pushed::Closed => return Err(lost()),
            Pushed::Oversize(size) => {
                let limit = self.frame_bytes_max;
                return Err(CallError::TooLarge { size, limit });
            }
        }
        if crowd < CROWD {
            self.lane.flush();
        } else {
            self.lane.flush_together();
        }
        match timeout_at(until, answered).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(_)) => Err(CallError::Disconnected(self.node)),
            Err(_) => Err(CallError::Timeout),
        }
    }

    /// Hands replies to their callers, until the connection is lost.
    async fn listen(&self, mut frames: Frames) -> Refused {
        let listening = async {
            loop {
                while let Some(frame) = frames.next()? {
                    let reply = Reply::decode(frame);
                    let bad = |error: consensus_core::DecodeError| {
                        Refused::new(Counter::Undecodable, error.to_string())
                    };
                    let reply = reply.map_err(bad)?;
                    let waiting = &mut *self.waiting();
                    let caller = waiting.as_mut().and_then(|all| all.remove(&reply.id()));
                    if let Some(caller) = caller {
                        // A caller who no longer waits does not matter.
                        let _ = caller.send(reply);
                    }
                }
                if !frames.fill().await? {
                    return Err(Refused::new(
                        Counter::PeersLost,
                        "the node ended the stream",
                    ));
                }
            }
        };
        match listening.await {
            Ok(never) => never,
            Err(refused) => refused,
        }
    }
}
