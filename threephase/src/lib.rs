//! Three-phase commit, classic and with quorums (E3PC). **Young: its cost counts and its model are not
//! written yet.**
//!
//! It runs in the simulator, in the benchmarks and on real nodes: classic mode inside its assumptions (no
//! partition, bounded delay) and quorum mode under every fault hold in 500 seeds each, progress included.
//! Under partitions classic mode diverges, as is known, and quorum mode does not.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

/// Whether the named bug is planted: false in any build without the feature `faults`.
macro_rules! planted {
    ($config:expr, $fault:ident) => {{
        #[cfg(feature = "faults")]
        let planted = $config.options().fault == Some(crate::Fault::$fault);
        #[cfg(not(feature = "faults"))]
        let planted = false;
        planted
    }};
}

mod algorithm;
mod config;
mod coordinator;
mod election;
mod garbage;
mod invariant;
mod message;
mod node;
mod participant;
mod quorum_termination;
mod record;
mod recovery;
mod status;
mod termination;

#[cfg(feature = "faults")]
pub use config::Fault;
pub use config::{Config, ConfigError, Mode, Options};
pub use invariant::ThreePhaseInvariants;
pub use message::{Epoch, Message, Stage};
pub use node::{ThreePhase, Timer};
pub use record::Record;
pub use status::{Refused, Status};
