//! What a command costs in memory: its place in a run, and nothing besides. However many commands a batch
//! has, the batch is one run, and the run is one allocation that leader, disk, followers and applications
//! share.

use consensus_core::{
    Epoch, Index, Input, NodeId, Protocol,
    contract::replicated_log::{Manifest, Membership, Request, SnapshotId},
    log::Commands,
    sim::bare::Bare,
};
use raft::{Options, Raft, Timer};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};
use std::alloc::System;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const BATCHES: u64 = 512;

const LEADER: NodeId = NodeId(1);
const NODES: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

/// Three nodes, the first of which leads; nothing is kept by disks and applications.
fn led() -> Bare<Raft> {
    let options = Options {
        keep_bytes: 0,
        ..Options::default()
    };
    let mut group = Bare::new(3, &options);
    group.settle(|_, _| None);
    for alarm in [Timer::Quiet, Timer::Election] {
        group.input(LEADER, Input::Timer(alarm));
    }
    group.settle(|_, _| None);
    group
}

/// What `BATCHES` batches of `size` commands cost, without what the client makes: its commands. What is
/// applied then goes, as it would in any node that lives long.
fn round(group: &mut Bare<Raft>, last: &mut u64, size: u64, payload: &[u8]) -> Stats {
    let mut batch = Commands::default();
    (0..size).for_each(|_| batch.push(payload));
    let mut batches: Vec<Commands> = (0..BATCHES).map(|_| batch.clone()).collect();
    let region = Region::new(ALLOCATOR);
    while let Some(commands) = batches.pop() {
        let request = Request::Propose {
            token: None,
            commands,
        };
        group.input(LEADER, Input::Request(request));
        group.settle(|_, _| None);
    }
    let stats = region.change();
    *last += BATCHES * size;
    // A heartbeat, so that everybody knows what is committed.
    group.input(LEADER, Input::Timer(Timer::Heartbeat));
    group.settle(|_, _| None);
    for node in NODES {
        assert_eq!(group.protocol(node).status().commit, Index(*last), "{node}");
        let manifest = Manifest {
            id: SnapshotId(u128::from(*last)),
            index: Index(*last),
            epoch: Epoch::of_term(1),
            members: Membership::default(),
            coming: Vec::new(),
            size: 0,
        };
        let taken = Request::SnapshotTaken(Box::new(manifest));
        group.input(node, Input::Request(taken));
    }
    group.settle(|_, _| None);
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
