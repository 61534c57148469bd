//! Raft on real nodes: sockets, certificates, disks.
#![allow(clippy::unwrap_used)]

mod clock;
mod group;
mod reads;
mod snapshots;
mod status;
