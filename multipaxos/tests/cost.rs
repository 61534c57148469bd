//! What things cost, counted exactly: messages and forced writes.

mod cluster;

use cluster::Cluster;
use consensus_core::{NodeId, Token, contract::replicated_log::Request, log::Commands};
use multipaxos::{Options, Record};
use std::time::Duration;

/// Node 1 leads, nobody else tries to, and nothing is under way.
fn led(count: u16) -> Cluster {
    let options = Options {
        elections: false,
        ..Options::default()
    };
    let mut cluster = Cluster::new(count, options);
    let lead = Request::TransferLeadership {
        token: Token(1),
        to: Some(NodeId(1)),
    };
    cluster.ask(1, lead);
    cluster.run(Duration::from_millis(20));
    assert_eq!(cluster.leaders(), [1]);
    cluster.sent.clear();
    cluster
}

#[test]
fn a_leader_is_elected_in_one_round_trip_and_says_so() {
    for count in [3, 5, 7] {
        let options = Options {
            elections: false,
            ..Options::default()
        };
        let mut cluster = Cluster::new(count, options);
        let lead = Request::TransferLeadership {
            token: Token(1),
            to: Some(NodeId(1)),
        };
        cluster.ask(1, lead);
        cluster.run(Duration::from_millis(2));
        assert_eq!(cluster.leaders(), [1]);
        // Prepare, Promise and Decide.
        assert_eq!(cluster.sent.len(), 3 * (usize::from(count) - 1));
    }
}

#[test]
fn a_lone_batch_costs_three_messages_a_peer_and_one_write_a_node() {
    for count in [3, 5, 7] {
        let mut cluster = led(count);
        let mut commands = Commands::default();
        (0..100).for_each(|_| commands.push(b"x"));
        let token = None;
        cluster.ask(1, Request::Propose { token, commands });
        cluster.run(Duration::from_millis(10));
        assert_eq!(cluster.sent.len(), 3 * (usize::from(count) - 1));
        for node in 1..=count {
            assert_eq!(cluster.told(node).len(), 100);
            let disk = cluster.stop(node);
            let accepted = |record: &&Record| matches!(record, Record::Accepted { .. });
            assert_eq!(disk.iter().filter(accepted).count(), 1);
        }
    }
}

#[test]
fn reads_cost_two_messages_a_peer_and_no_write() {
    for count in [3, 5, 7] {
        let mut cluster = led(count);
        cluster.ask(1, Request::Read { token: Token(2) });
        cluster.run(Duration::from_millis(10));
        assert_eq!(cluster.sent.len(), 2 * (usize::from(count) - 1));
        let disk = cluster.stop(1);
        assert_eq!(disk.len(), 1, "the promise: {disk:?}");
    }
}
