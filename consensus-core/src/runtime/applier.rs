//! The service with its open calls, on the pump's task or on its own.

use super::{
    bell::{Bell, lock},
    clock::Clock,
    gateway::{Calls, Submitted},
    meetings::Over,
    options::Options,
    snapshots::Snapshots,
    stats::Counters,
};
use crate::{
    Algorithm, Time,
    service::{Answer, CallId, Group, Outbox, Refusal, Service, SnapshotOrder, SnapshotReport},
};
use alloc::{boxed::Box, collections::VecDeque, string::String, vec::Vec};
use core::{mem, task::Waker};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// A service and the calls that it works on.
pub(super) struct Host<A: Algorithm> {
    service: Box<dyn Service<A> + Send>,
    snapshots: Option<Snapshots>,
    /// Who belongs, for whoever has to reach them.
    group: watch::Sender<Option<Arc<Group>>>,
    /// The state could not be restored: nothing may be applied any more.
    broken: Option<String>,
    outbox: Outbox<A>,
    /// Calls taken and not answered.
    open: usize,
    calls: Arc<Calls>,
    submitted: VecDeque<Submitted>,
    abandoned: Vec<CallId>,
    wakers: Vec<Waker>,
    counters: Arc<Counters>,
    clock: Clock,
    limit: usize,
    batch: usize,
}

impl<A: Algorithm> Host<A> {
    pub(super) fn new(
        (service, snapshots): (Box<dyn Service<A> + Send>, Option<Snapshots>),
        group: watch::Sender<Option<Arc<Group>>>,
        calls: Arc<Calls>,
        counters: Arc<Counters>,
        clock: Clock,
        options: &Options,
    ) -> Self {
        Self {
            service,
            snapshots,
            group,
            broken: None,
            outbox: Outbox::default(),
            open: 0,
            calls,
            submitted: VecDeque::new(),
            batch: options.batch,
            abandoned: Vec::new(),
            wakers: Vec::new(),
            counters,
            clock,
            limit: options.calls_open,
        }
    }

    /// Takes what clients have asked since. Whether there is anything, from whoever keeps snapshots
    /// too.
    pub(super) fn take_calls(&mut self) -> bool {
        if self.submitted.is_empty() {
            self.calls.take(&mut self.submitted, &mut self.abandoned);
        }
        !self.submitted.is_empty() || !self.abandoned.is_empty() || self.has_reports()
    }

    fn has_reports(&self) -> bool {
        self.snapshots.as_ref().is_some_and(Snapshots::is_waiting)
    }

    /// What stops the node, if anything does.
    pub(super) fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    fn handle_reports(&mut self, now: Time) {
        if !self.has_reports() {
            return;
        }
        for report in self
            .snapshots
            .as_ref()
            .map(Snapshots::take)
            .unwrap_or_default()
        {
            self.service.snapshot(now, report, &mut self.outbox);
        }
    }

    /// Does what the service wants done about snapshots, before it hears anything else.
    fn carry_out(&mut self, now: Time) {
        for order in mem::take(&mut self.outbox.snapshots) {
            let keeper = self.snapshots.as_ref().map(|snapshots| &snapshots.keeper);
            let report = match (order, keeper) {
                (SnapshotOrder::Keep { manifest, chunks }, Some(keeper)) => {
                    keeper.keep(manifest, chunks);
                    continue;
                }
                (
                    SnapshotOrder::Send {
                        to,
                        epoch,
                        manifest,
                    },
                    Some(keeper),
                ) => {
                    keeper.send(to, epoch, manifest);
                    continue;
                }
                (SnapshotOrder::Open { manifest }, Some(keeper)) => match keeper.open(&manifest) {
                    Ok(chunks) => {
                        let report = SnapshotReport::Opened { manifest, chunks };
                        set_aside(|| self.service.snapshot(now, report, &mut self.outbox));
                        continue;
                    }
                    Err(reason) => {
                        self.broken = Some(reason);
                        return;
                    }
                },
                (SnapshotOrder::Keep { manifest, .. }, None) => {
                    SnapshotReport::NotKept(manifest.id)
                }
                (SnapshotOrder::Send { to, manifest, .. }, None) => SnapshotReport::Failed {
                    peer: to,
                    id: manifest.id,
                },
                (SnapshotOrder::Open { .. }, None) => {
                    self.broken = Some("nobody keeps this node's snapshots".into());
                    return;
                }
            };
            self.service.snapshot(now, report, &mut self.outbox);
        }
    }

    /// How many calls were taken and not handled.
    pub(super) fn taken(&self) -> usize {
        self.submitted.len()
    }

