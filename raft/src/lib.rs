//! Raft: a replicated log with a strong leader [Ongaro14].
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

/// Whether the named bug is planted: false in any build without the feature `faults`.
macro_rules! planted {
    ($config:expr, $fault:ident) => {{
        #[cfg(feature = "faults")]
        let planted = $config.fault == Some(crate::Fault::$fault);
        #[cfg(not(feature = "faults"))]
        let planted = false;
        planted
    }};
}

mod algorithm;
mod commit;
mod config;
mod election;
#[cfg(feature = "faults")]
mod fault;
mod invariant;
mod membership;
mod message;
mod node;
mod progress;
mod read;
mod reclaim;
mod record;
mod recovery;
mod replication;
mod snapshot;
mod status;
mod transfer;

pub use algorithm::Options;
pub use config::{Config, ConfigError};
#[cfg(feature = "faults")]
pub use fault::Fault;
pub use invariant::RaftInvariants;
pub use message::Message;
pub use node::{Raft, Timer};
pub use record::Record;
pub use status::{Peer, Role, Status};
