//! Worked examples, each a file of steps and the transcript they give. `UPDATE_EXPECT=1` rewrites the
//! transcripts; the difference is reviewed like code.

use consensus_core::sim::scenario::{Corpus, LogWords, REPLICATED_LOG, play_shared};
use raft::{Options, Raft};

fn corpus() -> Corpus<Raft, LogWords> {
    Corpus::new(env!("CARGO_MANIFEST_DIR"), Options::set)
}

/// What holds for every replicated log.
#[test]
fn the_scenarios_of_the_contract_hold() {
    play_shared::<Raft, LogWords>(REPLICATED_LOG, &Options::set)
        .unwrap_or_else(|(name, error)| panic!("{name}: {error}\n{}", error.transcript));
}

consensus_core::scenario_tests! { corpus() =>
    hung_disk_ends_leadership
    rf01_figure_8
    rf01_figure_8_committed
    rf02_a_vote_survives
    rf02_a_vote_waits_for_the_disk
    rf03_term_and_vote_are_one_record
    rf05_a_term_seen_is_no_vote
    rf06_a_stale_vote
    rf07_a_learner_is_asked
    rf07_duplicate_votes
    rf09_an_isolated_node_with_pre_vote
    rf09_an_isolated_node_without_pre_vote
    rf10_pre_vote_changes_nothing
    rf11_pre_vote_in_a_lower_term
    rf13_pre_vote_judges_the_log
    rf14_a_stuck_candidate
    rf15_one_term_above_a_live_leader
    rf18_two_nodes_with_one_link_each
    rf19_a_lease_counts_from_its_question
    rf30_a_late_shorter_append
    rf31_commit_beyond_what_was_verified
    rf33_a_late_refusal
    rf36_the_own_disk_counts
    rf37_a_late_completion
    rf38_a_sync_error
    rf39_a_follower_loses_what_it_did_not_sync
    rf41_repair_makes_progress
    rf42_an_entry_larger_than_the_limit
    rf45_the_outcome_is_unknown
    rf50_a_read_before_the_terms_first_commit
    rf51_an_older_round
    rf53_a_lease_after_timeout_now
    rf54_a_deposed_leader_helps_nobody
    rf54_a_read_at_a_follower
    rf54_a_read_at_a_learner
    rf54_an_answer_to_an_earlier_run
    rf60_one_server_at_a_time
    rf61_a_second_change
    rf62_joint_until_both_agree
    rf63_members_count_when_appended
    rf64_a_truncated_configuration
    rf65_a_snapshot_over_a_stale_configuration
    rf66_a_leader_removes_itself
    rf67_a_learner_joins_an_idle_group
    rf67_a_learner_that_is_behind
    rf69_a_removed_node_is_told
    rf69_a_rumour_counts_for_nothing
    rf69_a_removed_node_that_did_not_hear
    rf70_an_even_split
    rf81_a_conflicting_entry_under_a_snapshot
    rf85_a_lost_acknowledgement_is_said_again
    rf85_a_snapshot_that_the_log_overtook
    rf85_the_same_snapshot_twice
    rf85_two_senders
    rf86_bytes_are_contact
    rf87_members_are_in_the_snapshot
    rf90_transfer_to_a_lagging_node
    rf91_timeout_now_out_of_place
    rf95_a_term_led_twice
    rf96_commit_overtakes_a_snapshot
    slow_disk_keeps_leadership
}

/// Each scenario fails where the bug it warns of is planted: the story is the right one.
#[cfg(feature = "faults")]
#[test]
fn every_scenario_catches_its_bug() {
    use raft::Fault;
    for (fault, name) in [
        (Fault::VoteBeforeDisk, "rf02_a_vote_waits_for_the_disk"),
        (Fault::TermAndVoteApart, "rf03_term_and_vote_are_one_record"),
        (Fault::OwnAckBeforeSync, "rf36_the_own_disk_counts"),
        (Fault::CountsOldTerms, "rf01_figure_8"),
        (Fault::ShorterAppendTruncates, "rf30_a_late_shorter_append"),
        (
            Fault::CommitsUnverified,
            "rf31_commit_beyond_what_was_verified",
        ),
        (Fault::ChangeWhilePending, "rf60_one_server_at_a_time"),
        (Fault::ChangeWhilePending, "rf61_a_second_change"),
        (
            Fault::ReadBeforeOwnCommit,
            "rf50_a_read_before_the_terms_first_commit",
        ),
        (Fault::LeadsBeforeDisk, "rf95_a_term_led_twice"),
        (
            Fault::AnswersUnconfirmed,
            "rf54_a_deposed_leader_helps_nobody",
        ),
        (Fault::AnswersAcrossRuns, "rf54_an_answer_to_an_earlier_run"),
        (
            Fault::CommitOvertakesSnapshot,
            "rf96_commit_overtakes_a_snapshot",
        ),
    ] {
        corpus().catches(name, &fault, |options| options.fault = Some(fault));
    }
}
