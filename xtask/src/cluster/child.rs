//! One node as a child process: started, told its peers, signalled, and never left behind.

use super::hosts::Host;
use crate::proc::{self, Usage};
use crate::supervised::{DiskAnswer, DiskCommand, Peers, Place, Ready};
use anyhow::{Context as _, anyhow, bail};
use consensus_core::NodeId;
use rustix::process::{Pid, Signal, kill_process_group};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{ChildStdin, ChildStdout, Command},
    time::timeout,
};

/// How much of a node's standard error goes into an error message.
const TAIL_LINES: usize = 3;
/// A machine that answers has told of a killed process by then.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// A node process. Dropping it kills the process.
pub(crate) struct Child {
    node: u16,
    process: tokio::process::Child,
    /// Where it runs, when not here: then `process` is the connection to it.
    host: Option<Arc<Host>>,
    pid: u32,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
    log: PathBuf,
}

impl Child {
    /// Starts `program node --config config`, with its standard error in `log`.
    ///
    /// Called from a thread that outlives the child: the kernel kills the child when the *thread*
    /// that started it ends (see [`die_with`](crate::supervised::die_with)).
    ///
    /// # Errors
    /// When the program cannot be run.
    pub(crate) fn start(
        node: u16,
        program: &Path,
        config: &Path,
        log: &Path,
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(program);
        command
            .arg("node")
            .arg("--config")
            .arg(config)
            // A group of its own: Ctrl-C reaches this process alone, which then ends its children
            // in order.
            .process_group(0)
            .kill_on_drop(true);
        Self::run(node, command, log)
    }

    /// Starts the node of the cluster called `name` on another machine, where its configuration lies.
    ///
    /// # Errors
    /// When it cannot be started there.
    pub(crate) async fn start_at(
        node: u16,
        host: &Arc<Host>,
        name: &str,
        log: &Path,
    ) -> anyhow::Result<Self> {
        let mut child = Self::run(node, host.node(name, NodeId(node))?, log)?;
        // The shell that becomes the node says its number.
        let line = timeout(Duration::from_secs(20), child.stdout.next_line()).await;
        let pid = line.ok().and_then(Result::ok).flatten();
        let pid = pid.and_then(|line| line.parse().ok());
        child.pid = pid.ok_or_else(|| child.complaint("could not be started"))?;
        child.host = Some(Arc::clone(host));
        Ok(child)
    }

