//! An algorithm of one's own beside those of this repository (docs/own-algorithm.md): every command works
//! for it, real nodes included. This program is such a command where its first word is one; otherwise it
//! runs the tests, which start it as a command.
#![allow(missing_docs)]

mod primary_backup;

use bench::{
    algorithms::{Registry, Visitor},
    harness::LogLoad,
};
use libtest_mimic::{Arguments, Failed, Trial};
use primary_backup::PrimaryBackup;
use std::{
    env, fs,
    path::Path,
    process::{Command, ExitCode},
};

/// What the commands know here. Beside them `Shipped` could stand; the tests need one for company.
struct Known;

impl Registry for Known {
    fn each(visitor: &mut impl Visitor) {
        visitor.visit::<PrimaryBackup, LogLoad>();
        visitor.visit::<raft::Raft, LogLoad>();
    }
}

const COMMANDS: [&str; 4] = ["cluster", "node", "sim", "report"];

fn main() -> ExitCode {
    if env::args()
        .nth(1)
        .is_some_and(|word| COMMANDS.contains(&word.as_str()))
    {
        return xtask::run::<Known>();
    }
    let tests = [
        Trial::test("the_cost_sheet_has_its_row", the_cost_sheet_has_its_row),
        Trial::test(
            "the_simulator_judges_its_properties",
            the_simulator_judges_its_properties,
        ),
        Trial::test(
            "real_nodes_run_it_and_the_report_ranks_it",
            real_nodes_run_it_and_the_report_ranks_it,
        ),
        Trial::test("what_it_is_called_is_listed", what_it_is_called_is_listed),
    ];
    libtest_mimic::run(&Arguments::from_args(), tests.into()).exit_code()
}

/// Standard output of a command that succeeds, or standard error of one that does not.
fn command(line: &str) -> Result<String, String> {
    let program = env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new(program)
        .args(line.split_whitespace())
        .env_remove("RUST_LOG")
        .output()
        .map_err(|error| error.to_string())?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    match output.status.success() {
        true => Ok(text(output.stdout)),
        false => Err(text(output.stderr)),
    }
}

/// Append, answer, commit: two delays and three messages a backup; the backups' disks after the primary's.
fn the_cost_sheet_has_its_row() -> Result<(), Failed> {
    let sheet = command("report --table")?;
    let row = sheet.lines().find(|line| line.contains("primarybackup"));
    let cells: Vec<_> = row.ok_or("no row")?.split('|').map(str::trim).collect();
    assert_eq!((cells[2], cells[3]), ("2", "6 / 12 / 18"));
    assert_eq!((cells[5], cells[6]), ("3 / 5 / 7", "2"));
    Ok(())
}

fn the_simulator_judges_its_properties() -> Result<(), Failed> {
    let text = command("sim --algorithm primarybackup --seeds 30 --json")?;
    let json: serde_json::Value = serde_json::from_str(&text)?;
    let run = &json["runs"][0];
    assert_eq!(run["violations"], serde_json::json!([]));
    assert!(run["checks"]["one_sequence"].as_u64() > Some(1_000));
    assert!(run["checks"]["linearizability"].as_u64() > Some(0), "{run}");
    Ok(())
}

fn real_nodes_run_it_and_the_report_ranks_it() -> Result<(), Failed> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("own-{}", std::process::id()));
    let line = format!(
        "cluster --duration 1 --warmup 0.2 --clients 4 --check --seed 7 --json --out {}",
        folder.display()
    );
    let text = command(&line)?;
    let json: serde_json::Value = serde_json::from_str(&text)?;
    let runs = json["runs"].as_array().ok_or("no runs")?;
    for (run, name) in runs.iter().zip(["primarybackup", "raft"]) {
        assert_eq!(run["algorithm"], name);
        assert!(run["operations"].as_u64() > Some(0), "{run}");
        assert_eq!(run["check"]["ok"], true);
    }
    let page = fs::read_to_string(folder.join("report.html"))?;
    fs::remove_dir_all(&folder)?;
    assert!(page.contains("primarybackup"));
    Ok(())
}

fn what_it_is_called_is_listed() -> Result<(), Failed> {
    let said = command("sim --algorithm paxos").expect_err("it is not known here");
    assert!(said.contains("primarybackup, raft, all"), "{said}");
    Ok(())
}
