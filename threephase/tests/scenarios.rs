//! Worked examples, each a file of steps and the transcript they give. `UPDATE_EXPECT=1` rewrites the
//! transcripts; the difference is reviewed like code.

use consensus_core::sim::scenario::{CommitWords, golden, play_with};
use std::path::Path;
use threephase::{Options, ThreePhase};

fn configure(options: &mut Options, name: &str, value: &str) -> Result<(), String> {
    options.set(name, value)
}

fn check(name: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(name);
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let play = |text: &str| play_with::<ThreePhase, CommitWords>(text, &configure);
    golden(&file, update, play).unwrap_or_else(|error| panic!("{error}"));
}

macro_rules! scenarios {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            check(concat!(stringify!($name), ".txt"));
        }
    )*};
}

scenarios! {
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
        let file = format!("{}/testdata/{name}.txt", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(file).expect("a scenario of this folder");
        let plant = |options: &mut Options, name: &str, value: &str| {
            if name != "planted" {
                return options.set(name, value);
            }
            options.fault = Some(fault);
            Ok(())
        };
        let planted = |line: &str| match line.starts_with("nodes ") {
            true => format!("{line} planted\n"),
            false => format!("{line}\n"),
        };
        let text: String = text.lines().map(planted).collect();
        match play_with::<ThreePhase, CommitWords>(&text, &plant) {
            Ok(_) => panic!("{name} does not notice {fault:?}"),
            Err(error) => println!("{fault:?}: {error}"),
        }
    }
}
