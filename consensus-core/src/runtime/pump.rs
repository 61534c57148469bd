//! The task that owns the protocol: takes a batch of whatever has come, steps the protocol, and hands
//! out what it wants from the world.

use super::{
    applier::{Host, Link},
    bell::{Bell, lock},
    clock::{Clock, Dice},
    gateway::Calls,
    housekeeping::Housekeeping,
    inbox::{Inbox, Reads, Taken},
    node::NodeError,
    options::Options,
    snapshots::{Resting, SnapshotKeeper},
    stats::{Counters, Status},
    transport::Transport,
    way_out::{Records, WayOut},
};
use crate::{Algorithm, Effects, Gate, GroupId, Input, Lsn, Time, Timers, Wire, storage::Append};
use alloc::{boxed::Box, format, vec::Vec};
use core::{mem, pin::Pin};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};
use tokio::{
    sync::watch,
    task::{JoinHandle, spawn_blocking},
    time::{Instant, Sleep},
};

/// The time is taken of one batch of events in this many, when the service runs on this task.
const SAMPLE: u64 = 16;
/// A disk is given no more than this and one record at a time.
const APPEND_BYTES: usize = 32 << 20;

/// Everything one node's protocol needs, in one task.
pub(super) struct Pump<A: Algorithm, T> {
    pub(super) protocol: A,
    pub(super) effects: Effects<A>,
    pub(super) gate: Gate,
    pub(super) timers: Timers<A::Timer>,
    pub(super) dice: Dice,
    pub(super) clock: Clock,
    pub(super) way_out: WayOut<A::Message, T, A::Event>,
    pub(super) records: Records,
    pub(super) inbox: Inbox<A::Message>,
    pub(super) taken: Taken<A::Message>,
    pub(super) application: Application<A>,
    pub(super) requests: Vec<A::Request>,
    pub(super) calls: Arc<Calls>,
    pub(super) counters: Arc<Counters>,
    pub(super) status: watch::Sender<Status>,
    pub(super) options: Options,
    pub(super) stopping: Arc<AtomicBool>,
    pub(super) bell: Arc<Bell>,
    pub(super) housekeeping: Housekeeping,
    pub(super) keeper: Option<Arc<dyn SnapshotKeeper>>,
    pub(super) resting: Resting,
    /// How many messages, calls and requests the last batch held.
    pub(super) inputs: usize,
}

/// Where the service is.
pub(super) enum Application<A: Algorithm> {
    Together(Box<Host<A>>),
    /// With its task.
    Apart(Arc<Link<A>>, JoinHandle<()>),
}

/// Closes the ways into a node when it is dropped.
struct Closing<A: Algorithm> {
    inbox: Inbox<A::Message>,
    calls: Arc<Calls>,
    link: Option<Arc<Link<A>>>,
}

impl<A: Algorithm> Closing<A> {
    fn new<T>(pump: &Pump<A, T>) -> Self {
        Self {
            inbox: pump.inbox.clone(),
            calls: Arc::clone(&pump.calls),
            link: match &pump.application {
                Application::Together(_) => None,
                Application::Apart(link, _) => Some(Arc::clone(link)),
            },
        }
    }
}

impl<A: Algorithm> Drop for Closing<A> {
    fn drop(&mut self) {
        self.inbox.stop();
        self.calls.stop();
        if let Some(link) = &self.link {
            link.stop();
        }
    }
}

/// What one turn found.
enum Turn {
    /// Work; perhaps there is more.
    Worked,
    /// Nothing.
    Idle,
    /// The end of a shutdown.
    Done,
}

