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
//!
//! # A protocol, whole
//!
//! A value is stored when two disks hold it. The node that is asked writes it and passes it on at
//! once; the other writes it and says so, and *that* waits for its disk without being told to.
//!
//! ```
//! use consensus_core::*;
//!
//! #[derive(Clone, PartialEq, Eq, Hash, Debug)]
//! enum Message { Store { value: u64 }, Stored {} }
//! codec! { Message version 1 { 1 since 1 Log => Store { value }, 2 since 1 Control => Stored {} } }
//!
//! #[derive(Clone, PartialEq, Eq, Hash, Debug)]
//! enum Record { Value { value: u64 } }
//! codec! { Record version 1 { 1 since 1 Log => Value { value } } }
//!
//! struct Cell { other: NodeId, value: u64, at: Lsn, here: bool, there: bool }
//!
//! impl Protocol for Cell {
//!     type Config = NodeId;
//!     type Message = Message;
//!     type Record = Record;
//!     type Request = u64;
//!     type Event = u64;
//!     type Timer = ();
//!     type Status = u64;
//!
//!     fn recover(other: NodeId, _: Boot, records: impl IntoIterator<Item = (Lsn, Record)>)
//!         -> Result<Self, RecoverError>
//!     {
//!         let last = records.into_iter().last();
//!         let (at, Record::Value { value }) = last.unwrap_or((Lsn::ZERO, Record::Value { value: 0 }));
//!         Ok(Self { other, value, at, here: true, there: false })
//!     }
//!
//!     fn handle(&mut self, _: Time, input: Input<Self>, effects: &mut Effects<Self>) {
//!         match input {
//!             Input::Request(value) => {
//!                 self.write(value, effects);
//!                 // Nobody else ever asks, so the right to ask needs no record.
//!                 let why = Early::Authority(Lsn::ZERO);
//!                 effects.send_early(self.other, Message::Store { value }, why);
//!             }
//!             Input::Receive { from, message: Message::Store { value } } => {
//!                 self.write(value, effects);
//!                 effects.send(from, Message::Stored {}); // held until the record is on disk
//!             }
//!             Input::Receive { message: Message::Stored {}, .. } => self.there = true,
//!             Input::Durable(lsn) => self.here = lsn >= self.at,
//!             _ => return,
//!         }
//!         if self.here && self.there {
//!             effects.emit_early(self.value, Early::QuorumHolds);
//!         }
//!     }
//!
//!     fn flush(&mut self, _: Time, _: &mut Effects<Self>) {}
//!     fn status(&self) -> u64 { self.value }
//! }
//!
//! impl Cell {
//!     fn write(&mut self, value: u64, effects: &mut Effects<Self>) {
//!         self.at = effects.persist(Record::Value { value });
//!         (self.value, self.here, self.there) = (value, false, false);
//!     }
//! }
//!
//! // A driver puts inputs in and takes effects out; this one is a person with two sheets of paper.
//! #[derive(Default)]
//! struct Out { messages: Vec<Message>, events: Vec<u64> }
//! impl Outlet<Message, u64> for Out {
//!     fn message(&mut self, _: NodeId, message: Message) { self.messages.push(message); }
//!     fn event(&mut self, event: u64) { self.events.push(event); }
//!     fn release(&mut self, _: Lsn) {}
//! }
//! struct Node { cell: Cell, effects: Effects<Cell>, gate: Gate, out: Out }
//! impl Node {
//!     fn new(other: u16) -> Self {
//!         let cell = Cell::recover(NodeId(other), Boot(1), []).expect("no records, no contradiction");
//!         let (effects, gate) = (Effects::new(Lsn::ZERO), Gate::new(Lsn::ZERO));
//!         Self { cell, effects, gate, out: Out::default() }
//!     }
//!     fn batch(&mut self, input: Input<Cell>) -> usize {
//!         self.cell.handle(Time::ZERO, input, &mut self.effects);
//!         self.cell.flush(Time::ZERO, &mut self.effects);
//!         self.gate.admit(&mut self.effects, &mut self.out);
//!         self.effects.take_records().2.count() // on their way to the disk
//!     }
//!     fn synced(&mut self, lsn: Lsn) {
//!         self.gate.open(lsn, &mut self.effects, &mut self.out);
//!         self.batch(Input::Durable(lsn));
//!     }
//! }
//!
//! let (mut a, mut b) = (Node::new(2), Node::new(1));
//! assert_eq!(a.batch(Input::Request(7)), 1); // one record, and already on the way to b:
//! let message = a.out.messages.remove(0);
//! b.batch(Input::Receive { from: NodeId(1), message });
//! assert!(b.out.messages.is_empty(), "held: b's disk has not answered");
//! b.synced(Lsn(1));
//! let message = b.out.messages.remove(0);
//! assert_eq!(message, Message::Stored {});
//! a.batch(Input::Receive { from: NodeId(2), message });
//! assert!(a.out.events.is_empty(), "one disk is not two");
//! a.synced(Lsn(1));
//! assert_eq!(a.out.events, [7]);
//! ```
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
mod aside;
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
mod log_clock;
#[cfg(feature = "model")]
pub mod model;
mod protocol;
mod quorum;
pub mod replicated;
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
pub use aside::Aside;
pub use ballot::{Ballot, Epoch};
pub use effects::{Early, Effects};
pub use gate::{Gate, Outlet};
pub use ids::{Boot, ClientId, ClusterId, DiskId, GroupId, Index, Lsn, NodeId, Sequence, Token};
pub use log_clock::{LogClock, Tick};
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
