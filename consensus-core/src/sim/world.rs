//! N nodes, one thread, virtual time: whatever is due next happens next, and nothing else does.

use super::{
    chance::{Chance, TraceHash},
    disk::Keep,
    network::{Network, Weather},
    process::{Clock, Node, Output, Process},
    trace::{Happening, What},
};
use crate::{
    Algorithm, Boot, Early, Input, Invariants, Lsn, Members, NodeId, Time, Violation, Wire,
    service::{Answer, Call, CallId, Service},
};
use alloc::{
    collections::BinaryHeap,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{
    cmp::Ordering,
    hash::{Hash, Hasher},
    time::Duration,
};

/// Purposes of draws.
pub(crate) mod purpose {
    pub(crate) const NETWORK: u64 = 1;
    pub(crate) const DISK: u64 = 2;
    pub(crate) const TIMER: u64 = 3;
    pub(crate) const WORKLOAD: u64 = 4;
    pub(crate) const SHAPE: u64 = 5;
    pub(crate) const OPTIONS: u64 = 6;
    pub(crate) const CORE: u64 = 7;
    pub(crate) const FAULT: u64 = 100;
}

/// What a world is like before anything is done to it.
#[derive(Clone, Debug)]
pub struct Climate {
    /// Links.
    pub weather: Weather,
    /// Nanoseconds that a sync takes at least.
    pub sync_least: u64,
    /// Mean of what comes on top.
    pub sync_jitter: u64,
    /// Syncs that may be under way at one node at once, at least one.
    pub sync_depth: u32,
    /// Nanoseconds that a node gathers inputs before it starts a batch; zero: a batch an input.
    pub gather: u64,
    /// Records are forgotten in segments of so many.
    pub segment: u64,
    /// A log of more records than this is asked to be reclaimed; zero: never.
    pub reclaim: usize,
    /// Every message goes through its bytes.
    pub wire: bool,
}

impl Climate {
    /// A constant delay, disks that take `sync`, nothing else.
    #[must_use]
    pub fn constant(delay: Duration, sync: Duration) -> Self {
        Self {
            weather: Weather::constant(delay.as_nanos() as u64),
            sync_least: sync.as_nanos() as u64,
            sync_jitter: 0,
            sync_depth: 1,
            gather: 0,
            segment: 1,
            reclaim: 0,
            wire: false,
        }
    }
}

/// What is due. Small: the queue is the hot path.
#[derive(Clone, Copy, Debug)]
enum Due {
    /// The message in this place arrives.
    Arrive(u32),
    /// A node starts a batch.
    Run { node: u16, life: u32 },
    /// Alarms of a node may have gone off.
    Alarms { node: u16, life: u32 },
    /// A sync has ended.
    Synced { node: u16, life: u32, upto: u64 },
    /// Records that nobody waits for are synced.
    Lazy { node: u16, life: u32 },
    /// Whoever drives the world asked to be called.
    Call(u64),
}

struct Entry {
    at: u64,
    sequence: u64,
    due: Due,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.sequence == other.sequence
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    /// The heap gives its greatest: the earliest, and among equals the one scheduled first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.sequence).cmp(&(self.at, self.sequence))
    }
}

/// A message under way.
#[derive(Clone)]
pub(crate) struct Flight<M> {
    pub(crate) id: u64,
    pub(crate) from: u16,
    pub(crate) to: u16,
    pub(crate) message: M,
}

/// What [`World::step`] came upon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Something in the world.
    Event,
    /// A call that [`World::call_at`] asked for.
    Called(u64),
    /// Nothing is due any more.
    Idle,
}

/// Exact counts of what the nodes did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Messages that left a node for another.
    pub messages: u64,
    /// Their bytes, where they were counted.
    pub bytes: u64,
    /// Syncs that ended.
    pub syncs: u64,
    /// Records written.
    pub records: u64,
}

