//! The hosted node while it runs here: its effects, and what they wait for.

use super::{Hosting, Message, Replicated, command::Command};
use crate::{
    Boot, Early, Effects, Epoch, Gate, Index, Input, Lsn, NodeId, Outlet, Protocol, Time, Token,
    Wire, log::Commands,
};
use alloc::{collections::VecDeque, vec::Vec};
use bytes::Bytes;

/// What makes a number of the hosted node's log count as on disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wait {
    /// The record is committed.
    Committed,
    /// Nothing was written: the group has yet to answer this read.
    Answered(Token),
    /// The group has answered, and this is what has to be applied without a newer run in it.
    Applied(Index),
}

/// What it wants of the group.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    Write(Commands),
    /// Proof that this replica leads, made from now on.
    Prove(Token),
}

#[derive(Clone)]
pub(super) struct Hosted<P: Protocol> {
    pub(super) run: Boot,
    /// Under which it was begun, and all of its proposals are placed.
    pub(super) epoch: Epoch,
    pub(super) protocol: P,
    effects: Effects<P>,
    gate: Gate,
    /// Lazy records that no forced one has carried yet.
    unproposed: Vec<(Lsn, P::Record)>,
    /// The newest record proposed, or found in the log.
    previous: Lsn,
    waiting: VecDeque<(Lsn, Wait)>,
    /// Messages that waited when the last batch had ended.
    held: usize,
    forced: Lsn,
    /// When the next reclaim is due, in records.
    pub(super) reclaim: Lsn,
    /// Parcels made, and parcels that have left. For invariants.
    pub(super) parcels: (u64, u64),
}

/// Where its effects go: out of this machine, at once. What the gate lets through rests on the group.
struct Way<'a, H: Hosting> {
    run: Boot,
    effects: &'a mut Effects<Replicated<H>>,
    released: Option<Lsn>,
}

type Outer<H> = <H as Hosting>::Outer;

impl<H: Hosting> Outlet<<Outer<H> as Protocol>::Message, <Outer<H> as Protocol>::Event>
    for Way<'_, H>
{
    fn message(&mut self, to: NodeId, message: <Outer<H> as Protocol>::Message) {
        let run = self.run;
        let message = Message::FromHosted { run, message };
        self.effects.send_early(to, message, Early::QuorumHolds);
    }

    fn early_message(&mut self, to: NodeId, message: <Outer<H> as Protocol>::Message, why: Early) {
        // Judged where it was said, by the numbers of the hosted node.
        let run = self.run;
        let message = Message::FromHosted { run, message };
        self.effects.early.push((to, message, why));
    }

    fn event(&mut self, event: <Outer<H> as Protocol>::Event) {
        self.effects.emit_early(event, Early::QuorumHolds);
    }

    fn release(&mut self, before: Lsn) {
        self.released = self.released.max(Some(before));
    }
}

impl<P: Protocol> Hosted<P> {
    /// `last`: the newest record that `protocol` was rebuilt from.
    pub(super) fn new(protocol: P, run: Boot, epoch: Epoch, last: Lsn) -> Self {
        Self {
            run,
            epoch,
            protocol,
            effects: Effects::new(last),
            gate: Gate::new(last),
            unproposed: Vec::new(),
            previous: last,
            waiting: VecDeque::new(),
            held: 0,
            forced: last,
            reclaim: Lsn::ZERO,
            parcels: (0, 0),
        }
    }

    pub(super) fn handle(&mut self, now: Time, input: Input<P>) {
        self.protocol.handle(now, input, &mut self.effects);
    }

    /// Alarms set since they were last taken.
    pub(super) fn take_timers(
        &mut self,
    ) -> alloc::vec::Drain<
        '_,
        (
            P::Timer,
            Option<core::ops::RangeInclusive<core::time::Duration>>,
        ),
    > {
        self.effects.timers.drain(..)
    }

    /// Whether records wait for a forced one to carry them.
    pub(super) const fn is_lazy(&self) -> bool {
        !self.unproposed.is_empty()
    }

    /// Whether this batch says anything that has to wait.
    fn says(&self) -> bool {
        let effects = &self.effects;
        effects.held.len() > self.held
            || effects.events.len() > effects.waiting + effects.events_early
            || effects.release.is_some()
    }

