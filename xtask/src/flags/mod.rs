//! The command line. What is not built is not listed.

mod cluster;
mod sim;
mod value;

pub(crate) use cluster::{ClusterFlags, Coordinator, Durability};
pub(crate) use sim::SimFlags;

use crate::ending::REFUSED;
use clap::{Args, Parser, Subcommand, error::ErrorKind};
use std::{ffi::OsString, path::PathBuf, process::ExitCode};

/// Agreement protocols: run them, measure them, break them, look inside.
#[derive(Parser, Debug)]
#[command(
    name = "xtask",
    bin_name = "cargo xtask",
    disable_help_subcommand = true
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What can be done.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    Cluster(ClusterFlags),
    Node(NodeFlags),
    Certs(CertsFlags),
    Sim(SimFlags),
    Scenario(ScenarioFlags),
    Reproduce(ReproduceFlags),
    Report(ReportFlags),
    Compare(CompareFlags),
    /// Measures other systems beside ours, in turns: raft-rs, omnipaxos and openraft in one process, etcd on
    /// real nodes
    ///
    /// The libraries are a workspace of their own in bench/peers, which is built first. Without `protoc`
    /// raft-rs and etcd are left out, without `etcd` etcd is. Takes some minutes.
    /// Exit status: 0; 1 when something cannot be built or fails.
    Peers,
    Wal(WalFlags),
}

/// Runs one node in the foreground, until SIGTERM.
///
/// This is what `cluster` starts, and what a service manager or a container starts.
/// Exit status: 0 after SIGTERM and a clean drain; 1 when the node failed; 2 when it cannot start.
#[derive(Args, Clone, Debug)]
pub(crate) struct NodeFlags {
    /// The node's configuration
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,

    /// Format the data folder if it has not been formatted yet, and end; a node never starts on an
    /// unformatted folder, so that a wiped disk cannot answer for the node that was there before
    #[arg(long)]
    pub(crate) format: bool,

    /// The node's disk is lost or damaged: put the data folder aside, format another, have the group
    /// (raft or multipaxos) take it in as a learner, start, and vote once it has caught up. DIR holds
    /// an operator's certificate, as `certs` writes it
    #[arg(long, value_name = "DIR", conflicts_with = "format")]
    pub(crate) rejoin: Option<PathBuf>,
}

/// Makes a cluster authority, and certificates for its nodes and a client.
///
/// Exit status: 0; 2 when they cannot be made.
#[derive(Args, Clone, Debug)]
pub(crate) struct CertsFlags {
    /// Where to write them; made if it does not exist, and must hold no certificates yet
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,

    /// Nodes, numbered from 1
    #[arg(long, value_name = "N", default_value_t = 3,
          value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) nodes: u16,

    /// Days until they expire
    #[arg(long, value_name = "DAYS", default_value_t = 90,
          value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub(crate) days: u32,
}

/// Plays a worked example step by step and prints its trace.
///
/// Exit status: 0; 1 when an expectation of the scenario failed; 2 when there is none of that name.
#[derive(Args, Clone, Debug)]
pub(crate) struct ScenarioFlags {
    /// A scenario's name, `list`, or `all`
    #[arg(value_name = "NAME", default_value = "list")]
    pub(crate) name: String,

    /// Draw its space-time diagram into this file
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
}

/// Measures what papers have published, and prints their figures beside ours.
///
/// Everything is counted in virtual time and drawn from fixed seeds, so the page is the same on every
/// machine. It goes to standard output and into docs/reproduce.md.
///
/// Exit status: 0; 1 when a row fails; 2 when something cannot be measured or written.
#[derive(Args, Clone, Debug)]
pub(crate) struct ReproduceFlags {
    /// Only tables whose titles contain this; docs/reproduce.md is left as it is
    #[arg(long, value_name = "TITLE", default_value = "")]
    pub(crate) only: String,
}

/// Builds report.html anew from the report.json of a report folder.
///
/// Exit status: 0; 2 when there is no readable report.
#[derive(Args, Clone, Debug)]
pub(crate) struct ReportFlags {
    /// The folder
    #[arg(value_name = "DIR", required_unless_present = "table")]
    pub(crate) directory: Option<PathBuf>,

    /// Needs no report: count in virtual time what one commit of every algorithm takes, and print it
    /// as the table of README.md
    #[arg(long, conflicts_with = "directory")]
    pub(crate) table: bool,
}

/// Sets two report folders side by side: the ratio of every metric, and how sure it is.
///
/// A difference is called only when its whole confidence interval lies on one side. With fewer than
/// five repetitions the interval comes from the seconds of the runs, and says so.
/// Exit status: 0; 1 with `--fail-above` when a metric is worse by more; 2 when a report cannot be read.
#[derive(Args, Clone, Debug)]
pub(crate) struct CompareFlags {
    /// The folder of the report to compare with
    #[arg(value_name = "A")]
    pub(crate) first: PathBuf,

    /// The folder of the report that is judged
    #[arg(value_name = "B")]
    pub(crate) second: PathBuf,

    /// End with status 1 when a metric of B is certainly worse, and by more than this many per cent
    #[arg(long, value_name = "PCT", value_parser = value::percent)]
    pub(crate) fail_above: Option<f64>,
}

