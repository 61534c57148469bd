//! The commands of this repository, for any set of algorithms: `cargo xtask --help`.
//!
//! The binary runs them for the algorithms of this repository. A crate with an algorithm of its own calls
//! [`run`] from its own `main` and has every command for it, real nodes included: `cluster` starts the
//! program that it is part of once a node.
//!
//! ```no_run
//! # struct WithMine;
//! # impl bench::algorithms::Registry for WithMine {
//! #     fn each(visitor: &mut impl bench::algorithms::Visitor) {
//! #         bench::algorithms::Shipped::each(visitor);
//! #     }
//! # }
//! fn main() -> std::process::ExitCode {
//!     xtask::run::<WithMine>() // which says what it knows: `bench::algorithms::Registry`
//! }
//! ```
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod algorithms;
mod certs;
mod cluster;
mod compare;
mod ending;
mod flags;
mod interrupt;
mod node;
mod output;
mod peers;
mod proc;
mod progress;
mod report;
mod reproduce;
mod scenario;
mod sim;
mod supervised;
mod wal;

use algorithms::Catalogue;
use bench::algorithms::Registry;
use flags::Command;
use std::process::ExitCode;

/// Does what the command line says, with the algorithms that `R` knows. Worked examples and published
/// tables are those of this repository.
#[must_use]
pub fn run<R: Registry>() -> ExitCode {
    let arguments = match flags::parse() {
        Ok(arguments) => arguments,
        Err(status) => return status,
    };
    ending::status(match arguments.command {
        Command::Cluster(flags) => cluster::command(&flags, Catalogue::of::<R>()),
        Command::Node(flags) => node::run::<R>(&flags),
        Command::Certs(flags) => certs::run(&flags),
        Command::Sim(flags) => sim::command::<R>(&flags),
        Command::Scenario(flags) => scenario::run(&flags),
        Command::Reproduce(flags) => reproduce::command(&flags),
        Command::Report(flags) => report::run::<R>(&flags),
        Command::Compare(flags) => compare::run(&flags),
        Command::Peers => peers::run(Catalogue::of::<R>()),
        Command::Wal(flags) => wal::run(&flags),
    })
}
