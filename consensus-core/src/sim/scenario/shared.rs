//! Scenarios that hold for every protocol of a contract. They name no message and no alarm of any
//! protocol, and their transcripts differ, so they hold expectations only.

use super::{Configure, ScenarioError, Words, play_with};
use crate::Algorithm;

macro_rules! scenarios {
    ($folder:literal: $($name:ident)*) => {
        &[$((
            stringify!($name),
            include_str!(concat!("../../../testdata/", $folder, "/", stringify!($name), ".txt")),
        )),*]
    };
}

/// Name and text of the scenarios of the replicated log, for [`LogWords`](super::LogWords).
pub const REPLICATED_LOG: &[(&str, &str)] = scenarios! { "replicated_log":
    rl01_a_minority_commits_nothing
    rl02_acknowledged_entries_survive_the_power
    rl03_a_deposed_leader_answers_no_read
    rl04_reads_see_what_was_written
    rl05_a_new_leader_reads_nothing_old
    rl06_leadership_is_handed_over
    rl07_an_unsynced_entry_is_not_counted
    rl08_an_acknowledgement_waits_for_the_disk
    rl09_an_even_split_commits_nothing
    rl10_duplicates_change_nothing
};

/// Plays `scenarios` one after the other.
///
/// # Errors
/// The name of the first that does not go as its text says, and why.
pub fn play_shared<A: Algorithm, W: Words<A>>(
    scenarios: &[(&'static str, &str)],
    configure: &Configure<'_, A::Options>,
) -> Result<(), (&'static str, ScenarioError)> {
    for (name, text) in scenarios {
        play_with::<A, W>(text, configure).map_err(|error| (*name, error))?;
    }
    Ok(())
}
