//! A configuration store in the manner of etcd and Consul: put, get, delete, compare-and-swap, watch
//! by prefix, leases. Three processes, any of which may die.
//!
//! ```text
//! A=127.0.0.1:7001,127.0.0.1:7002,127.0.0.1:7003
//! cargo run --example config_store -- /tmp/store $A run 1     # and 2, and 3, each in a terminal
//! cargo run --example config_store -- /tmp/store $A put /service/db 10.0.0.5
//! cargo run --example config_store -- /tmp/store $A watch /service/
//! ```
//!
//! When a lease ends is decided by the log, by a clock that the leading node moves with commands like any
//! other ([`LogClock`](consensus_core::LogClock)): a lease may live longer than it was promised, and never
//! shorter.

mod store;

use consensus_core::{NodeId, Wire};
use net_quic::{Session, Site};
use raft::Raft;
use std::{env, error::Error, time::Duration};
use store::{Operation, Outcome, Store, encode};
use tokio::time::sleep;

const USAGE: &str = "usage: config_store DIR ADDRESS,… COMMAND
  run NODE                     a node in the foreground
  put KEY VALUE [LEASE]        prints the revision
  get KEY                      prints revision and value
  cas KEY REVISION VALUE       writes if the key still has that revision (0: is not there)
  delete KEY
  list PREFIX
  watch PREFIX                 prints every change from now on
  grant SECONDS                prints a lease
  keep LEASE                   lets a lease begin anew";

/// How often the leading node says how much time has passed.
const TICK: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(15);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    let [dir, addresses, command @ ..] = &words[..] else {
        return Err(USAGE.into());
    };
    let addresses = addresses.split(',').map(str::parse);
    let addresses = addresses.collect::<Result<Vec<_>, _>>()?;
    let site = Site::open_or_create(dir.as_ref(), &addresses)?;
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    if let ["run", node] = command[..] {
        let store = Store::default();
        let mut node = site.start::<Raft, _>(NodeId(node.parse()?), store).await?;
        node.keep_time(TICK, |tick| encode(&Operation::Tick { tick }))?;
        return Ok(node.wait().await?);
    }
    let mut session = site.client()?.session(PATIENCE).await?;
    let operation = match command[..] {
        ["put", key, value] => put(key, value, None),
        ["put", key, value, lease] => put(key, value, Some(lease.parse()?)),
        ["get", key] => Operation::Get { key: bytes(key) },
        ["cas", key, revision, value] => Operation::CompareAndSwap {
            key: bytes(key),
            revision: revision.parse()?,
            value: bytes(value),
        },
        ["delete", key] => Operation::Delete { key: bytes(key) },
        ["list", prefix] => Operation::List {
            prefix: bytes(prefix),
        },
        ["watch", prefix] => return watch(&mut session, prefix).await,
        ["grant", seconds] => Operation::Grant {
            ttl: seconds.parse::<u64>()? * 1000,
        },
        ["keep", lease] => Operation::KeepAlive {
            lease: lease.parse()?,
        },
        _ => return Err(USAGE.into()),
    };
    print(ask(&mut session, &operation).await?)
}

fn bytes(text: &str) -> bytes::Bytes {
    text.to_owned().into()
}

fn put(key: &str, value: &str, lease: Option<u64>) -> Operation {
    Operation::Put {
        key: bytes(key),
        value: bytes(value),
        lease,
    }
}

async fn ask(session: &mut Session, operation: &Operation) -> Result<Outcome, Box<dyn Error>> {
    let answer = session.call(encode(operation)).await?;
    Ok(Outcome::decode(answer)?)
}

fn print(outcome: Outcome) -> Result<(), Box<dyn Error>> {
    match outcome {
        Outcome::Done { revision } => println!("{revision}"),
        Outcome::Value { revision, value } => {
            println!("{revision} {}", String::from_utf8_lossy(&value));
        }
        Outcome::Lease { lease } => println!("{lease}"),
        Outcome::List { entries } => {
            for (key, value) in entries {
                let (key, value) = (
                    String::from_utf8_lossy(&key),
                    String::from_utf8_lossy(&value),
                );
                println!("{key} {value}");
            }
        }
        Outcome::Changes { changes, .. } => {
            for (key, value) in changes {
                let key = String::from_utf8_lossy(&key);
                match value {
                    Some(value) => println!("put {key} {}", String::from_utf8_lossy(&value)),
                    None => println!("delete {key}"),
                }
            }
        }
        Outcome::Missing {} => return Err("not found".into()),
        Outcome::Mismatch { revision } => {
            return Err(format!("it is at revision {revision}").into());
        }
        Outcome::Forgotten { .. } => return Err("the changes asked for are forgotten".into()),
        Outcome::Malformed {} => return Err("the store does not understand".into()),
    }
    Ok(())
}

/// Prints what changes, whichever nodes answer.
async fn watch(session: &mut Session, prefix: &str) -> Result<(), Box<dyn Error>> {
    // Ahead of everything: answered with the revision of now.
    let mut after = u64::MAX;
    loop {
        let prefix = bytes(prefix);
        let outcome = ask(session, &Operation::Watch { prefix, after }).await?;
        if let Outcome::Changes { revision, .. } = outcome {
            if after == u64::MAX {
                println!("watching from {revision}");
            }
            after = revision;
        }
        print(outcome)?;
        sleep(TICK / 2).await;
    }
}
