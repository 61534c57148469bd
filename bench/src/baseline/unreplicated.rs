//! One copy of the state.

use super::BaselineError;
use bytes::Bytes;
use consensus_core::{
    ClusterId, GroupId, Index, Lsn, NodeId, StateMachine, kv,
    service::{Answer, Refusal, key_value::KeyValue},
    storage::{
        Append, Completion, Disk, DiskFailure,
        wal::{self, Identity, Wal},
    },
};
use std::{
    collections::VecDeque,
    fmt,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::oneshot;

const GROUP: GroupId = GroupId(0);
/// Records kept in the log. Nothing is ever recovered from it, it must only not grow without end.
const KEEP: u64 = 65_536;

/// A key-value store, perhaps with a log.
#[derive(Debug)]
pub(super) struct Store {
    state: Mutex<State>,
    disk: Arc<Waiting>,
}

struct State {
    machine: KeyValue,
    applied: Index,
    log: Option<Wal>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("applied", &self.applied)
            .finish_non_exhaustive()
    }
}

impl Store {
    pub(super) fn in_memory() -> Self {
        Self::new(None, Arc::default())
    }

    pub(super) fn on_disk(folder: &Path) -> Result<Self, BaselineError> {
        let identity = Identity {
            cluster: ClusterId(0),
            node: NodeId(1),
        };
        wal::format(folder, identity)?;
        let disk = Arc::<Waiting>::default();
        let completion = Told(Arc::clone(&disk));
        let opened = Wal::open(folder, identity, wal::Options::default(), completion)?;
        Ok(Self::new(Some(opened.wal), disk))
    }

    fn new(log: Option<Wal>, disk: Arc<Waiting>) -> Self {
        let state = State {
            machine: KeyValue::default(),
            applied: Index::ZERO,
            log,
        };
        Self {
            state: Mutex::new(state),
            disk,
        }
    }

    /// Reports of progress by the disk: one a sync.
    pub(super) fn syncs(&self) -> u64 {
        lock(&self.disk.0).syncs
    }

    pub(super) async fn call(&self, body: &Bytes) -> Answer {
        let Ok(operation) = kv::decode(body.clone()) else {
            return Answer::Refused(Refusal::Malformed);
        };
        if operation == (kv::Operation::WhoLeads {}) {
            return Answer::Done(kv::encode(&kv::Outcome::Leader { node: NodeId(1) }));
        }
        let (result, durable) = {
            let mut state = lock(&self.state);
            let result = state.carry_out(body);
            // A read, too, waits for the disk: it must not show what a crash could still take back.
            let durable = state
                .log
                .is_some()
                .then(|| self.disk.reached(state.applied));
            (result, durable.flatten())
        };
        match durable {
            None => Answer::Done(result),
            Some(durable) => match durable.await {
                Ok(()) => Answer::Done(result),
                // The disk has failed: written or not, nobody knows.
                Err(_) => Answer::Unknown,
            },
        }
    }
}

impl State {
    fn carry_out(&mut self, body: &Bytes) -> Bytes {
        if self.machine.is_read(body) {
            return self.machine.read(self.applied, body);
        }
        self.applied = self.applied.next();
        if let Some(log) = &mut self.log {
            let lsn = Lsn(self.applied.0);
            let mut append = Append::new(GROUP, lsn);
            append.push(|bytes| bytes.extend_from_slice(body));
            append.forced = true;
            log.append(append);
            if lsn.0.is_multiple_of(KEEP) {
                log.release(GROUP, lsn);
            }
        }
        self.machine.apply(self.applied, body)
    }
}

/// Who waits for the disk, in the order of the log.
#[derive(Debug, Default)]
struct Waiting(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    durable: u64,
    syncs: u64,
    failed: bool,
    callers: VecDeque<(u64, oneshot::Sender<()>)>,
}

impl Waiting {
    /// Tells when `index` is on disk; none when it is already.
    fn reached(&self, index: Index) -> Option<oneshot::Receiver<()>> {
        let mut queue = lock(&self.0);
        if index.0 <= queue.durable {
            return None;
        }
        let (tell, told) = oneshot::channel();
        if !queue.failed {
            queue.callers.push_back((index.0, tell));
        }
        Some(told)
    }
}

struct Told(Arc<Waiting>);

impl Completion for Told {
    fn durable(&self, _group: GroupId, lsn: Lsn) {
        let mut queue = lock(&self.0.0);
        queue.durable = queue.durable.max(lsn.0);
        queue.syncs += 1;
        let covered = queue.callers.partition_point(|(index, _)| *index <= lsn.0);
        let callers: Vec<_> = queue.callers.drain(..covered).collect();
        drop(queue);
        for (_, tell) in callers {
            // Whoever has given up is not told.
            let _ = tell.send(());
        }
    }

    fn failed(&self, _failure: DiskFailure) {
        let mut queue = lock(&self.0.0);
        queue.failed = true;
        queue.callers.clear();
    }

    fn full(&self, _full: bool) {
        // Records wait for room, and their callers with them.
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
