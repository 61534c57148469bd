//! Nodes as a user runs them, for tests: each a process of an example, `kill -9`, clients that print.
//!
//! The examples have one shape: `EXAMPLE DIR ADDRESS,… run NODE` is a node in the foreground, and any
//! other words after the addresses are a client's. Whatever goes wrong here is the test's failure: it
//! panics.

use consensus_core::NodeId;
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Lines},
    net::{SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Ports of this machine that were free a moment ago.
///
/// # Panics
/// When the system gives no socket.
#[must_use]
pub fn free_addresses(count: usize) -> Vec<SocketAddr> {
    let bind = |_| UdpSocket::bind("127.0.0.1:0").expect("a free port");
    // All at once, so that they differ.
    let sockets: Vec<UdpSocket> = (0..count).map(bind).collect();
    let address = |socket: &UdpSocket| socket.local_addr().expect("a bound socket has one");
    sockets.iter().map(address).collect()
}

/// An example of `package`: as `cargo test` has built it, which builds all of them; else built now.
///
/// # Panics
/// When it cannot be built, or cargo does not run this test.
#[must_use]
pub fn example(package: &str, name: &str) -> PathBuf {
    let built = built(name);
    if built.exists() {
        return built;
    }
    build_example(package, &[], name)
}

/// An example of `package`, built from what is here now, with `features`.
///
/// # Panics
/// When it cannot be built, or cargo does not run this test.
#[must_use]
pub fn build_example(package: &str, features: &[&str], name: &str) -> PathBuf {
    let cargo = std::env::var_os("CARGO").expect("cargo runs the tests");
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--offline", "--package", package]);
    build.args(["--features", &features.join(","), "--example", name]);
    let built = built(name);
    if built.iter().any(|folder| folder == "release") {
        build.arg("--release");
    }
    let status = build.status().expect("cargo can be run");
    assert!(status.success(), "{name} cannot be built");
    built
}

/// Where cargo puts an example, seen from a test.
fn built(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the test itself");
    let folder = test.parent().and_then(Path::parent);
    let folder = folder.expect("tests are built in a folder of their own");
    folder.join("examples").join(name)
}

/// Processes of one example in a folder of their own. All are gone when this is dropped.
#[derive(Debug)]
pub struct Processes {
    example: PathBuf,
    dir: PathBuf,
    addresses: String,
    running: Mutex<BTreeMap<NodeId, Child>>,
}

impl Processes {
    /// Of a cluster of `nodes`, none of which runs yet, in `dir`, which is emptied first and goes in
    /// the end.
    #[must_use]
    pub fn new(example: PathBuf, dir: PathBuf, nodes: u16) -> Self {
        let _ = std::fs::remove_dir_all(&dir);
        let addresses = free_addresses(nodes.into());
        let addresses: Vec<_> = addresses.iter().map(SocketAddr::to_string).collect();
        Self {
            example,
            dir,
            addresses: addresses.join(","),
            running: Mutex::default(),
        }
    }

    /// The same, in the system's folder for temporary files, and all nodes run. `test` sets it apart
    /// from other tests' clusters.
    ///
    /// # Panics
    /// When a process cannot be started.
    #[must_use]
    pub fn start(example: PathBuf, test: &str, nodes: u16) -> Self {
        let name = example.file_name().unwrap_or_default().to_string_lossy();
        let name = format!("{name}-{test}-{}", std::process::id());
        let processes = Self::new(example, std::env::temp_dir().join(name), nodes);
        (1..=nodes).for_each(|node| processes.run(NodeId(node)));
        processes
    }

    /// Whoever panics with it has failed the test already.
    fn running(&self) -> MutexGuard<'_, BTreeMap<NodeId, Child>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The example with these words.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.example);
        command.arg(&self.dir).arg(&self.addresses).args(words);
        command
    }

    /// Starts a node.
    ///
    /// # Panics
    /// When that fails, or it runs.
    pub fn run(&self, node: NodeId) {
        let command = self.command(&["run", &node.to_string()]);
        self.run_as(node, command);
    }

    /// Starts a node by a [`command`](Self::command) of one's own.
    ///
    /// # Panics
    /// When that fails, or it runs.
    pub fn run_as(&self, node: NodeId, mut command: Command) {
        let child = command.spawn().expect("the example can be run");
        let before = self.running().insert(node, child);
        assert!(before.is_none(), "node {node} runs twice");
    }

    /// Whether a node does not run, whoever has killed it.
    ///
    /// # Panics
    /// When the system does not tell.
    pub fn has_ended(&self, node: NodeId) -> bool {
        let mut running = self.running();
        let child = running.get_mut(&node);
        child.is_none_or(|child| child.try_wait().expect("it is ours").is_some())
    }

    /// SIGKILL: no word, no sync. Nothing to a node that is dead.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn kill(&self, node: NodeId) {
        let child = self.running().remove(&node);
        if let Some(child) = child {
            end(child);
        }
    }

    /// What a client prints.
    ///
    /// # Errors
    /// What it says went wrong.
    ///
    /// # Panics
    /// When it cannot be started, or prints no text.
    pub fn ask(&self, words: &[&str]) -> Result<String, String> {
        let output = self.command(words).output().expect("it runs");
        let text = |bytes| String::from_utf8(bytes).expect("clients print text");
        if output.status.success() {
            Ok(text(output.stdout).trim().to_owned())
        } else {
            Err(text(output.stderr).trim().to_owned())
        }
    }

    /// A client that goes on printing.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn listen(&self, words: &[&str]) -> Listening {
        let mut command = self.command(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it runs");
        let output = child.stdout.take().expect("it is piped");
        Listening {
            input: child.stdin.take(),
            lines: BufReader::new(output).lines(),
            child: Some(child),
        }
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        let running = std::mem::take(&mut *self.running());
        running.into_values().for_each(end);
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn end(mut child: Child) {
    child.kill().expect("it is ours");
    child.wait().expect("it is ours");
}

/// A client that goes on printing. Killed when this is dropped.
#[derive(Debug)]
pub struct Listening {
    child: Option<Child>,
    input: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Listening {
    /// Waits for the next line; none when there will be no more.
    ///
    /// # Panics
    /// When it is no text.
    pub fn next_line(&mut self) -> Option<String> {
        self.lines
            .next()
            .map(|line| line.expect("clients print text"))
    }

    /// Its process.
    ///
    /// # Panics
    /// When it was [killed](Self::kill).
    #[must_use]
    pub fn process(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// SIGKILL.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn kill(&mut self) {
        if let Some(child) = self.child.take() {
            end(child);
        }
    }

    /// Ends its input, and waits for its end. Whether it ended well.
    ///
    /// # Panics
    /// When it was [killed](Self::kill).
    pub fn finish(mut self) -> bool {
        drop(self.input.take());
        let mut child = self.child.take().expect("it runs");
        child.wait().expect("it is ours").success()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.kill();
    }
}