impl<A: Algorithm, T: Transport<A::Message>> Pump<A, T> {
    /// Runs until told to stop, or until something breaks.
    pub(super) async fn run(mut self) -> Result<(), NodeError> {
        // Closes the ways in however this ends, by a panic too.
        let closing = Closing::new(&self);
        let ended = self.run_to_the_end().await;
        drop(closing);
        let Self {
            application,
            records,
            ..
        } = self;
        if let Application::Apart(_, task) = application
            && task.await.is_err()
        {
            return Err(NodeError::Panicked { task: "service" });
        }
        let Records { disk, reports, .. } = records;
        // Dropping a disk writes, syncs and seals: it waits for the device.
        let dropped = spawn_blocking(move || drop(disk)).await;
        ended?;
        if dropped.is_err() {
            return Err(NodeError::Panicked { task: "disk" });
        }
        reports
            .failure()
            .map_or(Ok(()), |failure| Err(failure.into()))
    }

    async fn run_to_the_end(&mut self) -> Result<(), NodeError> {
        let now = self.clock.now();
        self.protocol.handle(now, Input::Start, &mut self.effects);
        self.finish(now);
        let mut sleep = Box::pin(tokio::time::sleep_until(Instant::now()));
        let mut armed = None;
        let mut deadline = None;
        loop {
            match self.turn(&mut deadline)? {
                Turn::Worked => {
                    // Under load the others run first, so that the next batch is a large one: on two
                    // threads that is a third of the time per command. A lone request goes on at
                    // once, because a yield costs as much as its whole way.
                    if self.inputs > 1 {
                        tokio::task::yield_now().await;
                    } else {
                        tokio::task::consume_budget().await;
                    }
                    continue;
                }
                Turn::Done => return Ok(()),
                Turn::Idle => {}
            }
            self.bell.listen();
            match self.turn(&mut deadline)? {
                Turn::Idle => self.sleep(sleep.as_mut(), &mut armed, deadline).await,
                Turn::Worked => self.bell.ignore(),
                Turn::Done => return Ok(()),
            }
        }
    }

    /// Waits for the bell or the next alarm. An alarm that has moved back leaves the sleep armed too
    /// early: cheaper to wake once for nothing than to arm it anew each batch.
    async fn sleep(
        &mut self,
        mut sleep: Pin<&mut Sleep>,
        armed: &mut Option<Time>,
        deadline: Option<Time>,
    ) {
        let wanted = [
            self.timers.next(),
            self.next_wake(),
            self.housekeeping.next(),
            deadline,
        ]
        .into_iter()
        .flatten()
        .min();
        if let Some(wanted) = wanted
            && armed.is_none_or(|armed| wanted < armed)
        {
            sleep.as_mut().reset(self.clock.instant(wanted));
            *armed = Some(wanted);
        }
        tokio::select! {
            biased;
            () = self.bell.heard() => {}
            () = sleep, if armed.is_some() => *armed = None,
        }
    }

    fn next_wake(&self) -> Option<Time> {
        match &self.application {
            Application::Together(host) => host.next_wake(),
            Application::Apart(..) => None,
        }
    }

    /// Takes what has come and handles it as one batch.
    fn turn(&mut self, deadline: &mut Option<Time>) -> Result<Turn, NodeError> {
        if let Some(failure) = self.records.reports.failure() {
            return Err(failure.into());
        }
        let durable = self.records.reports.durable();
        let reads = self.reads();
        self.inbox.take(&mut self.taken, reads);
        let asked = match &mut self.application {
            Application::Together(host) => {
                if let Some(reason) = host.broken() {
                    let reason = reason.into();
                    return Err(NodeError::Restore { reason });
                }
                reads == Reads::Everything && host.take_calls()
            }
            Application::Apart(link, _) => {
                if link.ended.load(SeqCst) {
                    return Err(match lock(&link.broken).take() {
                        Some(reason) => NodeError::Restore { reason },
                        None => NodeError::Panicked { task: "service" },
                    });
                }
                if self.requests.is_empty() {
                    link.take_requests(&mut self.requests);
                }
                false
            }
        };
        // The clock is read after the last input is out of its queue: a lease judged by an older
        // reading could have run out before the input came.
        let now = self.clock.now();
        if self.is_drained(now, deadline) {
            return Ok(Turn::Done);
        }
        let is_due = |moment: Option<Time>| moment.is_some_and(|moment| moment <= now);
        let idle = durable <= self.gate.durable()
            && self.taken.control.is_empty()
            && (self.taken.log.is_empty() || reads != Reads::Everything)
            && self.taken.unreachable.is_empty()
            && self.way_out.home.is_empty()
            && self.requests.is_empty()
            && !asked
            && !is_due(self.timers.next())
            && !is_due(self.next_wake())
            && !is_due(self.housekeeping.next());
        if idle {
            return Ok(Turn::Idle);
        }
        self.batch(now, durable, reads);
        Ok(Turn::Worked)
    }