/// Inspects and verifies a stopped node's log; changes nothing.
///
/// Exit status: 0; 1 when the log is damaged; 2 when there is no log to read.
#[derive(Args, Clone, Debug)]
pub(crate) struct WalFlags {
    /// The node's data folder
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
}

/// Reads the command line; otherwise says what is wrong with it, or what was asked about it, and
/// how to end.
pub(crate) fn parse() -> Result<Arguments, ExitCode> {
    parse_from(std::env::args_os()).map_err(|(text, error)| {
        if error {
            eprintln!("{text}");
            ExitCode::from(REFUSED)
        } else {
            crate::output::show!("{text}");
            ExitCode::SUCCESS
        }
    })
}

/// The same for any words: the text to print, and whether it is an error.
fn parse_from(words: impl IntoIterator<Item = OsString>) -> Result<Arguments, (String, bool)> {
    Arguments::try_parse_from(words).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => (error.render().to_string(), false),
        // No command at all: the list of commands says more than a sentence.
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => (error.render().to_string(), true),
        _ => (one_line(&error), true),
    })
}

/// Clap's sentence and its tips without the usage, in one line.
fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let sentences = text
        .split("\n\n")
        .filter(|part| !part.starts_with("Usage:") && !part.starts_with("For more information"))
        .flat_map(str::split_whitespace)
        .collect::<Vec<_>>()
        .join(" ");
    format!("{sentences} (see --help)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn parse(line: &str) -> Result<Arguments, (String, bool)> {
        let words = std::iter::once("xtask").chain(line.split_whitespace());
        parse_from(words.map(OsString::from))
    }

    #[test]
    fn clap_finds_the_flags_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_wrong_flag_is_one_line_that_names_it() {
        for (line, named) in [
            ("cluster --nodes 0", "--nodes"),
            ("cluster --nodes three", "--nodes"),
            ("cluster --clients 0", "--clients"),
            ("cluster --timeout 0", "--timeout"),
            ("cluster --rate -1", "-1"),
            ("cluster --rate=0", "--rate"),
            ("cluster --search 0ms", "--search"),
            ("cluster --search 10", "--search"),
            ("cluster --search 10ms --rate 5", "--rate"),
            ("cluster --duration 0", "--duration"),
            ("cluster --duration soon", "--duration"),
            ("cluster --warmup=-1", "--warmup"),
            ("cluster --payload 99999999", "--payload"),
            ("cluster --payload 15", "--payload"),
            ("cluster --keys 0", "--keys"),
            ("cluster --zipf=-1", "--zipf"),
            ("cluster --read-ratio 2", "--read-ratio"),
            ("cluster --durability tape", "fsync, memory"),
            ("cluster --seed x", "--seed"),
            ("cluster --repeat 0", "--repeat"),
            ("cluster --cleints 3", "--cleints"),
            ("sim --seeds 0", "--seeds"),
            ("sim --seed 1 --seeds 2", "--seed"),
            ("sim --trace", "--seed"),
            ("node", "--config"),
            ("certs", "DIR"),
            ("report", "DIR"),
            ("report a --table", "--table"),
            ("compare a", "B"),
            ("compare a b --fail-above=-1", "--fail-above"),
            ("brew", "brew"),
        ] {
            let (text, error) = parse(line).expect_err(line);
            assert!(error, "{line}");
            assert_eq!(text.lines().count(), 1, "{line}: {text}");
            assert!(text.starts_with("error: "), "{line}: {text}");
            assert!(text.contains(named), "{line}: {text}");
        }
    }

    #[test]
    fn the_defaults_are_the_published_ones() {
        let Ok(Arguments {
            command: Command::Cluster(flags),
        }) = parse("cluster")
        else {
            panic!("a plain run parses")
        };
        assert_eq!(flags.algorithm, "all");
        assert_eq!((flags.nodes, flags.clients, flags.timeout), (3, 64, 1000));
        assert_eq!((flags.duration, flags.warmup), (8.0, 2.0));
        assert_eq!((flags.payload, flags.keys), (256, 10_000));
        assert_eq!((flags.zipf, flags.read_ratio), (0.0, 0.0));
        assert_eq!(flags.durability, Durability::Fsync);
        assert_eq!(flags.repeat, 1);
        assert!(!flags.check && !flags.json && flags.fault.is_empty());
        let Ok(Arguments {
            command: Command::Sim(flags),
        }) = parse("sim")
        else {
            panic!("a plain run parses")
        };
        assert_eq!((flags.seeds, flags.operations), (1000, 200));
    }

    #[test]
    fn help_lists_what_is_built_and_nothing_else() {
        let (text, error) = parse("--help").expect_err("help is not a command");
        assert!(!error);
        let listed: Vec<_> = text
            .lines()
            .skip_while(|line| *line != "Commands:")
            .skip(1)
            .take_while(|line| !line.is_empty())
            // What is indented deeper goes on explaining.
            .filter(|line| !line.starts_with("   "))
            .filter_map(|line| line.split_whitespace().next())
            .collect();
        assert_eq!(
            listed,
            [
                "cluster",
                "node",
                "certs",
                "sim",
                "scenario",
                "reproduce",
                "report",
                "compare",
                "peers",
                "wal"
            ]
        );
    }

    #[test]
    fn every_flag_and_argument_is_explained() {
        for command in Arguments::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{}", argument.get_id());
            }
        }
    }
}
