//! The commands as scripts call them: exit statuses, one line of complaint, results on standard
//! output alone.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

fn xtask(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(words)
        .env_remove("RUST_LOG")
        .output()
        .expect("it can be run")
}

/// A folder of this test's own, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("the folder is ours");
        Self(path)
    }

    fn text(&self) -> &str {
        self.0.to_str().expect("the path is text")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("it is text")
}

/// Nodes that a process has started, as their command lines: each names a folder with the number of
/// that process.
fn nodes_of(parent: u32) -> Vec<String> {
    let entries = fs::read_dir("/proc").expect("this is Linux");
    let lines = entries.flatten().filter_map(|entry| {
        let bytes = fs::read(entry.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&bytes).replace('\0', " "))
    });
    let folder = format!("-{parent}-0/node-");
    lines.filter(|line| line.contains(&folder)).collect()
}

/// Looks again and again until a condition holds.
fn eventually(what: &str, holds: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < until, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn what_cannot_be_done_is_one_line_and_status_2() {
    let empty = Folder::new("empty");
    for words in [
        &["cluster", "--nodes", "0"][..],
        &["cluster", "--algorithm", "viewstamped"],
        &["cluster", "--link", "planet=aws5", "--nodes", "6"],
        &["cluster", "--link", "delay=soon"],
        &["cluster", "--fault", "explode:2"],
        &["cluster", "--fault", "kill:9@1s"],
        &["cluster", "--fault", "skew:2@1s"],
        &["cluster", "--out", "/proc/self/status/report"],
        &[
            "cluster",
            "--durability",
            "memory",
            "--fault",
            "kill:1@1s+1s",
        ],
        &["sim", "--faults", "melt"],
        &["sim", "--trace"],
        &["scenario", "no-such-story"],
        &["report", empty.text()],
        &["wal", empty.text()],
        &["node", "--config", "/no/such/file"],
        &["no-such-command"],
    ] {
        let output = xtask(words);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{words:?}: {said}");
        assert!(said.starts_with("error: "), "{words:?}: {said}");
        assert_eq!(text(&output.stdout), "", "{words:?}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_ends_a_command_quietly() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["sim", "--algorithm", "paxos", "--seed", "5", "--trace"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it can be run");
    drop(command.stdout.take());
    let output = command.wait_with_output().expect("it ends");
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn certificates_are_made_once_and_a_key_that_others_read_is_refused() {
    let folder = Folder::new("certs");
    let made = xtask(&["certs", folder.text(), "--nodes", "2"]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    for name in [
        "ca.pem",
        "node-1.pem",
        "node-2.key",
        "client.pem",
        "operator.key",
    ] {
        assert!(folder.0.join(name).exists(), "{name}");
    }
    assert_eq!(xtask(&["certs", folder.text()]).status.code(), Some(2));

    let config = folder.0.join("node.toml");
    let written = r#"
algorithm = "raft"
node = 1
listen = "127.0.0.1:1"
data = "data"
[identity]
certificate = "node-1.pem"
key = "node-1.key"
authority = "ca.pem"
[[peer]]
node = 1
address = "127.0.0.1:1"
"#;
    fs::write(&config, written).expect("the folder is ours");
    let config = config.to_str().expect("the path is text");
    // Nobody formatted the folder: a node that lost its disk must not come back as if nothing were.
    let unformatted = xtask(&["node", "--config", config]);
    assert_eq!(unformatted.status.code(), Some(2));
    let formatted = xtask(&["node", "--config", config, "--format"]);
    assert!(formatted.status.success(), "{}", text(&formatted.stderr));
    let whole = xtask(&["wal", folder.0.join("data").to_str().expect("text")]);
    assert!(whole.status.success(), "{}", text(&whole.stderr));

    use std::os::unix::fs::PermissionsExt as _;
    let key = folder.0.join("node-1.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("it is ours");
    let exposed = xtask(&["node", "--config", config]);
    assert_eq!(exposed.status.code(), Some(2));
    assert!(
        text(&exposed.stderr).contains("chmod 600"),
        "{}",
        text(&exposed.stderr)
    );
}

#[test]
fn a_simulation_prints_json_and_nothing_else() {
    let output = xtask(&["sim", "--algorithm", "paxos", "--seeds", "3", "--json"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(json["schema"], 1);
    let run = &json["runs"][0];
    assert_eq!(
        (&run["algorithm"], &run["seeds"]),
        (&"paxos".into(), &3.into())
    );
    assert!(run["events"].as_u64() > Some(0));
    assert_eq!(run["violations"], serde_json::json!([]));
    assert!(run["faults"].is_object() && run["checks"].is_object());
}

#[test]
fn a_seed_replays_to_the_same_trace() {
    let replay = || {
        xtask(&[
            "sim",
            "--algorithm",
            "paxos",
            "--seed",
            "5",
            "--trace",
            "--nodes",
            "3",
        ])
    };
    let trace = |output: &Output| -> Vec<String> {
        let lines = text(&output.stdout).lines();
        lines
            .take_while(|line| !line.starts_with("paxos:"))
            .map(str::to_owned)
            .collect()
    };
    let (one, other) = (replay(), replay());
    assert!(trace(&one).len() > 100);
    assert_eq!(trace(&one), trace(&other));
}

/// Nodes, clients, a fault, the checker and the report, end to end.
#[test]
fn a_cluster_survives_a_kill_and_leaves_no_process_behind() {
    let folder = Folder::new("cluster");
    let line = "cluster --algorithm paxos --duration 2 --warmup 0 --clients 4 --keys 100 \
                --read-ratio 0.3 --seed 7 --fault kill:3@500ms+500ms --json --out";
    let running = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(line.split_whitespace().chain([folder.text()]))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it can be run");
    let pid = running.id();
    let output = running.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(json["schema"], 1);
    let run = &json["runs"][0];
    assert_eq!(
        (&run["algorithm"], &run["nodes"]),
        (&"paxos".into(), &3.into())
    );
    assert!(run["operations"].as_u64() > Some(0), "{run}");
    assert_eq!(run["check"]["ok"], true, "{run}");
    assert_eq!(run["faults"][0]["node"], 3);
    assert!(
        run["per_operation"]["messages"].as_f64() > Some(0.0),
        "{run}"
    );
    assert!(run["per_operation"]["syncs"].as_f64() > Some(0.0), "{run}");
    assert!(run["rss_bytes_max"].as_u64() > Some(0));
    let names: Vec<_> = json["runs"].as_array().expect("a list").iter().collect();
    assert!(names.iter().any(|run| run["algorithm"] == "echo"));
    assert!(folder.0.join("report.html").exists());

    let rebuilt = xtask(&["report", folder.text()]);
    assert!(rebuilt.status.success(), "{}", text(&rebuilt.stderr));
    assert_eq!(nodes_of(pid), Vec::<String>::new());
}

/// Whatever ends the command, its nodes end too: here what it cannot prevent.
#[test]
fn a_killed_command_leaves_no_process_behind() {
    let folder = Folder::new("killed");
    let line = "cluster --algorithm paxos --duration 600 --clients 1 --out";
    let mut running = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(line.split_whitespace().chain([folder.text()]))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it can be run");
    let pid = running.id();
    eventually("three nodes start", || nodes_of(pid).len() == 3);
    running.kill().expect("it runs");
    running.wait().expect("it ends");
    eventually("they end", || nodes_of(pid).is_empty());
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("a workspace");
    let left = root.join("target/cluster").join(format!("paxos-{pid}-0"));
    fs::remove_dir_all(left).expect("what a killed command could not remove");
}

#[test]
fn compare_fails_for_what_is_worse_and_for_nothing_else() {
    let folder = Folder::new("compare");
    let sample = include_str!("../../bench/testdata/report.json");
    let mut report: serde_json::Value = serde_json::from_str(sample).expect("it is JSON");
    let run = report["runs"][0].clone();
    let mut write = |name: &str, ops: f64| {
        let runs = (0..7).map(|repetition| {
            let mut run = run.clone();
            run["repetition"] = repetition.into();
            run["check"] = serde_json::Value::Null;
            run["verdict"]["valid"] = true.into();
            run["throughput_ops"] = (ops + f64::from(repetition)).into();
            run
        });
        report["runs"] = runs.collect();
        let path = folder.0.join(name);
        fs::create_dir_all(&path).expect("the folder is ours");
        fs::write(path.join("report.json"), report.to_string()).expect("there is room");
        path.to_str().expect("the path is text").to_owned()
    };
    let (first, second) = (write("a", 10_000.0), write("b", 9_000.0));
    let judged = |a: &str, b: &str| xtask(&["compare", a, b, "--fail-above", "5"]);
    let worse = judged(&first, &second);
    assert_eq!(worse.status.code(), Some(1));
    assert!(text(&worse.stderr).contains("operations/s is 10.0 % worse"));
    assert_eq!(judged(&first, &first).status.code(), Some(0));
    assert_eq!(judged(&second, &first).status.code(), Some(0));
    assert_eq!(xtask(&["compare", &first, &second]).status.code(), Some(0));
    assert_eq!(judged(&first, "/nowhere").status.code(), Some(2));
}

/// Everything that `--hosts` does, with a shell of this machine in the place of ssh: programs and
/// configurations are sent, nodes killed and started again, and nothing is left behind.
#[test]
fn nodes_run_on_named_hosts_and_leave_nothing_there() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new("hosts");
    let ssh = folder.0.join("ssh");
    let script = "#!/bin/sh\nwhile [ $# -gt 2 ]; do shift; done\ncase $1 in nowhere) \
                  echo 'no route to nowhere' >&2; exit 255;; esac\nexec sh -c \"$2\"\n";
    fs::write(&ssh, script).expect("the folder is ours");
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o700)).expect("it is ours");
    let far = folder.0.join("far");
    let program = env!("CARGO_BIN_EXE_xtask");
    let hosts = |name: &str, text: &str| {
        let file = folder.0.join(name);
        fs::write(&file, text).expect("the folder is ours");
        file.to_str().expect("the path is text").to_owned()
    };
    let place = format!("folder={} program={program}", far.display());
    let good = hosts(
        "good",
        &format!("127.0.0.1 ssh=a {place}\n127.0.0.1 ssh=b {place}\n"),
    );
    let line = "cluster --algorithm raft --duration 1 --warmup 0 --clients 4 --json \
                --fault kill:leader@300ms+200ms --hosts";
    let words: Vec<&str> = line.split_whitespace().collect();
    let out = folder.0.join("report");
    let more = ["--ssh", ssh.to_str().expect("text"), "--out"];
    let more = more.into_iter().chain([out.to_str().expect("text")]);
    let run = |file: &str| {
        let all: Vec<&str> = words
            .iter()
            .copied()
            .chain([file])
            .chain(more.clone())
            .collect();
        xtask(&all)
    };
    let output = run(&good);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    let run_of_raft = &json["runs"][0];
    assert_eq!(run_of_raft["placement"], "nodes on 127.0.0.1, 127.0.0.1");
    assert_eq!(run_of_raft["check"]["ok"], true, "{run_of_raft}");
    assert!(run_of_raft["operations"].as_u64() > Some(0));
    assert!(run_of_raft["rss_bytes_max"].as_u64() > Some(0));
    let left: Vec<_> = fs::read_dir(&far).expect("it was made").collect();
    assert!(left.is_empty(), "{left:?}");

    for (name, file, says) in [
        (
            "lost",
            "127.0.0.1 ssh=nowhere\n".to_owned(),
            "host nowhere: cannot be reached by ssh",
        ),
        ("word", "127.0.0.1 port=7\n".to_owned(), "line 1: `port=7`"),
        (
            "none",
            format!(
                "127.0.0.1 ssh=a folder={} program=/no/such/file\n",
                far.display()
            ),
            "/no/such/file does not run there",
        ),
    ] {
        let output = run(&hosts(name, &file));
        let said = text(&output.stderr)
            .lines()
            .last()
            .unwrap_or_default()
            .to_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(says), "{said}");
    }
}
