//! `--hosts FILE`: nodes on other machines, over ssh.
//!
//! One shell a machine stays open for as long as the command runs. Through it folders are made, files sent
//! and processes signalled; when it ends, however that comes about, it kills the nodes that it knows and
//! removes their folder. A node itself runs under a connection of its own, which is its standard input and
//! output, and ends with that.

mod file;
mod shell;

pub(crate) use file::{Spec, read};

use crate::{cluster::fault::Schedule, ending::refusal};
use anyhow::{Context as _, bail};
use consensus_core::{NodeId, fault::Fault};
use shell::Shell;
use std::{
    fs::{self, File},
    net::IpAddr,
    path::Path,
    process::Stdio,
    sync::Arc,
};
use tokio::process::Command;

/// What reports call it when nodes and clients share one machine.
pub(crate) const SAME_HOST: &str = "same host";

/// Machines that nodes run on, in turns. None: all run on this one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hosts(Vec<Arc<Host>>);

/// One machine that has everything a node needs but its configuration.
#[derive(Debug)]
pub(crate) struct Host {
    spec: Spec,
    ssh: Vec<String>,
    shell: Shell,
    /// Of this command; goes when the shell ends.
    base: String,
    program: String,
}

impl Hosts {
    /// Opens a shell on each, makes a folder, and copies this program where none is named.
    ///
    /// # Errors
    /// A refusal that names the machine and what it lacks.
    pub(crate) async fn open(specs: &[Spec], ssh: &str) -> anyhow::Result<Self> {
        let ssh: Vec<String> = ssh.split_whitespace().map(str::to_owned).collect();
        let mut hosts = Vec::new();
        for spec in specs {
            let host = Host::open(spec, &ssh).await;
            let host = match host {
                Ok(host) => host,
                Err(error) => {
                    Self(hosts).close().await;
                    let why = crate::ending::one_line(&error);
                    return Err(refusal(format!("host {}: {why}", spec.ssh)));
                }
            };
            eprintln!("host {}: ready in {}", spec.ssh, host.base);
            hosts.push(Arc::new(host));
        }
        Ok(Self(hosts))
    }

    /// Whether nodes run on this machine.
    pub(crate) fn is_here(&self) -> bool {
        self.0.is_empty()
    }

    /// Where a node runs; none: here.
    pub(crate) fn of(&self, node: NodeId) -> Option<&Arc<Host>> {
        let place = usize::from(node.0).saturating_sub(1);
        self.0.get(place % self.0.len().max(1))
    }

    /// Removes the folders of one cluster everywhere.
    pub(crate) fn forget(&self, name: &str) {
        for host in &self.0 {
            host.shell.tell(&format!("rm -rf {}", host.folder(name)));
        }
    }

    /// Where clients and nodes are, for reports.
    pub(crate) fn placement(specs: &[Spec]) -> String {
        let addresses: Vec<_> = specs.iter().map(|spec| spec.address.to_string()).collect();
        match addresses[..] {
            [] => SAME_HOST.to_owned(),
            _ => format!("nodes on {}", addresses.join(", ")),
        }
    }

    /// # Errors
    /// A refusal when a fault can be done to processes and disks of this machine alone.
    pub(crate) fn allow(specs: &[Spec], faults: &Schedule) -> anyhow::Result<()> {
        let local = |fault: &Fault| {
            matches!(
                fault,
                Fault::Slow(..)
                    | Fault::Rot(..)
                    | Fault::Misdirect(_)
                    | Fault::Wipe(_)
                    | Fault::Add(_)
                    | Fault::Readmit(_)
            )
        };
        match faults.faults.iter().find(|spec| local(&spec.fault)) {
            Some(spec) if !specs.is_empty() => Err(refusal(format!(
                "--fault '{spec}' needs the nodes on this machine; leave --hosts out"
            ))),
            _ => Ok(()),
        }
    }

    /// Ends the shells, and waits until each has removed its folder.
    pub(crate) async fn close(self) {
        for host in self.0 {
            if let Ok(host) = Arc::try_unwrap(host) {
                host.shell.close().await;
            }
        }
    }
}

impl Host {
    async fn open(spec: &Spec, ssh: &[String]) -> anyhow::Result<Self> {
        let shell = Shell::open(command(ssh, &spec.ssh, "exec sh -s")?)?;
        let system = shell
            .ask("uname -sm")
            .await
            .context("cannot be reached by ssh")?;
        let folder = &spec.folder;
        let make = format!("umask 077; mkdir -p {folder} && mktemp -d {folder}/xtask-XXXXXX");
        let made = shell.ask(&make).await;
        let base = made
            .context("no folder can be made there")?
            .trim()
            .to_owned();
        // From here on nothing is left behind, whatever ends the connection.
        let clean = format!(
            "trap 'for f in {base}/*/*.pid; do test -f $f && kill -9 $(cat $f); done 2>/dev/null; rm -rf {base}' EXIT; \
             trap exit HUP INT TERM PIPE"
        );
        shell.ask(&clean).await?;
        let mut host = Self {
            program: format!("{base}/program"),
            spec: spec.clone(),
            ssh: ssh.to_vec(),
            shell,
            base,
        };
        match host.prepare(system.trim()).await {
            Ok(()) => Ok(host),
            Err(error) => {
                host.shell.close().await;
                Err(error)
            }
        }
    }

