//! Scenarios that are no story: whole tables of inputs, what stands in one batch, what a disk holds. By
//! the numbers that stories have too.

mod bare;

use bare::{Group, Node, config};
use consensus_core::{
    Boot, Epoch, Index, Input, Lsn, NodeId, Token,
    contract::replicated_log::{Event, Manifest, Membership, Reason, Request, SnapshotId},
    log::{Commands, EntryKind, Place, Run},
};
use raft::{Message, Record, Role, Timer};

/// A log whose entries have these terms.
fn log(terms: &[u64]) -> Vec<Record> {
    let mut previous = 0;
    let entry = |(at, term): (usize, &u64)| {
        let place = Place {
            first: Index(at as u64 + 1),
            epoch: Epoch::of_term(*term),
            previous: Epoch::of_term(std::mem::replace(&mut previous, *term)),
            kind: EntryKind::Command,
        };
        let run = Run::single(place, term.to_string().as_bytes());
        Record::Append { run }
    };
    terms.iter().enumerate().map(entry).collect()
}

fn hard_state(term: u64) -> Record {
    Record::HardState { term, vote: None }
}

/// RF-08: the last entry's term first, then the length; equal is fine. All 4 × 4 × 4 × 4, as a vote and
/// as a pre-vote, whatever the current terms are.
#[test]
fn rf08_the_last_term_decides_then_the_length() {
    let mut granted = 0;
    for (voter_term, voter_last) in (1..=4).flat_map(|t| (1..=4).map(move |i| (t, i))) {
        for (term, last) in (1..=4).flat_map(|t| (1..=4).map(move |i| (t, i))) {
            for pre in [false, true] {
                let mut records = vec![hard_state(7)];
                records.extend(log(&vec![voter_term; voter_last as usize]));
                let mut voter = Node::with(config(1, 3), records);
                voter.receive(
                    2,
                    Message::RequestVote {
                        term: 9,
                        last: Index(last),
                        last_term: term,
                        pre,
                        transfer: false,
                    },
                );
                let fits = match term.cmp(&voter_term) {
                    std::cmp::Ordering::Less => false,
                    std::cmp::Ordering::Equal => last >= voter_last,
                    std::cmp::Ordering::Greater => true,
                };
                let given = voter.take_sent().iter().any(|(to, message)| {
                    *to == NodeId(2) && matches!(message, Message::Vote { granted: true, .. })
                });
                assert_eq!(
                    given, fits,
                    "[{last}:{term}] asks [{voter_last}:{voter_term}]"
                );
                granted += u32::from(given);
            }
        }
    }
    // Of 256 pairs, those at least as far in the order of terms and lengths: 136, twice.
    assert_eq!(granted, 2 * 136);
}

/// Three nodes, of which the first leads term 1 and has committed its first entry.
fn led(tune: impl Fn(&mut raft::Config)) -> Group {
    let node = |id| {
        let mut config = config(id, 3);
        tune(&mut config);
        let mut node = Node::with(config, []);
        node.batch([Input::Timer(Timer::Quiet)]);
        node
    };
    let mut group = Group((1..=3).map(node).collect());
    group.stand(1);
    group.settle(|_, _| {});
    assert_eq!(group.node(1).raft_role(), (Role::Leader, 1));
    group
}

impl Node {
    fn raft_role(&self) -> (Role, u64) {
        use consensus_core::Protocol;
        let status = self.raft.status();
        (status.role, status.term)
    }
}

fn manifest(index: u64) -> Box<Manifest> {
    Box::new(Manifest {
        id: SnapshotId(7),
        index: Index(index),
        epoch: Epoch::of_term(1),
        members: Membership::default(),
        coming: Vec::new(),
        size: 0,
    })
}

