//! `INSERT … IF NOT EXISTS` at three nodes at once: three clients want the same name, one gets it.
//!
//! The register service of `consensus-core` does the work; this file is only the world around it:
//! messages in a queue, disks that sync at once. No alarm is needed, because nothing is lost and
//! a proposer that is overtaken learns the outcome.

use consensus_core::{
    Algorithm, Boot, ClientId, Effects, Gate, Input, Lsn, Members, NodeId, Outlet, Protocol,
    Sequence, Time, Wire,
    contract::register::{Event, Version},
    kv::{self, Operation, Outcome},
    service::{Answer, Call, CallId, Outbox, Service},
};
use paxos::{Message, Options, Paxos, Timer};
use std::{collections::VecDeque, error::Error};

struct Node {
    id: NodeId,
    protocol: Paxos,
    service: <Paxos as Algorithm>::Service,
    effects: Effects<Paxos>,
    gate: Gate,
    /// Back-offs that are due: time passes only when nothing else happens.
    due: VecDeque<Timer>,
}

/// What leaves one node in one batch.
#[derive(Default)]
struct Out(Vec<(NodeId, Message)>, Vec<Event>);

impl Outlet<Message, Event> for Out {
    fn message(&mut self, to: NodeId, message: Message) {
        self.0.push((to, message));
    }
    fn event(&mut self, event: Event) {
        self.1.push(event);
    }
    fn release(&mut self, _: Lsn) {}
}

impl Node {
    /// Takes one input and everything that follows from it here. Returns messages for others.
    fn take(&mut self, input: Input<Paxos>, outbox: &mut Outbox<Paxos>) -> Vec<(NodeId, Message)> {
        let mut inputs = VecDeque::from([input]);
        let mut out = Out::default();
        while let Some(input) = inputs.pop_front() {
            self.protocol.handle(Time::ZERO, input, &mut self.effects);
            self.protocol.flush(Time::ZERO, &mut self.effects);
            self.gate.admit(&mut self.effects, &mut out);
            for (timer, after) in self.effects.take_timers() {
                self.due.retain(|due| *due != timer);
                self.due.extend(after.map(|_| timer));
            }
            let (last, _, records) = self.effects.take_records();
            if records.count() > 0 {
                self.gate.open(last, &mut self.effects, &mut out);
                inputs.push_back(Input::Durable(last));
            }
            for event in out.1.drain(..) {
                self.service.event(Time::ZERO, event, outbox);
            }
            inputs.extend(outbox.requests.drain(..).map(Input::Request));
        }
        out.0
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let (members, options) = (Members::new((1..=3).map(NodeId))?, Options::default());
    let mut nodes = Vec::new();
    for id in members.iter() {
        let config = Paxos::config(&options, &members, id)?;
        nodes.push(Node {
            id,
            protocol: Paxos::recover(config, Boot(1), [])?,
            service: Paxos::service(&options, &members, id, Boot(1)),
            effects: Effects::new(Lsn::ZERO),
            gate: Gate::new(Lsn::ZERO),
            due: VecDeque::new(),
        });
    }
    let mut network = VecDeque::new();
    let mut answers = Vec::new();
    for (node, name) in nodes.iter_mut().zip(["Ada", "Barbara", "Grace"]) {
        let insert = Operation::CompareAndSet {
            key: "users/admin".into(),
            expected: Version::ZERO, // If not exists.
            value: name.into(),
        };
        let call = Call {
            id: CallId(u64::from(node.id.0)),
            client: ClientId(u128::from(node.id.0)),
            sequence: Sequence(1),
            body: kv::encode(&insert),
        };
        let mut outbox = Outbox::default();
        node.service.call(Time::ZERO, call, &mut outbox);
        let from = node.id;
        for request in std::mem::take(&mut outbox.requests) {
            let sent = node.take(Input::Request(request), &mut outbox);
            network.extend(sent.into_iter().map(|(to, message)| (from, to, message)));
        }
    }
    while answers.len() < 3 {
        let (at, input) = match network.pop_front() {
            Some((from, to, message)) => (to, Input::Receive { from, message }),
            None => nodes
                .iter_mut()
                .find_map(|node| Some((node.id, Input::Timer(node.due.pop_front()?))))
                .ok_or("nothing is left to happen")?,
        };
        let node = &mut nodes[usize::from(at.0) - 1];
        let mut outbox = Outbox::default();
        let sent = node.take(input, &mut outbox);
        network.extend(sent.into_iter().map(|(to, message)| (at, to, message)));
        answers.append(&mut outbox.answers);
    }
    for (id, answer) in answers {
        let Answer::Done(body) = answer else {
            return Err(format!("call {id:?} ended as {answer:?}").into());
        };
        match Outcome::decode(body)? {
            Outcome::Written { version, .. } => {
                println!("node {}: inserted as version {version}", id.0)
            }
            Outcome::Mismatch { version, .. } => {
                println!("node {}: exists, version {version}", id.0)
            }
            other => println!("node {}: {other:?}", id.0),
        }
    }
    Ok(())
}
