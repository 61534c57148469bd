//! A lock service in the manner of Chubby \[Burrows06\]: sessions with leases, locks that are taken or
//! waited for, sequencers, events. Three processes, any of which may die.
//!
//! ```text
//! A=127.0.0.1:7001,127.0.0.1:7002,127.0.0.1:7003
//! cargo run -p multipaxos --example lock_service -- /tmp/locks $A run 1   # and 2, and 3, each in a terminal
//! cargo run -p multipaxos --example lock_service -- /tmp/locks $A hold backup 10   # until its input ends
//! cargo run -p multipaxos --example lock_service -- /tmp/locks $A watch backup
//! ```
//!
//! Whether a lease is over is decided by the log, by a clock that the leading node moves with commands
//! like any other ([`LogClock`](consensus_core::LogClock)). A client that was stopped for longer than its
//! lease still believes that it holds the lock when it goes on; so a lock comes with a *token* that is
//! higher each time, and whatever the lock protects refuses tokens lower than one it has seen, or asks
//! the service (`check`).
//!
//! Reading order: `words`, `service`, `client`; `snapshot`.

mod client;
mod service;
mod snapshot;
mod words;

use client::{Anything, Caller, Holder, LOOK};
use consensus_core::NodeId;
use multipaxos::MultiPaxos;
use net_quic::Site;
use service::Service;
use std::{env, io::Read as _, time::Duration};
use tokio::{sync::oneshot, time::sleep};
use words::{Change, Operation, Outcome, encode};

const USAGE: &str = "usage: lock_service DIR ADDRESS,… COMMAND
  run NODE                a node in the foreground
  hold NAME SECONDS       waits for the lock, prints `held NAME TOKEN` and holds it, with a lease of so
                          many seconds, until its input ends
  open SECONDS            prints a session, whose lease has begun
  keep SESSION            lets the lease begin anew
  close SESSION           gives back everything it holds
  lock SESSION NAME       prints the token; or `waiting`, and how many come before it
  try-lock SESSION NAME   prints the token; fails when somebody has the lock
  release SESSION NAME    lets the lock go, or waits no longer
  check NAME TOKEN        fails unless the token is that of the lock's holder
  watch PREFIX            prints what becomes of locks from now on";

/// How often the leading node says how time passes: a lease lasts so much longer, at most.
const TICK: Duration = Duration::from_millis(100);

#[tokio::main]
async fn main() -> Anything<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    let [dir, addresses, command @ ..] = &words[..] else {
        return Err(USAGE.into());
    };
    let addresses = addresses.split(',').map(str::parse);
    let addresses = addresses.collect::<Result<Vec<_>, _>>()?;
    let site = Site::open_or_create(dir.as_ref(), &addresses)?;
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    if let ["run", node] = command[..] {
        return run(&site, NodeId(node.parse()?)).await;
    }
    let operation = match command[..] {
        ["hold", name, lease] => return hold(&site, name, lease.parse()?).await,
        ["watch", prefix] => return watch(&site, prefix).await,
        ["open", lease] => Operation::Open {
            lease: lease.parse::<u64>()? * 1000,
        },
        ["keep", session] => Operation::Keep {
            session: session.parse()?,
        },
        ["close", session] => Operation::Close {
            session: session.parse()?,
        },
        [lock @ ("lock" | "try-lock"), session, name] => Operation::Acquire {
            session: session.parse()?,
            name: name.to_owned().into(),
            waits: lock == "lock",
        },
        ["release", session, name] => Operation::Release {
            session: session.parse()?,
            name: name.to_owned().into(),
        },
        ["check", name, token] => Operation::Check {
            name: name.to_owned().into(),
            token: token.parse()?,
        },
        _ => return Err(USAGE.into()),
    };
    let mut caller = Caller::connect(&site.client()?).await?;
    print(caller.ask(&operation).await?)
}

async fn run(site: &Site, node: NodeId) -> Anything<()> {
    let mut node = site
        .start::<MultiPaxos, _>(node, Service::default())
        .await?;
    node.keep_time(TICK, |tick| encode(&Operation::Tick { tick }))?;
    Ok(node.wait().await?)
}

fn print(outcome: Outcome) -> Anything<()> {
    match outcome {
        Outcome::Session { session } => println!("{session}"),
        Outcome::Held { token } => println!("{token}"),
        Outcome::Waiting { before } => println!("waiting, {before} before it"),
        Outcome::Busy { token } => return Err(format!("held under token {token}").into()),
        Outcome::NotHeld {} => return Err("the session neither holds it nor waits for it".into()),
        Outcome::Sequencer { is_valid: false } => return Err("stale".into()),
        _ => {}
    }
    Ok(())
}

/// Holds a lock for whoever holds the other end of its input.
async fn hold(site: &Site, name: &str, seconds: u64) -> Anything<()> {
    // Begun before anything is held: whoever starts this may end its input at once.
    let (end, ended) = oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = end.send(());
    });
    let caller = Caller::connect(&site.client()?).await?;
    let mut holder = Holder::open(caller, Duration::from_secs(seconds)).await?;
    let token = holder.lock(&name.to_owned().into()).await?;
    println!("held {name} {token}");
    let done = async {
        let _ = ended.await;
    };
    holder.keep_until(done).await
}

/// Prints what becomes of locks, whichever nodes answer.
async fn watch(site: &Site, prefix: &str) -> Anything<()> {
    let mut caller = Caller::connect(&site.client()?).await?;
    // Ahead of everything: answered with the place of now.
    let mut after = u64::MAX;
    loop {
        let prefix = prefix.to_owned().into();
        match caller.ask(&Operation::Events { prefix, after }).await? {
            Outcome::Events { until, events } => {
                if after == u64::MAX {
                    println!("watching from {until}");
                }
                after = until;
                for event in events {
                    let change = match event.change {
                        Change::Granted => "granted",
                        Change::Released => "released",
                        Change::Lost => "lost",
                    };
                    let name = String::from_utf8_lossy(&event.name);
                    println!("{change} {name} {}", event.token);
                }
            }
            Outcome::Forgotten { until } => {
                println!("missed what happened until {until}");
                after = until;
            }
            _ => return Err("the service tells no events".into()),
        }
        sleep(LOOK).await;
    }
}
