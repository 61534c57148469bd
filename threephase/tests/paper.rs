//! Claims of the literature, a test each, on the whole cluster in the hands of the test. The cluster
//! judges every safety property after every step.

use consensus_core::{
    Boot, Input, NodeId, Protocol as _, Wire,
    contract::atomic_commit::{AbortReason, Event, Kept, Outcome, Request, Transaction},
    sim::by_hand::{self, first},
};
use std::collections::BTreeSet;
use threephase::{Epoch, Message, Mode, Options, Record, Stage, ThreePhase, Timer};

type Cluster = by_hand::Cluster<ThreePhase>;

fn cluster(nodes: u16, mode: Mode) -> Cluster {
    Cluster::new(
        nodes,
        &Options {
            mode,
            ..Options::default()
        },
    )
}

const MODES: [Mode; 2] = [Mode::Classic, Mode::Quorum];

/// The transaction of these stories.
const T: Transaction = first(1);

/// A transaction over all nodes, of which so many messages have arrived.
fn after(nodes: u16, mode: Mode, deliveries: usize) -> Cluster {
    let mut c = cluster(nodes, mode);
    let all: Vec<u16> = (1..=nodes).collect();
    c.begin(1, &all);
    for _ in 0..deliveries {
        let (_, to, _) = c.network[0];
        c.deliver_to(to);
    }
    c
}

/// All have voted yes, and the coordinator's pre-commits are under way.
fn until_pre_commit(c: &mut Cluster) {
    let sent = |c: &Cluster| {
        let mut messages = c.network.iter().map(|(.., message)| message);
        messages.any(|message| matches!(message, Message::PreCommit { .. }))
    };
    while !sent(c) {
        let (_, to, _) = c.network[0];
        c.deliver_to(to);
    }
}

/// How many messages it takes from its begin until nothing is under way.
fn length(nodes: u16, mode: Mode) -> usize {
    (0..)
        .find(|count| after(nodes, mode, *count).network.is_empty())
        .expect("it ends")
}

/// `node` loses patience, `down` being silent: it campaigns, and waits for reports as long as it does.
fn campaign(c: &mut Cluster, node: u16, down: &[u16]) {
    c.alarm(node, Timer::Participant(T));
    c.settle_without(down);
    // Once for the reports of the silent, once for their acknowledgements.
    for _ in 0..2 {
        c.alarm(node, Timer::Election(T));
        c.settle_without(down);
    }
}

fn outcomes(c: &mut Cluster, nodes: &[u16]) -> BTreeSet<Option<Outcome>> {
    nodes.iter().map(|node| c.outcome(*node, T)).collect()
}

fn holds(c: &mut Cluster, node: u16, record: impl Fn(&Record) -> bool) -> bool {
    c.node(node).disk.values().any(record)
}

/// [GrayLamport06 §2], AC4: nothing fails and all are prepared: commit.
#[test]
fn all_vote_yes_and_nothing_fails_commits() {
    for mode in MODES {
        for nodes in [1, 2, 3, 5, 7] {
            let mut c = cluster(nodes, mode);
            let all: Vec<u16> = (1..=nodes).collect();
            c.begin(1, &all);
            c.settle();
            assert_eq!(c.answer(1), Some((Outcome::Commit, AbortReason::None)));
            assert_eq!(outcomes(&mut c, &all), [Some(Outcome::Commit)].into());
            assert_eq!(c.node(1).protocol.status().live, 0);
        }
    }
}

/// [GrayLamport06 §2]: commit needs every participant prepared. One no is an abort, and says whose.
#[test]
fn one_no_aborts_everywhere() {
    for mode in MODES {
        let mut c = cluster(3, mode);
        c.refusing = vec![2];
        c.begin(1, &[1, 2, 3]);
        c.settle();
        let reason = AbortReason::VotedNo {
            node: NodeId(2),
            reason: "no".into(),
        };
        assert_eq!(c.answer(1), Some((Outcome::Abort, reason)));
        assert_eq!(outcomes(&mut c, &[1, 3]), [Some(Outcome::Abort)].into());
    }
}

