//! One test a claim of the thesis, \[Ongaro14\]. The longer stories are in `scenarios.rs`.

mod story;

use story::{play, timeout};

const OFF: &str = "pre_vote=off check_quorum=off";

/// §3.4: a candidate with the votes of a majority leads, and says so to everybody.
#[test]
fn a_majority_of_votes_elects() {
    play(&format!(
        "nodes 5 {OFF}\n{}deliver a->b RequestVote\ndeliver b->a Vote\nexpect status a role: Candidate
         deliver a->c RequestVote\ndeliver c->a Vote\nexpect status a role: Leader, term: 1",
        timeout('a')
    ));
}

/// §3.4, election safety: a split vote elects nobody, and a later term somebody.
#[test]
fn a_split_vote_elects_nobody_in_its_term() {
    play(&format!(
        "nodes 4 {OFF}\n{}{}deliver a->c RequestVote\ndeliver b->d RequestVote\ndeliver c->a Vote
         deliver d->b Vote\nexpect status a role: Candidate\nexpect status b role: Candidate
         deliver all\nexpect status a role: Candidate\nexpect status b role: Candidate\nuntil agreed",
        timeout('a'),
        timeout('b')
    ));
}

/// §3.4: a candidate that hears the leader of its term follows it.
#[test]
fn a_candidate_that_hears_its_terms_leader_follows() {
    play(&format!(
        "nodes 3 {OFF}\n{}{}deliver a->c RequestVote\ndeliver c->a Vote\nexpect status a role: Leader, term: 1
         expect status b role: Candidate, term: 1\ndeliver a->b Append\nexpect status b role: Follower, term: 1",
        timeout('a'),
        timeout('b')
    ).replace("deliver a->b Append", "deliver a->b RequestVote\ndeliver a->b Append"));
}

/// §3.5, log matching: a follower takes an entry only behind the same entry as the leader's.
#[test]
fn a_gap_is_refused_and_filled() {
    play(
        "nodes 3\nelect a\ndeliver all\npropose a X\npropose a Y\ndeliver a->b Append run: [3
         expect sent b->a Conflict\nexpect status b last: 1\ndeliver all\nexpect told Y at b",
    );
}

/// §3.6.1: the last entry's term decides first, then the length; equal is up to date.
#[test]
fn an_older_last_term_loses_to_a_shorter_log() {
    play(&format!(
        "nodes 3 {OFF}\nelect a\ndeliver all\npropose a P\npropose a Q\ndrop a->* *\ncrash a\n{}deliver b->c RequestVote
         deliver c->b Vote\nexpect status b role: Leader, term: 2\ndeliver b->c Append\nrestart a\n{}drop a->* *\n{}drop b->a *
         deliver a->c RequestVote\nexpect sent c->a Vote term: 3, granted: false",
        timeout('b'),
        timeout('a'),
        timeout('a')
    ));
}

/// §3.6.2: entries of older terms are committed with the first of the own term.
#[test]
fn an_older_entry_is_committed_through_a_newer_one() {
    play(&format!(
        "nodes 3 {OFF}\nelect a\ndeliver all\npropose a X\ndeliver a->b Append\ncrash a\n{}deliver b->c RequestVote
         deliver c->b Vote\nexpect not told X\nuntil told X at c\nexpect committed 3 noop at b",
        timeout('b')
    ));
}

/// §3.8: a restart forgets no term, no vote and no entry.
#[test]
fn a_restart_forgets_nothing() {
    play(
        "nodes 3\nelect a\npropose a X\nuntil told X at a\nuntil agreed\ncrash b\nrestart b
         expect status b term: 1\nexpect disk b HardState term: 1, vote: (1)\nexpect status b last: 2",
    );
}

/// §3.9: timeouts are drawn, so splits do not repeat for ever: five nodes elect somebody by themselves.
#[test]
fn randomised_timeouts_elect_somebody() {
    for n in [2, 3, 4, 5, 7] {
        play(&format!("nodes {n} {OFF}\nuntil agreed"));
        play(&format!("nodes {n}\nuntil agreed"));
    }
}

