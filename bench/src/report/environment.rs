//! Where a measurement ran. Everything is asked of the system, nothing is required of it.

use super::json::Environment;
use std::{fs, path::Path, process::Command, thread};

/// What stands for an answer that could not be had.
const UNKNOWN: &str = "unknown";

impl Environment {
    /// This machine and the source tree at `root`, with `busy` processes and client threads that
    /// compute at the same time.
    #[must_use]
    pub fn here(root: &Path, busy: u32) -> Self {
        let cores = cores();
        Self {
            git: git(root),
            rustc: output("rustc", &["--version"], root),
            cpu: cpu(),
            cores,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").map_or_else(
                |_| output("uname", &["-r"], root),
                |text| text.trim().to_owned(),
            ),
            oversubscribed: busy > cores,
        }
    }
}

/// How many threads this process may run at once.
#[must_use]
pub fn cores() -> u32 {
    thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX))
}

fn git(root: &Path) -> String {
    let commit = output("git", &["rev-parse", "--short=12", "HEAD"], root);
    let changes = output(
        "git",
        &["status", "--porcelain", "--untracked-files=no"],
        root,
    );
    match (commit.as_str(), changes.as_str()) {
        (UNKNOWN, _) | (_, UNKNOWN | "") => commit,
        _ => format!("{commit}-dirty"),
    }
}

fn output(program: &str, arguments: &[&str], root: &Path) -> String {
    let run = Command::new(program)
        .args(arguments)
        .current_dir(root)
        .output();
    match run {
        Ok(run) if run.status.success() => String::from_utf8_lossy(&run.stdout).trim().to_owned(),
        _ => UNKNOWN.to_owned(),
    }
}

fn cpu() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let named = |key: &str| {
        let line = text.lines().find(|line| line.starts_with(key))?;
        line.split_once(':').map(|(_, name)| name.trim().to_owned())
    };
    // The second is what some ARM kernels say.
    named("model name")
        .or_else(|| named("Hardware"))
        .unwrap_or_else(|| UNKNOWN.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_without_a_repository_is_described_all_the_same() {
        let here = Environment::here(Path::new("/"), u32::MAX);
        assert_eq!(here.git, UNKNOWN);
        assert!(here.cores >= 1 && here.oversubscribed);
        assert!(!here.kernel.is_empty() && !here.cpu.is_empty());
    }

    #[test]
    fn as_many_busy_processes_as_cores_are_not_too_many() {
        assert!(!Environment::here(Path::new("/"), cores()).oversubscribed);
    }
}