/// A coordinator that still waits for votes may abort \[Skeen81\]: a vote that does not come is a no.
#[test]
fn a_missing_vote_aborts_in_time() {
    for mode in MODES {
        let mut c = cluster(3, mode);
        c.silent = vec![3];
        c.begin(1, &[1, 2, 3]);
        c.settle();
        assert_eq!(c.answer(1), None);
        c.alarm(1, Timer::Coordinator(T));
        c.settle();
        let late = AbortReason::Timeout { node: NodeId(3) };
        assert_eq!(c.answer(1), Some((Outcome::Abort, late)));
        assert_eq!(outcomes(&mut c, &[1, 2, 3]), [Some(Outcome::Abort)].into());
    }
}

/// The nonblocking theorem \[Skeen81\], its second condition: no site commits while another is uncertain.
/// Whatever step the run is stopped at, where one disk holds a commit every disk holds a pre-commit.
#[test]
fn nobody_commits_while_another_is_uncertain() {
    for nodes in [2, 3, 5] {
        for deliveries in 0..=length(nodes, Mode::Classic) {
            let mut c = after(nodes, Mode::Classic, deliveries);
            let committed = |r: &Record| {
                matches!(r, Record::Committed { .. })
                    || matches!(r, Record::Decided { outcome, .. } if *outcome == Outcome::Commit)
            };
            let ready = |r: &Record| matches!(r, Record::Attempted { .. });
            let somebody = (1..=nodes).any(|node| holds(&mut c, node, committed));
            let all = (1..=nodes).all(|node| holds(&mut c, node, ready));
            assert!(!somebody || all, "after {deliveries} messages");
        }
    }
}

/// Nonblocking \[Skeen81\]: at whatever step the coordinator dies, those that are left end it, and agree;
/// and what they do not need is its return.
#[test]
fn survivors_end_it_whenever_the_coordinator_dies() {
    for mode in MODES {
        let mut ended = BTreeSet::new();
        for deliveries in 0..=length(3, mode) {
            let mut c = after(3, mode, deliveries);
            c.settle_without(&[1]);
            for node in [2, 3, 2] {
                campaign(&mut c, node, &[1]);
            }
            for node in [2, 3] {
                let in_doubt = c.node(node).protocol.status().in_doubt;
                assert_eq!(in_doubt, [], "{mode:?} after {deliveries}");
                // Whoever was asked knows.
                let asked = !c.node(node).events.is_empty();
                assert_eq!(
                    c.outcome(node, T).is_some(),
                    asked,
                    "{mode:?} after {deliveries}"
                );
            }
            let told = outcomes(&mut c, &[2, 3]).into_iter().flatten();
            ended.extend(told);
            // It comes back, asks, and agrees.
            c.crash(1);
            c.settle();
            campaign(&mut c, 1, &[]);
            let all = outcomes(&mut c, &[1, 2, 3]);
            let different: BTreeSet<_> = all.into_iter().flatten().collect();
            assert!(
                different.len() <= 1,
                "{mode:?} after {deliveries}: {different:?}"
            );
        }
        assert_eq!(ended, [Outcome::Commit, Outcome::Abort].into(), "{mode:?}");
    }
}

/// The termination rule \[SkeenStonebraker83\] over operational sites: all of them waiting, abort; one of
/// them pre-committed, commit.
#[test]
fn survivors_commit_if_one_of_them_was_ready() {
    for (ready, outcome) in [(&[][..], Outcome::Abort), (&[3], Outcome::Commit)] {
        let mut c = cluster(4, Mode::Classic);
        c.begin(1, &[2, 3, 4]);
        until_pre_commit(&mut c);
        for node in ready {
            c.deliver_to(*node);
        }
        campaign(&mut c, 2, &[1]);
        assert_eq!(outcomes(&mut c, &[2, 3, 4]), [Some(outcome)].into());
    }
}

