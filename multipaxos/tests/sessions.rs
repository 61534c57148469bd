//! What clients are promised across leaders and snapshots, with the real service on top of the log. The
//! words of scenarios know no sessions, so these are told in Rust.

mod cluster;

use bytes::Bytes;
use cluster::Cluster;
use consensus_core::{
    ClientId, Decoder, Field as _, Index, NodeId, Sequence, Time, Token, Wire as _,
    contract::{register::Version, replicated_log::Request},
    kv::{self, Operation, Outcome},
    service::{
        Answer, Call, CallId, Outbox, Service, SnapshotOrder,
        key_value::KeyValue,
        replicated_log::{Limits, LogService},
    },
};
use multipaxos::{MultiPaxos, Options};
use std::{collections::BTreeMap, time::Duration};

const MILLISECOND: Duration = Duration::from_millis(1);
const CLIENT: ClientId = ClientId(7);

/// One node's application: what it was told so far, and what its clients were.
struct Application {
    service: LogService<KeyValue>,
    heard: usize,
    answers: BTreeMap<u64, Answer>,
    snapshots: Vec<SnapshotOrder>,
}

/// Nodes 1 to 3 that lead when told to, each with its application.
struct Served {
    cluster: Cluster,
    applications: BTreeMap<u16, Application>,
    calls: u64,
}

impl Served {
    fn new(limits: Limits) -> Self {
        let options = Options {
            elections: false,
            ..Options::default()
        };
        let application = |node| {
            let service = LogService::new(NodeId(node), KeyValue::default(), limits);
            let application = Application {
                service,
                heard: 0,
                answers: BTreeMap::new(),
                snapshots: Vec::new(),
            };
            (node, application)
        };
        Self {
            cluster: Cluster::new(3, options),
            applications: (1..=3).map(application).collect(),
            calls: 0,
        }
    }

    /// Applications hear what their nodes have to say, and ask for what they want.
    fn settle(&mut self, node: u16, mut out: Outbox<MultiPaxos>) {
        let application = self.applications.get_mut(&node).expect("it runs");
        loop {
            let events: Vec<_> = self.cluster.events(node).cloned().collect();
            for event in &events[application.heard..] {
                application
                    .service
                    .event(Time::ZERO, event.clone(), &mut out);
            }
            application.heard = events.len();
            let answers = out.answers.drain(..).map(|(id, answer)| (id.0, answer));
            application.answers.extend(answers);
            application.snapshots.append(&mut out.snapshots);
            if out.requests.is_empty() {
                return;
            }
            for request in out.requests.drain(..) {
                self.cluster.ask(node, request);
            }
        }
    }

    fn run(&mut self, span: Duration) {
        self.cluster.run(span);
        for node in 1..=3 {
            self.settle(node, Outbox::default());
        }
    }

    fn lead(&mut self, node: u16) {
        let (token, to) = (Token(0), Some(NodeId(node)));
        self.cluster
            .ask(node, Request::TransferLeadership { token, to });
    }

    /// The client's call at `node`; sequence zero opens its session.
    fn call(&mut self, node: u16, sequence: u64, value: &'static str) -> u64 {
        self.calls += 1;
        let put = Operation::Put {
            key: "k".into(),
            value: value.into(),
        };
        let call = Call {
            id: CallId(self.calls),
            client: CLIENT,
            sequence: Sequence(sequence),
            body: if sequence == 0 {
                Bytes::new()
            } else {
                kv::encode(&put)
            },
        };
        let mut out = Outbox::default();
        let application = self.applications.get_mut(&node).expect("it runs");
        application.service.call(Time::ZERO, call, &mut out);
        self.settle(node, out);
        self.calls
    }

    fn written(&self, node: u16, call: u64) -> Option<(u64, Version)> {
        match self.applications[&node].answers.get(&call) {
            Some(Answer::Done(bytes)) => match Outcome::decode(bytes.clone()) {
                Ok(Outcome::Written { position, version }) => Some((position, version)),
                _ => None,
            },
            _ => None,
        }
    }
}

