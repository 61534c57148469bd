//! Clusters in the hands of a test, under each presumption.

use consensus_core::sim::by_hand;
use twophase::{Options, Presumption, TwoPhase};

pub(crate) type Cluster = by_hand::Cluster<TwoPhase>;

pub(crate) fn cluster(count: u16, options: &Options) -> Cluster {
    Cluster::new(count, options)
}

pub(crate) fn each(presumption: Presumption) -> Options {
    Options {
        presumption,
        ..Options::default()
    }
}

pub(crate) const ALL: [Presumption; 3] = [
    Presumption::Abort,
    Presumption::Commit,
    Presumption::Nothing,
];