/// §4.2.3: a node that hears its leader gives no candidate its vote, not even its term.
#[test]
fn a_follower_that_hears_its_leader_ignores_candidates() {
    play(&format!(
        "nodes 3 pre_vote=off\nelect a\ndeliver all\n{}deliver c->b RequestVote\nexpect no message Vote from b
         expect status b term: 1",
        timeout('c')
    ));
}

/// §6.2: a leader that hears no majority for an election timeout steps down.
#[test]
fn a_leader_without_a_majority_steps_down() {
    play(
        "nodes 3\nelect a\ndeliver all\nhold *->a\nhold a->*\ntick CheckQuorum at a\ntick CheckQuorum at a
         expect status a role: Follower",
    );
}

/// §4.3: while a change of several voters is under way, both groups decide; then the new one alone.
#[test]
fn a_joint_configuration_needs_both_majorities() {
    play(
        "nodes 5\nelect a\ndeliver all\nchange a demote d, demote e\ndeliver a->b Append\ndeliver b->a Appended
         expect members a b c + a b c d e (d) (e) at a\ndeliver a->d Append\ndeliver d->a Appended
         expect members a b c (d) (e) at a\nuntil members a b c (d) (e) at e",
    );
}

/// §6.4, step 1: no read before the term has committed something of its own.
/// Steps 2 to 4: the commit index at the time, a round of heartbeats, and no write.
#[test]
fn a_read_takes_a_round_of_heartbeats() {
    play(
        "nodes 3\nelect a\nread a\nexpect waiting at a\ndeliver all\nexpect answered at a\npropose a X\nuntil told X at a
         read a\nexpect waiting at a\ndeliver a->b Heartbeat\ndeliver b->a Heard\nexpect read 2 at a",
    );
}

/// §6.4.1: a lease answers at once, and for no longer than its share of the shortest election timeout.
#[test]
fn a_lease_ends_with_its_share_of_the_timeout() {
    let quiet = "tick Quiet at b\ntick Quiet at c\n";
    for (wait, word) in [("60ms", "answered"), ("80ms", "waiting")] {
        play(&format!(
            "nodes 3 lease_percent=50\n{quiet}elect a\ndeliver all\ntick Heartbeat at a
             deliver a->b Heartbeat\ndeliver b->a Heard\nhold a->*\nadvance {wait}\nread a\nexpect {word} at a"
        ));
    }
}

/// §3.10: the heir is caught up, told, and elected although the others hear their leader.
#[test]
fn leadership_is_handed_over_within_a_term_change() {
    play(
        "nodes 3\nelect a\ndeliver all\ntransfer a b\nexpect sent a->b TimeoutNow\ndeliver all
         expect status b role: Leader, term: 2\nexpect status a role: Follower, term: 2",
    );
}

/// §9.6: a pre-vote that nobody would grant raises no term.
#[test]
fn a_pre_vote_in_vain_raises_no_term() {
    play(&format!(
        "nodes 3\nelect a\ndeliver all\n{}deliver all\nexpect status c term: 1\nexpect status a role: Leader, term: 1",
        timeout('c')
    ));
}

/// §10.2.1: a leader sends while its own disk writes, and two other disks are enough.
#[test]
fn a_leader_writes_in_parallel() {
    play(
        "nodes 3\nelect a\ndeliver all\ndisk a by hand\npropose a X\nexpect sent a->b Append\ndeliver a->b Append
         deliver a->c Append\ndeliver b->a Appended\nexpect not told X\ndeliver c->a Appended\nexpect told X at a",
    );
    play(
        "nodes 3 parallel_write=off\nelect a\ndeliver all\ndisk a by hand\npropose a X\nexpect no message Append from a
         sync a\nexpect sent a->b Append",
    );
}