/// A cluster in virtual time.
pub struct World<A: Algorithm> {
    pub(crate) members: Members,
    pub(crate) options: A::Options,
    config: Vec<A::Config>,
    pub(crate) climate: Climate,
    pub(crate) nodes: Vec<Node<A>>,
    pub(crate) network: Network,
    pub(crate) invariants: A::Invariants,
    pub(crate) now: u64,
    sequence: u64,
    queue: BinaryHeap<Entry>,
    flights: Vec<Option<Flight<A::Message>>>,
    free: Vec<u32>,
    messages: u64,
    out: Output<A>,
    bytes: Vec<u8>,
    disk_chance: Chance,
    timer_chance: Chance,
    hash: TraceHash,
    /// Names of message kinds seen so far.
    pub(crate) kinds: Vec<&'static str>,
    /// How many were sent of each.
    kind_counts: Vec<u64>,
    /// Nothing moves by itself: messages, syncs and alarms wait to be called by name.
    pub(crate) by_hand: bool,
    /// Events go to the services. Else they are only kept in `told`.
    pub(crate) serve: bool,
    /// Events told to applications, kept when somebody wants to see them.
    pub(crate) told: Option<Vec<(NodeId, A::Event)>>,
    /// Clients' answers since they were last taken.
    pub(crate) answers: Vec<(NodeId, CallId, Answer)>,
    pub(crate) counts: Counts,
    pub(crate) events: u64,
    /// Which records a crash may take: lost, torn.
    pub(crate) loses: (bool, bool),
    /// How often a crash lost, tore.
    pub(crate) losses: (u64, u64),
    /// Nodes that stopped because a sync failed, since they were last taken.
    pub(crate) stopped: Vec<usize>,
    /// Nodes that have walked into the trap set for them, since they were last taken.
    pub(crate) trapped: Vec<usize>,
    pub(crate) trace: Option<Vec<Happening>>,
}

impl<A: Algorithm> World<A> {
    /// A cluster whose nodes are all down.
    ///
    /// # Errors
    /// When the options do not fit the members.
    pub fn new(
        seed: u64,
        members: Members,
        options: A::Options,
        climate: Climate,
    ) -> Result<Self, String> {
        let config = members
            .iter()
            .map(|node| A::config(&options, &members, node))
            .collect::<Result<Vec<_>, _>>()?;
        let network = Network::new(
            members.count(),
            climate.weather.clone(),
            Chance::new(seed, purpose::NETWORK),
        );
        Ok(Self {
            invariants: A::Invariants::new(&config[0]),
            nodes: members.iter().map(Node::new).collect(),
            members,
            options,
            config,
            climate,
            network,
            now: 0,
            sequence: 0,
            queue: BinaryHeap::new(),
            flights: Vec::new(),
            free: Vec::new(),
            messages: 0,
            out: Output::default(),
            bytes: Vec::new(),
            disk_chance: Chance::new(seed, purpose::DISK),
            timer_chance: Chance::new(seed, purpose::TIMER),
            hash: TraceHash::default(),
            kinds: Vec::new(),
            kind_counts: Vec::new(),
            by_hand: false,
            serve: true,
            told: None,
            answers: Vec::new(),
            counts: Counts::default(),
            events: 0,
            loses: (true, true),
            losses: (0, 0),
            stopped: Vec::new(),
            trapped: Vec::new(),
            trace: None,
        })
    }

    /// The world's time.
    #[must_use]
    pub fn now(&self) -> Time {
        Time::from_nanos(self.now)
    }

