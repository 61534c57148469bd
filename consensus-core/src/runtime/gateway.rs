//! Where clients' calls come in: a bounded queue before the service, and the way back.

use super::{
    bell::{Bell, lock},
    meetings::{Meetings, Over},
    options::Options,
    reports::Reports,
    stats::Counters,
};
use crate::{
    ClientId, Sequence,
    service::{Answer, Call, CallId, Manage, Refusal},
};
use alloc::{boxed::Box, collections::VecDeque, vec::Vec};
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
/// Answers handed over under one lock: others wait for it meanwhile.
const ANSWERS: usize = 256;

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
    calls: VecDeque<Submitted>,
    meetings: Meetings,
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
    pub(super) call: Call,
    /// An operator's, in place of the body.
    pub(super) manage: Option<Box<Manage>>,
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
        let id = queue.meetings.begin(accepted);
        let call = Call {
            id,
            client,
            sequence,
            body,
        };
        queue.calls.push_back(Submitted {
            call,
            manage,
            accepted,
        });
        drop(queue);
        self.0.bell.ring();
        Reply(Stage::Waiting(id, Arc::clone(&self.0)))
    }
}

impl Calls {
    /// Moves everything that waits into `calls`, which is empty, and `abandoned`.
    pub(super) fn take(&self, calls: &mut VecDeque<Submitted>, abandoned: &mut Vec<CallId>) {
        debug_assert!(calls.is_empty(), "calls taken before are still there");
        let mut queue = lock(&self.queue);
        mem::swap(&mut queue.calls, calls);
        queue.bytes = 0;
        abandoned.append(&mut queue.abandoned);
        if mem::take(&mut queue.somebody_waits) {
            self.room.notify_waiters();
        }
    }

    /// Hands answers over and wakes who waits for them. `ended` is told of every call that this ends.
    pub(super) fn answer(
        &self,
        answers: &mut Vec<(CallId, Answer)>,
        wakers: &mut Vec<Waker>,
        mut ended: impl FnMut(Over),
    ) {
        let mut answers = answers.drain(..);
        while !answers.as_slice().is_empty() {
            let mut queue = lock(&self.queue);
            for (id, answer) in answers.by_ref().take(ANSWERS) {
                if let Some(mut end) = queue.meetings.answer(id, answer) {
                    wakers.extend(end.waker.take());
                    ended(end);
                }
            }
            drop(queue);
            wakers.drain(..).for_each(Waker::wake);
        }
    }

    /// The service has been told that a call was abandoned. False when it was answered before.
    pub(super) fn release(&self, id: CallId) -> bool {
        lock(&self.queue).meetings.release(id)
    }

    /// Refuses what waits and what comes.
    pub(super) fn stop(&self) {
        self.refuse(VecDeque::new());
    }

    /// Nobody will answer any more. `unseen`: calls that were taken and that the service has not seen.
    /// Gives every call the answer that is true.
    pub(super) fn end(&self, unseen: VecDeque<Submitted>) {
        self.refuse(unseen);
        let open = lock(&self.queue).meetings.waiting();
        let mut answers = open.into_iter().map(|id| (id, Answer::Unknown)).collect();
        self.answer(&mut answers, &mut Vec::new(), drop);
    }

    fn refuse(&self, mut unseen: VecDeque<Submitted>) {
        let mut queue = lock(&self.queue);
        queue.stopped = true;
        self.room.notify_waiters();
        unseen.append(&mut queue.calls);
        drop(queue);
        let refused = |submitted: Submitted| {
            let answer = Answer::Refused(Refusal::ShuttingDown);
            (submitted.call.id, answer)
        };
        let mut answers = unseen.into_iter().map(refused).collect();
        self.answer(&mut answers, &mut Vec::new(), drop);
    }
}

/// The answer to a call, when it comes. Dropping it abandons the call.
#[derive(Debug)]
#[must_use = "dropping it abandons the call"]
pub struct Reply(Stage);

#[derive(Debug)]
enum Stage {
    Refused(Refusal),
    Waiting(CallId, Arc<Calls>),
    Done,
}

impl Future for Reply {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        let answer = match &self.0 {
            Stage::Refused(refusal) => Answer::Refused(*refusal),
            Stage::Waiting(id, calls) => {
                let looked = lock(&calls.queue).meetings.look(*id, context.waker());
                let Some(answer) = looked else {
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
        let Stage::Waiting(id, calls) = &self.0 else {
            return;
        };
        let mut queue = lock(&calls.queue);
        if queue.meetings.abandon(*id) && !queue.stopped {
            queue.abandoned.push(*id);
            drop(queue);
            calls.bell.ring();
        }
    }
}