    /// How much may be read from peers: what waits for the disk or for the application is bounded.
    fn reads(&self) -> Reads {
        let backlog = self.records.disk.backlog();
        if backlog > self.options.disk_backlog * 2 {
            return Reads::Nothing;
        }
        let events = match &self.application {
            Application::Together(_) => 0,
            Application::Apart(link, _) => link.waiting.load(SeqCst),
        };
        if backlog > self.options.disk_backlog || events > self.options.events_waiting {
            return Reads::ControlOnly;
        }
        Reads::Everything
    }

    /// While shutting down: whether nothing is open any more, or patience has run out.
    fn is_drained(&mut self, now: Time, deadline: &mut Option<Time>) -> bool {
        if !self.stopping.load(SeqCst) {
            return false;
        }
        let until = *deadline.get_or_insert_with(|| {
            self.calls.stop();
            now + self.options.drain
        });
        let open = match &self.application {
            Application::Together(host) => host.open_calls(),
            Application::Apart(link, _) => link.open.load(SeqCst),
        };
        now >= until || (open == 0 && self.requests.is_empty())
    }

    fn batch(&mut self, now: Time, durable: Lsn, reads: Reads) {
        if durable > self.gate.durable() {
            self.durable(now, durable);
        }
        while let Some(node) = self.taken.unreachable.pop_first() {
            self.protocol
                .handle(now, Input::Unreachable(node), &mut self.effects);
        }
        self.receive(now, reads);
        if let Application::Together(host) = &mut self.application {
            self.inputs += host.taken();
            host.handle_calls(now);
            host.wake(now);
            self.requests.append(host.requests());
        }
        self.inputs += self.requests.len();
        for request in self.requests.drain(..) {
            self.protocol
                .handle(now, Input::Request(request), &mut self.effects);
        }
        while let Some(timer) = self.timers.pop(now) {
            self.protocol
                .handle(now, Input::Timer(timer), &mut self.effects);
        }
        let leader = self.protocol.leader();
        if self.housekeeping.is_due(now, self.records.bytes, leader) {
            self.keep_house(now);
        }
        self.finish(now);
    }

    fn durable(&mut self, now: Time, durable: Lsn) {
        // The gate first: an authority that rests on these records is legal from here on.
        self.gate
            .open(durable, &mut self.effects, &mut self.way_out);
        let waits = &mut self.records.under_way;
        while let Some((_, since)) = waits.pop_front_if(|(last, _)| *last <= durable) {
            self.counters.sync_count.add(1);
            self.counters.sync_ns.span(now.since(since));
        }
        self.protocol
            .handle(now, Input::Durable(durable), &mut self.effects);
    }

    fn receive(&mut self, now: Time, reads: Reads) {
        let (me, mut left) = (self.way_out.node, self.options.batch);
        for message in mem::take(&mut self.way_out.home) {
            let input = Input::Receive { from: me, message };
            self.protocol.handle(now, input, &mut self.effects);
        }
        let log = (reads == Reads::Everything).then_some(&mut self.taken.log);
        for lane in [Some(&mut self.taken.control), log].into_iter().flatten() {
            let count = lane.len().min(left);
            left -= count;
            for (from, _, message) in lane.drain(..count) {
                self.protocol
                    .handle(now, Input::Receive { from, message }, &mut self.effects);
            }
        }
        self.inputs = self.options.batch - left;
        self.counters.messages_received.add(self.inputs as u64);
    }

