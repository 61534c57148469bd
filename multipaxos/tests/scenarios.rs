//! Worked examples, each a file of steps and the transcript they give. `UPDATE_EXPECT=1` rewrites the
//! transcripts; the difference is reviewed like code.

use consensus_core::sim::scenario::{LogWords, REPLICATED_LOG, golden, play_shared, play_with};
use multipaxos::{MultiPaxos, Options};
use std::path::{Path, PathBuf};

/// What holds for every replicated log.
#[test]
fn the_scenarios_of_the_contract_hold() {
    play_shared::<MultiPaxos, LogWords>(REPLICATED_LOG, &Options::set)
        .unwrap_or_else(|(name, error)| panic!("{name}: {error}\n{}", error.transcript));
}

fn file(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    folder.join(name).with_extension("txt")
}

fn check(name: &str) {
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let play = |text: &str| play_with::<MultiPaxos, LogWords>(text, &Options::set);
    golden(&file(name), update, play).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn mp_members_hold_alpha_slots_later() {
    check("mp_members_hold_alpha_slots_later");
}