    /// Has a program there to run nodes with.
    async fn prepare(&mut self, system: &str) -> anyhow::Result<()> {
        match &self.spec.program {
            None => self.copy_program(system).await,
            Some(program) => {
                let try_it = format!("{program} node --help > /dev/null");
                let tried = self.shell.ask(&try_it).await;
                tried.with_context(|| format!("{program} does not run there"))?;
                self.program.clone_from(program);
                Ok(())
            }
        }
    }

    async fn copy_program(&self, system: &str) -> anyhow::Result<()> {
        let here = std::process::Command::new("uname").arg("-sm").output()?;
        let here = String::from_utf8_lossy(&here.stdout).trim().to_owned();
        if here != system {
            bail!(
                "it is {system}, and this program is for {here}; build one for it and name it with program=PATH"
            );
        }
        let program = std::env::current_exe().context("finding this program")?;
        let (ssh, to) = (&self.ssh, &self.program);
        let copied = command(
            ssh,
            &self.spec.ssh,
            &format!("cat > {to} && chmod 700 {to}"),
        )?
        .stdin(File::open(program)?)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .await?;
        if !copied.status.success() {
            let words = String::from_utf8_lossy(&copied.stderr).trim().to_owned();
            bail!("this program could not be copied there: {words}");
        }
        Ok(())
    }

    /// Where nodes listen there.
    pub(crate) fn address(&self) -> IpAddr {
        self.spec.address
    }

    /// The folder of one cluster there.
    pub(crate) fn folder(&self, name: &str) -> String {
        format!("{}/{name}", self.base)
    }

    /// Sends files from `from`, texts all of them, into the folder of one cluster.
    ///
    /// # Errors
    /// When one cannot be read here or written there.
    pub(crate) async fn send(
        &self,
        name: &str,
        from: &Path,
        files: &[String],
    ) -> anyhow::Result<()> {
        let folder = self.folder(name);
        let mut script = format!("umask 077; mkdir -p {folder}");
        for file in files {
            let text = fs::read_to_string(from.join(file))?;
            let end = format!("end-of-{:x}", rand::random::<u64>());
            script.push_str(&format!(
                " && cat > {folder}/{file} <<'{end}'\n{}\n{end}\ntrue",
                text.trim_end()
            ));
        }
        self.shell.ask(&script).await.map(drop)
    }

    /// Makes a new disk for the node whose configuration lies there.
    ///
    /// # Errors
    /// What the node says.
    pub(crate) async fn format(&self, name: &str, node: NodeId) -> anyhow::Result<()> {
        let (program, folder) = (&self.program, self.folder(name));
        let made = format!("{program} node --config {folder}/node-{node}.toml --format");
        self.shell.ask(&made).await.map(drop)
    }

    /// A command that runs a node there, says its number as a process first, and leaves it in a file.
    ///
    /// # Errors
    /// When there is no such program as ssh.
    pub(crate) fn node(&self, name: &str, node: NodeId) -> anyhow::Result<Command> {
        let (program, folder) = (&self.program, self.folder(name));
        let run = format!(
            "echo $$ > {folder}/node-{node}.pid; echo $$; exec {program} node --config {folder}/node-{node}.toml"
        );
        command(&self.ssh, &self.spec.ssh, &run)
    }

    /// Signals a process there, without waiting.
    pub(crate) fn signal(&self, signal: i32, pid: u32) {
        self.shell.tell(&format!("kill -{signal} {pid}"));
    }

    /// What the kernel there says about a process.
    ///
    /// # Errors
    /// When it is gone.
    pub(crate) async fn proc(&self, pid: u32) -> anyhow::Result<(String, String)> {
        let stat = self.shell.ask(&format!("cat /proc/{pid}/stat")).await?;
        let status = self.shell.ask(&format!("cat /proc/{pid}/status")).await?;
        Ok((stat, status))
    }
}

/// `ssh` that asks nothing and waits for nobody long.
fn command(ssh: &[String], destination: &str, run: &str) -> anyhow::Result<Command> {
    let Some((program, words)) = ssh.split_first() else {
        return Err(refusal("--ssh names no program"));
    };
    let mut command = Command::new(program);
    command
        .args(words)
        .args(["-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10"])
        .args([destination, run])
        // Ctrl-C reaches this process alone, which then ends everything in order.
        .process_group(0)
        .kill_on_drop(true);
    Ok(command)
}
