//! Raft: a replicated log with a strong leader [Ongaro14].
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod algorithm;
mod commit;
mod config;
mod election;
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
pub use invariant::RaftInvariants;
pub use message::Message;
pub use node::{Raft, Timer};
pub use record::Record;
pub use status::{Peer, Role, Status};
