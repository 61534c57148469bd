//! Snapshots: kept on the disks of nodes, moved between them beside the protocol.

use super::{Due, World};
use crate::{
    Algorithm, Violation,
    contract::replicated_log::Manifest,
    service::{Chunks, Service, SnapshotOrder, SnapshotReport},
    sim::{disk::File, trace::What},
};
use alloc::{format, vec::Vec};
use bytes::Bytes;

/// A snapshot that is being written, or is on its way.
pub(super) struct Transfer {
    from: usize,
    to: usize,
    /// The lives of both ends: a crash of either ends it, and leaves nothing behind.
    lives: (u32, u32),
    file: File,
    /// Pieces that have yet to move.
    left: u64,
}

/// Pieces in which a snapshot moves, at most.
const PIECES: u64 = 12;

impl<A: Algorithm> World<A> {
    /// What a service wants done with snapshots.
    pub(super) fn snapshot_orders(&mut self, place: usize) {
        let Some(process) = &mut self.nodes[place].process else {
            return;
        };
        for order in core::mem::take(&mut process.outbox.snapshots) {
            match order {
                SnapshotOrder::Keep {
                    mut manifest,
                    chunks,
                } => {
                    let chunks: Vec<Bytes> = chunks.collect();
                    manifest.size = chunks.iter().map(|chunk| chunk.len() as u64).sum();
                    self.move_snapshot(place, place, File { manifest, chunks });
                }
                SnapshotOrder::Send { to, manifest, .. } => {
                    let file = self.nodes[place].disk.file(manifest.id).cloned();
                    match (self.members.position(to), file) {
                        (Some(to), Some(File { chunks, .. })) => {
                            self.move_snapshot(place, to, File { manifest, chunks });
                        }
                        _ => self.snapshot_failed(place, to, &manifest),
                    }
                }
                SnapshotOrder::Open { manifest } => self.open_snapshot(place, manifest),
            }
        }
    }

    fn open_snapshot(&mut self, place: usize, manifest: Manifest) {
        let chunks = match self.nodes[place].disk.file(manifest.id) {
            Some(file) => file.chunks.clone(),
            None => panic!(
                "node {} is told to restore a snapshot at {} that it does not have",
                self.nodes[place].id, manifest.index
            ),
        };
        let chunks = Chunks::new(chunks);
        self.report_snapshot(place, SnapshotReport::Opened { manifest, chunks });
    }

    /// Hands a report to a service; what that leads to is done when its node next has a batch.
    fn report_snapshot(&mut self, place: usize, report: SnapshotReport) {
        let node = &mut self.nodes[place];
        if let Some(process) = &mut node.process {
            let now = node.clock.read(self.now);
            process.service.snapshot(now, report, &mut process.outbox);
            self.serviced(place);
        }
    }

    fn snapshot_failed(&mut self, place: usize, to: crate::NodeId, manifest: &Manifest) {
        let report = SnapshotReport::Failed {
            peer: to,
            id: manifest.id,
        };
        self.report_snapshot(place, report);
    }

    fn move_snapshot(&mut self, from: usize, to: usize, file: File) {
        let transfer = Transfer {
            from,
            to,
            lives: (self.nodes[from].life, self.nodes[to].life),
            file,
            left: self.snapshot_chance.within(1..=PIECES),
        };
        let free = self.transfers.iter().position(Option::is_none);
        let place = free.unwrap_or_else(|| {
            self.transfers.push(None);
            self.transfers.len() - 1
        });
        self.transfers[place] = Some(transfer);
        self.snapshot_later(place);
    }

    fn snapshot_later(&mut self, place: usize) {
        let at = self.now + 1 + self.snapshot_chance.exponential(20_000_000);
        self.push(at, Due::Snapshot(place as u32));
    }

    /// A piece is written, or has come to the other end.
    pub(super) fn snapshot_due(&mut self, place: u32) -> Result<(), Violation> {
        let slot = place as usize;
        let Some(mut transfer) = self.transfers[slot].take() else {
            return Ok(());
        };
        let (from, to) = (transfer.from, transfer.to);
        let alive = |place: usize, life| {
            let node = &self.nodes[place];
            node.life == life && node.process.is_some()
        };
        if !alive(from, transfer.lives.0) {
            return Ok(());
        }
        let (source, target) = (self.nodes[from].id, self.nodes[to].id);
        let open = from == to || self.network.is_open(from, to);
        if !alive(to, transfer.lives.1) || !open {
            self.snapshot_failed(from, target, &transfer.file.manifest);
            return self.ready(from);
        }
        transfer.left -= 1;
        let (id, size) = (transfer.file.manifest.id, transfer.file.manifest.size);
        if transfer.left > 0 {
            if from != to {
                let bytes = size / (transfer.left + 1);
                for (end, peer) in [(from, target), (to, source)] {
                    self.report_snapshot(end, SnapshotReport::Progress { peer, id, bytes });
                }
            }
            self.transfers[slot] = Some(transfer);
            self.snapshot_later(slot);
            self.ready(from)?;
            return self.ready(to);
        }
        let manifest = transfer.file.manifest.clone();
        self.note(Some(to), || {
            What::Note(format!(
                "a snapshot at {} of {source} is whole",
                manifest.index
            ))
        });
        self.nodes[to].disk.keep_file(transfer.file);
        let report = if from == to {
            self.counts.snapshots.0 += 1;
            SnapshotReport::Kept(manifest)
        } else {
            self.counts.snapshots.1 += 1;
            SnapshotReport::Received {
                from: source,
                manifest,
            }
        };
        self.report_snapshot(to, report);
        self.ready(to)
    }
}