/// A coordinator whose participant keeps silent in the second phase commits all the same \[Skeen81\]: it
/// has failed, and learns on recovery. By asking: a recovered site decides nothing by its own state.
#[test]
fn a_participant_that_failed_ready_or_not_asks_when_it_is_back() {
    for delivered in [false, true] {
        let mut c = cluster(3, Mode::Classic);
        c.begin(1, &[1, 2, 3]);
        until_pre_commit(&mut c);
        if delivered {
            c.deliver_to(3);
        }
        c.settle_without(&[3]);
        c.alarm(1, Timer::Coordinator(T));
        c.settle_without(&[3]);
        assert_eq!(c.answer(1), Some((Outcome::Commit, AbortReason::None)));
        c.crash(3);
        assert_eq!(c.outcome(3, T), None, "nobody has told it");
        c.settle();
        campaign(&mut c, 3, &[]);
        assert_eq!(c.outcome(3, T), Some(Outcome::Commit));
    }
}

/// After a total failure \[Skeen81\] the first ones back wait for the last to fail: TH-11.
#[test]
fn after_a_total_failure_nobody_decides_before_all_are_back() {
    let mut c = cluster(4, Mode::Classic);
    c.begin(1, &[2, 3, 4]);
    until_pre_commit(&mut c);
    // Node 4 alone hears that all have voted yes. Then everybody fails.
    c.deliver_to(4);
    c.network.clear();
    for node in [2, 3] {
        c.crash(node);
        campaign(&mut c, node, &[1, 4]);
        assert_eq!(c.outcome(node, T), None);
        let events = &c.node(node).events;
        assert!(
            events
                .iter()
                .any(|event| matches!(event, Event::Blocked { .. }))
        );
    }
    c.crash(4);
    campaign(&mut c, 2, &[1]);
    assert_eq!(outcomes(&mut c, &[2, 3, 4]), [Some(Outcome::Commit)].into());
}

/// A partition in the second phase: node 2 is ready and alone with the coordinator, 3 and 4 are not.
fn divided(mode: Mode) -> Cluster {
    let mut c = cluster(4, mode);
    c.begin(1, &[2, 3, 4]);
    until_pre_commit(&mut c);
    c.deliver_to(2);
    c.network.clear();
    campaign(&mut c, 3, &[1, 2]);
    campaign(&mut c, 2, &[1, 3, 4]);
    c
}

/// No protocol that never blocks survives a partition \[SkeenStonebraker83\]: TH-04. Both sides take the
/// other for failed.
#[test]
#[should_panic(expected = "ac1_agreement")]
fn a_partition_divides_classic_mode() {
    divided(Mode::Classic);
}

/// E3PC \[KeidarDolev98\] blocks the minority instead, which says for whom it waits, and ends it when the
/// others are back.
#[test]
fn a_partition_blocks_the_minority_of_quorum_mode() {
    let mut c = divided(Mode::Quorum);
    assert_eq!(outcomes(&mut c, &[3, 4]), [Some(Outcome::Abort)].into());
    assert_eq!(c.outcome(2, T), None);
    let waits = c.node(2).events.iter().find_map(|event| match event {
        Event::Blocked { waiting_for, .. } => Some(waiting_for.clone()),
        _ => None,
    });
    assert_eq!(waits, Some(vec![NodeId(3), NodeId(4)]));
    campaign(&mut c, 2, &[1]);
    assert_eq!(c.outcome(2, T), Some(Outcome::Abort));
}

