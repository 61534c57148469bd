//! Raft on real nodes: sockets, certificates, disks.
#![allow(clippy::unwrap_used)]

mod group;
mod snapshots;
mod status;
