//! Worked examples, each a file of steps and the transcript they give. `UPDATE_EXPECT=1` rewrites the
//! transcripts; the difference is reviewed like code.

use consensus_core::sim::scenario::{CommitWords, Corpus};
use twophase::{Options, TwoPhase};

fn corpus() -> Corpus<TwoPhase, CommitWords> {
    Corpus::new(env!("CARGO_MANIFEST_DIR"), Options::set)
}

consensus_core::scenario_tests! { corpus() =>
    tp02_one_was_asked
    tp03_all_have_voted_nothing_is_decided
    tp04_decided_before_anybody_was_told
    tp05_one_was_told
    tp06_the_end_is_lost
    tp08_prepared_before_the_vote
    tp10_commit_before_its_record
    tp11_committed_and_not_acknowledged
    tp13_in_doubt_is_blocked
    tp14_a_peer_has_not_voted
    tp14_a_peer_knows
    tp15_late_prepare
    tp17_late_votes
    tp19_commit_is_not_forgotten_early
    tp22_ids_are_not_used_twice
    tp25_a_commit_cannot_be_written
    tp26_second_phase_again
    tp27_what_a_client_is_told
    tp31_amnesiac_voter
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
        (Fault::VoteBeforeDisk, "tp08_prepared_before_the_vote"),
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
