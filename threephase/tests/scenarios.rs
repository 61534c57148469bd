//! Worked examples, each a file of steps and the transcript they give. `UPDATE_EXPECT=1` rewrites the
//! transcripts; the difference is reviewed like code.

use consensus_core::sim::scenario::{CommitWords, Corpus};
use threephase::{Options, ThreePhase};

fn corpus() -> Corpus<ThreePhase, CommitWords> {
    Corpus::new(env!("CARGO_MANIFEST_DIR"), Options::set)
}

consensus_core::scenario_tests! { corpus() =>
    th01_coordinator_dies_before_any_pre_commit
    th02_coordinator_dies_after_all_pre_commits
    th03_coordinator_dies_between_pre_commits
    th04_partition_divides_classic
    th04_partition_does_not_divide_a_quorum
    th05_slow_coordinator_divides_classic
    th05_slow_coordinator_is_refused_by_a_quorum
    th06_pre_commit_after_the_abort
    th07_commit_without_pre_commit
    th09_recovered_site_asks
    th10_recovered_coordinator_asks
    th11_total_failure
    th13_two_elected_divide_classic
    th13_two_elected_do_not_divide_a_quorum
    th14_newest_attempt_ends_a_cascade
    th16_stale_reports
    pre_commit_before_its_acknowledgement
    silence_is_no_consent
    voted_before_the_vote
}

/// Each scenario fails where the bug it warns of is planted: the story is the right one.
#[cfg(feature = "faults")]
#[test]
fn every_scenario_catches_its_bug() {
    use threephase::Fault;
    for (fault, name) in [
        (Fault::VoteBeforeDisk, "voted_before_the_vote"),
        (
            Fault::UnloggedPreCommit,
            "pre_commit_before_its_acknowledgement",
        ),
        (Fault::SilenceIsConsent, "silence_is_no_consent"),
        (Fault::RecoveredDecides, "th09_recovered_site_asks"),
        (Fault::ReportsBeforeElected, "th16_stale_reports"),
        (Fault::IgnoresAttempts, "th14_newest_attempt_ends_a_cascade"),
    ] {
        corpus().catches(name, &fault, |options| options.fault = Some(fault));
    }
}
