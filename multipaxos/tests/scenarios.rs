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
    mp_members_hold_alpha_slots_later
}
