//! Who leads when some links work and some do not [Ng23 §2].

mod cluster;

use cluster::Cluster;
use consensus_core::{
    Index,
    contract::replicated_log::{Manifest, Membership, Request, SnapshotId},
};
use multipaxos::{Message, Options};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// A cluster that has elected somebody.
fn settled(count: u16) -> (Cluster, u16) {
    let mut cluster = Cluster::new(count, Options::default());
    cluster.run(SECOND);
    let leaders = cluster.leaders();
    assert_eq!(leaders.len(), 1, "{leaders:?}");
    (cluster, leaders[0])
}

/// The other nodes.
fn others(count: u16, node: u16) -> Vec<u16> {
    (1..=count).filter(|other| *other != node).collect()
}

/// How often somebody new took office at or after ballot round `from`.
fn highest_round(cluster: &Cluster, count: u16) -> u64 {
    let rounds = (1..=count).map(|node| cluster.status(node).promised.round);
    rounds.max().unwrap_or(0)
}

#[test]
fn a_cluster_elects_one_leader_and_keeps_it() {
    for count in [1, 2, 3, 5, 7] {
        let (mut cluster, leader) = settled(count);
        let round = highest_round(&cluster, count);
        cluster.run(10 * SECOND);
        assert_eq!(cluster.leaders(), [leader]);
        assert_eq!(highest_round(&cluster, count), round, "nobody campaigned");
    }
}

#[test]
fn a_dead_leader_is_succeeded_within_half_a_second() {
    let (mut cluster, leader) = settled(5);
    cluster.propose(leader, "x");
    cluster.run(SECOND / 10);
    cluster.stop(leader);
    cluster.run(SECOND / 2);
    let heirs = cluster.leaders();
    assert_eq!(heirs.len(), 1);
    cluster.propose(heirs[0], "y");
    cluster.run(SECOND / 10);
    for node in others(5, leader) {
        let told = cluster.told(node);
        let commands: Vec<_> = told
            .iter()
            .filter_map(|(_, command)| command.as_deref())
            .collect();
        assert_eq!(commands, ["x", "y"]);
    }
}

/// MP-11: only one node keeps all its links, and it is not the leader.
#[test]
fn the_only_node_that_reaches_a_quorum_takes_over() {
    let (mut cluster, leader) = settled(5);
    let middle = others(5, leader)[0];
    let rest = others(5, middle);
    for a in &rest {
        for b in rest.iter().filter(|b| *b != a) {
            cluster.cut(*a, *b);
        }
    }
    cluster.run(SECOND);
    assert_eq!(cluster.leaders(), [middle]);
    cluster.propose(middle, "x");
    cluster.run(SECOND / 10);
    for node in 1..=5 {
        let told = cluster.told(node);
        assert_eq!(
            told.last().and_then(|(_, c)| c.as_deref()),
            Some("x"),
            "{node}"
        );
    }
    let round = highest_round(&cluster, 5);
    cluster.run(10 * SECOND);
    assert_eq!(cluster.leaders(), [middle]);
    assert_eq!(
        highest_round(&cluster, 5),
        round,
        "leadership does not move again"
    );
}

/// The leader is lost, and the only node that still reaches a quorum lacks what was chosen.
#[test]
fn a_node_that_lags_behind_may_take_over() {
    let (mut cluster, leader) = settled(5);
    let behind = others(5, leader)[0];
    cluster.cut(leader, behind);
    for node in others(5, behind) {
        cluster.cut(behind, node);
    }
    for command in ["x", "y", "z"] {
        cluster.propose(leader, command);
    }
    cluster.run(SECOND / 10);
    assert!(cluster.told(behind).is_empty());
    cluster.heal();
    let rest = others(5, behind);
    for a in &rest {
        for b in rest.iter().filter(|b| *b != a) {
            cluster.cut(*a, *b);
        }
    }
    cluster.cut(leader, behind);
    cluster.run(SECOND);
    assert!(
        cluster.leaders().contains(&behind),
        "{:?}",
        cluster.leaders()
    );
    cluster.propose(behind, "last");
    cluster.run(SECOND / 10);
    let told = cluster.told(behind);
    let commands: Vec<_> = told
        .iter()
        .filter_map(|(_, command)| command.as_deref())
        .collect();
    assert_eq!(commands, ["x", "y", "z", "last"]);
}

/// MP-13: a chain of three, the leader at one end. Its follower at the other end has no reason to
/// campaign, for the node between has heard the leader; and it learns through that node.
#[test]
fn a_chain_keeps_its_leader() {
    let (mut cluster, leader) = settled(3);
    let [middle, end] = others(3, leader)[..] else {
        panic!("three nodes");
    };
    let round = highest_round(&cluster, 3);
    cluster.cut(leader, end);
    cluster.run(SECOND);
    cluster.propose(leader, "x");
    cluster.run(10 * SECOND);
    assert_eq!(cluster.leaders(), [leader]);
    assert!(highest_round(&cluster, 3) <= round + 1);
    for node in [leader, middle, end] {
        assert_eq!(
            cluster.told(node).last(),
            Some(&(1, Some("x".into()))),
            "{node}"
        );
    }
}

#[test]
fn a_leader_that_reaches_no_quorum_steps_down_and_says_so() {
    let (mut cluster, leader) = settled(3);
    for node in others(3, leader) {
        cluster.cut(leader, node);
    }
    cluster.run(SECOND);
    assert!(!cluster.leaders().contains(&leader));
    assert_eq!(cluster.status(leader).leader, None);
    assert_eq!(cluster.leaders().len(), 1);
}

/// What the leader has trimmed it can no longer propose to an acceptor that missed it; what comes
/// after it can.
#[test]
fn an_acceptor_that_fell_behind_what_is_trimmed_takes_part_again() {
    let options = Options {
        inflight_accepts_max: 1,
        keep_bytes: 0,
        ..Options::default()
    };
    let mut cluster = Cluster::new(3, options);
    cluster.run(SECOND);
    let leader = cluster.leaders()[0];
    let [other, behind] = others(3, leader)[..] else {
        panic!("three nodes");
    };
    cluster.cut(leader, behind);
    cluster.cut(other, behind);
    for command in ["a", "b", "c", "d"] {
        cluster.propose(leader, command);
        cluster.run(SECOND / 200);
    }
    assert_eq!(cluster.status(leader).chosen, Index(4));
    let manifest = Manifest {
        id: SnapshotId(1),
        index: Index(4),
        epoch: cluster.status(leader).promised.into(),
        members: Membership::default(),
        coming: Vec::new(),
        size: 0,
    };
    cluster.ask(leader, Request::SnapshotTaken(Box::new(manifest)));
    assert_eq!(cluster.status(leader).base, Index(4));
    // The answer to the first accept comes late: the second is what would go out next.
    let late = Message::Accepted {
        ballot: cluster.status(leader).promised,
        first: Index(1),
        last: Index(1),
    };
    cluster.receive(behind, leader, late);
    cluster.heal();
    cluster.run(SECOND / 2);
    assert_eq!(cluster.leaders(), [leader]);
    cluster.stop(other);
    cluster.propose(leader, "e");
    cluster.run(SECOND / 20);
    assert_eq!(cluster.status(leader).chosen, Index(5));
}
