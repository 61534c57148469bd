//! Says in the log how time passes.

use super::{LogProtocol, ReplicaNode, draw};
use bytes::Bytes;
use consensus_core::{
    ClientId, Epoch, NodeId, Sequence, Tick,
    runtime::{Handle, Leaderships},
    service::{Answer, Refusal},
};
use std::{io, time::Duration};
use tokio::time::{Instant, MissedTickBehavior, interval};

impl<A: LogProtocol> ReplicaNode<A> {
    /// From now on, while this node leads, a command says every so often for how long it has led:
    /// what `say` makes of it, for a state machine that keeps a [`LogClock`](consensus_core::LogClock).
    /// Every node of the group has to do so. Costs a command and a write each time, whether or not
    /// anything waits for it. Ends with the node.
    ///
    /// # Errors
    /// When the operating system gives no randomness: the clock is a client with a name of its own.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn keep_time(
        &self,
        every: Duration,
        say: impl Fn(Tick) -> Bytes + Send + 'static,
    ) -> Result<(), io::Error> {
        let keeper = Timekeeper {
            node: self.id(),
            handle: self.handle().clone(),
            client: ClientId(u128::from(draw()?) << 64 | u128::from(draw()?)),
            is_open: false,
            sequence: 0,
        };
        tokio::spawn(keeper.run(self.leaderships(), every, say));
        Ok(())
    }
}

struct Timekeeper {
    node: NodeId,
    handle: Handle,
    client: ClientId,
    /// Its session, as far as it knows.
    is_open: bool,
    sequence: u64,
}

impl Timekeeper {
    async fn run(
        mut self,
        mut leaderships: Leaderships,
        every: Duration,
        say: impl Fn(Tick) -> Bytes,
    ) {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut leads: Option<(Epoch, Instant)> = None;
        loop {
            tokio::select! {
                biased;
                changed = leaderships.next() => {
                    let Some(now) = changed else { return };
                    let is_mine = now.leader == Some(self.node);
                    leads = is_mine.then(|| (now.epoch, Instant::now()));
                }
                _ = ticks.tick() => if let Some((epoch, since)) = leads {
                    let led = since.elapsed().as_millis() as u64;
                    self.tell(say(Tick { epoch, led })).await;
                }
            }
        }
    }

    /// What is lost is made up for by the next: each says the whole of it.
    async fn tell(&mut self, command: Bytes) {
        if !self.is_open {
            let opened = self.handle.call(self.client, Sequence(0), Bytes::new());
            self.is_open = !matches!(opened.await, Answer::Refused(_));
        }
        self.sequence += 1;
        let told = self
            .handle
            .call(self.client, Sequence(self.sequence), command);
        if told.await == Answer::Refused(Refusal::SessionExpired) {
            self.is_open = false;
        }
    }
}
