//! Changing who belongs to the group, while it works [Lamport01 §3].

mod cluster;

use cluster::{Cluster, member, members};
use consensus_core::{
    Index, NodeId, Token,
    contract::replicated_log::{Event, Manifest, MemberChange, Reason, Request, SnapshotId},
};
use multipaxos::{Message, Options, Role};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn narrow() -> Options {
    Options {
        alpha: 8,
        ..Options::default()
    }
}

/// Nodes 1 to `count` with a leader.
fn settled(count: u16, options: Options) -> (Cluster, u16) {
    let mut cluster = Cluster::new(count, options);
    cluster.run(SECOND);
    let leader = cluster.leaders()[0];
    (cluster, leader)
}

fn change(changes: Vec<MemberChange>) -> Request {
    Request::ChangeMembers {
        token: Token(7),
        changes,
    }
}

fn voters(cluster: &Cluster, node: u16) -> Vec<u16> {
    let status = cluster.status(node);
    status.voters.iter().map(|voter| voter.0).collect()
}

fn refusals(cluster: &Cluster, node: u16) -> Vec<Reason> {
    let events = cluster.events(node);
    let refused = events.filter_map(|event| match event {
        Event::Rejected { token, reason } if *token == Some(Token(7)) => Some(reason.clone()),
        _ => None,
    });
    refused.collect()
}

fn commands(cluster: &Cluster, node: u16) -> Vec<String> {
    let told = cluster.told(node).into_iter();
    told.filter_map(|(_, command)| command).collect()
}

/// Everybody else but `node`.
fn another(count: u16, node: u16) -> u16 {
    (1..=count)
        .find(|other| *other != node)
        .expect("more than one")
}

/// A node that never was a founder joins as a learner, catches up, is promoted, and then counts: the
/// group of four survives the loss of one founder, and of the new node when that is gone too.
#[test]
fn a_new_node_learns_then_votes() {
    let (mut cluster, leader) = settled(3, narrow());
    for command in ["a", "b", "c"] {
        cluster.propose(leader, command);
    }
    cluster.run(SECOND / 10);
    cluster.start(4, Vec::new());
    cluster.ask(leader, change(vec![MemberChange::AddLearner(member(4))]));
    cluster.run(SECOND / 2);
    assert_eq!(commands(&cluster, 4), ["a", "b", "c"]);
    assert_eq!(voters(&cluster, leader), [1, 2, 3]);

    cluster.ask(leader, change(vec![MemberChange::Promote(NodeId(4))]));
    cluster.run(SECOND / 5);
    assert_eq!(refusals(&cluster, leader), []);
    for node in 1..=4 {
        assert_eq!(voters(&cluster, node), [1, 2, 3, 4], "at {node}");
    }
    cluster.stop(another(3, leader));
    cluster.propose(leader, "d");
    cluster.run(SECOND / 5);
    assert_eq!(commands(&cluster, 4), ["a", "b", "c", "d"], "three of four");
    cluster.stop(4);
    let chosen = cluster.status(leader).chosen;
    cluster.propose(leader, "e");
    cluster.run(SECOND / 50);
    assert_eq!(
        cluster.status(leader).chosen,
        chosen,
        "two of four are none"
    );
}

/// The slots go on where they were, and so do the members' contexts.
#[test]
fn the_log_goes_on_and_members_carry_their_context() {
    let (mut cluster, leader) = settled(3, narrow());
    cluster.propose(leader, "before");
    cluster.run(SECOND / 50);
    let before = cluster.status(leader).chosen;
    let moved = MemberChange::SetContext(NodeId(2), "elsewhere".into());
    cluster.ask(leader, change(vec![moved]));
    cluster.run(SECOND / 5);
    cluster.propose(leader, "after");
    cluster.run(SECOND / 5);
    for node in 1..=3 {
        let slots: Vec<u64> = cluster.told(node).iter().map(|told| told.0).collect();
        assert!(
            slots.windows(2).all(|pair| pair[1] == pair[0] + 1),
            "{slots:?}"
        );
        // The change, no-ops up to the slot from which it holds, the command.
        assert_eq!(cluster.status(node).chosen, Index(before.0 + 8 + 1));
        let last = cluster.events(node).filter_map(|event| match event {
            Event::MembersChanged { index, members } => Some((*index, members.clone())),
            _ => None,
        });
        let (index, members) = last.last().expect("it was told");
        assert_eq!(index, before.next());
        assert!(members.outgoing.is_empty(), "{members:?}");
        assert_eq!(members.voters[1].context, "elsewhere");
    }
}

