//! What an operator chooses.

use crate::{Identity, LinkControl};
use consensus_core::{Boot, ClusterId, DiskId, NodeId};
use std::{collections::BTreeMap, net::SocketAddr, ops::RangeInclusive, time::Duration};

/// The wire version that this build writes and the oldest that it reads.
pub const WIRE_VERSIONS: RangeInclusive<u8> = 1..=1;

/// A node's place in the network.
#[derive(Debug)]
pub struct EndpointConfig {
    /// This node; must be what `identity` names.
    pub node: NodeId,
    /// This run of the node; peers refuse frames of an older one.
    pub boot: Boot,
    /// The disk that this node writes to.
    pub disk: DiskId,
    /// The cluster; must be what `identity` names.
    pub cluster: ClusterId,
    /// Where to listen. Port 0 lets the operating system choose.
    pub address: SocketAddr,
    /// Certificate, key and trusted authorities.
    pub identity: Identity,
    /// Where the nodes are; an entry for this node is ignored. May change at run time with
    /// [`Endpoint::set_members`](crate::Endpoint::set_members).
    pub members: BTreeMap<NodeId, SocketAddr>,
    /// Bounds.
    pub limits: Limits,
    /// Emulated links, when wanted. Without it packets go straight to the socket.
    pub link: Option<LinkControl>,
}

/// Bounds in bytes, counts and time. The defaults suit a mesh of tens of nodes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Longest frame accepted, in bytes. Default 8 MiB: above the largest batch of a log, and small
    /// enough that a few peers sending the largest do not matter.
    pub frame_bytes_max: u32,
    /// Bytes queued for one peer and class before the oldest message is dropped. Default 16 MiB.
    pub queue_bytes: usize,
    /// Time from the first byte of a frame to its last. Default 10 s.
    pub frame_deadline: Duration,
    /// Time for the TLS handshake and the exchange of hellos, each. Default 3 s.
    pub handshake_deadline: Duration,
    /// A connection on which nothing arrives for this long is lost. Default 5 s.
    pub idle_timeout: Duration,
    /// A silent connection is kept alive this often. Default 1.5 s: three tries in an idle timeout.
    pub keep_alive: Duration,
    /// Age at which a connection is replaced by a new one, with a new handshake, because TLS looks
    /// at certificates only then. Drawn from the upper quarter. Default 1 h.
    pub connection_age: Duration,
    /// Bytes in flight to us on one connection. Default 16 MiB.
    pub receive_window: u32,
    /// Bytes in flight to us on one stream. Default 4 MiB.
    pub stream_receive_window: u32,
    /// Bytes sent and not yet acknowledged on one connection. Default 16 MiB.
    pub send_window: u64,
    /// Bytes of a snapshot sent to one peer a second, at most: enough for a gigabyte in a quarter of a
    /// minute, and a small share of what a network between nodes carries. Default 64 MiB.
    pub snapshot_bytes_per_second: u64,
    /// The round trip assumed before one has been measured. Default 50 ms: a lost first packet is
    /// repeated after about 150 ms.
    pub initial_rtt: Duration,
    /// Handshakes under way beyond which newcomers must first prove their address. Default 16.
    pub handshakes_unvalidated: usize,
    /// Handshakes under way beyond which newcomers are turned away. Default 64.
    pub handshakes: usize,
    /// Handshakes under way beyond which newcomers from the same address (of IPv6: the same network
    /// of 64 bits) are turned away, so that one stranger cannot take all the places. Default 32.
    pub handshakes_from_one: usize,
    /// Client connections at a time. Default 1024.
    pub clients: usize,
    /// Client connections at a time that stand on the same certificate, so that one client that forgets
    /// to close them leaves places to others. Default 512.
    pub clients_of_one: usize,
    /// Calls under way on one client connection; beyond it the connection is not read. Default 4096.
    pub calls: usize,
    /// First and longest pause between two attempts to reach a peer; doubled a failure, drawn from
    /// the upper half. Default 20 ms to 1 s.
    pub backoff: RangeInclusive<Duration>,
    /// Whether a node id may come back with another disk while this endpoint runs: true only for
    /// groups that can readmit a wiped node as a learner. Default false.
    pub other_disk: bool,
    /// Wire versions spoken. Default [`WIRE_VERSIONS`].
    pub versions: RangeInclusive<u8>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_bytes_max: 8 << 20,
            queue_bytes: 16 << 20,
            frame_deadline: Duration::from_secs(10),
            handshake_deadline: Duration::from_secs(3),
            idle_timeout: Duration::from_secs(5),
            keep_alive: Duration::from_millis(1500),
            connection_age: Duration::from_secs(3600),
            receive_window: 16 << 20,
            stream_receive_window: 4 << 20,
            send_window: 16 << 20,
            snapshot_bytes_per_second: 64 << 20,
            initial_rtt: Duration::from_millis(50),
            handshakes_unvalidated: 16,
            handshakes: 64,
            handshakes_from_one: 32,
            clients: 1024,
            clients_of_one: 512,
            calls: 4096,
            backoff: Duration::from_millis(20)..=Duration::from_secs(1),
            other_disk: false,
            versions: WIRE_VERSIONS,
        }
    }
}