/// The first half of E3PC's safety \[KeidarDolev98\]: whoever reports has stored the election before, and
/// takes part in no older one. The old coordinator's pre-commit is refused, and cannot commit: TH-16.
#[test]
fn who_has_reported_refuses_older_attempts() {
    let mut c = cluster(4, Mode::Quorum);
    c.begin(1, &[2, 3, 4]);
    until_pre_commit(&mut c);
    let old: Vec<_> = c.network.drain(..).collect();
    c.alarm(3, Timer::Participant(T));
    while c.deliver_to(4) {}
    let epoch = Epoch {
        round: 2,
        node: NodeId(3),
    };
    let reports = c
        .network
        .iter()
        .filter_map(|(from, _, message)| match message {
            Message::Report { epoch, stage, .. } => Some((*from, *epoch, *stage)),
            _ => None,
        });
    assert_eq!(reports.collect::<Vec<_>>(), [(4, epoch, Stage::Wait)]);
    let stored = Record::Elected {
        transaction: T,
        epoch,
    };
    assert!(holds(&mut c, 4, |record| *record == stored));
    c.network.retain(|(from, ..)| *from == 4);
    for (from, to, message) in old.into_iter().filter(|(_, to, _)| *to >= 3) {
        c.input(
            to,
            Input::Receive {
                from: NodeId(from),
                message,
            },
        );
    }
    let refused = c.network.iter().filter(|(_, to, message)| {
        *to == 1 && matches!(message, Message::Refuse { elected, .. } if *elected == epoch)
    });
    assert_eq!(refused.count(), 2);
    c.settle_without(&[2]);
    campaign(&mut c, 3, &[2]);
    assert_eq!(outcomes(&mut c, &[3, 4]), [Some(Outcome::Abort)].into());
    assert_eq!(c.answer(1), Some((Outcome::Abort, AbortReason::Recovery)));
}

/// The increased resilience of E3PC \[KeidarDolev98\]: however many elections were broken off, and
/// wherever, a quorum that is connected in the end decides: TH-14.
#[test]
fn a_connected_quorum_decides_after_any_cascade_of_failures() {
    let mut decided = BTreeSet::new();
    for steps in 0..128_u32 {
        let mut c = cluster(5, Mode::Quorum);
        c.begin(1, &[1, 2, 3, 4, 5]);
        until_pre_commit(&mut c);
        if steps & 64 > 0 {
            // Two of them are ready: no quorum.
            c.deliver_to(5);
        }
        c.network.clear();
        // Each candidate gets so far and is cut off: two bits each.
        for (candidate, bits) in [(2, 0), (3, 2), (4, 4)] {
            c.alarm(candidate, Timer::Participant(T));
            for _ in 0..(steps >> bits & 3) * 3 {
                let Some((_, to, _)) = c.network.first().cloned() else {
                    break;
                };
                c.deliver_to(to);
            }
            c.network.clear();
        }
        // 2, 3 and 5 find each other.
        let apart = [1, 4];
        for candidate in [5, 3, 2] {
            campaign(&mut c, candidate, &apart);
        }
        let ended = outcomes(&mut c, &[2, 3, 5]);
        assert_eq!(ended.len(), 1, "{steps:b}: {ended:?}");
        assert!(!ended.contains(&None), "{steps:b}: blocked");
        decided.extend(ended);
    }
    let both = [Some(Outcome::Commit), Some(Outcome::Abort)];
    assert_eq!(decided, both.into(), "the same every time");
}

/// The second half: of what a quorum reports, the newest attempt counts, as the newest acceptance does in
/// Paxos [Lamport01 §2.2]. A pre-abort of round 2 beats the pre-commit of round 1 beside it.
#[test]
fn the_newest_attempt_in_a_quorum_counts() {
    let mut c = cluster(4, Mode::Quorum);
    c.begin(1, &[2, 3, 4]);
    until_pre_commit(&mut c);
    // Node 2 is ready to commit; 3 is elected by 4 and itself, and is ready to abort alone.
    c.deliver_to(2);
    c.network.clear();
    c.alarm(3, Timer::Participant(T));
    while c.deliver_to(4) {}
    while c.deliver_to(3) {}
    c.network.clear();
    c.alarm(3, Timer::Election(T));
    c.network.clear();
    let newest = |record: &Record| matches!(record, Record::Attempted { outcome, .. } if *outcome == Outcome::Abort);
    assert!(holds(&mut c, 3, newest) && !holds(&mut c, 4, newest));
    campaign(&mut c, 2, &[1, 4]);
    campaign(&mut c, 2, &[1, 4]);
    assert_eq!(outcomes(&mut c, &[2, 3]), [Some(Outcome::Abort)].into());
}

