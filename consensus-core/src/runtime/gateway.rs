//! Where clients' calls come in: a bounded queue before the service, and the way back.

use super::{
    bell::{Bell, lock},
    options::Options,
    reports::Reports,
    stats::Counters,
};
use crate::{
    ClientId, Sequence,
    service::{Answer, CallId, Manage, Refusal},
};
use alloc::{boxed::Box, vec::Vec};
use bytes::Bytes;
use core::{
    mem,
    pin::Pin,
    task::{Context, Poll, Waker},
};
use std::sync::{Arc, Mutex};
use tokio::{sync::Notify, time::Instant};

/// The time is taken of one call in this many.
const SAMPLE: u64 = 8;

/// A node, from its clients' side. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Calls>);

#[derive(Debug)]
pub(super) struct Calls {
    queue: Mutex<Queue>,
    room: Notify,
    bell: Arc<Bell>,
    reports: Reports,
    counters: Arc<Counters>,
    count_limit: usize,
    bytes_limit: usize,
}

#[derive(Debug, Default)]
struct Queue {
    calls: Vec<Submitted>,
    /// Of the calls' bodies.
    bytes: usize,
    abandoned: Vec<CallId>,
    submitted: u64,
    somebody_waits: bool,
    stopped: bool,
}

/// A call that the service has not seen.
#[derive(Debug)]
pub(super) struct Submitted {
    pub(super) client: ClientId,
    pub(super) sequence: Sequence,
    pub(super) body: Bytes,
    /// An operator's, in place of the body.
    pub(super) manage: Option<Box<Manage>>,
    pub(super) way_back: WayBack,
    /// When it was accepted, for one call in [`SAMPLE`].
    pub(super) accepted: Option<Instant>,
}

impl Handle {
    pub(super) fn new(
        bell: Arc<Bell>,
        reports: Reports,
        counters: Arc<Counters>,
        options: &Options,
    ) -> Self {
        Self(Arc::new(Calls {
            queue: Mutex::default(),
            room: Notify::new(),
            bell,
            reports,
            counters,
            count_limit: options.calls_queued,
            bytes_limit: options.calls_bytes,
        }))
    }

    pub(super) fn calls(&self) -> &Arc<Calls> {
        &self.0
    }

    /// Waits until the queue takes another call: after [`Refusal::Busy`], before the next try. Others
    /// may be faster; then that one is refused again. At once when the node has stopped.
    pub async fn room(&self) {
        loop {
            // Made before the look, so that room made in between wakes it.
            let room = self.0.room.notified();
            {
                let mut queue = lock(&self.0.queue);
                let is_full =
                    queue.calls.len() >= self.0.count_limit || queue.bytes >= self.0.bytes_limit;
                if queue.stopped || !is_full {
                    return;
                }
                queue.somebody_waits = true;
            }
            room.await;
        }
    }

    /// Asks the service. Accepted or refused before this returns; the future gives the answer.
    /// Dropping the future abandons the call, whose outcome is then unknown.
    ///
    /// Answered without being carried out: [`Refusal::Busy`] when the queue is full,
    /// [`Refusal::DiskFull`] while the disk is, [`Refusal::ShuttingDown`] when the node stops.
    pub fn call(&self, client: ClientId, sequence: Sequence, body: Bytes) -> Reply {
        self.submit(client, sequence, body, None)
    }

    /// Asks the service as an operator; see [`Service::manage`](crate::service::Service::manage).
    /// Queued and refused as [`call`](Self::call) is.
    pub fn manage(&self, what: Manage) -> Reply {
        self.submit(ClientId(0), Sequence(0), Bytes::new(), Some(Box::new(what)))
    }

    fn submit(
        &self,
        client: ClientId,
        sequence: Sequence,
        body: Bytes,
        manage: Option<Box<Manage>>,
    ) -> Reply {
        if self.0.reports.is_full() {
            return Reply(Stage::Refused(Refusal::DiskFull));
        }
        let mut queue = lock(&self.0.queue);
        if queue.stopped {
            return Reply(Stage::Refused(Refusal::ShuttingDown));
        }
        // A body larger than the whole bound still passes through an empty queue.
        let bytes = queue.bytes + body.len();
        let is_full = queue.calls.len() >= self.0.count_limit
            || (bytes > self.0.bytes_limit && !queue.calls.is_empty());
        if is_full {
            self.0.counters.refused_busy.add_shared(1);
            return Reply(Stage::Refused(Refusal::Busy));
        }
        queue.bytes = bytes;
        queue.submitted += 1;
        let accepted = queue.submitted.is_multiple_of(SAMPLE).then(Instant::now);
        let cell = Arc::new(Cell::default());
        queue.calls.push(Submitted {
            client,
            sequence,
            body,
            manage,
            way_back: WayBack(Some(Arc::clone(&cell))),
            accepted,
        });
        drop(queue);
        self.0.bell.ring();
        Reply(Stage::Waiting(cell, Arc::clone(&self.0)))
    }
}