/// One message of every kind, of term 2, that a leader of term 1 may get.
fn of_a_higher_term() -> Vec<Message> {
    let (term, last, index, commit) = (2, Index(1), Index(1), Index(1));
    let place = Place {
        first: Index(2),
        epoch: Epoch::of_term(2),
        previous: Epoch::of_term(1),
        kind: EntryKind::Noop,
    };
    let run = Run::single(place, b"");
    let vote = |pre| Message::Vote {
        term,
        granted: false,
        pre,
    };
    vec![
        vote(false),
        vote(true),
        Message::RequestVote {
            term,
            last,
            last_term: 1,
            pre: false,
            transfer: true,
        },
        Message::Append { term, run, commit },
        Message::Appended {
            term,
            matched: index,
        },
        Message::Conflict {
            term,
            asked: index,
            hint: index,
            hint_term: 1,
        },
        Message::Heartbeat {
            term,
            commit,
            round: 1,
        },
        Message::Heard { term, round: 1 },
        Message::Commit { term, commit },
        Message::InstallSnapshot {
            term,
            manifest: manifest(1),
        },
        Message::TimeoutNow { term, last },
        Message::ReadIndex {
            term,
            boot: Boot(1),
            number: 1,
        },
        Message::ReadIndexed {
            term,
            boot: Boot(1),
            number: 1,
            index,
        },
        Message::Removed {
            term,
            index: Index(2),
            members: Box::default(),
        },
    ]
}

/// RF-34: whatever kind of message brings the higher term, the leader is none any more, and neither its
/// lease nor a proposal of the same batch goes on as if it were.
#[test]
fn rf34_every_message_of_a_higher_term_ends_leadership() {
    for message in of_a_higher_term() {
        let mut group = led(|config| config.lease_percent = Some(50));
        let leader = group.node(1);
        // Under its lease it answers at once.
        let token = Token(1);
        leader.batch([Input::Timer(Timer::Heartbeat)]);
        group.settle(|_, _| {});
        let leader = group.node(1);
        leader.out.told.clear();
        leader.batch([Input::Request(Request::Read { token })]);
        let answered = |event: &Event| matches!(event, Event::ReadReady { .. });
        assert!(leader.out.told.iter().any(answered), "no lease to lose");

        leader.out.told.clear();
        leader.batch([
            Input::Receive {
                from: NodeId(2),
                message: message.clone(),
            },
            Input::Request(Request::Read { token: Token(2) }),
            Input::Request(Request::Propose {
                token: Some(Token(3)),
                commands: Commands::one(b"late"),
            }),
        ]);
        let (role, term) = leader.raft_role();
        assert_ne!(role, Role::Leader, "{message:?}");
        assert!(term >= 2, "{message:?}");
        assert!(!leader.out.told.iter().any(answered), "{message:?}");
        let refused = leader.out.told.iter().any(|event| {
            let token = Some(Token(3));
            matches!(event, Event::Rejected { token: t, reason: Reason::NotLeader { .. } } if *t == token)
        });
        assert!(refused, "{message:?}: {:?}", leader.out.told);
    }
}

/// RF-35: in one batch with the end of its leadership, in any order, a node sends nothing in its new term
/// that only that term's leader may send.
#[test]
fn rf35_nothing_is_sent_under_a_term_that_another_leads() {
    let inputs = || {
        let higher = Input::Receive {
            from: NodeId(2),
            message: Message::Heard { term: 2, round: 0 },
        };
        let propose = Input::Request(Request::Propose {
            token: None,
            commands: Commands::one(b"x"),
        });
        [
            higher,
            propose,
            Input::Timer(Timer::Heartbeat),
            Input::Request(Request::Read { token: Token(9) }),
        ]
    };
    let mut orders = 0;
    for first in 0..4 {
        for second in (0..4).filter(|i| *i != first) {
            for third in (0..4).filter(|i| ![first, second].contains(i)) {
                let fourth = 6 - first - second - third;
                let mut group = led(|_| {});
                let inputs = inputs();
                let leader = group.node(1);
                leader.batch([first, second, third, fourth].map(|i| inputs[i].clone()));
                assert_eq!(leader.raft_role(), (Role::Follower, 2));
                for (_, message) in leader.take_sent() {
                    let leads = matches!(
                        message,
                        Message::Append { .. } | Message::Heartbeat { .. } | Message::Commit { .. }
                    );
                    assert!(!leads || message.term() == 1, "{message:?}");
                }
                orders += 1;
            }
        }
    }
    assert_eq!(orders, 24);
}

