//! Single-decree Paxos for any number of independent instances.
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

mod acceptor;
mod algorithm;
mod backoff;
mod config;
mod invariant;
mod learner;
mod message;
mod node;
mod outcome;
mod proposer;
mod reader;
mod record;
mod status;

pub use backoff::Backoff;
#[cfg(feature = "faults")]
pub use config::Fault;
pub use config::{Ballots, Config, ConfigError, GiveUp, Options};
pub use invariant::PaxosInvariants;
pub use message::{Acceptance, Message, ReadId};
pub use node::{Paxos, Timer};
pub use record::Record;
pub use status::{Refused, Status};