    /// Lets the service have what was taken, as far as one batch goes.
    pub(super) fn handle_calls(&mut self, now: Time) {
        self.handle_reports(now);
        if !self.abandoned.is_empty() {
            self.drop_abandoned();
        }
        let mut submitted = mem::take(&mut self.submitted);
        for submitted in submitted.drain(..self.batch.min(submitted.len())) {
            self.call(now, submitted);
        }
        self.submitted = submitted;
        for id in self.abandoned.drain(..) {
            if self.calls.release(id) {
                self.open -= 1;
                self.service.abandon(now, id, &mut self.outbox);
            }
        }
        self.counters.calls_open.set(self.open as u64);
    }

    /// What was abandoned before the service has seen it is never carried out.
    #[cold]
    fn drop_abandoned(&mut self) {
        let (abandoned, calls) = (&mut self.abandoned, &self.calls);
        abandoned.sort_unstable();
        self.submitted.retain(
            |submitted| match abandoned.binary_search(&submitted.call.id) {
                Ok(position) => {
                    calls.release(abandoned.remove(position));
                    false
                }
                Err(_) => true,
            },
        );
    }

    #[inline]
    fn call(&mut self, now: Time, submitted: Submitted) {
        if self.open >= self.limit {
            return self.refuse(submitted.call.id);
        }
        if let Some(instant) = submitted.accepted {
            let accepted = self.clock.time(instant);
            self.counters.queue_count.add(1);
            self.counters.queue_ns.span(now.since(accepted));
        }
        self.open += 1;
        self.counters.calls.add(1);
        if let Some(what) = submitted.manage {
            let id = submitted.call.id;
            return self.service.manage(now, id, *what, &mut self.outbox);
        }
        self.service.call(now, submitted.call, &mut self.outbox);
    }

    #[cold]
    fn refuse(&mut self, id: CallId) {
        self.counters.refused_busy.add_shared(1);
        let mut answers = alloc::vec![(id, Answer::Refused(Refusal::Busy))];
        self.calls.answer(&mut answers, &mut self.wakers, drop);
    }

    pub(super) fn handle_events(&mut self, now: Time, events: &mut Vec<A::Event>) {
        self.counters.events.add(events.len() as u64);
        for event in events.drain(..) {
            if self.broken.is_some() {
                continue;
            }
            self.service.event(now, event, &mut self.outbox);
            if !self.outbox.snapshots.is_empty() {
                self.carry_out(now);
            }
        }
        if let Some(group) = self.outbox.group.take() {
            self.group.send_replace(Some(Arc::from(group)));
        }
        if let Some(applied) = self.service.applied() {
            self.counters.applied.set(applied.0);
        }
    }

    pub(super) fn next_wake(&self) -> Option<Time> {
        self.service.next_wake()
    }

    /// Wakes the service if its moment has come.
    pub(super) fn wake(&mut self, now: Time) {
        if self.next_wake().is_some_and(|moment| moment <= now) {
            self.service.wake(now, &mut self.outbox);
        }
    }

    /// What the service asks of the protocol.
    pub(super) fn requests(&mut self) -> &mut Vec<A::Request> {
        &mut self.outbox.requests
    }

    pub(super) const fn open_calls(&self) -> usize {
        self.open
    }

    /// Hands answers to those who wait for them.
    pub(super) fn answer(&mut self) {
        if self.outbox.answers.is_empty() {
            return;
        }
        let (clock, counters, open) = (self.clock, &self.counters, &mut self.open);
        // Read once, and only if somebody's time is taken.
        let mut now = None;
        counters.answers.add(self.outbox.answers.len() as u64);
        let ended = |ended: Over| {
            *open -= 1;
            if let Some(accepted) = ended.accepted {
                let now = *now.get_or_insert_with(|| clock.now());
                counters.total_count.add(1);
                counters.total_ns.span(now.since(clock.time(accepted)));
            }
        };
        let answers = &mut self.outbox.answers;
        self.calls.answer(answers, &mut self.wakers, ended);
        self.counters.calls_open.set(self.open as u64);
    }
}

/// Long work: a state is read from a disk. What else waits for this thread goes to others meanwhile, where
/// there are any.
fn set_aside(work: impl FnOnce()) {
    use tokio::runtime::{Handle, RuntimeFlavor};
    let flavor = Handle::try_current().map(|runtime| runtime.runtime_flavor());
    if matches!(flavor, Ok(RuntimeFlavor::MultiThread)) {
        tokio::task::block_in_place(work);
    } else {
        work();
    }
}

impl<A: Algorithm> Drop for Host<A> {
    fn drop(&mut self) {
        self.calls.end(mem::take(&mut self.submitted));
    }
}

