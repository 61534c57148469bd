//! What an application's state promises around a snapshot and a read, in the service that all replicated
//! logs share.

use bytes::Bytes;
use consensus_core::{
    ClientId, Epoch, Index, NodeId, Sequence, StateMachine, Time,
    contract::replicated_log::{Event, Request},
    kv::{self, Operation, Outcome},
    log::{Commands, EntryKind, Place},
    service::{
        Answer, Call, CallId, Outbox, Service,
        key_value::KeyValue,
        replicated_log::{Limits, LogService},
    },
};
use raft::Raft;

const CLIENT: ClientId = ClientId(7);

struct Node {
    service: LogService<KeyValue>,
    out: Outbox<Raft>,
    calls: u64,
}

impl Node {
    fn new(node: u16, limits: Limits) -> Self {
        Self {
            service: LogService::new(NodeId(node), KeyValue::default(), limits),
            out: Outbox::default(),
            calls: 0,
        }
    }

    fn call(&mut self, sequence: u64, body: Bytes) -> CallId {
        self.calls += 1;
        let call = Call {
            id: CallId(self.calls),
            client: CLIENT,
            sequence: Sequence(sequence),
            body,
        };
        self.service.call(Time::ZERO, call, &mut self.out);
        CallId(self.calls)
    }

    /// The commands it asks to be proposed.
    fn proposed(&mut self) -> Commands {
        let requests = std::mem::take(&mut self.out.requests);
        let mut proposed = Commands::default();
        for request in requests {
            if let Request::Propose { commands, .. } = request {
                proposed.append(commands);
            }
        }
        proposed
    }

    fn told(&mut self, event: Event) {
        self.service.event(Time::ZERO, event, &mut self.out);
    }

    fn committed(&mut self, commands: Commands) {
        let place = Place {
            first: self.service.applied().next(),
            epoch: Epoch::of_term(1),
            previous: Epoch::of_term(1),
            kind: EntryKind::Command,
        };
        self.told(Event::Committed(commands.place(place)));
    }

    fn version(&self) -> u64 {
        let query = kv::encode(&get());
        let found = self.service.machine().read(self.service.applied(), &query);
        match outcome(found) {
            Outcome::Value { version, .. } => version.0,
            other => panic!("{other:?}"),
        }
    }
}

fn outcome(bytes: Bytes) -> Outcome {
    use consensus_core::Wire;
    Outcome::decode(bytes).expect("an outcome")
}

fn get() -> Operation {
    let key = Bytes::from_static(b"x");
    Operation::Get { key }
}

fn put(value: &'static str) -> Bytes {
    kv::encode(&Operation::Put {
        key: Bytes::from_static(b"x"),
        value: Bytes::from_static(value.as_bytes()),
    })
}

/// RF-87: what a client repeats after its node was restored from a snapshot is not done again.
#[test]
fn rf87_sessions_are_in_the_snapshot() {
    let mut one = Node::new(1, Limits::default());
    one.call(0, Bytes::new());
    let opening = one.proposed();
    one.committed(opening);
    one.call(1, put("first"));
    let first = one.proposed();
    one.committed(first.clone());
    assert_eq!(one.version(), 1);

    let mut two = Node::new(2, Limits::default());
    let restored = two.service.restore(one.service.frozen(), &mut two.out);
    assert_eq!(restored, Ok(()));
    assert_eq!(two.service.applied(), Index(2));
    two.committed(first.clone());
    assert_eq!(two.version(), 1, "an old duplicate was carried out again");
    one.call(2, put("second"));
    let second = one.proposed();
    two.committed(second);
    assert_eq!(two.version(), 2);

    // Without the sessions it would be, or would be refused for want of a session.
    let mut none = Node::new(3, Limits::default());
    none.committed(first);
    assert_eq!(none.version(), 0);
}

/// RF-54: a node that may read waits until its state has what the read must see.
#[test]
fn rf54_a_read_waits_until_its_index_is_applied() {
    let limits = Limits {
        reads_anywhere: true,
        ..Limits::default()
    };
    let mut leader = Node::new(1, limits);
    leader.call(0, Bytes::new());
    let opening = leader.proposed();
    leader.call(1, put("seen"));
    let write = leader.proposed();

    let mut follower = Node::new(2, limits);
    follower.told(Event::LeaderChanged {
        epoch: Epoch::of_term(1),
        leader: Some(NodeId(1)),
    });
    follower.committed(opening);
    let read = follower.call(1, kv::encode(&get()));
    let [Request::Read { token }] = follower.out.requests[..] else {
        panic!("{:?}", follower.out.requests);
    };
    assert!(
        follower.out.answers.is_empty(),
        "it asks its protocol first"
    );
    follower.told(Event::ReadReady {
        token,
        index: Index(2),
    });
    assert!(follower.out.answers.is_empty(), "it has not applied so far");
    follower.committed(write);
    let (answered, Answer::Done(found)) = follower.out.answers.remove(0) else {
        panic!("refused");
    };
    assert_eq!(answered, read);
    let found = outcome(found);
    assert!(
        matches!(&found, Outcome::Value { value, .. } if value == "seen"),
        "{found:?}"
    );

    // A write is the leader's alone.
    follower.call(2, put("not here"));
    assert!(matches!(
        follower.out.answers[..],
        [(_, Answer::Refused(_))]
    ));
}
