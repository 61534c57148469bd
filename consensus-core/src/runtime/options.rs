//! What an operator may choose about one node's driver.

use core::time::Duration;

/// Bounds and habits of one node's driver. Every queue has one.
#[derive(Clone, Debug)]
pub struct Options {
    /// Messages, and as many calls, handled before the batch is flushed. Default 1024: beyond that a
    /// batch gains nothing, outgrows the processor's caches and delays its first answer.
    pub batch: usize,
    /// Messages a lane of the inbox holds. Default 65536.
    pub inbox_messages: usize,
    /// Bytes a lane of the inbox holds. Default 64 MiB.
    pub inbox_bytes: usize,
    /// Calls accepted and not yet seen by the service; more are refused as busy. Default 16384.
    pub calls_queued: usize,
    /// Bytes of the bodies of those calls; more are refused as busy. Default 64 MiB.
    pub calls_bytes: usize,
    /// Calls that the service works on; more are refused as busy. Default 65536.
    pub calls_open: usize,
    /// Bytes on their way to the disk above which the node takes no calls and no log messages; above
    /// twice that it reads nothing from peers at all. Default 64 MiB.
    pub disk_backlog: usize,
    /// Events that wait for a service on a task of its own, above which the node takes no calls and
    /// no log messages. Default 65536.
    pub events_waiting: usize,
    /// Where the service runs.
    pub placement: Placement,
    /// How long a shutdown waits for open calls before it answers them with *unknown*. Default 1 s.
    pub drain: Duration,
    /// How often the published status is renewed at most; a change of leader renews it at once. Default
    /// 100 ms.
    pub status_every: Duration,
    /// Seeds the moments of alarms. Give every node and every start another. Default 0.
    pub seed: u64,
}

/// Where the service runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Placement {
    /// On the task that steps the protocol: a hop less each way. For services that compute and never
    /// wait; a slow one delays its node's agreement.
    #[default]
    Together,
    /// On a task of its own: applying, however slow, never delays agreement. What the protocol has
    /// told and the service has not taken waits in a queue. The pump never waits for room in it: above
    /// [`Options::events_waiting`] the node takes no more commands until the service has caught up.
    Apart,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            batch: 1024,
            inbox_messages: 65_536,
            inbox_bytes: 64 << 20,
            calls_queued: 16_384,
            calls_bytes: 64 << 20,
            calls_open: 65_536,
            disk_backlog: 64 << 20,
            events_waiting: 65_536,
            placement: Placement::default(),
            drain: Duration::from_secs(1),
            status_every: Duration::from_millis(100),
            seed: 0,
        }
    }
}