/// What passes between the pump and a service on a task of its own.
#[derive(Debug)]
pub(super) struct Link<A: Algorithm> {
    events: Mutex<Events<A>>,
    requests: Mutex<Vec<A::Request>>,
    /// Events not yet handled by the service.
    pub(super) waiting: AtomicUsize,
    pub(super) open: AtomicUsize,
    stopping: AtomicBool,
    /// Why the service has ended by itself, if it can say.
    pub(super) broken: Mutex<Option<String>>,
    pub(super) ended: AtomicBool,
    pub(super) pump: Arc<Bell>,
    pub(super) service: Arc<Bell>,
}

#[derive(Debug)]
struct Events<A: Algorithm> {
    events: Vec<A::Event>,
    /// When the oldest of them was told.
    since: Option<Time>,
}

impl<A: Algorithm> Link<A> {
    pub(super) fn new(pump: Arc<Bell>, service: Arc<Bell>) -> Self {
        Self {
            events: Mutex::new(Events {
                events: Vec::new(),
                since: None,
            }),
            requests: Mutex::new(Vec::new()),
            waiting: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            broken: Mutex::new(None),
            ended: AtomicBool::new(false),
            pump,
            service,
        }
    }

    /// By the pump: tells the service.
    pub(super) fn tell(&self, now: Time, told: &mut Vec<A::Event>) {
        if told.is_empty() {
            return;
        }
        self.waiting.fetch_add(told.len(), SeqCst);
        {
            let mut events = lock(&self.events);
            events.since.get_or_insert(now);
            events.events.append(told);
        }
        self.service.ring();
    }

    /// By the pump: what the service asks. `requests` is empty.
    pub(super) fn take_requests(&self, requests: &mut Vec<A::Request>) {
        mem::swap(&mut *lock(&self.requests), requests);
    }

    /// By the pump: nothing more will be told.
    pub(super) fn stop(&self) {
        self.stopping.store(true, SeqCst);
        self.service.ring();
    }

    /// By the service: what it was told. `events` is empty.
    fn take_events(&self, events: &mut Vec<A::Event>) -> Option<Time> {
        let mut queue = lock(&self.events);
        mem::swap(&mut queue.events, events);
        queue.since.take()
    }

    fn request(&self, asked: &mut Vec<A::Request>) {
        if asked.is_empty() {
            return;
        }
        lock(&self.requests).append(asked);
        self.pump.ring();
    }
}

/// The service on a task of its own. Ends when the pump says so; open calls are then *unknown*.
pub(super) async fn run<A: Algorithm>(mut host: Host<A>, link: Arc<Link<A>>, events_limit: usize) {
    // Tells the pump also when the service panics.
    let _ended = Ended(&link);
    let mut events = Vec::new();
    loop {
        if link.stopping.load(SeqCst) {
            return;
        }
        let worked = apply(&mut host, &link, &mut events, events_limit);
        if let Some(reason) = host.broken() {
            *lock(&link.broken) = Some(reason.into());
            return;
        }
        if worked {
            tokio::task::consume_budget().await;
            continue;
        }
        link.service.listen();
        if link.stopping.load(SeqCst) || apply(&mut host, &link, &mut events, events_limit) {
            link.service.ignore();
            continue;
        }
        match host.next_wake() {
            None => link.service.heard().await,
            Some(moment) => {
                let moment: Instant = host.clock.instant(moment);
                tokio::select! {
                    () = link.service.heard() => {}
                    () = sleep_until(moment) => {}
                }
            }
        }
    }
}

/// One round of a service on its own task. Whether there was anything to do.
fn apply<A: Algorithm>(
    host: &mut Host<A>,
    link: &Link<A>,
    events: &mut Vec<A::Event>,
    events_limit: usize,
) -> bool {
    let told = link.take_events(events);
    let asked = host.take_calls();
    let now = host.clock.now();
    let due = host.next_wake().is_some_and(|moment| moment <= now);
    if events.is_empty() && !asked && !due {
        return false;
    }
    let count = events.len();
    host.handle_events(now, events);
    host.handle_calls(now);
    host.wake(now);
    link.request(host.requests());
    host.answer();
    link.open.store(host.open_calls(), SeqCst);
    if let Some(told) = told {
        host.counters.apply_count.add(1);
        host.counters.apply_ns.span(host.clock.now().since(told));
        let before = link.waiting.fetch_sub(count, SeqCst);
        if before > events_limit {
            // The pump may have stopped reading because of us.
            link.pump.ring();
        }
    }
    true
}

struct Ended<'a, A: Algorithm>(&'a Link<A>);

impl<A: Algorithm> Drop for Ended<'_, A> {
    fn drop(&mut self) {
        self.0.ended.store(true, SeqCst);
        self.0.open.store(0, SeqCst);
        self.0.pump.ring();
    }
}
