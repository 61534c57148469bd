//! Conditional updates of a table, as Cassandra has them: `INSERT … IF NOT EXISTS` and
//! `UPDATE … IF column = value`, each cell a compare-and-set register.
//!
//! Three clients want the same name at once, and one gets it; then two change the mail address of the
//! same user, and the one whose condition no longer holds is told so.
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

type Fallible<T> = Result<T, Box<dyn Error>>;

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

/// Three nodes and what is under way between them.
struct Cluster {
    nodes: Vec<Node>,
    network: VecDeque<(NodeId, NodeId, Message)>,
    calls: u64,
}

impl Cluster {
    fn new() -> Fallible<Self> {
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
        Ok(Self {
            nodes,
            network: VecDeque::new(),
            calls: 0,
        })
    }

    /// Hands `input` to a node, and what it sends to the network.
    fn take(&mut self, at: NodeId, input: Input<Paxos>, outbox: &mut Outbox<Paxos>) {
        let sent = self.nodes[usize::from(at.0) - 1].take(input, outbox);
        let sent = sent.into_iter().map(|(to, message)| (at, to, message));
        self.network.extend(sent);
    }

    /// Does `asked` at the same time, each at its node; the outcomes in the same order.
    fn all(&mut self, asked: &[(NodeId, Operation)]) -> Fallible<Vec<Outcome>> {
        let mut answers = Vec::new();
        for (at, operation) in asked {
            self.calls += 1;
            let call = Call {
                id: CallId(self.calls),
                client: ClientId(u128::from(at.0)),
                sequence: Sequence(self.calls),
                body: kv::encode(operation),
            };
            let mut outbox = Outbox::default();
            let service = &mut self.nodes[usize::from(at.0) - 1].service;
            service.call(Time::ZERO, call, &mut outbox);
            for request in std::mem::take(&mut outbox.requests) {
                self.take(*at, Input::Request(request), &mut outbox);
            }
            answers.append(&mut outbox.answers);
        }
        while answers.len() < asked.len() {
            let (at, input) = self.next().ok_or("nothing is left to happen")?;
            let mut outbox = Outbox::default();
            self.take(at, input, &mut outbox);
            answers.append(&mut outbox.answers);
        }
        answers.sort_by_key(|(id, _)| id.0);
        let outcome = |(id, answer): (CallId, Answer)| match answer {
            Answer::Done(body) => Ok(Outcome::decode(body)?),
            other => Err(format!("call {} ended as {other:?}", id.0).into()),
        };
        answers.into_iter().map(outcome).collect()
    }

    /// A message arrives; when there is none, time passes.
    fn next(&mut self) -> Option<(NodeId, Input<Paxos>)> {
        if let Some((from, to, message)) = self.network.pop_front() {
            return Some((to, Input::Receive { from, message }));
        }
        let due = |node: &mut Node| Some((node.id, Input::Timer(node.due.pop_front()?)));
        self.nodes.iter_mut().find_map(due)
    }

    /// `INSERT … IF NOT EXISTS`, by several clients at once; to whom it was granted.
    fn insert_if_not_exists(
        &mut self,
        cell: &str,
        values: &[(NodeId, &str)],
    ) -> Fallible<Vec<bool>> {
        let insert = |(at, value): &(NodeId, &str)| {
            let operation = Operation::CompareAndSet {
                key: cell.to_owned().into(),
                expected: Version::ZERO,
                value: (*value).to_owned().into(),
            };
            (*at, operation)
        };
        let asked: Vec<_> = values.iter().map(insert).collect();
        Ok(self.all(&asked)?.iter().map(is_written).collect())
    }

    /// The cell's version and value.
    fn select(&mut self, at: NodeId, cell: &str) -> Fallible<(Version, String)> {
        let key = cell.to_owned().into();
        match self.all(&[(at, Operation::Get { key })])?.remove(0) {
            Outcome::Value { version, value, .. } => {
                Ok((version, String::from_utf8_lossy(&value).into_owned()))
            }
            other => Err(format!("a read gave {other:?}").into()),
        }
    }

    /// `UPDATE … SET cell = value IF cell = current`. It writes over the very version that it has read;
    /// when another came in between, it looks again.
    fn update_if(&mut self, at: NodeId, cell: &str, current: &str, value: &str) -> Fallible<bool> {
        loop {
            let (expected, found) = self.select(at, cell)?;
            if expected == Version::ZERO || found != current {
                return Ok(false);
            }
            let update = Operation::CompareAndSet {
                key: cell.to_owned().into(),
                expected,
                value: value.to_owned().into(),
            };
            if is_written(&self.all(&[(at, update)])?[0]) {
                return Ok(true);
            }
        }
    }
}

fn is_written(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Written { .. })
}

fn main() -> Fallible<()> {
    let mut cluster = Cluster::new()?;
    let [a, b, c] = [1, 2, 3].map(NodeId);
    let names = [(a, "Ada"), (b, "Barbara"), (c, "Grace")];
    let granted = cluster.insert_if_not_exists("users/admin/name", &names)?;
    for ((node, name), granted) in names.iter().zip(granted) {
        let outcome = if granted { "applied" } else { "exists already" };
        println!("node {node}: INSERT '{name}' IF NOT EXISTS: {outcome}");
    }
    let (_, name) = cluster.select(c, "users/admin/name")?;
    println!("node {c}: the admin is {name}");

    let mail = "users/admin/mail";
    cluster.insert_if_not_exists(mail, &[(a, "old@example.org")])?;
    for (node, value) in [(b, "new@example.org"), (c, "other@example.org")] {
        let applied = cluster.update_if(node, mail, "old@example.org", value)?;
        let outcome = if applied {
            "applied"
        } else {
            "the condition does not hold"
        };
        println!("node {node}: UPDATE mail = '{value}' IF mail = 'old@example.org': {outcome}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_three_who_insert_one_is_granted_and_everybody_sees_it() -> Fallible<()> {
        let mut cluster = Cluster::new()?;
        let names = [
            (NodeId(1), "Ada"),
            (NodeId(2), "Barbara"),
            (NodeId(3), "Grace"),
        ];
        let granted = cluster.insert_if_not_exists("name", &names)?;
        let winners: Vec<_> = names.iter().zip(granted).filter(|(_, won)| *won).collect();
        assert_eq!(winners.len(), 1, "{winners:?}");
        for node in 1..=3 {
            let (version, name) = cluster.select(NodeId(node), "name")?;
            assert_eq!(
                (version, &*name),
                (Version(1), winners[0].0.1),
                "node {node}"
            );
        }
        Ok(())
    }

    #[test]
    fn an_update_is_applied_only_while_its_condition_holds() -> Fallible<()> {
        let mut cluster = Cluster::new()?;
        let [a, b, c] = [1, 2, 3].map(NodeId);
        assert!(
            !cluster.update_if(a, "mail", "", "x")?,
            "there is no such row"
        );
        cluster.insert_if_not_exists("mail", &[(a, "old")])?;
        assert!(cluster.update_if(b, "mail", "old", "new")?);
        assert!(!cluster.update_if(c, "mail", "old", "other")?);
        assert_eq!(cluster.select(a, "mail")?, (Version(2), "new".to_owned()));
        Ok(())
    }
}
