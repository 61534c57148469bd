//! How much of a log nothing vouches for when its process is killed.
//!
//! ```text
//! cargo run --release -p consensus-core --features wal --example unsealed -- 100
//! ```
//!
//! A second process appends batches, two under way at a time, and says what is acknowledged; it is killed,
//! a hundred times under load and ten times a second after its last write. Each time a byte of the newest
//! acknowledged record is flipped. What something later on disk vouches for must be missed: the program fails
//! when it is not. What is not vouched for is the window that it measures.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use consensus_core::{
    ClusterId, GroupId, Lsn, NodeId,
    storage::{
        Append, Completion, Disk, DiskFailure,
        wal::{Identity, Options, RecordPlace, Wal, format, inspect, places},
    },
};
use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc::{Sender, channel},
    thread::sleep,
    time::{Duration, Instant},
};

const WHO: Identity = Identity {
    cluster: ClusterId(1),
    node: NodeId(1),
};
const BATCH: u64 = 16;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [folder, batches] => write(Path::new(folder), batches.parse().expect("a number")),
        [kills] => measure(kills.parse().expect("a number")),
        _ => eprintln!("usage: unsealed KILLS"),
    }
}

struct Told(Sender<Lsn>);

impl Completion for Told {
    fn durable(&self, _: GroupId, lsn: Lsn) {
        let _ = self.0.send(lsn);
    }
    fn failed(&self, failure: DiskFailure) {
        panic!("{failure}");
    }
    fn full(&self, full: bool) {
        assert!(!full, "the disk is full");
    }
}

/// The second process: writes so many batches, then nothing, until it is killed.
fn write(folder: &Path, batches: u64) {
    let (sender, told) = channel();
    let mut log = Wal::open(folder, WHO, Options::default(), Told(sender)).unwrap();
    let (mut out, mut next) = (std::io::stdout().lock(), 1);
    let mut say = |lsn: Lsn| {
        writeln!(out, "{lsn}").unwrap();
        out.flush().unwrap();
        lsn.0
    };
    let mut durable = 0;
    for _ in 0..batches {
        let mut append = Append::new(GroupId(0), Lsn(next));
        for _ in 0..BATCH {
            append.push(|out| out.extend_from_slice(&[7; 64]));
        }
        append.forced = true;
        log.wal.append(append);
        next += BATCH;
        while durable + BATCH < next - 1 {
            durable = say(told.recv().unwrap());
        }
    }
    while let Ok(lsn) = told.recv() {
        say(lsn);
    }
}

/// What one kill left.
struct Left {
    /// Acknowledged records that nothing vouches for.
    unsealed: u64,
    /// How long ago the newest had been acknowledged.
    age: Duration,
    /// Whether its flipped byte is missed.
    noticed: bool,
}

fn measure(kills: u32) {
    let mut under_load = Vec::new();
    for number in 0..kills {
        let after = Duration::from_millis(40 + u64::from(number) * 37 % 200);
        under_load.push(kill(u64::MAX, after));
    }
    tell("under load", &mut under_load);
    let mut idle: Vec<Left> = (0..10).map(|_| kill(2, Duration::from_secs(1))).collect();
    tell("a second after the last write", &mut idle);
    assert!(
        idle.iter().all(|left| left.noticed),
        "an idle log is not sealed"
    );
}

fn tell(when: &str, all: &mut [Left]) {
    let missed = all.iter().filter(|left| !left.noticed).count();
    println!(
        "killed {when}: {} times, a flipped byte noticed {}",
        all.len(),
        all.len() - missed
    );
    let unsealed: Vec<&Left> = all.iter().filter(|left| left.unsealed > 0).collect();
    let Some(most) = unsealed.iter().map(|left| left.unsealed).max() else {
        println!("  nothing was left that nothing vouched for");
        return;
    };
    let longest = unsealed
        .iter()
        .map(|left| left.age)
        .max()
        .unwrap_or_default();
    println!(
        "  {} left acknowledged records that nothing vouched for: at most {most} (a batch has {BATCH}), \
         acknowledged at most {:.1} ms before",
        unsealed.len(),
        longest.as_secs_f64() * 1e3
    );
}

fn kill(batches: u64, after: Duration) -> Left {
    let folder = std::env::temp_dir().join(format!("unsealed-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    format(&folder, WHO).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .arg(&folder)
        .arg(batches.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (sender, begun) = channel();
    let hearing = std::thread::spawn(move || {
        let mut last = (0, Instant::now());
        for line in lines.map_while(Result::ok) {
            last = (line.parse().unwrap(), Instant::now());
            if last.0 >= BATCH * batches.min(2) {
                let _ = sender.send(());
            }
        }
        last
    });
    begun.recv().expect("it writes");
    sleep(after);
    child.kill().unwrap();
    let killed = Instant::now();
    child.wait().unwrap();
    let (acknowledged, at): (u64, Instant) = hearing.join().unwrap();
    let left = judge(&folder, acknowledged, killed.saturating_duration_since(at));
    fs::remove_dir_all(&folder).unwrap();
    left
}

fn judge(folder: &Path, acknowledged: u64, age: Duration) -> Left {
    let places = places(folder).unwrap();
    let acknowledged: Vec<&RecordPlace> = places
        .iter()
        .filter(|place| place.lsn.0 <= acknowledged)
        .collect();
    let unsealed = acknowledged.iter().filter(|place| !place.sealed).count() as u64;
    let newest = acknowledged.last().expect("something was acknowledged");
    let noticed = flipped(folder, newest);
    if let Some(vouched) = acknowledged.iter().rev().find(|place| place.sealed) {
        assert!(
            flipped(folder, vouched),
            "record {} is cut in silence",
            vouched.lsn
        );
    }
    Left {
        unsealed,
        age,
        noticed,
    }
}

/// Whether the log refuses to open with a flipped byte in this record.
fn flipped(folder: &Path, place: &RecordPlace) -> bool {
    let file: &PathBuf = &place.file;
    let good = fs::read(file).unwrap();
    let mut bad = good.clone();
    bad[(place.offset + place.bytes / 2) as usize] ^= 1;
    fs::write(file, bad).unwrap();
    let noticed = inspect(folder).unwrap().problem.is_some();
    fs::write(file, good).unwrap();
    noticed
}
