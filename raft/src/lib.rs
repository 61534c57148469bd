//! Raft: a replicated log with a strong leader [Ongaro14].
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod config;
mod message;
mod record;
mod node;
mod recovery;
mod election;
mod replication;
mod progress;
mod commit;
mod membership;
mod snapshot;
mod read;
mod transfer;
mod status;

pub use config::{Config, ConfigError};
pub use message::Message;
pub use node::{Raft, Timer};
pub use record::Record;
pub use status::{Peer, Role, Status};
