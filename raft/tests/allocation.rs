//! What a command costs in memory: its place in a run, and nothing besides. However many commands a batch
//! has, the batch is one run, and the run is one allocation that leader, disk, followers and applications
//! share.

mod bare;

use bare::{Group, Node, config};
use consensus_core::{Epoch, Index, Input, contract::replicated_log::Request, log::Commands};
use raft::Timer;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};
use std::alloc::System;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const BATCHES: u64 = 512;

/// Three nodes, the first of which leads; nothing is kept by disks and applications.
fn led() -> Group {
    let node = |id| {
        let mut config = config(id, 3);
        config.keep_bytes = 0;
        let mut node = Node::with(config, []);
        (node.disk, node.out.deaf) = (None, true);
        node
    };
    let mut group = Group((1..=3).map(node).collect());
    group.stand(1);
    group.settle(|_, _| {});
    group
}

/// What `BATCHES` batches of `size` commands cost, without what the client makes: its commands. What is
/// applied then goes, as it would in any node that lives long.
fn round(group: &mut Group, last: &mut u64, size: u64, payload: &[u8]) -> Stats {
    let mut batch = Commands::default();
    (0..size).for_each(|_| batch.push(payload));
    let mut batches: Vec<Commands> = (0..BATCHES).map(|_| batch.clone()).collect();
    let region = Region::new(ALLOCATOR);
    while let Some(commands) = batches.pop() {
        let request = Request::Propose {
            token: None,
            commands,
        };
        group.node(1).batch([Input::Request(request)]);
        group.settle(|_, _| {});
    }
    let stats = region.change();
    *last += BATCHES * size;
    // A heartbeat, so that everybody knows what is committed.
    group.node(1).batch([Input::Timer(Timer::Heartbeat)]);
    group.settle(|_, _| {});
    for node in &mut group.0 {
        node.snapshot(Index(*last), Epoch::of_term(1));
    }
    stats
}

/// One test, because the counter counts for the whole process.
#[test]
fn a_batch_of_commands_is_one_allocation_whatever_its_size() {
    let mut group = led();
    let mut last = 1;
    for size in [1, 64] {
        round(&mut group, &mut last, size, &[1; 64]);
    }
    for size in [1, 4, 64, 256] {
        round(&mut group, &mut last, size, &[1; 64]);
        let found = round(&mut group, &mut last, size, &[1; 64]);
        println!(
            "batches of {size}: {} allocations, {} reallocations, {} bytes a batch",
            found.allocations as f64 / BATCHES as f64,
            found.reallocations as f64 / BATCHES as f64,
            found.bytes_allocated as u64 / BATCHES,
        );
        // The run; the ends of its commands are written behind them.
        assert_eq!(found.allocations as u64, BATCHES, "{size}");
        assert!(found.reallocations as u64 <= BATCHES, "{size}");
        let payload = size * 64;
        assert!(
            found.bytes_allocated as u64 <= BATCHES * (payload + 8 * size + 80),
            "{size}"
        );
        let again = round(&mut group, &mut last, size, &[1; 64]);
        assert_eq!(found.allocations, again.allocations, "{size}");
        assert_eq!(found.bytes_allocated, again.bytes_allocated, "{size}");
    }
}
