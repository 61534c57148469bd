//! What a command costs in memory: its place in a run, and nothing besides. However many commands a batch
//! has, the batch is one run, and the run is one allocation that leader, disks, acceptors and applications
//! share.

use consensus_core::{
    Algorithm, Index, Input, NodeId, Protocol,
    contract::replicated_log::{Manifest, Membership, Request, SnapshotId},
    log::Commands,
    sim::bare::Bare,
};
use multipaxos::{MultiPaxos, Options, Timer};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};
use std::alloc::System;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const BATCHES: u64 = 512;
const LEADER: NodeId = NodeId(1);
const NODES: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

/// Three nodes, the first of which leads; applications keep nothing.
fn led() -> Bare<MultiPaxos> {
    let options = Options {
        keep_bytes: 0,
        elections: false,
        ..Options::default()
    };
    let mut group = Bare::<MultiPaxos>::new(3, &options);
    let lead = Request::TransferLeadership {
        token: Default::default(),
        to: Some(LEADER),
    };
    group.input(LEADER, Input::Request(lead));
    group.settle(|_, _| None);
    assert_eq!(group.protocol(LEADER).leader(), Some(LEADER));
    group
}

/// What `BATCHES` batches of `size` commands cost, without what the client makes: its commands. What is
/// executed then goes, as it would in any node that lives long.
fn round(group: &mut Bare<MultiPaxos>, last: &mut u64, size: u64, payload: &[u8]) -> Stats {
    let mut batch = Commands::default();
    (0..size).for_each(|_| batch.push(payload));
    let mut batches: Vec<Commands> = (0..BATCHES).map(|_| batch.clone()).collect();
    let region = Region::new(ALLOCATOR);
    while let Some(commands) = batches.pop() {
        let token = None;
        let propose = Request::Propose { token, commands };
        group.input(LEADER, Input::Request(propose));
        group.settle(|_, _| None);
    }
    let stats = region.change();
    *last += BATCHES * size;
    // A round of heartbeats, so that everybody knows what is chosen.
    for node in NODES {
        group.input(node, Input::Timer(Timer::Heartbeat));
    }
    group.settle(|_, _| None);
    for node in NODES {
        let status = group.protocol(node).status();
        assert_eq!(status.chosen, Index(*last), "{node}");
        let manifest = Manifest {
            id: SnapshotId(u128::from(*last)),
            index: Index(*last),
            epoch: status.promised.into(),
            members: Membership::default(),
            coming: Vec::new(),
            size: 0,
        };
        let taken = Request::SnapshotTaken(Box::new(manifest));
        group.input(node, Input::Request(taken));
    }
    group.settle(|_, _| None);
    for node in NODES {
        let reclaim = Input::Reclaim(group.durable(node));
        group.input(node, reclaim);
    }
    group.settle(|_, _| None);
    stats
}

/// One test, because the counter counts for the whole process.
#[test]
fn a_batch_of_commands_is_one_allocation_whatever_its_size() {
    let mut group = led();
    let mut last = 0;
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