impl Calls {
    /// Moves everything that waits into `calls`, which is empty, and `abandoned`.
    pub(super) fn take(&self, calls: &mut Vec<Submitted>, abandoned: &mut Vec<CallId>) {
        debug_assert!(calls.is_empty(), "calls taken before are still there");
        let mut queue = lock(&self.queue);
        mem::swap(&mut queue.calls, calls);
        queue.bytes = 0;
        abandoned.append(&mut queue.abandoned);
        if mem::take(&mut queue.somebody_waits) {
            self.room.notify_waiters();
        }
    }

    /// Refuses what waits and what comes.
    pub(super) fn stop(&self) {
        let mut queue = lock(&self.queue);
        queue.stopped = true;
        self.room.notify_waiters();
        let calls = mem::take(&mut queue.calls);
        // An answer wakes its caller: not under the lock.
        drop(queue);
        drop(calls);
    }
}

/// Where an answer meets the one who waits for it.
#[derive(Debug, Default)]
struct Cell(Mutex<Meeting>);

#[derive(Debug, Default)]
struct Meeting {
    /// The service's name for the call, once it has seen it.
    id: Option<CallId>,
    answer: Option<Answer>,
    waker: Option<Waker>,
    abandoned: bool,
}

/// The answering end of a call. Dropped without an answer, it gives the one that is true: *unknown*
/// if the service had seen the call, else that the node shuts down.
#[derive(Debug)]
pub(super) struct WayBack(Option<Arc<Cell>>);

impl WayBack {
    /// The service sees the call as `id` now. False when the caller has given up already.
    pub(super) fn begin(&self, id: CallId) -> bool {
        self.0.as_ref().is_some_and(|cell| {
            let mut meeting = lock(&cell.0);
            meeting.id = Some(id);
            !meeting.abandoned
        })
    }

    pub(super) fn answer(mut self, answer: Answer) {
        if let Some(cell) = self.0.take() {
            cell.put(|_| answer);
        }
    }
}

impl Drop for WayBack {
    fn drop(&mut self) {
        if let Some(cell) = self.0.take() {
            cell.put(|id| match id {
                Some(_) => Answer::Unknown,
                None => Answer::Refused(Refusal::ShuttingDown),
            });
        }
    }
}

impl Cell {
    fn put(&self, answer: impl FnOnce(Option<CallId>) -> Answer) {
        let waker = {
            let mut meeting = lock(&self.0);
            meeting.answer = Some(answer(meeting.id));
            meeting.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The answer to a call, when it comes. Dropping it abandons the call.
#[derive(Debug)]
#[must_use = "dropping it abandons the call"]
pub struct Reply(Stage);

#[derive(Debug)]
enum Stage {
    Refused(Refusal),
    Waiting(Arc<Cell>, Arc<Calls>),
    Done,
}

impl Future for Reply {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        let answer = match &self.0 {
            Stage::Refused(refusal) => Answer::Refused(*refusal),
            Stage::Waiting(cell, _) => {
                let mut meeting = lock(&cell.0);
                let Some(answer) = meeting.answer.take() else {
                    meeting.waker = Some(context.waker().clone());
                    return Poll::Pending;
                };
                answer
            }
            Stage::Done => panic!("an answer is given once: polled after completion"),
        };
        self.0 = Stage::Done;
        Poll::Ready(answer)
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        let Stage::Waiting(cell, calls) = &self.0 else {
            return;
        };
        let id = {
            let mut meeting = lock(&cell.0);
            meeting.abandoned = true;
            meeting.waker = None;
            meeting.id.filter(|_| meeting.answer.is_none())
        };
        if let Some(id) = id {
            let mut queue = lock(&calls.queue);
            if !queue.stopped {
                queue.abandoned.push(id);
            }
            drop(queue);
            calls.bell.ring();
        }
    }
}