    fn run(node: u16, mut command: Command, log: &Path) -> anyhow::Result<Self> {
        let errors = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("opening {}", log.display()))?;
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .with_context(|| format!("starting node {node}"))?;
        let pid = process.id().context("a child that runs has a number")?;
        let stdin = process.stdin.take().context("standard input is piped")?;
        let stdout = process.stdout.take().context("standard output is piped")?;
        Ok(Self {
            node,
            process,
            host: None,
            pid,
            stdin,
            stdout: BufReader::new(stdout).lines(),
            log: log.to_owned(),
        })
    }

    /// Waits until the node says where it listens.
    ///
    /// # Errors
    /// When it ends, or says nothing for `patience`; with the end of what it wrote to standard
    /// error.
    pub(crate) async fn ready(&mut self, patience: Duration) -> anyhow::Result<Place> {
        let line = match timeout(patience, self.stdout.next_line()).await {
            Ok(line) => line?,
            Err(_) => {
                return Err(self.complaint(&format!(
                    "was not ready within {} s",
                    patience.as_secs_f32()
                )));
            }
        };
        let Some(line) = line else {
            // The end of its output comes a moment before the end of the process.
            let status = timeout(Duration::from_secs(5), self.process.wait()).await;
            let how = status.ok().and_then(Result::ok);
            let how = how.map_or_else(|| "closed its output".to_owned(), describe);
            return Err(self.complaint(&how));
        };
        let Ready { ready } = serde_json::from_str(&line)
            .with_context(|| format!("node {} said {line:?}", self.node))?;
        if ready.node != self.node {
            bail!("node {} says that it is node {}", self.node, ready.node);
        }
        Ok(ready)
    }

    /// Tells the node where everybody is.
    ///
    /// # Errors
    /// When it has ended.
    pub(crate) async fn introduce(&mut self, peers: &[Place]) -> anyhow::Result<()> {
        let mut line = serde_json::to_string(&Peers {
            peers: peers.to_vec(),
        })?;
        line.push('\n');
        let told = self.stdin.write_all(line.as_bytes()).await;
        told.map_err(|_| self.complaint("ended before it was told its peers"))
    }

    /// Does something to the node's disk.
    ///
    /// # Errors
    /// When it has ended, does not answer within `patience`, or refuses.
    pub(crate) async fn disk(&mut self, command: &str, patience: Duration) -> anyhow::Result<()> {
        let mut line = serde_json::to_string(&DiskCommand {
            disk: command.to_owned(),
        })?;
        line.push('\n');
        let told = self.stdin.write_all(line.as_bytes()).await;
        told.map_err(|_| self.complaint("ended before its disk could be broken"))?;
        let answer = timeout(patience, self.stdout.next_line()).await;
        let answer = answer.map_err(|_| self.complaint("did not answer about its disk"))??;
        // A disk that ends the process may do so before the answer is out.
        let Some(answer) = answer else { return Ok(()) };
        match serde_json::from_str(&answer)? {
            DiskAnswer { refused: None } => Ok(()),
            DiskAnswer { refused: Some(why) } => Err(anyhow!("node {}: {why}", self.node)),
        }
    }

    /// Its number as a process of this machine; none elsewhere.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.host.is_none().then_some(self.pid)
    }

    /// What it has used so far.
    ///
    /// # Errors
    /// When it is gone.
    pub(crate) async fn usage(&self) -> anyhow::Result<Usage> {
        match &self.host {
            None => Ok(proc::usage(self.pid)?),
            Some(host) => {
                let (stat, status) = host.proc(self.pid).await?;
                Ok(proc::parsed(&stat, &status)?)
            }
        }
    }

    /// Sends a signal to it and to whatever it may have started.
    ///
    /// # Errors
    /// When it has ended.
    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        if let Some(host) = &self.host {
            host.signal(signal.as_raw(), self.pid);
            return Ok(());
        }
        let group = i32::try_from(self.pid)
            .ok()
            .and_then(Pid::from_raw)
            .ok_or_else(|| anyhow!("process {} cannot be named", self.pid))?;
        kill_process_group(group, signal)
            .with_context(|| format!("signalling node {} (process {})", self.node, self.pid))
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<String> {
        self.process.try_wait().ok().flatten().map(describe)
    }

    /// Kills it, and waits until it is gone.
    pub(crate) async fn kill(&mut self) {
        // It may have ended by itself; either way it is gone afterwards.
        let _ = self.signal(Signal::KILL);
        if self.host.is_some() && timeout(GONE_WITHIN, self.process.wait()).await.is_err() {
            // The machine does not answer: what is there ends with the connection.
            let _ = self.process.start_kill();
        }
        let _ = self.process.wait().await;
    }

    /// Asks it to drain and end; kills it after `patience`.
    ///
    /// # Errors
    /// When it had to be killed, or ended with a status other than zero.
    pub(crate) async fn stop(&mut self, patience: Duration) -> anyhow::Result<()> {
        // A stopped process acts on SIGTERM only when it is continued.
        let _ = self.signal(Signal::TERM);
        let _ = self.signal(Signal::CONT);
        match timeout(patience, self.process.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(self.complaint(&describe(status))),
            Ok(Err(error)) => Err(error).context("waiting for a node to end"),
            Err(_) => {
                self.kill().await;
                Err(self.complaint(&format!(
                    "did not end within {} s of SIGTERM",
                    patience.as_secs_f32()
                )))
            }
        }
    }

    /// What happened to this node, with its own last words.
    pub(crate) fn complaint(&self, what: &str) -> anyhow::Error {
        match self.last_words() {
            None => anyhow!("node {} {what}", self.node),
            Some(words) => anyhow!("node {} {what}; it said: {words}", self.node),
        }
    }

    /// The end of what it wrote to standard error.
    pub(crate) fn last_words(&self) -> Option<String> {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(TAIL_LINES)..];
        (!tail.is_empty()).then(|| tail.join(" / "))
    }
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with status {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    /// A stand-in for the node's program.
    struct Script {
        folder: PathBuf,
    }

    impl Script {
        fn new(name: &str, body: &str) -> Self {
            let folder =
                std::env::temp_dir().join(format!("xtask-child-{}-{name}", std::process::id()));
            fs::create_dir_all(&folder).expect("a folder");
            let file = folder.join("program");
            fs::write(&file, format!("#!/bin/sh\n{body}\n")).expect("a script");
            fs::set_permissions(&file, fs::Permissions::from_mode(0o700)).expect("it is ours");
            Self { folder }
        }

        fn start(&self) -> Child {
            loop {
                let started = Child::start(
                    2,
                    &self.folder.join("program"),
                    Path::new("none"),
                    &self.folder.join("log"),
                );
                match started {
                    // Another test forked while this file was being written, and has not called exec
                    // yet.
                    Err(error) if is_busy(&error) => std::thread::yield_now(),
                    started => return started.expect("it starts"),
                }
            }
        }
    }

    fn is_busy(error: &anyhow::Error) -> bool {
        let kind = |cause: &(dyn std::error::Error + 'static)| {
            cause
                .downcast_ref::<std::io::Error>()
                .map(std::io::Error::kind)
        };
        error
            .chain()
            .any(|cause| kind(cause) == Some(std::io::ErrorKind::ExecutableFileBusy))
    }

    impl Drop for Script {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }

    const PATIENCE: Duration = Duration::from_secs(20);
    const READY: &str = r#"echo '{"ready":{"node":2,"address":"127.0.0.1:9"}}'"#;

    #[tokio::test]
    async fn a_node_that_ends_at_once_is_quoted() {
        let script = Script::new("ends", "echo 'error: no such key' >&2; exit 2");
        let error = script.start().ready(PATIENCE).await.expect_err("it ended");
        assert_eq!(
            error.to_string(),
            "node 2 ended with status 2; it said: error: no such key"
        );
    }

    #[tokio::test]
    async fn a_node_that_says_nothing_is_not_waited_for_long() {
        let script = Script::new("mute", "exec sleep 1000");
        let mut child = script.start();
        let error = child
            .ready(Duration::from_millis(20))
            .await
            .expect_err("it says nothing");
        assert_eq!(error.to_string(), "node 2 was not ready within 0.02 s");
        child.kill().await;
    }

    #[tokio::test]
    async fn a_node_hears_its_peers_and_ends_on_sigterm() {
        let script = Script::new(
            "hears",
            &format!(
                "trap 'exit 0' TERM; {READY}; read line; echo \"$line\" >&2; echo heard; \
                 while :; do sleep 0.01; done"
            ),
        );
        let mut child = script.start();
        let place = child.ready(PATIENCE).await.expect("it is ready");
        child.introduce(&[place]).await.expect("it listens");
        assert_eq!(
            child
                .stdout
                .next_line()
                .await
                .expect("it speaks")
                .as_deref(),
            Some("heard")
        );
        child.stop(PATIENCE).await.expect("it ends well");
        let log = fs::read_to_string(script.folder.join("log")).expect("it wrote");
        // The shell may add that its own child was terminated.
        assert_eq!(
            log.lines().next(),
            Some("{\"peers\":[{\"node\":2,\"address\":\"127.0.0.1:9\"}]}")
        );
    }

    #[tokio::test]
    async fn a_stopped_node_is_killed_too() {
        let script = Script::new("stopped", &format!("{READY}; exec sleep 1000"));
        let mut child = script.start();
        child.ready(PATIENCE).await.expect("it is ready");
        child.signal(Signal::STOP).expect("it runs");
        assert_eq!(child.ended(), None);
        child.kill().await;
        assert_eq!(child.ended().as_deref(), Some("was ended by signal 9"));
    }

    #[tokio::test]
    async fn dropping_a_child_ends_it() {
        let script = Script::new("dropped", &format!("{READY}; exec sleep 1000"));
        let mut child = script.start();
        child.ready(PATIENCE).await.expect("it is ready");
        let pid = child.pid().expect("it runs here");
        drop(child);
        // Gone, or a zombie until the runtime has collected it: no longer running either way.
        let gone = async {
            while fs::read_to_string(format!("/proc/{pid}/stat"))
                .is_ok_and(|stat| !stat.contains(") Z "))
            {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, gone).await.expect("it ends");
    }
}