/// What a resource holds prepared after a crash and never voted for is let go; what was committed and not
/// carried out is committed.
#[test]
fn an_orphan_of_the_resource_is_aborted_and_a_commit_is_not() {
    for mode in MODES {
        let mut c = cluster(2, mode);
        c.slow = vec![2];
        c.begin(1, &[1, 2]);
        c.settle();
        let transactions = vec![T, first(9)];
        c.node(2).events.clear();
        c.ask(2, Request::FoundPrepared { transactions });
        assert_eq!(c.outcome(2, T), Some(Outcome::Commit));
        assert_eq!(c.outcome(2, first(9)), Some(Outcome::Abort));
        // Aborted here, and prepared by a database that was slower than that.
        c.refusing = vec![1];
        c.begin(2, &[1, 2]);
        c.settle();
        let second = Transaction { sequence: 2, ..T };
        c.node(2).events.clear();
        let transactions = vec![second];
        c.ask(2, Request::FoundPrepared { transactions });
        assert_eq!(c.outcome(2, second), Some(Outcome::Abort));
    }
}

/// What a checkpoint covers is not told again; what it does not cover is, in order. A log written anew says
/// the same.
#[test]
fn a_resource_is_rebuilt_from_its_checkpoint_and_what_came_after() {
    for mode in MODES {
        let mut c = cluster(2, mode);
        for token in 1..=4 {
            c.begin(token, &[1, 2]);
            c.settle();
            if token == 2 {
                let state = bytes::Bytes::from_static(b"two");
                c.ask(2, Request::Checkpoint { state });
            }
        }
        for written_anew in [false, true] {
            if written_anew {
                let last = c.node(2).last();
                while c.node(2).disk.keys().next().is_some_and(|lsn| *lsn <= last) {
                    c.input(2, Input::Reclaim(last.next()));
                }
            }
            c.crash(2);
            let told: Vec<_> = c.node(2).events.iter().collect();
            assert!(matches!(told[0], Event::Restore { state } if state == "two"));
            let commits = told.iter().filter_map(|event| match event {
                Event::Commit { transaction, .. } => Some(transaction.sequence),
                _ => None,
            });
            assert_eq!(commits.collect::<Vec<_>>(), [3, 4]);
        }
    }
}

/// Told twice that it is done, by a resource that was told twice: nothing comes of it.
#[test]
fn done_may_be_said_twice() {
    let mut c = cluster(2, Mode::Classic);
    c.begin(1, &[1, 2]);
    c.settle();
    let (transaction, kept) = (T, Kept::Log);
    c.ask(2, Request::Done { transaction, kept });
    c.settle();
    assert_eq!(c.outcome(2, T), Some(Outcome::Commit));
    assert_eq!(c.node(1).protocol.status().live, 0);
}

/// Every kind of message and record survives its own bytes.
#[test]
fn everything_written_is_read_back() {
    let (transaction, epoch) = (
        T,
        Epoch {
            round: 9,
            node: NodeId(2),
        },
    );
    let participants = vec![(NodeId(2), Boot(7))];
    for message in [
        Message::CanCommit {
            transaction,
            work: "w".into(),
            participants: participants.clone(),
            oldest_live: transaction,
        },
        Message::PreAbort { transaction, epoch },
        Message::Report {
            transaction,
            epoch,
            stage: Stage::PreAborted,
            attempt: Epoch::default(),
            recovered: true,
        },
        Message::Settle {
            transaction,
            outcome: Outcome::Abort,
            boot: Boot(3),
        },
        Message::Greet {},
    ] {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        assert_eq!(Message::decode(bytes.into()), Ok(message));
    }
    let record = Record::Voted {
        transaction,
        participants,
        redo: "r".into(),
        oldest_live: transaction,
    };
    let mut bytes = Vec::new();
    record.encode(&mut bytes);
    assert_eq!(Record::decode(bytes.into()), Ok(record));
}
