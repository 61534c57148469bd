//! What a measurement rests on: that every harness really runs every algorithm.

#![allow(clippy::unwrap_used)]

use bench::{
    algorithms::{self, Visitor},
    harness::{
        Load, in_memory::InMemory, in_process::InProcess, quic::Quic, virtual_time::VirtualTime,
    },
};
use consensus_core::{Contract, runtime::Runnable};

/// In the steady state nothing waits for an alarm: what is timed in memory is work.
#[test]
fn in_memory_every_node_decides_without_an_alarm() {
    struct Each;
    impl Visitor for Each {
        fn visit<A: Runnable, L: Load<A>>(&mut self) {
            for nodes in [1, 3, 5, 7] {
                let mut cluster = InMemory::<A, L>::new(nodes, &A::Options::default()).unwrap();
                let before = cluster.alarms();
                for window in [1, 16, 256, 4096, 1] {
                    for _ in 0..10 {
                        cluster.decide(window);
                    }
                }
                assert_eq!(cluster.alarms(), before, "{} with {nodes} nodes", A::NAME);
            }
        }
    }
    algorithms::each(&mut Each);
}

#[test]
fn in_process_every_client_is_answered() {
    struct Each;
    impl Visitor for Each {
        fn visit<A: Runnable, L: Load<A>>(&mut self) {
            for clients in [1, 64] {
                let mut cluster = InProcess::<A>::new(3, clients, &A::Options::default()).unwrap();
                cluster.run(5);
                cluster.run(5);
            }
        }
    }
    algorithms::each(&mut Each);
}

#[test]
fn on_real_endpoints_and_disks_a_client_is_answered() {
    struct Each;
    impl Visitor for Each {
        fn visit<A: Runnable, L: Load<A>>(&mut self) {
            let parent = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
            let mut cluster = Quic::<A>::new(parent).unwrap();
            assert!(cluster.run(5) > std::time::Duration::ZERO);
        }
    }
    algorithms::each(&mut Each);
}

/// The delays of the literature: two round trips for a decree of its own, one under a leader; votes
/// alone in two phases, pre-commits besides in three.
#[test]
fn in_virtual_time_a_commit_takes_the_delays_of_its_paper() {
    struct Each;
    impl Visitor for Each {
        fn visit<A: Runnable, L: Load<A>>(&mut self) {
            let delays = match A::CONTRACT {
                Contract::Register => 4,
                Contract::AtomicCommit if A::NAME == "threephase" => 4,
                Contract::ReplicatedLog | Contract::AtomicCommit => 2,
            };
            for nodes in [3, 5, 7] {
                let mut cluster = VirtualTime::<A, L>::new(nodes, &A::Options::default()).unwrap();
                for _ in 0..5 {
                    let took = cluster.decide().unwrap();
                    assert_eq!(took.as_micros(), delays * 1_000, "{} of {nodes}", A::NAME);
                }
            }
        }
    }
    algorithms::each(&mut Each);
}