    /// Ends a batch. Whoever says something writes, or has leadership proved: either takes a number,
    /// and what was said waits for that.
    pub(super) fn end_batch<H: Hosting<Outer = P>>(
        &mut self,
        now: Time,
        unproven: bool,
        token: &mut u64,
        effects: &mut Effects<Replicated<H>>,
    ) -> Vec<Ask> {
        let mut asks = Vec::new();
        self.protocol.flush(now, &mut self.effects);
        let first = self.effects.last.0 + 1 - self.effects.records.len() as u64;
        let records = self.effects.records.drain(..).zip(first..);
        self.unproposed
            .extend(records.map(|(record, lsn)| (Lsn(lsn), record)));
        let says = self.says();
        let forces = self.effects.forced > self.forced;
        if (says || forces) && self.is_lazy() {
            asks.push(self.write());
        } else if says && !unproven {
            *token += 1;
            self.effects.last = self.effects.last.next();
            let wait = Wait::Answered(Token(*token));
            self.waiting.push_back((self.effects.last, wait));
            asks.push(Ask::Prove(Token(*token)));
        }
        if says {
            self.parcels.0 += 1;
            if unproven && self.waiting.is_empty() {
                self.parcels.1 += 1;
            } else {
                self.effects.forced = self.effects.last;
            }
        }
        self.forced = self.effects.forced;
        let mut way = Way::<H> {
            run: self.run,
            effects,
            released: None,
        };
        self.gate.admit(&mut self.effects, &mut way);
        asks.extend(way.released.map(|before| self.release(before)));
        self.held = self.effects.held.len();
        asks
    }

    /// Everything that is not proposed yet.
    pub(super) fn write(&mut self) -> Ask {
        let mut commands = Commands::default();
        let mut bytes = Vec::new();
        for (lsn, record) in self.unproposed.drain(..) {
            let mut encoded = Vec::new();
            record.encode(&mut encoded);
            let command = Command::Write {
                run: self.run,
                previous: self.previous,
                lsn,
                record: Bytes::from(encoded),
            };
            bytes.clear();
            command.encode(&mut bytes);
            commands.push(&bytes);
            self.previous = lsn;
        }
        self.waiting.push_back((self.previous, Wait::Committed));
        Ask::Write(commands)
    }

    fn release(&self, before: Lsn) -> Ask {
        let run = self.run;
        let mut bytes = Vec::new();
        Command::Release { run, before }.encode(&mut bytes);
        Ask::Write(Commands::one(&bytes))
    }

    /// The group has answered a read: leadership is proved once `index` is applied.
    pub(super) fn answered(&mut self, token: Token, index: Index) {
        let asked = |wait: &&mut (Lsn, Wait)| wait.1 == Wait::Answered(token);
        if let Some((_, wait)) = self.waiting.iter_mut().find(asked) {
            *wait = Wait::Applied(index);
        }
    }

    /// What counts as on disk now that the log is known up to `applied` and the record `committed`: lets
    /// out what waited for it and tells the protocol. Returns what else is to be asked of the group, or
    /// none when nothing has moved.
    pub(super) fn advance<H: Hosting<Outer = P>>(
        &mut self,
        now: Time,
        applied: Index,
        committed: Lsn,
        effects: &mut Effects<Replicated<H>>,
    ) -> Option<Vec<Ask>> {
        let mut durable = None;
        while let Some((lsn, wait)) = self.waiting.front()
            && match wait {
                Wait::Committed => *lsn <= committed,
                Wait::Answered(_) => false,
                Wait::Applied(index) => *index <= applied,
            }
        {
            durable = Some(*lsn);
            self.waiting.pop_front();
        }
        let durable = durable?;
        let before = self.effects.held.len() + self.effects.waiting;
        let mut way = Way::<H> {
            run: self.run,
            effects,
            released: None,
        };
        self.gate.open(durable, &mut self.effects, &mut way);
        let asks = way.released.map(|before| self.release(before));
        self.held = self.effects.held.len();
        if self.held + self.effects.waiting < before {
            self.parcels.1 = self.parcels.0 - self.waiting.len() as u64;
        }
        self.protocol
            .handle(now, Input::Durable(durable), &mut self.effects);
        Some(asks.into_iter().collect())
    }
}
