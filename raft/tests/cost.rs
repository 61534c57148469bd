//! What things cost, counted exactly: messages and forced writes.

mod story;

use std::collections::BTreeMap;
use story::{bill, play, timeout};

fn counted(sent: &[&'static str]) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    sent.iter()
        .for_each(|kind| *counts.entry(*kind).or_default() += 1);
    counts
}

const LINE: &str = "deliver all";

/// An idle pipeline: append, acknowledgement and the commit announced at once, to each follower; one
/// forced write at each.
#[test]
fn a_lone_command_costs_three_messages_a_follower() {
    for n in [3, 5, 7] {
        let story = format!("nodes {n}\nelect a\ndeliver all\npropose a X\nrun 1ms");
        let transcript = play(&story);
        let (before, written) = bill(&transcript, "propose a X");
        let (after, elsewhere) = bill(&transcript, "run 1ms");
        let followers = n - 1;
        let expected = [
            ("Append", followers),
            ("Appended", followers),
            ("Commit", followers),
        ];
        assert_eq!(counted(&[before, after].concat()), expected.into());
        assert_eq!((written, elsewhere), (1, followers));
    }
}

/// Under load the commit rides along: two messages a command and follower.
#[test]
fn a_loaded_pipeline_costs_two_messages_a_follower() {
    // What has not arrived anywhere cannot be acknowledged: ten are under way before the first answer.
    let proposals: String = (0..10).map(|i| format!("propose a X{i}\n")).collect();
    let story = format!("nodes 3\nelect a\ndeliver all\n{proposals}{LINE}\nexpect told X9 at b");
    let transcript = play(&story);
    let appends: usize = (0..10)
        .map(|i| bill(&transcript, &format!("propose a X{i}")).0.len())
        .sum();
    assert_eq!(appends, 20);
    let sent = counted(&bill(&transcript, LINE).0);
    assert!(sent["Appended"] >= 20, "{sent:?}");
}

/// Without a split an election takes a request and a vote from everybody else.
#[test]
fn an_election_costs_two_messages_a_peer_and_with_pre_vote_four() {
    for n in [3, 5, 7] {
        for (pre_vote, kinds) in [("off", 2), ("on", 4)] {
            let story = format!("nodes {n} pre_vote={pre_vote}\n{}{LINE}", timeout('a'));
            let transcript = play(&story);
            let (mut sent, _) = bill(&transcript, "tick Election at a");
            sent.extend(bill(&transcript, LINE).0);
            let votes = |kind: &&&str| ["RequestVote", "Vote"].contains(kind);
            assert_eq!(
                sent.iter().filter(votes).count(),
                kinds * (n - 1),
                "{sent:?}"
            );
        }
    }
}

/// A read is a round of heartbeats, and writes nothing.
#[test]
fn a_read_costs_two_messages_a_follower_and_no_write() {
    for n in [3, 5, 7] {
        let story =
            format!("nodes {n}\nelect a\ndeliver all\nread a\nrun 1ms\nexpect answered at a");
        let transcript = play(&story);
        let (asked, written) = bill(&transcript, "read a");
        let (answered, elsewhere) = bill(&transcript, "run 1ms");
        let expected = [("Heard", n - 1), ("Heartbeat", n - 1)];
        assert_eq!(counted(&[asked, answered].concat()), expected.into());
        assert_eq!(written + elsewhere, 0);
    }
}
