//! The QUIC transport: mutual TLS, identities, peers, clients, emulated links.
//!
//! Knows `consensus-core` alone; of protocols it sees bytes. One [`Endpoint`] a node serves peers
//! and clients on one port:
//!
//! - peers: one connection a pair, dialled by the lower id (by the higher when the lower does not
//!   come); one stream a direction and class, so
//!   that bulk never blocks a heartbeat. [`Endpoint::peers`] gives a
//!   [`Transport`](consensus_core::runtime::Transport) for one group.
//! - clients: one connection a [`Client`] and node, with many calls under way.
//!
//! Who somebody is stands in the certificate ([`Name`]), issued by the cluster's own authority
//! ([`ClusterCa`]); what the first frame claims must agree with it. Whether a node is a *member* is
//! the protocol's question, never the transport's.
//!
//! Reading order: `identity`, `tls`, `handshake`, `endpoint`; then `peers`, `lane`, `connection`, `bulk`;
//! then `server`, `client`; `link` stands alone; [`node`] puts it all together.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod accept;
mod bulk;
mod ca;
mod call;
mod client;
mod config;
mod connection;
mod dial;
mod emulated;
mod endpoint;
mod error;
mod expiry;
mod frame;
mod group;
mod handshake;
mod hello;
#[cfg(feature = "hostile")]
pub mod hostile;
mod identity;
mod known;
mod lane;
mod line;
mod link;
pub mod node;
mod peer;
mod peers;
#[cfg(feature = "processes")]
pub mod processes;
mod revocation;
mod server;
mod session;
pub mod site;
mod snapshots;
mod stats;
mod tls;
mod transport;

pub use ca::{ClusterCa, VALIDITY};
pub use client::Client;
pub use config::{EndpointConfig, Limits, WIRE_VERSIONS};
pub use endpoint::Endpoint;
pub use error::{CallError, LinkError, NameError, NetError};
pub use group::Inbound;
pub use identity::{Identity, Name, Role};
pub use known::{address_of, member};
pub use link::LinkControl;
pub use peers::Peers;
pub use server::Gateway;
pub use session::{Session, SessionError};
pub use site::Site;
pub use snapshots::{SnapshotStatus, Transfer};
pub use stats::{Counter, Stats};