/// M3: who decides nothing any more hands over, and stays away: it reaches a quorum of those whom it
/// used to know, and yet does not campaign.
#[test]
fn a_removed_leader_hands_over_and_disturbs_nobody() {
    let (mut cluster, leader) = settled(3, narrow());
    cluster.propose(leader, "x");
    cluster.run(SECOND / 50);
    cluster.sent.clear();
    cluster.ask(leader, change(vec![MemberChange::Remove(NodeId(leader))]));
    cluster.run(SECOND / 20);
    assert_ne!(cluster.status(leader).role, Role::Leader);
    let succeeds = |sent: &&(u16, u16, Message)| matches!(sent.2, Message::Succeed { .. });
    assert_eq!(
        cluster.sent.iter().filter(succeeds).count(),
        1,
        "without a timeout"
    );
    let heirs = cluster.leaders();
    assert_eq!(heirs.len(), 1);
    assert!(!voters(&cluster, heirs[0]).contains(&leader));
    let promised = cluster.status(heirs[0]).promised;
    cluster.run(10 * SECOND);
    assert_eq!(cluster.leaders(), heirs);
    assert_eq!(
        cluster.status(heirs[0]).promised,
        promised,
        "nobody campaigned"
    );
    cluster.propose(heirs[0], "y");
    cluster.run(SECOND / 20);
    assert_eq!(commands(&cluster, heirs[0]), ["x", "y"]);
}

/// Every voter may be replaced at once: nothing is asked of groups that follow each other.
#[test]
fn a_whole_group_may_be_replaced_in_one_step() {
    let (mut cluster, leader) = settled(3, narrow());
    cluster.propose(leader, "x");
    for node in 4..=6 {
        cluster.start(node, Vec::new());
    }
    let learners = (4..=6).map(|node| MemberChange::AddLearner(member(node)));
    cluster.ask(leader, change(learners.collect()));
    cluster.run(SECOND / 2);
    let come = (4..=6).map(|node| MemberChange::Promote(NodeId(node)));
    let go = (1..=3).map(|node| MemberChange::Remove(NodeId(node)));
    cluster.ask(leader, change(come.chain(go).collect()));
    cluster.run(SECOND / 2);
    assert_eq!(refusals(&cluster, leader), []);
    for node in 1..=3 {
        cluster.stop(node);
    }
    cluster.run(SECOND / 2);
    let [heir] = cluster.leaders()[..] else {
        panic!("{:?}", cluster.leaders());
    };
    assert!(heir > 3);
    cluster.propose(heir, "y");
    cluster.run(SECOND / 10);
    for node in 4..=6 {
        assert_eq!(commands(&cluster, node), ["x", "y"], "at {node}");
        assert_eq!(voters(&cluster, node), [4, 5, 6]);
    }
}

/// M2, and what makes no sense.
#[test]
fn a_change_is_refused_while_another_is_under_way_or_makes_no_sense() {
    let (mut cluster, leader) = settled(3, narrow());
    let other = another(3, leader);
    cluster.ask(other, change(vec![MemberChange::Remove(NodeId(leader))]));
    let hint = Some(NodeId(leader));
    assert_eq!(refusals(&cluster, other), [Reason::NotLeader { hint }]);

    let stranger = MemberChange::AddLearner(member(9));
    cluster.ask(leader, change(vec![stranger]));
    cluster.ask(leader, change(vec![MemberChange::Remove(NodeId(9))]));
    let index = cluster.status(leader).last;
    assert_eq!(
        refusals(&cluster, leader),
        [Reason::ChangePending { index }]
    );
    cluster.run(SECOND / 5);
    let all = (1..=3).map(|node| MemberChange::Remove(NodeId(node)));
    cluster.ask(leader, change(all.collect()));
    cluster.ask(leader, change(vec![MemberChange::Promote(NodeId(9))]));
    let node = NodeId(9);
    let wanted = [Reason::Impossible, Reason::TooFarBehind { node }];
    assert_eq!(refusals(&cluster, leader)[1..], wanted);
}