    /// Ends a batch: messages leave, records go to the disk, the application is told.
    fn finish(&mut self, now: Time) {
        self.protocol.flush(now, &mut self.effects);
        self.gate.admit(&mut self.effects, &mut self.way_out);
        // Before the records: early messages and the disk are under way at the same time.
        self.way_out.transport.flush();
        self.write(now);
        for (timer, after) in self.effects.take_timers() {
            match after {
                Some(range) => self.timers.set(timer, now + self.dice.span(&range)),
                None => self.timers.cancel(timer),
            }
        }
        if let Some(before) = self.way_out.release.take() {
            self.records
                .disk
                .release(self.records.reports.group(), before);
        }
        self.tell(now);
        self.count();
        self.housekeeping.dirty = true;
    }

    fn write(&mut self, now: Time) {
        if !self.effects.has_records() {
            return;
        }
        let group: GroupId = self.records.reports.group();
        let (last, forced, records) = self.effects.take_records();
        let first = Lsn(last.0 + 1 - records.len() as u64);
        let keeps = self.records.disk.keeps();
        let mut append = Append::in_buffer(group, first, self.records.disk.buffer());
        self.counters.records.add(records.len() as u64);
        for record in records {
            if append.bytes.len() > APPEND_BYTES {
                let buffer = self.records.disk.buffer();
                let next = Append::in_buffer(group, append.last().next(), buffer);
                self.records.append(mem::replace(&mut append, next));
            }
            append.push(|bytes| {
                if keeps {
                    record.encode(bytes);
                }
            });
        }
        // What somebody waits for is the last part's business: those before it go down with it.
        append.forced = forced;
        if forced {
            self.counters.forced_writes.add(1);
            self.records.under_way.push_back((last, now));
        }
        self.records.append(append);
        self.counters.record_bytes.set(self.records.bytes);
    }

    fn tell(&mut self, now: Time) {
        let events = &mut self.way_out.events;
        match &mut self.application {
            Application::Together(host) => {
                let timed =
                    !events.is_empty() && self.counters.batches.get().is_multiple_of(SAMPLE);
                let since = timed.then(|| self.clock.now());
                host.handle_events(now, events);
                host.answer();
                self.requests.append(host.requests());
                if let Some(since) = since {
                    self.counters.apply_count.add(1);
                    self.counters.apply_ns.span(self.clock.now().since(since));
                }
            }
            Application::Apart(link, _) => link.tell(now, events),
        }
    }

    fn count(&self) {
        let counters = &self.counters;
        counters.batches.add(1);
        counters.messages_sent.set(self.way_out.sent);
        counters.messages_dropped.set(self.taken.dropped);
        counters.bytes_received.set(self.taken.bytes);
        counters.syncs.set(self.records.reports.count());
        let backlog = self.records.disk.backlog() as u64;
        counters.disk_backlog.set(backlog);
        if let Application::Apart(link, _) = &self.application {
            let waiting = link.waiting.load(SeqCst) as u64;
            counters.events_waiting.set(waiting);
        }
    }

    /// Publishes a status and asks the disk whether its log is too long.
    fn keep_house(&mut self, now: Time) {
        let housekeeping = &mut self.housekeeping;
        housekeeping.due = now + self.options.status_every;
        housekeeping.appended = self.records.bytes;
        housekeeping.leader = self.protocol.leader();
        let reclaim = self.records.disk.reclaim(self.records.reports.group());
        if let Some(before) = reclaim {
            self.protocol
                .handle(now, Input::Reclaim(before), &mut self.effects);
        }
        if let Some(keeper) = &self.keeper {
            let (last, durable) = (self.effects.last(), self.gate.durable());
            if let Some(id) = self.resting.look(self.protocol.snapshot(), last, durable) {
                keeper.rests_on(id);
            }
        }
        self.publish(now);
    }

    fn publish(&self, now: Time) {
        self.status.send_replace(Status {
            at: now,
            protocol: format!("{:?}", self.protocol.status()),
            leader: self.protocol.leader(),
            log: self.protocol.view(),
            last: self.effects.last(),
            durable: self.gate.durable(),
            disk_full: self.records.reports.is_full(),
        });
    }
}
