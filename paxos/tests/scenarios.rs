//! Worked examples, each a file of steps and the transcript they give. `UPDATE_EXPECT=1` rewrites the
//! transcripts; the difference is reviewed like code.

use consensus_core::sim::scenario::{RegisterWords, golden, play_with};
use paxos::{Options, Paxos};
use std::path::Path;

fn configure(options: &mut Options, name: &str, value: &str) -> Result<(), String> {
    match (name, value) {
        ("thrifty", "") => options.thrifty = true,
        ("phase1", size) => options.phase1 = size.parse().ok(),
        ("phase2", size) => options.phase2 = size.parse().ok(),
        _ => return Err(format!("`{name}={value}` is no option of these scenarios")),
    }
    Ok(())
}

fn check(name: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(name);
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let play = |text: &str| play_with::<Paxos, RegisterWords>(text, &configure);
    let transcript = golden(&file, update, play).unwrap_or_else(|error| panic!("{error}"));
    let svg = transcript.svg();
    assert!(
        svg.starts_with("<svg") && svg.contains(transcript.title.split(':').next().unwrap_or(""))
    );
    if let Some(folder) = std::env::var_os("SCENARIO_SVG") {
        std::fs::write(Path::new(&folder).join(name).with_extension("svg"), svg).expect("writable");
    }
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
        let file = format!("{}/testdata/{name}.txt", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(file).expect("a scenario of this folder");
        let plant = |options: &mut Options, name: &str, _: &str| {
            assert_eq!(name, "planted");
            options.fault = Some(fault);
            Ok(())
        };
        let planted = |line: &str| match line.starts_with("nodes ") {
            true => format!("{line} planted\n"),
            false => format!("{line}\n"),
        };
        let text: String = text.lines().map(planted).collect();
        match play_with::<Paxos, RegisterWords>(&text, &plant) {
            Ok(_) => panic!("{name} does not notice {fault:?}"),
            Err(error) => println!("{fault:?}: {error}"),
        }
    }
}
