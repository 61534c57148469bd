//! A group's snapshots: files on disk, and copies on their way to and from other nodes.

use crate::bulk::{self, BulkError};
use crate::endpoint::Shared;
use consensus_core::{
    Epoch, GroupId, NodeId,
    contract::replicated_log::{Manifest, SnapshotId},
    runtime::{SnapshotKeeper, SnapshotReports},
    service::{Chunks, SnapshotReport},
    storage::snapshots::{Incoming, SnapshotStore},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};
use tokio::sync::{oneshot, watch};

/// Work that waits for the disk, on a thread where that is nobody's loss.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is going down, and this task with it.
            Err(_) => std::future::pending().await,
        },
    }
}

/// A copy on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Transfer {
    /// The other node.
    pub peer: NodeId,
    /// Which snapshot.
    pub id: SnapshotId,
    /// Bytes so far.
    pub bytes: u64,
    /// Bytes of the whole.
    pub size: u64,
}

/// What became of a node's snapshots since it started, and what is under way.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct SnapshotStatus {
    /// States of this node that were kept.
    pub kept: u64,
    /// States that could not be kept.
    pub not_kept: u64,
    /// Copies that reached other nodes.
    pub sent: u64,
    /// Copies that did not. A number that grows without `sent` growing says: somebody cannot catch up.
    pub failed: u64,
    /// Copies of other nodes' that arrived here.
    pub received: u64,
    /// On their way to others.
    pub sending: Vec<Transfer>,
    /// On its way here.
    pub receiving: Option<Transfer>,
}

/// Keeps the snapshots of one group.
pub(crate) struct Depot {
    pub(crate) group: GroupId,
    pub(crate) store: Arc<SnapshotStore>,
    reports: SnapshotReports,
    shared: Weak<Shared>,
    /// What has arrived of one; locked by the stream that brings it.
    pub(crate) arriving: tokio::sync::Mutex<Option<Incoming>>,
    offers: watch::Sender<Offers>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    status: SnapshotStatus,
    /// Dropped to end a transfer.
    sending: BTreeMap<NodeId, (SnapshotId, oneshot::Sender<()>)>,
}

/// What was offered.
#[derive(Default)]
struct Offers {
    /// The newest epoch.
    epoch: Epoch,
    /// How many were taken.
    taken: u64,
    /// What is arriving under it now.
    arriving: Option<SnapshotId>,
}

/// Until a later offer takes its place.
pub(crate) struct Turn<'a> {
    number: u64,
    offers: &'a watch::Sender<Offers>,
}

impl Turn<'_> {
    pub(crate) fn is_over(&self) -> bool {
        self.offers.borrow().taken != self.number
    }

    pub(crate) async fn over(&self) {
        let mut offers = self.offers.subscribe();
        // The sender is borrowed, so the channel is open.
        let _ = offers.wait_for(|now| now.taken != self.number).await;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.offers.send_if_modified(|now| {
            if now.taken == self.number {
                now.arriving = None;
            }
            false
        });
    }
}

