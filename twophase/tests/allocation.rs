//! What a transaction costs in memory: as much as the one before it, and nothing that stays.

use bytes::Bytes;
use consensus_core::{
    Input, NodeId, Token,
    contract::atomic_commit::{Event, Kept, Request, Vote},
    sim::bare::Bare,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};
use std::alloc::System;
use twophase::{Options, Presumption, TwoPhase};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const NODES: u16 = 3;

/// Resources vote yes, and keep what they are told in a place of their own.
fn resource(event: Event) -> Option<Request> {
    match event {
        Event::Prepare { transaction, work } => Some(Request::Vote {
            transaction,
            vote: Vote::Yes { redo: work },
        }),
        Event::Commit { transaction, .. } => Some(Request::Done {
            transaction,
            kept: Kept::Resource,
        }),
        _ => None,
    }
}

/// Until nothing is under way. How many transactions have ended.
fn settle(nodes: &mut Bare<TwoPhase>) -> u64 {
    let mut ended = 0;
    nodes.settle(|_, event| {
        ended += u64::from(matches!(event, Event::Ended { .. }));
        resource(event)
    });
    ended
}

fn transact(nodes: &mut Bare<TwoPhase>, count: u64, work: &Bytes) {
    for token in 0..count {
        let work = (1..=NODES).map(|node| (NodeId(node), work.clone()));
        let request = Request::Begin {
            token: Token(token),
            work: work.collect(),
        };
        nodes.input(NodeId(1), Input::Request(request));
        assert_eq!(settle(nodes), 1);
    }
}

fn measured(nodes: &mut Bare<TwoPhase>, count: u64, work: &Bytes) -> Stats {
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
        let mut nodes = Bare::new(NODES, &options);
        let (small, large) = (Bytes::from(vec![1; 16]), Bytes::from(vec![1; 1 << 16]));
        // Sharing for the first time allocates the count.
        drop((small.clone(), large.clone()));
        settle(&mut nodes);
        transact(&mut nodes, 200, &small);
        let early = measured(&mut nodes, 100, &small);
        transact(&mut nodes, 1_000, &small);
        let late = measured(&mut nodes, 100, &small);
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