/// MP-14: a leader dies with a command in the log, and the client tries again at its heir before that
/// has recovered it: the log holds the command twice, it is executed once, and the client is told what
/// the first one did.
#[test]
fn a_command_tried_again_at_the_next_leader_is_executed_once() {
    let mut served = Served::new(Limits::default());
    served.lead(1);
    served.run(10 * MILLISECOND);
    served.call(1, 0, "");
    served.run(10 * MILLISECOND);
    served.cluster.cut(1, 3);
    served.call(1, 1, "x");
    served.run(MILLISECOND);
    served.cluster.stop(1);
    let before = served.cluster.status(2).chosen;
    served.lead(2);
    served.run(2 * MILLISECOND);
    assert_eq!(served.cluster.leaders(), [2]);
    assert_eq!(
        served.cluster.status(2).chosen,
        before,
        "recovered, not chosen"
    );
    let again = served.call(2, 1, "x");
    assert_eq!(served.written(2, again), None);
    served.run(10 * MILLISECOND);
    assert_eq!(
        served.cluster.status(2).chosen,
        Index(before.0 + 2),
        "it stands there twice"
    );
    let first = (before.0 + 1, Version(1));
    assert_eq!(
        served.written(2, again),
        Some(first),
        "where it took effect"
    );
    let third = served.call(2, 1, "x");
    served.run(10 * MILLISECOND);
    assert_eq!(served.written(2, third), Some(first));
    let next = served.call(2, 2, "y");
    served.run(10 * MILLISECOND);
    assert_eq!(served.written(2, next), Some((before.0 + 4, Version(2))));
}

/// MP-17: a snapshot holds exactly what its label says, sessions included, although its bytes are read
/// when more has been applied; and what comes after it is executed as it would have been without.
#[test]
fn a_snapshot_is_of_what_its_label_says_and_knows_the_sessions() {
    let limits = Limits {
        snapshot_bytes: 60,
        ..Limits::default()
    };
    let mut served = Served::new(limits);
    served.lead(1);
    served.run(10 * MILLISECOND);
    served.call(1, 0, "");
    served.run(10 * MILLISECOND);
    for (sequence, value) in [(1, "a"), (2, "b"), (3, "c"), (4, "d")] {
        served.call(1, sequence, value);
        // The next is under way while this one is applied.
        served.run(MILLISECOND);
    }
    served.call(1, 4, "d");
    served.run(10 * MILLISECOND);
    let at = served.applications[&2].service.applied();
    let orders = &mut served.applications.get_mut(&2).expect("it runs").snapshots;
    assert_eq!(orders.len(), 1, "another waits for this one");
    let Some(SnapshotOrder::Keep { manifest, chunks }) = orders.pop() else {
        panic!("{orders:?}");
    };
    assert!(manifest.index < at, "{} was applied when it was read", at);
    let chunks: Vec<Bytes> = chunks.collect();
    let label = Index::take(&mut Decoder::new(chunks[0].clone())).expect("it begins with that");
    assert_eq!(label, manifest.index);

    let mut restored = LogService::new(NodeId(3), KeyValue::default(), limits);
    let mut out = Outbox::<MultiPaxos>::default();
    restored
        .restore(chunks.into_iter(), &mut out)
        .expect("it is whole");
    assert_eq!(restored.applied(), manifest.index);
    assert_ne!(
        restored.machine(),
        served.applications[&2].service.machine()
    );
    for event in served.cluster.events(2) {
        let consensus_core::contract::replicated_log::Event::Committed(run) = event else {
            continue;
        };
        if let Some(rest) = run.cut(manifest.index.next()..run.last().next()) {
            let event = consensus_core::contract::replicated_log::Event::Committed(rest);
            restored.event(Time::ZERO, event, &mut out);
        }
    }
    let known = &served.applications[&2].service;
    assert_eq!(restored.machine(), known.machine());
    // State and sessions byte for byte.
    assert!(restored.frozen().eq(known.frozen()));
}
