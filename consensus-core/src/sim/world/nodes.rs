//! Starting, ending and running nodes, exactly as a real driver would.

use super::{Due, World};
use crate::{
    Algorithm, Boot, Input, Invariants, Time, Violation,
    service::{Answer, Call, CallId, Service},
    sim::{
        disk::Keep,
        process::{Clock, Process},
        trace::{Happening, What},
    },
};
use alloc::format;
use core::hash::Hasher;

impl<A: Algorithm> World<A> {
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
    pub(super) fn serviced(&mut self, place: usize) {
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
        if !process.outbox.snapshots.is_empty() {
            self.snapshot_orders(place);
        }
    }

    /// There is work: now, or a little later when the node gathers or is slow.
    pub(super) fn ready(&mut self, place: usize) -> Result<(), Violation> {
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
    pub(super) fn run(&mut self, place: usize) -> Result<(), Violation> {
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

    pub(super) fn batch(&mut self, place: usize, now: Time) -> Result<(), Violation> {
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

    pub(super) fn tell(
        &mut self,
        place: usize,
        now: Time,
        event: A::Event,
    ) -> Result<(), Violation> {
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
            if !process.outbox.snapshots.is_empty() {
                self.snapshot_orders(place);
            }
        }
        Ok(())
    }

    /// Schedules a look at the alarms of a node.
    pub(super) fn arm(&mut self, place: usize) {
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

    pub(super) fn trace_inputs(&mut self, place: usize) {
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
}
