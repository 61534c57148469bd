//! What a transaction costs in memory: as much as the one before it, and nothing that stays.

use bytes::Bytes;
use consensus_core::{
    Boot, Effects, Gate, Input, Lsn, Members, NodeId, Outlet, Protocol, Time, Token,
    contract::atomic_commit::{Event, Kept, Request, Vote},
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};
use std::alloc::System;
use twophase::{Config, Message, Options, Presumption, TwoPhase};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const NODES: u16 = 3;

#[derive(Default)]
struct Out {
    messages: Vec<(NodeId, Message)>,
    requests: Vec<Request>,
    ended: u64,
}

impl Outlet<Message, Event> for Out {
    fn message(&mut self, to: NodeId, message: Message) {
        self.messages.push((to, message));
    }
    /// Resources vote yes, and keep what they are told in a place of their own.
    fn event(&mut self, event: Event) {
        match event {
            Event::Prepare { transaction, work } => self.requests.push(Request::Vote {
                transaction,
                vote: Vote::Yes { redo: work },
            }),
            Event::Commit { transaction, .. } => self.requests.push(Request::Done {
                transaction,
                kept: Kept::Resource,
            }),
            Event::Ended { .. } => self.ended += 1,
            _ => {}
        }
    }
    fn release(&mut self, _: Lsn) {}
}

struct Node {
    protocol: TwoPhase,
    effects: Effects<TwoPhase>,
    gate: Gate,
    inbox: Vec<Input<TwoPhase>>,
    spare: Vec<Input<TwoPhase>>,
    out: Out,
}

/// Nodes whose disks write at once and keep nothing.
fn cluster(options: &Options) -> Vec<Node> {
    let members = Members::new((1..=NODES).map(NodeId)).expect("distinct");
    let node = |id| {
        let config = Config::new(id, members.clone(), options.clone()).expect("valid");
        Node {
            protocol: TwoPhase::recover(config, Boot(1), []).expect("an empty disk"),
            effects: Effects::new(Lsn::ZERO),
            gate: Gate::new(Lsn::ZERO),
            inbox: vec![Input::Start],
            spare: Vec::new(),
            out: Out::default(),
        }
    };
    members.iter().map(node).collect()
}

fn settle(nodes: &mut [Node]) {
    while nodes.iter().any(|node| !node.inbox.is_empty()) {
        for place in 0..nodes.len() {
            let node = &mut nodes[place];
            std::mem::swap(&mut node.inbox, &mut node.spare);
            for input in node.spare.drain(..) {
                node.protocol.handle(Time::ZERO, input, &mut node.effects);
            }
            node.protocol.flush(Time::ZERO, &mut node.effects);
            node.gate.admit(&mut node.effects, &mut node.out);
            node.effects.take_timers().for_each(drop);
            let (last, _, records) = node.effects.take_records();
            records.for_each(drop);
            node.gate.open(last, &mut node.effects, &mut node.out);
            let requests = node.out.requests.drain(..);
            node.inbox.extend(requests.map(Input::Request));
            let from = NodeId(place as u16 + 1);
            let mut messages = std::mem::take(&mut node.out.messages);
            for (to, message) in messages.drain(..) {
                let inbox = &mut nodes[usize::from(to.0) - 1].inbox;
                inbox.push(Input::Receive { from, message });
            }
            nodes[place].out.messages = messages;
        }
    }
}

fn transact(nodes: &mut [Node], count: u64, work: &Bytes) {
    for token in 0..count {
        let work = (1..=NODES).map(|node| (NodeId(node), work.clone()));
        let request = Request::Begin {
            token: Token(token),
            work: work.collect(),
        };
        nodes[0].inbox.push(Input::Request(request));
        settle(nodes);
    }
}

fn measured(nodes: &mut [Node], count: u64, work: &Bytes) -> Stats {
    let region = Region::new(ALLOCATOR);
    transact(nodes, count, work);
    region.change()
}

/// One test, because the counter counts for the whole process.
#[test]
fn a_transaction_costs_what_the_one_before_it_did_and_leaves_nothing() {
    for presumption in [
        Presumption::Abort,
        Presumption::Commit,
        Presumption::Nothing,
    ] {
        let options = Options {
            presumption,
            remembered_max: 16,
            ..Options::default()
        };
        let mut nodes = cluster(&options);
        let (small, large) = (Bytes::from(vec![1; 16]), Bytes::from(vec![1; 1 << 16]));
        // Sharing for the first time allocates the count.
        drop((small.clone(), large.clone()));
        settle(&mut nodes);
        transact(&mut nodes, 200, &small);
        let early = measured(&mut nodes, 100, &small);
        transact(&mut nodes, 1_000, &small);
        let late = measured(&mut nodes, 100, &small);
        assert_eq!(nodes[0].out.ended, 1_400);
        println!(
            "{presumption:?}: {} allocations of {} bytes each",
            late.allocations / 100,
            late.bytes_allocated / 100
        );
        assert_eq!(early.allocations, late.allocations, "{presumption:?}");
        assert_eq!(
            late.bytes_allocated, late.bytes_deallocated,
            "{presumption:?}"
        );
        // The work is shared from the request to the resource, never copied.
        let heavy = measured(&mut nodes, 100, &large);
        assert_eq!(
            heavy.bytes_allocated, late.bytes_allocated,
            "{presumption:?}"
        );
    }
}