/// A leader has less than α slots under way; what waits gets its place as soon as there is room, in
/// order, and a batch that is larger than that takes several steps.
#[test]
fn less_than_alpha_slots_are_under_way() {
    let options = Options {
        alpha: 4,
        ..Options::default()
    };
    let (mut cluster, leader) = settled(3, options);
    let mut batch = consensus_core::log::Commands::default();
    let all: Vec<String> = (0..10).map(|number| format!("c{number}")).collect();
    all.iter()
        .for_each(|command| batch.push(command.as_bytes()));
    let token = Some(Token(1));
    let commands_sent = batch;
    cluster.ask(
        leader,
        Request::Propose {
            token,
            commands: commands_sent,
        },
    );
    let status = cluster.status(leader);
    assert_eq!(status.last.0 - status.chosen.0, 3);
    cluster.run(SECOND / 25);
    for node in 1..=3 {
        assert_eq!(commands(&cluster, node), all, "at {node}");
    }
}

/// M5: whoever comes by a snapshot knows who decides from there on, what is decided but does not hold
/// yet included; and still knows it after a restart.
#[test]
fn a_snapshot_carries_who_decides_and_what_is_coming() {
    let (mut cluster, leader) = settled(3, narrow());
    let behind = another(3, leader);
    let third = 6 - leader - behind;
    cluster.cut(leader, behind);
    cluster.cut(third, behind);
    cluster.propose(leader, "x");
    cluster.run(SECOND / 50);
    cluster.ask(leader, change(vec![MemberChange::AddLearner(member(4))]));
    cluster.run(SECOND / 5);
    // A snapshot of the entry itself: three founders decide on, the learner is coming.
    let entry = cluster.status(leader).members_entry;
    let manifest = Manifest {
        id: SnapshotId(1),
        index: entry,
        epoch: cluster.status(leader).promised.into(),
        members: members(&[]),
        coming: Vec::new(),
        size: 0,
    };
    cluster.ask(leader, Request::SnapshotTaken(Box::new(manifest)));
    let disk = cluster.stop(leader);
    let kept = disk.iter().rev().find_map(|record| match record {
        multipaxos::Record::Snapshot { manifest } => Some(manifest.clone()),
        _ => None,
    });
    let manifest = kept.expect("it was kept");
    assert!(manifest.members.learners.is_empty());
    let (at, coming) = &manifest.coming[0];
    assert_eq!((*at, coming.learners[0].node), (entry, NodeId(4)));

    let from = NodeId(leader);
    let received = Request::SnapshotReceived { from, manifest };
    cluster.ask(behind, received);
    assert_eq!(cluster.status(behind).members_entry, entry);
    let disk = cluster.stop(behind);
    cluster.start(behind, disk);
    assert_eq!(cluster.status(behind).members_entry, entry);
    assert_eq!(voters(&cluster, behind), [1, 2, 3]);
}

/// The leader dies between the entry and the slot from which it holds: whoever leads next finds the
/// entry, fills the slots, and asks the new group.
#[test]
fn the_next_leader_finishes_a_change() {
    let (mut cluster, leader) = settled(3, narrow());
    cluster.start(4, Vec::new());
    cluster.ask(leader, change(vec![MemberChange::AddLearner(member(4))]));
    cluster.run(SECOND / 2);
    cluster.ask(leader, change(vec![MemberChange::Promote(NodeId(4))]));
    // One way for the entry and no more: nobody but the acceptors know of it.
    cluster.run(SECOND / 1_000);
    cluster.stop(leader);
    cluster.run(SECOND);
    let [heir] = cluster.leaders()[..] else {
        panic!("{:?}", cluster.leaders());
    };
    assert_eq!(voters(&cluster, heir), [1, 2, 3, 4]);
    cluster.propose(heir, "x");
    cluster.run(SECOND / 10);
    assert_eq!(commands(&cluster, 4), ["x"]);
}