impl Depot {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        group: GroupId,
        store: SnapshotStore,
        reports: SnapshotReports,
    ) -> Arc<Self> {
        Arc::new(Self {
            group,
            store: Arc::new(store),
            reports,
            shared: Arc::downgrade(shared),
            arriving: tokio::sync::Mutex::default(),
            offers: watch::Sender::new(Offers::default()),
            state: Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn status(&self) -> SnapshotStatus {
        self.state().status.clone()
    }

    /// Whether an offer of `id` under `epoch` is taken: not when a later leader has been heard of, nor
    /// while another snapshot arrives under the same epoch. (Several nodes may offer theirs, where
    /// nodes help each other: taking turns at each other's cost, none would ever arrive.) The same one
    /// once more comes on a new connection, and goes on.
    pub(crate) fn turn(&self, epoch: Epoch, id: SnapshotId) -> Result<Turn<'_>, BulkError> {
        let mut turn = Err("");
        self.offers.send_if_modified(|now| {
            let busy = epoch == now.epoch && now.arriving.is_some_and(|other| other != id);
            if epoch < now.epoch || busy {
                turn = Err(if busy {
                    "another one is arriving"
                } else {
                    "a later leader is known"
                });
                return false;
            }
            now.epoch = epoch;
            now.taken += 1;
            now.arriving = Some(id);
            turn = Ok(now.taken);
            true
        });
        match turn {
            Ok(number) => Ok(Turn {
                number,
                offers: &self.offers,
            }),
            Err(why) => Err(BulkError::Refused(why.into())),
        }
    }

    pub(crate) fn sent(&self, peer: NodeId, id: SnapshotId, bytes: u64) {
        let mut state = self.state();
        for transfer in &mut state.status.sending {
            if transfer.peer == peer {
                transfer.bytes = bytes;
            }
        }
        drop(state);
        self.reports
            .tell(SnapshotReport::Progress { peer, id, bytes });
    }

    pub(crate) fn arrived(&self, peer: NodeId, manifest: &Manifest, bytes: u64) {
        let (id, size) = (manifest.id, manifest.size);
        self.state().status.receiving = Some(Transfer {
            peer,
            id,
            bytes,
            size,
        });
        self.reports
            .tell(SnapshotReport::Progress { peer, id, bytes });
    }

    pub(crate) fn received(&self, from: NodeId, manifest: Manifest) {
        let mut state = self.state();
        state.status.received += 1;
        state.status.receiving = None;
        drop(state);
        self.reports
            .tell(SnapshotReport::Received { from, manifest });
    }

    /// Notes that a transfer begins; none when it is under way already.
    fn begin(&self, to: NodeId, manifest: &Manifest) -> Option<oneshot::Receiver<()>> {
        let mut state = self.state();
        if state
            .sending
            .get(&to)
            .is_some_and(|(id, _)| *id == manifest.id)
        {
            return None;
        }
        let (stop, stopped) = oneshot::channel();
        state.sending.insert(to, (manifest.id, stop));
        state.status.sending.retain(|transfer| transfer.peer != to);
        state.status.sending.push(Transfer {
            peer: to,
            id: manifest.id,
            bytes: 0,
            size: manifest.size,
        });
        Some(stopped)
    }

    /// Notes that it has ended. False when another has taken its place.
    fn end(&self, to: NodeId, id: SnapshotId, arrived: bool) -> bool {
        let mut state = self.state();
        if arrived {
            state.status.sent += 1;
        } else {
            state.status.failed += 1;
        }
        let is_current = state.sending.get(&to).is_some_and(|(now, _)| *now == id);
        if is_current {
            state.sending.remove(&to);
            state.status.sending.retain(|transfer| transfer.peer != to);
        }
        is_current
    }
}

/// A depot as a node's driver sees it.
pub(crate) struct Keeper(pub(crate) Arc<Depot>);

impl SnapshotKeeper for Keeper {
    fn keep(&self, manifest: Manifest, chunks: Chunks) {
        let depot = Arc::clone(&self.0);
        let Some(shared) = depot.shared.upgrade() else {
            return;
        };
        shared.blocking(move || {
            let kept = depot.store.keep(&manifest, chunks);
            let report = match kept {
                Ok(manifest) => {
                    depot.state().status.kept += 1;
                    SnapshotReport::Kept(manifest)
                }
                Err(error) => {
                    depot.state().status.not_kept += 1;
                    tracing::error!("no snapshot was kept: {error}");
                    SnapshotReport::NotKept(manifest.id)
                }
            };
            depot.reports.tell(report);
        });
    }

    fn send(&self, to: NodeId, epoch: Epoch, manifest: Manifest) {
        let depot = Arc::clone(&self.0);
        let Some(shared) = depot.shared.upgrade() else {
            return;
        };
        let Some(stopped) = depot.begin(to, &manifest) else {
            return;
        };
        let task = Arc::clone(&shared);
        shared.spawn(async move {
            let sent = tokio::select! {
                sent = bulk::send(&task, &depot, to, epoch, &manifest) => sent,
                _ = stopped => Err(BulkError::Refused("a newer one goes before".into())),
            };
            if let Err(error) = &sent {
                tracing::info!(peer = %to, "a snapshot was not sent: {error}");
            }
            let is_current = depot.end(to, manifest.id, sent.is_ok());
            if sent.is_err() && is_current {
                let id = manifest.id;
                depot.reports.tell(SnapshotReport::Failed { peer: to, id });
            }
        });
    }

    fn open(&self, manifest: &Manifest) -> Result<Chunks, String> {
        let chunks = self.0.store.chunks(manifest.id);
        chunks.map(Chunks::new).map_err(|error| error.to_string())
    }

    fn rests_on(&self, id: SnapshotId) {
        let depot = Arc::clone(&self.0);
        if let Some(shared) = depot.shared.upgrade() {
            shared.blocking(move || {
                if let Err(error) = depot.store.retire_before(id) {
                    tracing::warn!("an old snapshot stays: {error}");
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use consensus_core::{ClusterId, storage::wal::RealFileSystem};

    fn depot(name: &str) -> Depot {
        let dir = std::env::temp_dir().join(format!("depot-{name}-{}", std::process::id()));
        let store = SnapshotStore::open(Arc::new(RealFileSystem), &dir, ClusterId(7)).unwrap();
        std::fs::remove_dir_all(dir).unwrap();
        Depot {
            group: GroupId(0),
            store: Arc::new(store),
            reports: SnapshotReports::default(),
            shared: Weak::new(),
            arriving: tokio::sync::Mutex::default(),
            offers: watch::Sender::new(Offers::default()),
            state: Mutex::default(),
        }
    }

    /// RF-85, and what Multi-Paxos nodes that help each other did before: two offers of two snapshots
    /// took turns, and neither arrived.
    #[test]
    fn of_two_snapshots_under_one_epoch_the_first_arrives() {
        let depot = depot("two");
        let (one, other) = (SnapshotId(1), SnapshotId(2));
        let first = depot.turn(Epoch::of_term(3), one).unwrap();
        assert!(depot.turn(Epoch::of_term(3), other).is_err());
        assert!(!first.is_over());
        drop(first);
        assert!(depot.turn(Epoch::of_term(3), other).is_ok());
    }

    #[test]
    fn the_same_snapshot_comes_again_and_takes_its_own_place() {
        let depot = depot("same");
        let first = depot.turn(Epoch::of_term(3), SnapshotId(1)).unwrap();
        let again = depot.turn(Epoch::of_term(3), SnapshotId(1)).unwrap();
        assert!(first.is_over() && !again.is_over());
        // The end of the old stream is not the end of the new one.
        drop(first);
        assert!(depot.turn(Epoch::of_term(3), SnapshotId(2)).is_err());
    }

    #[test]
    fn a_later_leaders_snapshot_goes_before_and_an_earlier_ones_is_refused() {
        let depot = depot("later");
        let first = depot.turn(Epoch::of_term(3), SnapshotId(1)).unwrap();
        let later = depot.turn(Epoch::of_term(4), SnapshotId(2)).unwrap();
        assert!(first.is_over() && !later.is_over());
        assert!(depot.turn(Epoch::of_term(3), SnapshotId(1)).is_err());
    }
}