    /// What happened so far, in one number.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        self.hash.finish()
    }

    /// Exact counts so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// How many messages of a kind have left their nodes, those to oneself included.
    #[must_use]
    pub fn sent_of(&self, kind: &str) -> u64 {
        let known = self.kinds.iter().position(|known| *known == kind);
        known.map_or(0, |known| self.kind_counts[known])
    }

    /// Events told to applications since they were last taken; only where a
    /// [`Laboratory`](super::measure::Laboratory) made the world, in which services hear nothing.
    pub fn take_told(&mut self) -> Vec<(NodeId, A::Event)> {
        self.told.as_mut().map(core::mem::take).unwrap_or_default()
    }

    /// A node's protocol; none while it is down.
    #[must_use]
    pub fn protocol(&self, node: NodeId) -> Option<&A> {
        let place = self.members.position(node)?;
        self.nodes[place]
            .process
            .as_ref()
            .map(|process| &process.protocol)
    }

    /// Has [`step`](Self::step) return [`Step::Called`] with `what` at `at`.
    pub fn call_at(&mut self, at: Time, what: u64) {
        self.push(at.as_nanos(), Due::Call(what));
    }

    fn push(&mut self, at: u64, due: Due) {
        self.sequence += 1;
        self.queue.push(Entry {
            at,
            sequence: self.sequence,
            due,
        });
    }

    pub(crate) fn note(&mut self, place: Option<usize>, what: impl FnOnce() -> What) {
        if let Some(trace) = &mut self.trace {
            let node = place.map_or(NodeId(0), |place| self.nodes[place].id);
            trace.push(Happening {
                at: Time::from_nanos(self.now),
                node,
                what: what(),
            });
        }
    }

    /// Lets the next thing happen.
    ///
    /// # Errors
    /// The property that it breaks.
    pub fn step(&mut self) -> Result<Step, Violation> {
        let Some(Entry { at, due, .. }) = self.queue.pop() else {
            return Ok(Step::Idle);
        };
        debug_assert!(at >= self.now, "time runs backwards");
        self.now = at;
        self.events += 1;
        self.hash.write_u64(at);
        match due {
            Due::Arrive(flight) => {
                if let Some(flight) = self.take_flight(flight) {
                    self.arrive(flight)?;
                }
            }
            Due::Run { node, life } => {
                let node = usize::from(node);
                if self.nodes[node].life == life {
                    self.nodes[node].due = false;
                    self.run(node)?;
                }
            }
            Due::Alarms { node, life } => {
                let node = usize::from(node);
                if self.nodes[node].life == life && self.nodes[node].armed == at {
                    self.nodes[node].armed = u64::MAX;
                    self.ready(node)?;
                }
            }
            Due::Synced { node, life, upto } => {
                let node = usize::from(node);
                if self.nodes[node].life == life {
                    self.sync_ended(node, Lsn(upto))?;
                }
            }
            Due::Lazy { node, life } => {
                let node = usize::from(node);
                if self.nodes[node].life == life {
                    self.nodes[node].lazy = false;
                    if self.nodes[node].disk.is_dirty() {
                        self.start_sync(node);
                    }
                }
            }
            Due::Call(what) => {
                self.hash.write_u64(what);
                return Ok(Step::Called(what));
            }
        }
        Ok(Step::Event)
    }

    /// When the next thing happens.
    #[must_use]
    pub fn next(&self) -> Option<Time> {
        self.queue.peek().map(|entry| Time::from_nanos(entry.at))
    }

    // Nodes.

    /// Starts a node from what its disk holds. Returns whether it did: not when it runs already, or
    /// when its disk is damaged.
    ///
    /// # Errors
    /// The property that is broken by what it finds, or that it cannot start from a legal disk.
    pub fn start(&mut self, place: usize) -> Result<bool, Violation> {
        let node = &mut self.nodes[place];
        if node.process.is_some() || node.disk.damage.is_some() {
            return Ok(false);
        }
        node.boot = Boot(node.boot.0 + 1);
        node.life += 1;
        node.armed = u64::MAX;
        node.due = false;
        node.lazy = false;
        if !self.by_hand {
            node.clock = Clock::started(self.now);
        }
        let records = node.disk.iter().map(|(lsn, record)| (lsn, record.clone()));
        let protocol = A::recover(self.config[place].clone(), node.boot, records).map_err(|e| {
            let detail = format!("node {} does not start from a legal disk: {e}", node.id);
            Violation {
                property: "recovery",
                detail,
            }
        })?;
        let service = A::service(&self.options, &self.members, node.id, node.boot);
        let mut process = Process::new(protocol, service, node.disk.last());
        process.inbox.push(Input::Start);
        node.process = Some(process);
        let (boot, records) = (node.boot, node.disk.retained());
        self.hash.write_u64(u64::from(boot.0) << 16 | place as u64);
        self.note(Some(place), || What::Restarted { boot, records });
        self.report_durable(place)?;
        if let Some(process) = &self.nodes[place].process {
            self.invariants
                .stepped(self.nodes[place].id, &process.protocol)?;
        }
        self.run(place)?;
        Ok(true)
    }

    /// Ends a process at once. Returns whether there was one.
    pub fn crash(&mut self, place: usize, keep: Option<Keep>) -> bool {
        let node = &mut self.nodes[place];
        if node.process.take().is_none() {
            return false;
        }
        node.life += 1;
        let (loses, tears) = self.loses;
        let keep = keep.unwrap_or_else(|| node.disk.draw_loss(&mut self.disk_chance, loses, tears));
        let loss = node.disk.crash(keep);
        if loss.lost > 0 {
            if loss.kept > 0 {
                self.losses.1 += 1;
            } else {
                self.losses.0 += 1;
            }
        }
        self.hash
            .write_u64(loss.lost << 32 | loss.kept << 16 | place as u64);
        self.note(Some(place), || What::Crashed {
            kept: loss.kept,
            lost: loss.lost,
        });
        true
    }

    /// There is room on a disk: what waited is written.
    pub(crate) fn make_room(&mut self, place: usize) {
        let node = &mut self.nodes[place];
        node.disk.full = false;
        let busy = node.disk.outstanding >= self.climate.sync_depth;
        if node.process.is_some() && node.disk.is_dirty() && !busy && !self.by_hand {
            self.start_sync(place);
        }
    }

    /// Lets a paused process go on; its alarms have piled up.
    ///
    /// # Errors
    /// The property that its next steps break.
    pub(crate) fn resume(&mut self, place: usize) -> Result<(), Violation> {
        let node = &mut self.nodes[place];
        node.paused = node.paused.saturating_sub(1);
        self.ready(place)
    }

    /// Changes the rate of a node's clock, in millionths.
    pub(crate) fn skew(&mut self, place: usize, rate: u64) {
        let now = self.now;
        self.nodes[place].clock.skew(now, rate);
        self.nodes[place].armed = u64::MAX;
        self.arm(place);
    }

    /// A client's call reaches a node now. False when nobody is there to take it.
    ///
    /// # Errors
    /// The property that the node's next step breaks.
    pub fn call(&mut self, place: usize, call: Call) -> Result<bool, Violation> {
        let node = &mut self.nodes[place];
        let Some(process) = &mut node.process else {
            return Ok(false);
        };
        self.hash.write_u64(call.id.0);
        if node.disk.full {
            let refusal = Answer::Refused(crate::service::Refusal::DiskFull);
            self.answers.push((node.id, call.id, refusal));
            return Ok(true);
        }
        let now = node.clock.read(self.now);
        process.service.call(now, call, &mut process.outbox);
        self.serviced(place);
        self.ready(place)?;
        Ok(true)
    }

    /// A client no longer waits.
    ///
    /// # Errors
    /// The property that the node's next step breaks.
    pub fn abandon(&mut self, place: usize, id: CallId) -> Result<(), Violation> {
        let node = &mut self.nodes[place];
        let Some(process) = &mut node.process else {
            return Ok(());
        };
        let now = node.clock.read(self.now);
        process.service.abandon(now, id, &mut process.outbox);
        self.serviced(place);
        self.ready(place)
    }

    /// Hands an input to a node now. False when it is down.
    ///
    /// # Errors
    /// The property that the node's next step breaks.
    pub fn input(&mut self, place: usize, input: Input<A>) -> Result<bool, Violation> {
        let Some(process) = &mut self.nodes[place].process else {
            return Ok(false);
        };
        process.inbox.push(input);
        self.ready(place)?;
        Ok(true)
    }

    /// What the service wants goes to the protocol and to the clients.
    fn serviced(&mut self, place: usize) {
        let Self {
            nodes,
            answers,
            trace,
            now,
            ..
        } = self;
        let node = &mut nodes[place];
        let Some(process) = &mut node.process else {
            return;
        };
        process
            .inbox
            .extend(process.outbox.requests.drain(..).map(Input::Request));
        for (id, answer) in process.outbox.answers.drain(..) {
            if let Some(trace) = trace {
                let (at, what) = (
                    Time::from_nanos(*now),
                    What::Answered(format!("{answer:?}")),
                );
                trace.push(Happening {
                    at,
                    node: node.id,
                    what,
                });
            }
            answers.push((node.id, id, answer));
        }
    }

    /// There is work: now, or a little later when the node gathers or is slow.
    fn ready(&mut self, place: usize) -> Result<(), Violation> {
        let node = &mut self.nodes[place];
        let wait = self.climate.gather + node.slow;
        if wait == 0 {
            return self.run(place);
        }
        if !node.due {
            node.due = true;
            let (at, life) = (self.now + wait, node.life);
            self.push(
                at,
                Due::Run {
                    node: place as u16,
                    life,
                },
            );
        }
        Ok(())
    }

    /// Batches until there is nothing left to do at this moment.
    fn run(&mut self, place: usize) -> Result<(), Violation> {
        loop {
            let node = &mut self.nodes[place];
            if !node.is_running() {
                return Ok(());
            }
            let Some(process) = &mut node.process else {
                return Ok(());
            };
            // The clock is read after the last input has been taken out of its queue.
            let now = node.clock.read(self.now);
            if !self.by_hand {
                while let Some(timer) = process.timers.pop(now) {
                    process.inbox.push(Input::Timer(timer));
                }
            }
            if process.service.next_wake().is_some_and(|wake| wake <= now) {
                process.service.wake(now, &mut process.outbox);
                self.serviced(place);
            }
            if !self.nodes[place]
                .process
                .as_ref()
                .is_some_and(Process::has_work)
            {
                self.arm(place);
                return Ok(());
            }
            self.batch(place, now)?;
        }
    }

    fn batch(&mut self, place: usize, now: Time) -> Result<(), Violation> {
        self.trace_inputs(place);
        let mut out = core::mem::take(&mut self.out);
        let Self {
            nodes,
            timer_chance,
            disk_chance: _,
            invariants,
            ..
        } = self;
        let node = &mut nodes[place];
        let Some(process) = &mut node.process else {
            return Ok(());
        };
        process.batch(now, &mut out);
        for (timer, range) in process.effects.take_timers() {
            match range {
                Some(range) => process.timers.set(timer, now + timer_chance.span(range)),
                None => process.timers.cancel(timer),
            }
        }
        invariants.stepped(node.id, &process.protocol)?;
        if process.effects.has_records() {
            self.write(place);
        }
        if let Some(before) = out.release.take() {
            self.nodes[place].disk.release(before, self.climate.segment);
        }
        for (to, message, early) in out.messages.drain(..) {
            self.send(place, to, message, early)?;
        }
        for event in out.events.drain(..) {
            self.tell(place, now, event)?;
        }
        self.out = out;
        self.serviced(place);
        let node = &mut self.nodes[place];
        if node.trap > 0 && node.disk.pending() > 0 {
            node.trap -= 1;
            if node.trap == 0 {
                self.trapped.push(place);
            }
        }
        Ok(())
    }

    fn tell(&mut self, place: usize, now: Time, event: A::Event) -> Result<(), Violation> {
        let id = self.nodes[place].id;
        self.invariants.told(id, &event)?;
        self.note(Some(place), || What::Told(format!("{event:?}")));
        if let Some(told) = &mut self.told {
            told.push((id, event.clone()));
        }
        if self.serve
            && let Some(process) = &mut self.nodes[place].process
        {
            process.service.event(now, event, &mut process.outbox);
        }
        Ok(())
    }

    /// Schedules a look at the alarms of a node.
    fn arm(&mut self, place: usize) {
        let node = &mut self.nodes[place];
        let Some(next) = node.process.as_ref().and_then(Process::next) else {
            return;
        };
        let at = node.clock.when(next).max(self.now);
        if self.by_hand || at >= node.armed || node.paused > 0 {
            return;
        }
        node.armed = at;
        let life = node.life;
        self.push(
            at,
            Due::Alarms {
                node: place as u16,
                life,
            },
        );
    }

    // The disk.

    fn write(&mut self, place: usize) {
        let Self {
            nodes,
            counts,
            trace,
            now,
            ..
        } = self;
        let node = &mut nodes[place];
        let Some(process) = &mut node.process else {
            return;
        };
        let forced = process.effects.forced;
        let (_, _, records) = process.effects.take_records();
        for record in records {
            counts.records += 1;
            if let Some(trace) = trace {
                let lsn = node.disk.last().next();
                let text = format!("{record:?}");
                let what = What::Wrote {
                    lsn,
                    text,
                    forced: lsn <= forced,
                };
                trace.push(Happening {
                    at: Time::from_nanos(*now),
                    node: node.id,
                    what,
                });
            }
            node.disk.append(record);
        }
        node.disk.force(forced);
        self.trace_held(place);
        if self.by_hand {
            return;
        }
        let node = &mut self.nodes[place];
        if node.disk.is_wanting() {
            if node.disk.outstanding < self.climate.sync_depth {
                self.start_sync(place);
            }
        } else if node.disk.is_dirty() && !node.lazy {
            node.lazy = true;
            let life = node.life;
            let at = self.now + self.disk_chance.within(10_000_000..=100_000_000);
            self.push(
                at,
                Due::Lazy {
                    node: place as u16,
                    life,
                },
            );
        }
    }

    pub(crate) fn start_sync(&mut self, place: usize) {
        let climate = &self.climate;
        let jitter = match climate.sync_jitter {
            0 => 0,
            mean => self.disk_chance.exponential(mean),
        };
        let node = &mut self.nodes[place];
        let at = self.now + climate.sync_least + jitter + node.disk.slower;
        let upto = node.disk.start_sync().0;
        let life = node.life;
        self.push(
            at,
            Due::Synced {
                node: place as u16,
                life,
                upto,
            },
        );
    }

    /// A sync has ended, well or not.
    pub(crate) fn sync_ended(&mut self, place: usize, upto: Lsn) -> Result<(), Violation> {
        let node = &mut self.nodes[place];
        if node.disk.fails {
            // Nothing in this process is trusted again.
            self.note(Some(place), || {
                What::Fault("a sync fails: the node stops".to_string())
            });
            self.crash(place, None);
            self.stopped.push(place);
            return Ok(());
        }
        self.counts.syncs += 1;
        node.syncs += 1;
        let news = node.disk.end_sync(upto);
        if news {
            if let Some(process) = &mut node.process {
                process.durable = Some(upto);
            }
            self.note(Some(place), || What::Synced { upto });
            self.report_durable(place)?;
            self.reclaim(place);
            self.ready(place)?;
        }
        let node = &mut self.nodes[place];
        if !self.by_hand
            && node.disk.is_wanting()
            && node.disk.outstanding < self.climate.sync_depth
            && node.process.is_some()
        {
            self.start_sync(place);
        }
        Ok(())
    }

    fn report_durable(&mut self, place: usize) -> Result<(), Violation> {
        let Self {
            nodes, invariants, ..
        } = self;
        let node = &mut nodes[place];
        while let Some(record) = node.disk.unreported() {
            invariants.durable(node.id, record)?;
        }
        Ok(())
    }

    fn reclaim(&mut self, place: usize) {
        let limit = self.climate.reclaim;
        let node = &mut self.nodes[place];
        if limit == 0 || node.disk.retained() <= limit || !node.syncs.is_multiple_of(8) {
            return;
        }
        let before = Lsn(node.disk.first().0 + node.disk.retained() as u64 / 2);
        if let Some(process) = &mut node.process {
            process.inbox.push(Input::Reclaim(before));
        }
    }

    // Messages.

    fn send(
        &mut self,
        place: usize,
        to: NodeId,
        message: A::Message,
        early: Option<Early>,
    ) -> Result<(), Violation> {
        let from = self.nodes[place].id;
        self.invariants.sent(from, &message)?;
        let kind = message.kind();
        message.hash(&mut self.hash);
        match self.kinds.iter().position(|known| *known == kind) {
            Some(known) => self.kind_counts[known] += 1,
            None => {
                self.kinds.push(kind);
                self.kind_counts.push(1);
            }
        }
        self.messages += 1;
        let id = self.messages;
        self.note(Some(place), || What::Sent {
            id,
            to,
            kind,
            text: format!("{message:?}"),
            early,
        });
        let Some(target) = self.members.position(to) else {
            return Ok(());
        };
        if target == place {
            // To oneself: free, and at once.
            if let Some(process) = &mut self.nodes[place].process {
                process.inbox.push(Input::Receive { from, message });
            }
            return Ok(());
        }
        self.counts.messages += 1;
        let message = if self.climate.wire {
            self.through_bytes(message)?
        } else {
            message
        };
        let flight = Flight {
            id,
            from: place as u16,
            to: target as u16,
            message,
        };
        if self.by_hand {
            self.put_flight(flight);
            return Ok(());
        }
        let fate = self.network.route(self.now, place, target, kind);
        if let Some(at) = fate.again {
            let flight = self.put_flight(flight.clone());
            self.push(at, Due::Arrive(flight));
        }
        match fate.arrives {
            Some(at) => {
                let flight = self.put_flight(flight);
                self.push(at, Due::Arrive(flight));
            }
            None => self.note(Some(place), || What::Lost { id, from, to, kind }),
        }
        Ok(())
    }

    fn through_bytes(&mut self, message: A::Message) -> Result<A::Message, Violation> {
        self.bytes.clear();
        message.encode(&mut self.bytes);
        self.counts.bytes += self.bytes.len() as u64;
        match A::Message::decode(bytes::Bytes::copy_from_slice(&self.bytes)) {
            Ok(read) if read == message => Ok(read),
            read => Err(Violation {
                property: "codec",
                detail: format!("{message:?} reads back as {read:?}"),
            }),
        }
    }

    /// A message arrives, unless nobody is there.
    pub(crate) fn arrive(&mut self, flight: Flight<A::Message>) -> Result<(), Violation> {
        let place = usize::from(flight.to);
        let from = self.nodes[usize::from(flight.from)].id;
        let (id, kind) = (flight.id, flight.message.kind());
        self.hash.write_u64(id);
        let to = self.nodes[place].id;
        if self.trace.is_some() {
            let what = match self.nodes[place].process {
                Some(_) => What::Received {
                    id,
                    from,
                    text: format!("{:?}", flight.message),
                },
                None => What::Lost { id, from, to, kind },
            };
            self.note(Some(place), || what);
        }
        let Some(process) = &mut self.nodes[place].process else {
            return Ok(());
        };
        process.inbox.push(Input::Receive {
            from,
            message: flight.message,
        });
        self.ready(place)
    }

    fn put_flight(&mut self, flight: Flight<A::Message>) -> u32 {
        match self.free.pop() {
            Some(place) => {
                self.flights[place as usize] = Some(flight);
                place
            }
            None => {
                self.flights.push(Some(flight));
                (self.flights.len() - 1) as u32
            }
        }
    }

    pub(crate) fn take_flight(&mut self, place: u32) -> Option<Flight<A::Message>> {
        let flight = self.flights.get_mut(place as usize)?.take();
        if flight.is_some() {
            self.free.push(place);
        }
        flight
    }

    /// A second copy of a message is under way.
    pub(crate) fn double(&mut self, place: u32) {
        if let Some(flight) = self.flights.get(place as usize).cloned().flatten() {
            let (id, kind) = (flight.id, flight.message.kind());
            let sender = usize::from(flight.from);
            let (from, to) = (self.nodes[sender].id, self.nodes[usize::from(flight.to)].id);
            self.note(Some(sender), || What::Doubled { id, from, to, kind });
            self.put_flight(flight);
        }
    }

    /// Messages under way, in the order in which they were sent.
    pub(crate) fn in_flight(&self) -> Vec<(u32, &Flight<A::Message>)> {
        let mut all: Vec<_> = self
            .flights
            .iter()
            .enumerate()
            .filter_map(|(place, flight)| Some((place as u32, flight.as_ref()?)))
            .collect();
        all.sort_by_key(|(_, flight)| flight.id);
        all
    }

    // For traces alone.

    fn trace_inputs(&mut self, place: usize) {
        let Some(trace) = &mut self.trace else { return };
        let node = &self.nodes[place];
        let Some(process) = &node.process else { return };
        for input in &process.inbox {
            if !matches!(input, Input::Receive { .. } | Input::Start) {
                let (at, what) = (
                    Time::from_nanos(self.now),
                    What::Input(format!("{input:?}")),
                );
                trace.push(Happening {
                    at,
                    node: node.id,
                    what,
                });
            }
        }
    }

    fn trace_held(&mut self, place: usize) {
        let Some(trace) = &mut self.trace else { return };
        let node = &self.nodes[place];
        let Some(process) = &node.process else { return };
        for (to, message) in &process.effects.held {
            let after = process.effects.forced;
            let what = What::Held {
                to: *to,
                text: format!("{message:?}"),
                after,
            };
            let at = Time::from_nanos(self.now);
            let held = Happening {
                at,
                node: node.id,
                what,
            };
            if !trace
                .iter()
                .rev()
                .take(64)
                .any(|h| h.node == held.node && h.what == held.what)
            {
                trace.push(held);
            }
        }
    }
}
