//! X10: a node with a good certificate that says what no correct node would. Nothing that it says makes
//! another one panic, overflow or wait for ever for a decoder.
//!
//! Messages of a real run are recorded, with the states of all nodes on the way. In each message every
//! byte, and every number that may begin there, is replaced by extremes; what still decodes is said to some
//! of the states by every other node and by one that is no member, twice, with the alarms that follow.
#![allow(clippy::unwrap_used)]

use bench::{
    algorithms::{Registry as _, Shipped, Visitor},
    harness::Load,
};
use bytes::Bytes;
use consensus_core::{
    Algorithm, Boot, Effects, Gate, Input, Lsn, Members, NodeId, Outlet, Time, Wire as _,
    runtime::Runnable,
};
use rand::RngExt as _;
use rand_pcg::Pcg64;
use std::{
    collections::{BTreeMap, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

const STEPS: usize = 4000;
const STATES: usize = 150;
/// Messages of one kind.
const SAMPLES: usize = 6;
/// Lies told to each algorithm.
const LIES: usize = 30_000;
/// What a follower of Raft does when its leader rewrites what is committed: it stops by name. Believing it
/// is worse, and a correct leader never does it.
const STOPS: &str = "leader completeness: ";

struct Node<A: Algorithm> {
    id: NodeId,
    protocol: A,
    effects: Effects<A>,
    gate: Gate,
    durable: Option<Lsn>,
    last: Lsn,
    alarms: Vec<(A::Timer, Duration)>,
}

struct Out<A: Algorithm> {
    messages: Vec<(NodeId, A::Message)>,
    events: Vec<A::Event>,
}

impl<A: Algorithm> Outlet<A::Message, A::Event> for Out<A> {
    fn message(&mut self, to: NodeId, message: A::Message) {
        self.messages.push((to, message));
    }
    fn event(&mut self, event: A::Event) {
        self.events.push(event);
    }
    fn release(&mut self, _: Lsn) {}
}

impl<A: Algorithm> Node<A> {
    fn new(id: NodeId, protocol: A, last: Lsn) -> Self {
        Self {
            id,
            protocol,
            effects: Effects::new(last),
            gate: Gate::new(last),
            durable: None,
            last,
            alarms: Vec::new(),
        }
    }

    fn batch(&mut self, now: Time, input: Option<Input<A>>) -> Out<A> {
        let mut out = Out {
            messages: Vec::new(),
            events: Vec::new(),
        };
        let durable = self.durable.take().map(Input::Durable);
        for input in durable.into_iter().chain(input) {
            self.protocol.handle(now, input, &mut self.effects);
        }
        self.protocol.flush(now, &mut self.effects);
        self.gate.admit(&mut self.effects, &mut out);
        if self.effects.has_records() {
            let (last, _, records) = self.effects.take_records();
            drop(records);
            self.gate.open(last, &mut self.effects, &mut out);
            (self.durable, self.last) = (Some(last), last);
        }
        for (alarm, after) in self.effects.take_timers() {
            self.alarms.retain(|(known, _)| *known != alarm);
            self.alarms
                .extend(after.map(|after| (alarm, *after.start())));
        }
        out
    }
}

/// A state to lie to: whose, how far its disk was, and which alarms were set.
struct State<A: Algorithm> {
    id: NodeId,
    protocol: A,
    last: Lsn,
    alarms: Vec<A::Timer>,
}

struct Recorded<A: Algorithm> {
    states: Vec<State<A>>,
    messages: BTreeMap<&'static str, Vec<Vec<u8>>>,
    now: Time,
}

/// Three nodes that decide some commands, lose a message now and then, and hear their alarms.
fn record<A: Algorithm, L: Load<A>>() -> Recorded<A> {
    let members = Members::new((1..=3).map(NodeId)).unwrap();
    let start = |id| {
        let config = A::config(&A::Options::default(), &members, id).unwrap();
        Node::new(id, A::recover(config, Boot(1), []).unwrap(), Lsn::ZERO)
    };
    let mut nodes: Vec<Node<A>> = members.iter().map(start).collect();
    let mut inboxes: Vec<VecDeque<Input<A>>> = (0..3).map(|_| [Input::Start].into()).collect();
    let (mut load, mut proposed) = (L::new(3), 0);
    let mut recorded = Recorded {
        states: Vec::new(),
        messages: BTreeMap::new(),
        now: Time::ZERO,
    };
    for step in 0..STEPS {
        let at = step % 3;
        let node = &mut nodes[at];
        let input = inboxes[at].pop_front();
        if input.is_some() || node.durable.is_some() {
            if node.durable.is_none() && step % 7 < 3 && recorded.states.len() < STATES {
                recorded.states.push(State {
                    id: node.id,
                    protocol: node.protocol.clone(),
                    last: node.last,
                    alarms: node.alarms.iter().map(|(alarm, _)| *alarm).collect(),
                });
            }
            let (from, out) = (node.id, node.batch(recorded.now, input));
            for (to, message) in out.messages {
                let mut bytes = Vec::new();
                message.encode(&mut bytes);
                let known = recorded.messages.entry(message.kind()).or_default();
                if known.len() < SAMPLES && !known.contains(&bytes) {
                    known.push(bytes);
                }
                if !step.is_multiple_of(41) {
                    inboxes[usize::from(to.0) - 1].push_back(Input::Receive { from, message });
                }
            }
            for event in out.events {
                let inbox = &mut inboxes[at];
                // Lost messages make the load's commands fail, of which it has no opinion.
                let _ = catch_unwind(AssertUnwindSafe(|| {
                    load.told(from, event, &mut |request| {
                        inbox.push_back(Input::Request(request));
                    })
                }));
            }
        }
        let idle = inboxes.iter().all(VecDeque::is_empty);
        if !idle || nodes.iter().any(|node| node.durable.is_some()) {
            continue;
        }
        if load.is_ready() && proposed < 40 {
            proposed += 1;
            load.propose(1, &mut |to, request| {
                inboxes[usize::from(to.0) - 1].push_back(Input::Request(request));
            });
        } else if let Some((alarm, after)) = nodes[at].alarms.iter().min_by_key(|a| a.1).copied() {
            nodes[at].alarms.retain(|(known, _)| *known != alarm);
            recorded.now = recorded.now + after;
            inboxes[at].push_back(Input::Timer(alarm));
        }
    }
    recorded
}

/// What a liar makes of a message: each byte and each number in it replaced.
fn lies(bytes: &[u8]) -> Vec<Vec<u8>> {
    const NUMBERS: [&[u8]; 5] = [
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
        &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
        &[0xff, 0xff, 0xff, 0xff, 15],
        &[0xff, 0xff, 3],
        &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 64],
    ];
    let mut all = vec![bytes.to_vec()];
    for at in 0..bytes.len().min(80) {
        for byte in [
            0,
            1,
            0x7f,
            bytes[at].wrapping_add(1),
            bytes[at].wrapping_sub(1),
        ] {
            all.push([&bytes[..at], &[byte], &bytes[at + 1..]].concat());
        }
        let rest = &bytes[at..];
        let length = rest
            .iter()
            .position(|byte| byte & 0x80 == 0)
            .map_or(1, |n| n + 1);
        for number in NUMBERS {
            all.push([&bytes[..at], number, &rest[length..]].concat());
        }
    }
    all
}

/// Says `message` to a copy of the state; the node's last words if it panics.
fn say<A: Algorithm>(
    state: &State<A>,
    from: NodeId,
    message: &A::Message,
    now: Time,
) -> Option<String> {
    let mut node = Node::new(state.id, state.protocol.clone(), state.last);
    let said = catch_unwind(AssertUnwindSafe(|| {
        for later in [60, 65] {
            let now = now + Duration::from_secs(later);
            let message = message.clone();
            node.batch(now, Some(Input::Receive { from, message }));
            node.batch(now, None);
            let set: Vec<_> = node.alarms.iter().map(|(alarm, _)| *alarm).collect();
            for alarm in state.alarms.iter().copied().chain(set) {
                node.batch(now, Some(Input::Timer(alarm)));
            }
        }
        let _ = node.protocol.status();
    }));
    said.err().map(|words| match words.downcast::<String>() {
        Ok(words) => *words,
        Err(words) => words
            .downcast::<&str>()
            .map_or_else(|_| "?".into(), |w| w.to_string()),
    })
}

/// Says lies to every algorithm; what made a node panic.
#[derive(Default)]
struct Liar(Vec<String>);

impl Visitor for Liar {
    fn visit<A: Runnable, L: Load<A>>(&mut self) {
        let recorded = record::<A, L>();
        let decoded = |samples: &Vec<Vec<u8>>| {
            let lies = samples.iter().flat_map(|bytes| lies(bytes));
            lies.filter_map(|bytes| A::Message::decode(Bytes::from(bytes)).ok())
                .collect()
        };
        let told: Vec<Vec<A::Message>> = recorded.messages.values().map(decoded).collect();
        let (mut stops, mut chance) = (0, Pcg64::new(10, 1));
        for turn in 0..LIES {
            // Of rare kinds as many as of others.
            let kind = &told[turn % told.len()];
            let message = &kind[turn / told.len() % kind.len()];
            let state = &recorded.states[chance.random_range(0..recorded.states.len())];
            let liars = [state.id.0 % 3 + 1, (state.id.0 + 1) % 3 + 1, 9];
            let from = NodeId(liars[chance.random_range(0..3)]);
            match say(state, from, message, recorded.now) {
                Some(words) if words.starts_with(STOPS) => stops += 1,
                Some(words) => {
                    let (name, node) = (A::NAME, state.id);
                    let found =
                        format!("{name}: node {node} panics at {message:?} from {from}: {words}");
                    return self.0.push(found);
                }
                None => {}
            }
        }
        println!(
            "{}: {LIES} lies out of {} messages of {} kinds, {stops} stops by name",
            A::NAME,
            told.iter().map(Vec::len).sum::<usize>(),
            told.len()
        );
        if stops > LIES / 2 || told.len() < 5 {
            self.0
                .push(format!("{}: hardly anything was tried", A::NAME));
        }
    }
}

#[test]
fn x10_no_message_of_a_member_makes_a_node_panic() {
    let mut liar = Liar::default();
    let hook = std::panic::take_hook();
    // Hundreds of stops by name would be all that is seen.
    std::panic::set_hook(Box::new(|_| {}));
    Shipped::each(&mut liar);
    std::panic::set_hook(hook);
    assert!(liar.0.is_empty(), "{:#?}", liar.0);
}