/// Repairs the log of node 2 under node 1, whose log node 3 has too. How many refusals that took, if
/// node 1 is elected.
fn repair(leader: &[u64], follower: &[u64]) -> usize {
    let newest = leader.iter().chain(follower).max().copied().unwrap_or(0);
    let node = |(id, terms)| {
        let mut records = log(terms);
        records.push(hard_state(newest));
        Node::with(config(id, 3), records)
    };
    let mut group = Group([(1, leader), (2, follower), (3, leader)].map(node).into());
    let mut refusals = 0;
    group.stand(1);
    group.settle(|from, message| {
        refusals += usize::from(from == NodeId(2) && matches!(message, Message::Conflict { .. }));
    });
    let told = |node: &Node| -> Vec<(Index, Vec<u8>)> {
        let runs = node.out.told.iter().filter_map(|event| match event {
            Event::Committed(run) => Some(run),
            _ => None,
        });
        let entries = runs.flat_map(|run| {
            let places = run.first().0..;
            places
                .zip(run.iter())
                .map(|(at, entry)| (Index(at), entry.to_vec()))
        });
        entries.collect()
    };
    let [one, two, three] = [0, 1, 2].map(|place| told(&group.0[place]));
    assert_eq!(one.len(), leader.len() + 1, "{leader:?} over {follower:?}");
    assert_eq!(one, two, "{leader:?} over {follower:?}");
    assert_eq!(one, three, "{leader:?} over {follower:?}");
    refusals
}

/// Terms in either log: a refusal rules out one of them, the follower's or the leader's.
fn distinct(logs: [&[u64]; 2]) -> usize {
    let terms: std::collections::BTreeSet<_> = logs.concat().into_iter().collect();
    terms.len()
}

/// RF-43: the paper's figure 7, a to f: a follower's whole term is skipped at once.
#[test]
fn rf43_figure_7_is_repaired_in_as_many_steps_as_terms() {
    let leader = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
    let followers: [(&[u64], usize); 6] = [
        (&[1, 1, 1, 4, 4, 5, 5, 6, 6], 1),
        (&[1, 1, 1, 4], 1),
        (&[1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6], 0),
        (&[1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7], 0),
        (&[1, 1, 1, 4, 4, 4, 4], 1),
        (&[1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3], 1),
    ];
    for (follower, refusals) in followers {
        assert_eq!(repair(&leader, follower), refusals, "{follower:?}");
        assert!(refusals <= distinct([&leader, follower]));
    }
}

/// All logs of up to `length` entries of terms 1 to 3.
fn logs(length: usize) -> Vec<Vec<u64>> {
    let mut all = vec![vec![]];
    for at in 0..length {
        let longest: Vec<_> = all.iter().filter(|log| log.len() == at).cloned().collect();
        for log in longest {
            let least = log.last().copied().unwrap_or(1);
            all.extend((least..=3).map(|term| [&log[..], &[term]].concat()));
        }
    }
    all
}

/// RF-43, every pair of logs that one history can leave behind: repaired, and no matching prefix lost.
#[test]
fn rf43_every_pair_of_logs_is_repaired_in_as_many_steps_as_terms() {
    let (mut pairs, mut most) = (0, 0);
    for leader in logs(5) {
        for follower in logs(5) {
            // Log matching: the same place and term mean the same log up to there.
            let agree = |at: usize| leader.get(at) == follower.get(at) && at < leader.len();
            let newest = (0..5).rev().find(|at| agree(*at));
            if newest.is_some_and(|newest| leader[..newest] != follower[..newest]) {
                continue;
            }
            let refusals = repair(&leader, &follower);
            assert!(
                refusals <= distinct([&leader, &follower]),
                "{leader:?} over {follower:?}: {refusals}"
            );
            (pairs, most) = (pairs + 1, most.max(refusals));
        }
    }
    println!("{pairs} pairs, {most} refusals at most");
    assert!(pairs > 1_000, "{pairs}");
}

