//! The table of what a killed coordinator leaves behind, and what each protocol promises about it.

use bench::harness::coordinator_killed::{Cell, Ending, render, rows};
use consensus_core::contract::atomic_commit::Outcome;
use expect_test::expect_file;
use std::time::Duration;

fn column(place: usize, partition: bool) -> Vec<Cell> {
    let rows = rows().expect("every run gets to its step");
    let rows = rows.iter().filter(|row| row.partition == partition);
    rows.filter_map(|row| row.cells[place]).collect()
}

fn blocks(cell: &Cell) -> bool {
    matches!(cell.ending, Ending::Blocked(_))
}

/// TH-15, one crash script for all. Exact, so that a change of it is a change of a protocol.
#[test]
fn th15_the_table_of_a_killed_coordinator_is_this_one() {
    let rows = rows().expect("every run gets to its step");
    let table = render(&rows);
    println!("{table}");
    expect_file!["coordinator_killed.md"].assert_eq(&format!("{table}\n"));
}

/// \[Skeen81\]: between a vote and the outcome there is nothing that two-phase commit could do.
#[test]
fn two_phase_commit_blocks_and_stays_atomic() {
    let whole = column(0, false);
    assert_eq!(whole.iter().filter(|cell| blocks(cell)).count(), 3);
    let all = whole.into_iter().chain(column(0, true));
    assert!(all.into_iter().all(|cell| cell.ending != Ending::Diverged));
}

/// \[Skeen81\]: crashes alone do not block it; \[SkeenStonebraker83\]: a partition makes it diverge.
#[test]
fn classic_three_phase_commit_never_blocks_and_diverges_under_a_partition() {
    let (whole, parted) = (column(1, false), column(1, true));
    assert!(!whole.iter().chain(&parted).any(blocks));
    assert!(whole.iter().all(|cell| cell.ending != Ending::Diverged));
    assert!(parted.iter().any(|cell| cell.ending == Ending::Diverged));
}

/// \[KeidarDolev98\]: whoever is in a quorum ends; nobody diverges.
#[test]
fn quorum_mode_blocks_the_minority_alone() {
    let (whole, parted) = (column(2, false), column(2, true));
    assert!(!whole.iter().any(blocks));
    assert!(parted.iter().all(|cell| cell.locks <= 1));
    let all = whole.iter().chain(&parted);
    assert!(all.into_iter().all(|cell| cell.ending != Ending::Diverged));
}

/// A coordinator on a group is back as soon as the group has a leader: within two elections, and what was
/// decided stays decided.
#[test]
fn a_replicated_coordinator_blocks_whom_its_group_cannot_reach() {
    let (whole, parted) = (column(3, false), column(3, true));
    let soon = Duration::from_secs(1);
    assert!(
        whole
            .iter()
            .all(|cell| !blocks(cell) && cell.blocked < soon)
    );
    assert!(parted.iter().all(|cell| cell.locks <= 1));
    // One was asked, all were asked, all have voted; then decided.
    let aborts = |cell: &&Cell| cell.ending == Ending::Ended(Outcome::Abort);
    assert_eq!(whole.iter().filter(aborts).count(), 3);
    let all = whole.iter().chain(&parted);
    assert!(all.into_iter().all(|cell| cell.ending != Ending::Diverged));
}
