//! The deterministic simulator: N nodes of any [`Algorithm`](crate::Algorithm) on one thread, in
//! virtual time. One seed decides everything, the rates of faults included.
//!
//! [`run`] is one seed with its two phases and its judgement. [`World`] is what it runs in.

pub mod bare;
pub mod by_hand;
mod chance;
mod disk;
mod faults;
pub mod measure;
mod minimise;
mod network;
mod phases;
mod process;
mod run;
pub mod scenario;
mod svg;
mod trace;
mod transfers;
mod workload;
mod world;

pub use chance::{Chance, TraceHash};
pub use disk::Keep;
pub use faults::KINDS;
pub use minimise::{Minimal, minimise, replay};
pub use network::Weather;
pub use run::{Outcome, Settings, run, run_with};
pub use trace::{Happening, What, name, node};
pub use transfers::Transfers;
pub use workload::{KeyValue, Workload};
pub use world::{Climate, Counts, Step, World};
