//! Worked examples, each a file of steps and the transcript they give. `UPDATE_EXPECT=1` rewrites the
//! transcripts; the difference is reviewed like code.

use consensus_core::sim::scenario::{Corpus, RegisterWords};
use paxos::{Options, Paxos};

fn corpus() -> Corpus<Paxos, RegisterWords> {
    Corpus::new(env!("CARGO_MANIFEST_DIR"), Options::set)
}

/// `SCENARIO_SVG=folder` keeps the drawing, to be looked at.
#[test]
fn a_scenario_is_drawn_with_its_title() {
    let transcript = corpus().check("px10_duelling_proposers");
    let svg = transcript.svg();
    let title = transcript.title.split(':').next().expect("it has one");
    assert!(svg.starts_with("<svg") && svg.contains(title));
    if let Some(folder) = std::env::var_os("SCENARIO_SVG") {
        let file = std::path::Path::new(&folder).join("px10_duelling_proposers.svg");
        std::fs::write(file, svg).expect("writable");
    }
}

consensus_core::scenario_tests! { corpus() =>
    px01_acceptor_forgets_a_promise
    px02_acceptor_forgets_an_acceptance
    px03_proposer_reuses_a_ballot
    px05_duplicates_do_not_make_a_quorum
    px06_the_highest_ballot_wins
    px07_accept_raises_the_promise
    px09_learner_mixes_ballots
    px10_duelling_proposers
    px11_a_later_proposer_completes
    px13_wiped_acceptor
    px15_ballot_extremes
    px17_same_round_different_nodes
}

/// Each scenario fails where the bug it warns of is planted: the story is the right one.
#[cfg(feature = "faults")]
#[test]
fn every_scenario_catches_its_bug() {
    use paxos::Fault;
    for (fault, name) in [
        (Fault::PromiseBeforeDisk, "px01_acceptor_forgets_a_promise"),
        (
            Fault::AcceptedBeforeDisk,
            "px02_acceptor_forgets_an_acceptance",
        ),
        (Fault::BallotReused, "px03_proposer_reuses_a_ballot"),
        (Fault::WrongPromiseValue, "px06_the_highest_ballot_wins"),
        (
            Fault::AcceptDoesNotRaisePromise,
            "px07_accept_raises_the_promise",
        ),
        (Fault::LearnerMixesBallots, "px09_learner_mixes_ballots"),
    ] {
        corpus().catches(name, &fault, |options| options.fault = Some(fault));
    }
}
