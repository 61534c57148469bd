//! The commands of this repository: `cargo xtask --help`.
#![forbid(unsafe_code)]

mod algorithms;
mod certs;
mod cluster;
mod compare;
mod ending;
mod flags;
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

use flags::Command;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = match flags::parse() {
        Ok(arguments) => arguments,
        Err(status) => return status,
    };
    ending::status(match arguments.command {
        Command::Cluster(flags) => cluster::command(&flags),
        Command::Node(flags) => node::run(&flags),
        Command::Certs(flags) => certs::run(&flags),
        Command::Sim(flags) => sim::command(&flags),
        Command::Scenario(flags) => scenario::run(&flags),
        Command::Reproduce(flags) => reproduce::command(&flags),
        Command::Report(flags) => report::run(&flags),
        Command::Compare(flags) => compare::run(&flags),
        Command::Peers => peers::run(),
        Command::Wal(flags) => wal::run(&flags),
    })
}
