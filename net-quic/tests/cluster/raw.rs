//! A dialer that follows no rules, on the cluster of these tests.

use super::CLUSTER;
use consensus_core::NodeId;
use net_quic::{
    Identity,
    hostile::{self, HostileError},
};
use rustls::client::ClientSessionStore;
use std::{net::SocketAddr, sync::Arc};

#[allow(unused_imports, reason = "each test file uses some of them")]
pub use hostile::{CLIENT, Hello, PEER, Raw, frame};

pub fn config(
    identity: &Identity,
    alpn: &[u8],
    store: Option<Arc<dyn ClientSessionStore>>,
) -> quinn::ClientConfig {
    hostile::config(identity, true, alpn, store).expect("a usable certificate")
}

/// Dials node `node` at `address`.
pub async fn dial(
    address: SocketAddr,
    node: u16,
    config: quinn::ClientConfig,
) -> Result<Raw, HostileError> {
    let endpoint = hostile::socket().expect("a free port");
    hostile::dial(endpoint, address, (CLUSTER, NodeId(node)), config).await
}

/// What a node of good standing says.
pub fn hello(node: u16, boot: u32) -> Hello {
    Hello::of(CLUSTER, node, boot)
}

/// A message `Beat` of group 1, framed.
pub fn beat(number: u8) -> Vec<u8> {
    assert!(number < 128, "one byte of a varint");
    frame(&[1, 1, number])
}
