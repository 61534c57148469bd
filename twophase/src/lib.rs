//! Two-phase commit: all participants do their part of a transaction, or none does.
//!
//! # In five sentences
//!
//! A coordinator asks every participant whether it can commit; a participant that says yes has on its
//! disk all that it takes to do either, and is from then on *in doubt*. If all say yes the coordinator
//! decides to commit, else to abort, and the decision is made when it is on its disk. It tells the
//! participants, and tells those again that do not acknowledge. What it answers about a transaction
//! that it has no record of is the *presumption*, which saves the records and acknowledgements of one
//! outcome \[Mohan86\]. A participant in doubt that hears nothing asks the coordinator and the others,
//! and as long as nobody can tell it is *blocked*.
//!
//! # Roles and messages
//!
//! Every node is a participant; the coordinator may be one too, and messages to oneself are not sent.
//!
//! | from | message | to | delays so far |
//! |---|---|---|---|
//! | coordinator | `Prepare` | participants | 1 |
//! | participant | `Vote` | coordinator, who decides | 2 |
//! | coordinator | `Decision` | participants that voted yes | 3 |
//! | participant | `Acknowledge` | coordinator, who forgets | 4 |
//! | coordinator | `CommitOnePhase` | the only participant, who decides | 1 |
//! | participant | `Ended` | coordinator | 2 |
//! | in doubt | `Inquire` | coordinator, then everybody | |
//! | asked | `Decision`, or `Undecided` | who is in doubt | |
//! | coordinator, participant | `Greet`, `Hello` | each other, once a run | |
//!
//! # What must be on disk before what
//!
//! | this | waits for | because |
//! |---|---|---|
//! | `Vote` yes | the participant's *prepared* record | it may be told to commit after a crash |
//! | `Prepare`, presumed commit | *collecting*, with everybody's name | without a record the answer would be commit |
//! | `Prepare` otherwise; `CommitOnePhase`; `Started` | nothing | the name contains the boot, durable since before the start, and a question binds nobody |
//! | `Decision` commit, and the client's answer | the coordinator's *decided* record | presumed abort would abort elsewhere |
//! | `Decision` abort | nothing under presumed abort; under presumed commit *collecting* means abort; else *decided* | |
//! | `Acknowledge` commit | the participant's *committed* record and its resource | nobody can be asked any more |
//! | `Acknowledge` abort, presumed commit or nothing | its *aborted* record, also if it never heard of it | a late prepare would be presumed committed |
//! | *end* of the coordinator | all acknowledgements | somebody may still ask |
//! | "not voted: I abort" | an *aborted* record | it gives up its right to vote yes |
//!
//! A role that hears the other at its own node waits for nothing: whatever it writes because of that
//! comes later in the same log, and whatever it sends is held for both.
//!
//! Records of which forced, and messages, to commit with updates everywhere:
//!
//! | presumption | coordinator | each participant | to, from each |
//! |---|---|---|---|
//! | abort | 2, 1 forced | 2, 2 forced | 2, 2 |
//! | commit | 2, 2 forced | 2, 1 forced | 2, 1 |
//! | nothing | 2, 1 forced | 2, 2 forced | 2, 2 |
//!
//! # Guarantees and limits
//!
//! - AC1 to AC3 of [`consensus_core::contract::atomic_commit`] under loss, repetition and delay of
//!   messages and crashes of all nodes, while disks keep what they synced; AC5 once all are back.
//! - **Blocking**: while a coordinator is down, participants that voted yes and find nobody who knows
//!   hold their locks, for as long as it takes. They say so (`Blocked`, [`Status::in_doubt`]) and can be
//!   decided by hand; a hand that was wrong is reported as damage until somebody has seen it. A
//!   coordinator whose log is [replicated](consensus_core::replicated) is away for an election.
//! - A client is told of a commit when the decision is durable. One that asks later is told *forgotten*
//!   once the outcome has been collected ([`Options::remembered_max`]), never the presumption.
//! - Under presumed commit a transaction that everybody only read is told committed before that is on disk
//!   \[Mohan86\]: who asks again after a crash of its coordinator may hear *aborted*. Nothing depends on it.
//! - Memory: what runs ([`Options::running_max`]), what participants remember until the oldest live
//!   transaction has passed it ([`Options::span_max`]), and commits that no checkpoint of the resource
//!   covers.
//! - Not Byzantine. The group is fixed; a wiped disk must not come back under the old node's id.
//!
//! # Deviations from the papers
//!
//! - Every `Prepare` names the run of each participant that it is meant for, and another run votes no.
//!   So what a participant has forgotten by a restart cannot be asked of it again, and only a run that
//!   was named can say that it never voted. It costs a greeting a run.
//! - Coordinators send their oldest live transaction along; what is remembered for the sake of late
//!   messages goes when that has passed.
//! - An inquiry counts as a yes vote that was lost.
//! - A participant's abort under presumed abort and its commit under presumed commit are written
//!   lazily, as in \[Mohan86\]; so is every *end*.
//! - No transfer of coordination (last agent), no tree of subordinates, no new presumed commit without
//!   *collecting* \[LampsonLomet93\].
//!
//! # Example
//!
//! A coordinator that is its own only participant, and its driver; more nodes differ in what
//! [`Outlet::message`](consensus_core::Outlet::message) does.
//!
//! ```
//! use consensus_core::{contract::atomic_commit::*, *};
//! use twophase::{Config, Message, Options, TwoPhase};
//!
//! #[derive(Default)]
//! struct Bank { asks: Vec<Request>, ended: Option<Outcome> }
//! impl Outlet<Message, Event> for Bank {
//!     fn message(&mut self, to: NodeId, _: Message) { unreachable!("{to} does not exist") }
//!     fn event(&mut self, event: Event) {
//!         match event {
//!             Event::Prepare { transaction, work: redo } => {
//!                 self.asks.push(Request::Vote { transaction, vote: Vote::Yes { redo } });
//!             }
//!             Event::Commit { transaction, .. } => {
//!                 self.asks.push(Request::Done { transaction, kept: Kept::Resource });
//!             }
//!             Event::Ended { outcome, .. } => self.ended = Some(outcome),
//!             _ => {}
//!         }
//!     }
//!     fn release(&mut self, _: Lsn) {}
//! }
//!
//! let config = Config::new(NodeId(1), Members::new([NodeId(1)])?, Options::default())?;
//! let mut node = TwoPhase::recover(config, Boot(1), [])?;
//! let (mut effects, mut gate, mut bank) = (Effects::new(Lsn::ZERO), Gate::new(Lsn::ZERO), Bank::default());
//! let begin = Request::Begin { token: Token(1), work: vec![(NodeId(1), "pay".into())] };
//! let mut inputs = vec![Input::Request(begin), Input::Start];
//! while let Some(input) = inputs.pop() {
//!     node.handle(Time::ZERO, input, &mut effects);
//!     node.flush(Time::ZERO, &mut effects);
//!     gate.admit(&mut effects, &mut bank);
//!     let (last, _, records) = effects.take_records();
//!     if records.count() > 0 { // Here a disk would write and sync them.
//!         gate.open(last, &mut effects, &mut bank);
//!     }
//!     inputs.extend(bank.asks.drain(..).map(Input::Request));
//! }
//! assert_eq!(bank.ended, Some(Outcome::Commit));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Reading order
//!
//! `config` · `message` · `record` · `node` (an input's way to a verb) · `coordinator` · `participant` ·
//! `termination` · `recovery` · `garbage` · `status` · `invariant` · `algorithm`. Apart from all of them,
//! and only with the feature of its name: `postgres`, a participant's database.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(feature = "postgres")]
extern crate std;

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
mod garbage;
mod invariant;
mod message;
mod node;
mod one_phase;
mod participant;
#[cfg(feature = "postgres")]
pub mod postgres;
mod record;
mod recovery;
mod status;
mod termination;

#[cfg(feature = "faults")]
pub use config::Fault;
pub use config::{Config, ConfigError, Options, Presumption};
pub use invariant::TwoPhaseInvariants;
pub use message::{Ballot, Message};
pub use node::{Timer, TwoPhase};
pub use record::Record;
pub use status::{Refused, Status};
