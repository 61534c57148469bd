//! Worked examples, each a file of steps and the transcript they give. `UPDATE_EXPECT=1` rewrites the
//! transcripts; the difference is reviewed like code.

use consensus_core::sim::scenario::{Corpus, LogWords, REPLICATED_LOG, play_shared};
use multipaxos::{MultiPaxos, Options};

fn corpus() -> Corpus<MultiPaxos, LogWords> {
    Corpus::new(env!("CARGO_MANIFEST_DIR"), Options::set)
}

/// What holds for every replicated log.
#[test]
fn the_scenarios_of_the_contract_hold() {
    play_shared::<MultiPaxos, LogWords>(REPLICATED_LOG, &Options::set)
        .unwrap_or_else(|(name, error)| panic!("{name}: {error}\n{}", error.transcript));
}

consensus_core::scenario_tests! { corpus() =>
    mp01_a_hole_is_filled_with_a_no_op
    mp02_an_old_leader_adopts_the_no_op
    mp02_its_client_learns_that_it_is_lost
    mp03_a_promise_carries_every_slot
    mp05_the_highest_ballot_of_each_slot
    mp06_a_trimmed_acceptor_says_so
    mp07_chosen_says_nothing_of_an_older_ballot
    mp09_a_deposed_leader_answers_no_read
    mp09_an_older_confirmation_proves_nothing
    mp10_a_candidate_waits_for_the_leases
    mp10_a_lease_and_an_old_reading_of_the_clock
    mp10_a_lease_is_trusted_for_less_than_it_lasts
    mp10_a_restarted_acceptor_keeps_its_word
    mp10_a_stale_leader_ends_no_lease
    mp10_an_heir_need_not_wait
    mp11_only_one_node_reaches_a_quorum
    mp11_the_only_node_that_may_lead_lags_behind
    mp13_a_chain_keeps_its_leader
    mp15_a_gap_is_asked_for
    mp17_a_snapshot_covers_what_its_label_says
    mp_a_late_acceptance_counts_for_nothing
    mp_a_new_group_is_asked_first
    mp_a_node_is_no_hint_of_its_own
    mp_a_promise_waits_for_the_disk
    mp_a_removed_node_that_did_not_hear
    mp_members_hold_alpha_slots_later
    mp_what_is_under_way_keeps_its_group
}

/// Each scenario fails where the bug it warns of is planted: the story is the right one.
#[cfg(feature = "faults")]
#[test]
fn every_scenario_catches_its_bug() {
    use multipaxos::Fault;
    for (fault, name) in [
        (Fault::PromiseBeforeDisk, "mp_a_promise_waits_for_the_disk"),
        (
            Fault::OnePromiseForAll,
            "mp05_the_highest_ballot_of_each_slot",
        ),
        (
            Fault::HoleFilledWithCommand,
            "mp01_a_hole_is_filled_with_a_no_op",
        ),
        (Fault::TrimmedSaysNothing, "mp06_a_trimmed_acceptor_says_so"),
        (
            Fault::ChosenUnverified,
            "mp07_chosen_says_nothing_of_an_older_ballot",
        ),
        (
            Fault::LateAcceptances,
            "mp_a_late_acceptance_counts_for_nothing",
        ),
        (
            Fault::ChangeInForceAtOnce,
            "mp_what_is_under_way_keeps_its_group",
        ),
        (Fault::LeaseNotKept, "mp10_a_candidate_waits_for_the_leases"),
        (
            Fault::LeaseWithoutBound,
            "mp10_a_lease_is_trusted_for_less_than_it_lasts",
        ),
        (Fault::NewGroupNotAsked, "mp_a_new_group_is_asked_first"),
    ] {
        corpus().catches(name, &fault, |options| options.fault = Some(fault));
    }
}
