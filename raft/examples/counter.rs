//! A counter that survives `kill -9`: three processes, any of which may die.
//!
//! ```text
//! A=127.0.0.1:7001,127.0.0.1:7002,127.0.0.1:7003
//! cargo run --example counter -- /tmp/counter $A run 1      # and 2, and 3, each in a terminal
//! cargo run --example counter -- /tmp/counter $A add 5      # prints the new value
//! ```

use bytes::Bytes;
use consensus_core::{Index, NodeId, StateMachine};
use net_quic::Site;
use raft::Raft;
use std::{env, error::Error, iter, time::Duration};

#[derive(Default)]
struct Counter(u64);

fn number(text: &[u8]) -> Option<u64> {
    str::from_utf8(text).ok()?.parse().ok()
}

impl StateMachine for Counter {
    fn apply(&mut self, _: Index, command: &[u8]) -> Bytes {
        self.0 = self.0.wrapping_add(number(command).unwrap_or(0));
        self.0.to_string().into()
    }

    type Snapshot = iter::Once<Bytes>;

    fn snapshot(&self) -> Self::Snapshot {
        iter::once(self.0.to_string().into())
    }

    fn restore(&mut self, mut chunks: impl Iterator<Item = Bytes>) -> Result<(), &'static str> {
        let text = chunks.next().ok_or("an empty snapshot")?;
        self.0 = number(&text).ok_or("not a counter")?;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    let [dir, addresses, verb, number] = &words[..] else {
        return Err("usage: counter DIR ADDRESS,ADDRESS,ADDRESS run NODE | add NUMBER".into());
    };
    let addresses: Result<Vec<_>, _> = addresses.split(',').map(str::parse).collect();
    let site = Site::open_or_create(dir.as_ref(), &addresses?)?;
    if verb == "run" {
        let (node, state) = (NodeId(number.parse()?), Counter::default());
        let mut node = site.start::<Raft, _>(node, state).await?;
        return Ok(node.wait().await?);
    }
    let mut session = site.client()?.session(Duration::from_secs(10)).await?;
    println!("{}", str::from_utf8(&session.call(number.clone()).await?)?);
    Ok(())
}
