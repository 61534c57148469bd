//! The smallest protocol that uses everything a driver offers: a number is stored once a majority of
//! disks hold it. And a service on it that answers a call with its own body.

use crate::{
    Algorithm, Boot, Contract, Effects, Input, Invariants, Lsn, Members, NodeId, Protocol,
    RecoverError, Tally, Time, Unsynced, Violation, codec, majority,
    service::{Answer, Call, CallId, Outbox, Refusal, Service},
};
use alloc::{collections::BTreeMap, string::String, sync::Arc, vec::Vec};
use bytes::Bytes;
use core::{ops::RangeInclusive, time::Duration};
use std::sync::Mutex;

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Message {
    Store { number: u64 },
    Stored { number: u64 },
}

codec! {
    Message version 1 {
        1 since 1 Log => Store { number },
        2 since 1 Control => Stored { number },
    }
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Record {
    Stored { number: u64 },
}

codec! { Record version 1 { 1 since 1 Log => Stored { number } } }

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Resend;

/// Stores numbers that are unique in a test: node and boot are in their high bits.
#[derive(Clone, Debug)]
pub(super) struct Toy {
    members: Members,
    node: NodeId,
    next: u64,
    stored: u64,
    waiting: BTreeMap<u64, (CallId, Tally)>,
    own: Unsynced<u64>,
}

const PATIENCE: RangeInclusive<Duration> = Duration::from_millis(20)..=Duration::from_millis(40);

impl Toy {
    fn count(&mut self, node: NodeId, number: u64, effects: &mut Effects<Self>) {
        let Some((call, tally)) = self.waiting.get_mut(&number) else {
            return;
        };
        tally.add(&self.members, node);
        if tally.count() >= majority(self.members.count()) {
            effects.emit(*call);
            self.waiting.remove(&number);
        }
    }

    fn ask(&self, number: u64, effects: &mut Effects<Self>) {
        for to in self.members.others(self.node) {
            effects.send(to, Message::Store { number });
        }
    }
}

impl Protocol for Toy {
    type Config = (Members, NodeId);
    type Message = Message;
    type Record = Record;
    type Request = CallId;
    type Event = CallId;
    type Timer = Resend;
    type Status = u64;

    fn recover(
        (members, node): Self::Config,
        boot: Boot,
        records: impl IntoIterator<Item = (Lsn, Record)>,
    ) -> Result<Self, RecoverError> {
        let records: Vec<_> = records.into_iter().collect();
        Ok(Self {
            members,
            node,
            next: u64::from(node.0) << 48 | u64::from(boot.0) << 32,
            stored: records.len() as u64,
            waiting: BTreeMap::new(),
            own: Unsynced::new(records.last().map_or(Lsn::ZERO, |(lsn, _)| *lsn)),
        })
    }

    fn handle(&mut self, _now: Time, input: Input<Self>, effects: &mut Effects<Self>) {
        match input {
            Input::Request(call) => {
                self.next += 1;
                let number = self.next;
                self.stored += 1;
                self.waiting.insert(number, (call, Tally::default()));
                let lsn = effects.persist(Record::Stored { number });
                self.own.push(lsn, number);
                self.ask(number, effects);
                effects.set_timer(Resend, PATIENCE);
            }
            Input::Receive { from, message } => match message {
                Message::Store { number } => {
                    self.stored += 1;
                    effects.persist(Record::Stored { number });
                    effects.send(from, Message::Stored { number });
                }
                Message::Stored { number } => self.count(from, number, effects),
            },
            Input::Durable(lsn) => {
                let own: Vec<_> = self.own.settle(lsn).collect();
                for number in own {
                    self.count(self.node, number, effects);
                }
            }
            Input::Timer(Resend) => {
                for number in self.waiting.keys() {
                    self.ask(*number, effects);
                }
                if !self.waiting.is_empty() {
                    effects.set_timer(Resend, PATIENCE);
                }
            }
            Input::Start | Input::Unreachable(_) | Input::Reclaim(_) => {}
        }
    }

    fn flush(&mut self, _now: Time, _effects: &mut Effects<Self>) {}

    fn status(&self) -> u64 {
        self.stored
    }
}

impl Algorithm for Toy {
    const NAME: &'static str = "toy";
    const CONTRACT: Contract = Contract::Register;
    type Options = Door;
    type Service = Echo;
    type Invariants = Anything;

    fn config(_: &Door, members: &Members, node: NodeId) -> Result<Self::Config, String> {
        if !members.contains(node) {
            return Err("the node is not a member".into());
        }
        Ok((members.clone(), node))
    }

    fn service(door: &Door, _: &Members, _: NodeId, _: Boot) -> Echo {
        Echo {
            door: Arc::clone(door),
            ..Echo::default()
        }
    }

    fn draw(_: &Members, _: &mut dyn FnMut(RangeInclusive<u64>) -> u64) -> Door {
        Door::default()
    }

    fn leader(&self) -> Option<NodeId> {
        self.members.iter().next()
    }
}

/// What a service that was asked to block waits for.
pub(super) type Door = Arc<Mutex<()>>;

/// Answers `panic` by a panic, blocks its thread on `block` while the door is locked, answers `later`
/// after a second, and everything else when it is stored.
#[derive(Default)]
pub(super) struct Echo {
    door: Door,
    open: BTreeMap<CallId, Bytes>,
    later: Option<(Time, CallId)>,
}

impl Service<Toy> for Echo {
    fn call(&mut self, now: Time, call: Call, out: &mut Outbox<Toy>) {
        match &call.body[..] {
            b"panic" => panic!("the service was asked to panic"),
            b"later" => self.later = Some((now + Duration::from_secs(1), call.id)),
            b"block" => {
                drop(self.door.lock());
                out.answer(call.id, Answer::Done(call.body));
            }
            b"" => out.answer(call.id, Answer::Refused(Refusal::Malformed)),
            _ => {
                self.open.insert(call.id, call.body);
                out.requests.push(call.id);
            }
        }
    }

    fn event(&mut self, _: Time, event: CallId, out: &mut Outbox<Toy>) {
        if let Some(body) = self.open.remove(&event) {
            out.answer(event, Answer::Done(body));
        }
    }

    fn next_wake(&self) -> Option<Time> {
        self.later.map(|(moment, _)| moment)
    }

    fn wake(&mut self, _: Time, out: &mut Outbox<Toy>) {
        if let Some((_, call)) = self.later.take() {
            out.answer(call, Answer::Done(Bytes::from_static(b"later")));
        }
    }

    fn abandon(&mut self, _: Time, id: CallId, _: &mut Outbox<Toy>) {
        self.open.remove(&id);
        self.later = self.later.filter(|(_, later)| *later != id);
    }
}

#[derive(Clone)]
pub(super) struct Anything;

impl Invariants<Toy> for Anything {
    const PROPERTIES: &'static [&'static str] = &[];
    fn new(_: &(Members, NodeId)) -> Self {
        Self
    }
    fn durable(&mut self, _: NodeId, _: &Record) -> Result<(), Violation> {
        Ok(())
    }
    fn sent(&mut self, _: NodeId, _: &Message) -> Result<(), Violation> {
        Ok(())
    }
    fn told(&mut self, _: NodeId, _: &CallId) -> Result<(), Violation> {
        Ok(())
    }
    fn stepped(&mut self, _: NodeId, _: &Toy) -> Result<(), Violation> {
        Ok(())
    }
    fn judged(&self) -> &[u64] {
        &[]
    }
}
