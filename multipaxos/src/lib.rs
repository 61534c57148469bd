//! Multi-Paxos: a replicated log under a stable leader [Lamport01 §3].
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod acceptor;
mod algorithm;
mod config;
mod election;
mod invariant;
mod leader;
mod message;
mod node;
mod read;
mod record;
mod recovery;
mod replica;
mod slots;
mod snapshot;
mod status;
mod transfer;
mod window;

#[cfg(feature = "faults")]
pub use config::Fault;
pub use config::{Config, ConfigError, Options};
pub use invariant::MultiPaxosInvariants;
pub use message::{Message, Page};
pub use node::{MultiPaxos, Timer};
pub use record::Record;
pub use status::{Peer, Role, Status};
