//! Worked examples, each a file of steps and the transcript they give. `UPDATE_EXPECT=1` rewrites the
//! transcripts; the difference is reviewed like code.

use consensus_core::sim::scenario::{CommitWords, Corpus};
use twophase::{Options, TwoPhase};

fn corpus() -> Corpus<TwoPhase, CommitWords> {
    Corpus::new(env!("CARGO_MANIFEST_DIR"), Options::set)
}

consensus_core::scenario_tests! { corpus() =>
    tp01_collecting_is_not_on_disk
    tp01_nothing_is_logged
    tp02_one_was_asked
    tp03_all_have_voted_nothing_is_decided
    tp04_decided_before_anybody_was_told
    tp05_one_was_told
    tp06_the_end_is_lost
    tp07_prepared_is_not_on_disk
    tp08_prepared_before_the_vote
    tp09_locks_before_serving
    tp10_commit_before_its_record
    tp11_committed_and_not_acknowledged
    tp12_acknowledged_and_forgotten
    tp13_in_doubt_is_blocked
    tp14_a_peer_has_aborted
    tp14_a_peer_has_not_voted
    tp14_a_peer_knows
    tp14_everybody_is_in_doubt
    tp15_late_prepare
    tp15_late_prepare_presumed_abort
    tp15_late_prepare_presumed_nothing
    tp17_late_no
    tp17_late_votes
    tp18_the_last_vote_comes_first
    tp18_the_time_out_comes_first
    tp19_commit_is_not_forgotten_early
    tp21_torn_decision
    tp22_ids_are_not_used_twice
    tp23_two_coordinators
    tp25_a_commit_cannot_be_written
    tp26_an_abort_again
    tp26_second_phase_again
    tp27_what_a_client_is_told
    tp29_opposite_orders
    tp30_a_full_coordinator_refuses
    tp31_amnesiac_voter
    tp31_committed_and_forgotten
    by_hand_and_wrong
    collecting_without_a_commit_means_abort
    one_phase
    one_phase_after_a_restart
    presumed_commit_is_told_once
}

/// Each scenario fails where the bug it warns of is planted: the story is the right one.
#[cfg(feature = "faults")]
#[test]
fn every_scenario_catches_its_bug() {
    use twophase::Fault;
    for (fault, name) in [
        (
            Fault::CommitBeforeDisk,
            "tp03_all_have_voted_nothing_is_decided",
        ),
        (Fault::VoteBeforeDisk, "tp07_prepared_is_not_on_disk"),
        (Fault::InDoubtTimesOut, "tp13_in_doubt_is_blocked"),
        (Fault::LatePrepare, "tp15_late_prepare"),
        (Fault::ForgetsEarly, "tp19_commit_is_not_forgotten_early"),
        (Fault::IdReused, "tp22_ids_are_not_used_twice"),
        (Fault::WrongEarly, "tp27_what_a_client_is_told"),
        (Fault::PresumesForClients, "tp27_what_a_client_is_told"),
        (Fault::AmnesiacVoter, "tp31_amnesiac_voter"),
    ] {
        corpus().catches(name, &fault, |options| options.fault = Some(fault));
    }
}
