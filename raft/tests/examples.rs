//! The examples, as a user runs them: three processes, `kill -9`.
#![allow(clippy::unwrap_used)]

use std::{
    io::{BufRead, BufReader, Lines},
    net::UdpSocket,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// A built example. `cargo test` builds all of them; a run of this test alone does not.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().and_then(Path::parent).unwrap();
    let built = folder.join("examples").join(name);
    if !built.exists() {
        let cargo = std::env::var_os("CARGO").expect("cargo runs the tests");
        let mut build = Command::new(cargo);
        build.args(["build", "--offline", "--package", "raft", "--example", name]);
        assert!(build.status().unwrap().success());
    }
    built
}

/// One cluster at a time: nine processes that elect leaders would only measure the machine.
static ALONE: Mutex<()> = Mutex::new(());

/// Three processes of an example in a folder of their own; all gone when the test ends.
struct Processes {
    example: PathBuf,
    dir: PathBuf,
    addresses: String,
    nodes: Vec<Option<Child>>,
    _alone: MutexGuard<'static, ()>,
}

impl Processes {
    /// Of the example `name`, for a test called `test`.
    fn start(name: &str, test: &str) -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = std::env::temp_dir().join(format!("{name}-{test}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        let sockets: Vec<_> = (0..3)
            .map(|_| UdpSocket::bind("127.0.0.1:0").unwrap())
            .collect();
        let addresses: Vec<_> = sockets
            .iter()
            .map(|socket| socket.local_addr().unwrap().to_string())
            .collect();
        drop(sockets);
        let mut processes = Self {
            example: example(name),
            dir,
            addresses: addresses.join(","),
            nodes: vec![None, None, None],
            _alone: alone,
        };
        (0..3).for_each(|node| processes.run(node));
        processes
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.example);
        command.arg(&self.dir).arg(&self.addresses).args(words);
        command
    }

    fn run(&mut self, node: usize) {
        let number = (node + 1).to_string();
        let child = self.command(&["run", &number]).spawn().unwrap();
        self.nodes[node] = Some(child);
    }

    /// SIGKILL: no word, no sync.
    fn kill(&mut self, node: usize) {
        let mut child = self.nodes[node].take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// What a client prints, or what it says went wrong.
    fn ask(&self, words: &[&str]) -> Result<String, String> {
        let output = self.command(words).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim().to_owned();
        if output.status.success() {
            Ok(text(output.stdout))
        } else {
            Err(text(output.stderr))
        }
    }

    /// A client that goes on printing.
    fn listen(&self, words: &[&str]) -> Listening {
        let mut command = self.command(words);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Listening { child, lines }
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for node in 0..3 {
            if self.nodes[node].is_some() {
                self.kill(node);
            }
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

struct Listening {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Listening {
    fn next(&mut self) -> String {
        self.lines.next().expect("it goes on").unwrap()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_counter_loses_nothing_when_each_process_is_killed_in_turn() {
    let mut counter = Processes::start("counter", "kill");
    assert_eq!(counter.ask(&["add", "5"]), Ok("5".into()));
    for (node, sum) in [(0, "6"), (1, "7"), (2, "8")] {
        counter.kill(node);
        assert_eq!(counter.ask(&["add", "1"]), Ok(sum.into()));
        counter.run(node);
    }
    (0..3).for_each(|node| counter.kill(node));
    (0..3).for_each(|node| counter.run(node));
    assert_eq!(counter.ask(&["add", "0"]), Ok("8".into()));
}

#[test]
fn a_configuration_store_goes_on_when_each_process_is_killed_in_turn() {
    let mut store = Processes::start("config_store", "kill");
    let first = store.ask(&["put", "/service/db", "10.0.0.5"]).unwrap();
    let mut watch = store.listen(&["watch", "/service/"]);
    assert!(watch.next().starts_with("watching from "));

    for node in 0..3 {
        store.kill(node);
        let value = format!("10.0.0.{node}");
        store.ask(&["put", "/service/db", &value]).unwrap();
        assert_eq!(watch.next(), format!("put /service/db {value}"));
        store.run(node);
    }
    let refused = store.ask(&["cas", "/service/db", &first, "10.0.0.9"]);
    assert!(refused.unwrap_err().contains("it is at revision"));
    let now = store.ask(&["get", "/service/db"]).unwrap();
    let (revision, value) = now.split_once(' ').unwrap();
    assert_eq!(value, "10.0.0.2");
    store
        .ask(&["cas", "/service/db", revision, "10.0.0.9"])
        .unwrap();
    assert_eq!(watch.next(), "put /service/db 10.0.0.9");

    store.ask(&["put", "/other", "x"]).unwrap();
    assert_eq!(
        store.ask(&["list", "/service/"]).unwrap(),
        "/service/db 10.0.0.9"
    );
    store.ask(&["delete", "/service/db"]).unwrap();
    assert_eq!(watch.next(), "delete /service/db");
    let gone = store.ask(&["get", "/service/db"]).unwrap_err();
    assert!(gone.contains("not found"), "{gone}");
}

#[test]
fn a_lease_ends_when_the_log_says_so_and_takes_its_keys_along() {
    let mut store = Processes::start("config_store", "leases");
    let lease = store.ask(&["grant", "2"]).unwrap();
    store.ask(&["put", "/lock", "mine", &lease]).unwrap();
    let mut watch = store.listen(&["watch", "/lock"]);
    watch.next();
    // Long enough for a leader to be elected, and for the lease to end: both are told by the watch.
    store.kill(0);
    store.run(0);
    assert_eq!(watch.next(), "delete /lock");
    let late = store.ask(&["keep", &lease]).unwrap_err();
    assert!(late.contains("not found"), "{late}");
    let never = store.ask(&["put", "/lock", "mine", &lease]).unwrap_err();
    assert!(never.contains("not found"), "{never}");
}