type Disk = Vec<(Lsn, Record)>;

/// A lone node that has proposed entries, kept snapshots of them and let go what they cover; after each
/// step, how many records were written and up to where they could go.
fn compacted() -> (Disk, Vec<(Lsn, Lsn)>) {
    let mut config = config(1, 1);
    config.keep_bytes = 0;
    let mut node = Node::with(config, []);
    node.batch([Timer::Quiet, Timer::Election].map(Input::Timer));
    let mut steps = Vec::new();
    let mut last = 1;
    for round in 0..3 {
        for number in 0..70_u64 {
            node.propose(Commands::one(&[round, number as u8]));
            last += 1;
        }
        node.snapshot(Index(last), Epoch::of_term(1));
        let written = |node: &Node| node.disk.last().map(|(lsn, _)| *lsn);
        node.batch([Input::Reclaim(written(&node).expect("something").next())]);
        steps.push((written(&node).expect("something"), node.out.released));
    }
    (std::mem::take(&mut node.disk), steps)
}

fn recovers(disk: &[(Lsn, Record)]) -> Result<(Index, Index), String> {
    use consensus_core::Protocol;
    let node = Node::start(config(1, 1), disk.to_vec()).map_err(|error| error.to_string())?;
    let status = node.raft.status();
    Ok((status.base, status.last))
}

/// RF-82, RF-83: wherever a crash comes between the file of a snapshot, its record and the end of the log
/// that it covers, what is left boots, from the newest snapshot whose record is there or the one before,
/// and lacks nothing that was on disk. A log that begins after a gap is damage, and is said to be.
#[test]
fn rf83_every_order_of_snapshot_and_compaction_boots_and_a_gap_does_not() {
    let (disk, steps) = compacted();
    let mut checked = 0;
    for (place, (lsn, record)) in disk.iter().enumerate() {
        let released = steps.iter().filter(|(written, _)| written <= lsn);
        let released = released.map(|(_, released)| *released).max();
        let released = released.unwrap_or(Lsn(1));
        let written = &disk[..=place];
        let last = written
            .iter()
            .fold(Index::ZERO, |last, (_, record)| match record {
                Record::Append { run } => run.last(),
                _ => last,
            });
        let snapshots = written.iter().filter_map(|(_, record)| match record {
            Record::Snapshot { manifest } => Some(manifest.index),
            _ => None,
        });
        let newest = snapshots.max().unwrap_or(Index::ZERO);
        // Not compacted at all, and as far as was allowed: a disk may be anywhere between.
        for from in [Lsn(1), Lsn(released.0 / 2), released] {
            let kept: Vec<_> = written
                .iter()
                .filter(|(lsn, _)| *lsn >= from)
                .cloned()
                .collect();
            let found = recovers(&kept);
            assert_eq!(
                found,
                Ok((newest, last)),
                "from {from} to {lsn}: {record:?}"
            );
            checked += 1;
        }
    }
    assert!(checked > 600, "{checked}");
    // One entry more than was let go.
    let (written, released) = steps[0];
    let gap: Vec<_> = disk
        .iter()
        .filter(|(lsn, record)| {
            let snapshot = matches!(record, Record::Snapshot { .. });
            *lsn > released && *lsn <= written && !snapshot
        })
        .cloned()
        .collect();
    let appends = disk
        .iter()
        .filter(|(_, r)| matches!(r, Record::Append { .. }));
    let tail: Vec<_> = appends.skip(30).take(20).cloned().collect();
    assert!(gap.iter().all(|(_, r)| !matches!(r, Record::Append { .. })));
    let error = recovers(&tail).expect_err("the beginning is missing");
    assert!(error.contains("the log begins in its middle"), "{error}");
}
