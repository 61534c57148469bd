//! The vocabulary and the plumbing of agreement protocols. Knows no protocol.
//!
//! A protocol is a deterministic value ([`Protocol`]): inputs in, effects out, no waiting. The same
//! unmodified value runs in four worlds:
//!
//! | world | where | for |
//! |---|---|---|
//! | simulator | `sim` (feature `sim`) | one seed decides everything: faults, time, order |
//! | model checker | `model` (feature `model`) | every order, at small bounds |
//! | benchmark | package `bench` | one thread, memory, nothing in the way |
//! | real node | `runtime` (feature `runtime`) | tokio, a write-ahead log, a transport |
//!
//! What is durable before what is written once, in [`Gate`]; see [`Effects`] for the words.
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;
#[cfg(any(
    test,
    feature = "wal",
    feature = "runtime",
    feature = "sim",
    feature = "model",
    feature = "check"
))]
extern crate std;

mod algorithm;
mod ballot;
pub mod bank;
#[cfg(feature = "check")]
pub mod check;
pub mod contract;
mod effects;
pub mod fault;
mod gate;
mod ids;
pub mod kv;
pub mod log;
#[cfg(feature = "model")]
pub mod model;
mod protocol;
mod quorum;
pub mod service;
pub mod session;
mod state_machine;
pub mod storage;

#[cfg(feature = "runtime")]
pub mod runtime;
#[cfg(feature = "sim")]
pub mod sim;
mod time;
mod timers;
mod unsynced;
pub mod wire;

pub use algorithm::{Algorithm, Contract};
pub use ballot::{Ballot, Epoch};
pub use effects::{Early, Effects};
pub use gate::{Gate, Outlet};
pub use ids::{Boot, ClientId, ClusterId, DiskId, GroupId, Index, Lsn, NodeId, Sequence, Token};
pub use protocol::{Input, Invariants, Protocol, RecoverError, Violation};
pub use quorum::{Flexible, Joint, Members, QuorumError, Tally, majority};
pub use state_machine::StateMachine;
pub use time::Time;
pub use timers::Timers;
pub use unsynced::{Since, Unsynced};
pub use wire::{Class, DecodeError, Decoder, Field, Wire};

/// For [`codec!`] alone.
#[doc(hidden)]
pub mod __private {
    pub use alloc::vec::Vec;
    pub use bytes::Bytes;
}
