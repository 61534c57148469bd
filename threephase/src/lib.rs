//! Three-phase commit, classic and with quorums (E3PC). **Unfinished: do not build on it yet.**
//!
//! It runs in the simulator: classic mode inside its assumptions (no partition, bounded delay) and quorum
//! mode under every fault hold in 500 seeds each, progress included. Under partitions classic mode
//! diverges, as is known, and quorum mode does not. It is not registered with the commands and
//! benchmarks; its scenarios, cost counts and model are not written, and no test shows yet that its
//! planted bugs are found.
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
