//! Failing and slow system calls of a node's process, through strace.

use anyhow::Context as _;
use consensus_core::fault::{Fault, FaultSpec, When};
use std::{process::Stdio, time::Duration};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

/// Attaching takes milliseconds; longer than this it will not happen.
const ATTACH_WITHIN: Duration = Duration::from_secs(5);

/// What strace is to do with which calls; none for faults of other kinds.
fn injection(spec: &FaultSpec) -> Option<(&'static str, String)> {
    const WRITES: &str = "write,pwrite64,writev,pwritev,pwritev2,fallocate";
    const SYNCS: &str = "fdatasync,fsync";
    let when = match spec.when {
        When::Nth(n) => n,
        When::At(_) | When::Start => 1,
    };
    match spec.fault {
        // Once: the file system marks the page clean, so the next sync lies. That is the point.
        Fault::Eio(_) => Some((SYNCS, format!("error=EIO:when={when}"))),
        Fault::Enospc(_) => Some((WRITES, format!("error=ENOSPC:when={when}+"))),
        Fault::Slowdisk(_, by) => Some((SYNCS, format!("delay_exit={}", by.as_micros()))),
        _ => None,
    }
}

/// Tampers with a process until dropped.
pub(crate) struct Tampering {
    _strace: Child,
}

impl Tampering {
    /// Attaches to a process. None when the fault is not done by system calls.
    ///
    /// # Errors
    /// When strace cannot attach, in its own words.
    pub(crate) async fn begin(spec: &FaultSpec, pid: u32) -> anyhow::Result<Option<Self>> {
        let Some((calls, inject)) = injection(spec) else {
            return Ok(None);
        };
        let mut strace = Command::new("strace")
            .args(["-f", "-p", &pid.to_string()])
            .args(["-e", &format!("trace={calls}"), "-e", "status=none"])
            .args(["-e", &format!("inject={calls}:{inject}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("starting strace")?;
        let stderr = strace.stderr.take().context("standard error is piped")?;
        let mut lines = BufReader::new(stderr).lines();
        let attached = timeout(ATTACH_WITHIN, lines.next_line()).await;
        match attached.context("strace did not attach")?? {
            Some(line) if line.contains("attached") => {
                // Whatever it goes on to say must be read, or it waits and so does the node.
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                Ok(Some(Self { _strace: strace }))
            }
            line => anyhow::bail!("strace did not attach: {}", line.unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn injected(text: &str) -> Option<String> {
        let spec: FaultSpec = text.parse().expect("it is a fault");
        injection(&spec).map(|(calls, inject)| format!("{calls}:{inject}"))
    }

    #[test]
    fn faults_of_disks_become_injections() {
        assert_eq!(
            injected("eio:2@7").as_deref(),
            Some("fdatasync,fsync:error=EIO:when=7")
        );
        assert_eq!(
            injected("enospc:2@3s+1s").as_deref(),
            Some("write,pwrite64,writev,pwritev,pwritev2,fallocate:error=ENOSPC:when=1+")
        );
        assert_eq!(
            injected("slowdisk:2×50ms").as_deref(),
            Some("fdatasync,fsync:delay_exit=50000")
        );
        assert_eq!(injected("kill:2@1s"), None);
    }
}
