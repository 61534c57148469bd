//! From the driver's thread to the writer's.

use super::super::Append;
use crate::{GroupId, Lsn};
use std::{
    collections::BTreeMap,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
    vec::Vec,
};

#[derive(Debug)]
pub(super) enum Command {
    Append(Append),
    Release(GroupId, Lsn),
}

#[derive(Debug, Default)]
struct Inner {
    commands: Vec<Command>,
    /// Somebody waits for one of them.
    forced: bool,
    /// Since when the oldest has been here; kept only while none is forced.
    since: Option<Instant>,
    stopping: bool,
    asleep: bool,
}

/// What the writer wakes up for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wake {
    /// There are commands.
    Work,
    /// The time given has come.
    Alarm,
    /// Nothing more will come, and nothing is left.
    Stop,
}

/// Shared by the two threads.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    inner: Mutex<Inner>,
    wake: Condvar,
    backlog: AtomicUsize,
    broken: AtomicBool,
    long: AtomicBool,
    reclaim: Mutex<BTreeMap<GroupId, Lsn>>,
    /// Buffers of large batches that are on disk.
    spare: Mutex<Vec<Vec<u8>>>,
}

/// So many buffers of at most so many bytes are kept.
const SPARES: usize = 2;
const SPARE_BYTES: usize = 4 << 20;

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds one of these.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inbox {
    /// Hands a command over. Wakes the writer only when it sleeps and has reason to look.
    pub(super) fn push(&self, command: Command, forced: bool, bytes: usize) {
        if self.broken.load(Ordering::Acquire) {
            return;
        }
        self.backlog.fetch_add(bytes, Ordering::Relaxed);
        let mut inner = locked(&self.inner);
        let first = inner.commands.is_empty();
        inner.commands.push(command);
        let wake = inner.asleep && (first || (forced && !inner.forced));
        inner.forced |= forced;
        if first && !forced {
            inner.since = Some(Instant::now());
        }
        drop(inner);
        if wake {
            self.wake.notify_one();
        }
    }

    pub(super) fn stop(&self) {
        locked(&self.inner).stopping = true;
        self.wake.notify_one();
    }

    pub(super) fn is_stopping(&self) -> bool {
        locked(&self.inner).stopping
    }

    /// Moves what is there to `commands`, without waiting.
    pub(super) fn take(&self, commands: &mut Vec<Command>) {
        let mut inner = locked(&self.inner);
        drain(&mut inner, commands);
    }

    /// Waits for commands that somebody waits for, or that have been here for `lazily`; or for
    /// `alarm`; or for the end. `commands` is empty and gets them.
    pub(super) fn wait(
        &self,
        commands: &mut Vec<Command>,
        lazily: Duration,
        alarm: Option<Instant>,
    ) -> Wake {
        let mut inner = locked(&self.inner);
        loop {
            if inner.commands.is_empty() {
                if inner.stopping {
                    return Wake::Stop;
                }
            } else if inner.forced || inner.stopping {
                drain(&mut inner, commands);
                return Wake::Work;
            }
            let due = inner.since.map(|since| since + lazily);
            let next = [due, alarm].into_iter().flatten().min();
            inner.asleep = true;
            inner = match next {
                None => self
                    .wake
                    .wait(inner)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(next) => {
                    let now = Instant::now();
                    if next <= now {
                        inner.asleep = false;
                        if due.is_some_and(|due| due <= now) {
                            drain(&mut inner, commands);
                            return Wake::Work;
                        }
                        return Wake::Alarm;
                    }
                    let waited = self.wake.wait_timeout(inner, next - now);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
            inner.asleep = false;
        }
    }

    /// Waits for `pause`, or until the end is near.
    pub(super) fn pause(&self, pause: Duration) {
        let until = Instant::now() + pause;
        let mut inner = locked(&self.inner);
        while !inner.stopping {
            let Some(left) = until.checked_duration_since(Instant::now()) else {
                return;
            };
            let waited = self.wake.wait_timeout(inner, left);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub(super) fn backlog(&self) -> usize {
        self.backlog.load(Ordering::Relaxed)
    }

    /// `bytes` are on disk.
    pub(super) fn written(&self, bytes: usize) {
        self.backlog.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Nothing is taken any more.
    pub(super) fn close(&self) {
        self.broken.store(true, Ordering::Release);
        locked(&self.inner).commands = Vec::new();
    }

    /// A buffer that was given back; an empty one where there is none.
    pub(super) fn spare(&self) -> Vec<u8> {
        locked(&self.spare).pop().unwrap_or_default()
    }

    /// Keeps a buffer for the next batch.
    pub(super) fn give_back(&self, buffer: Vec<u8>) {
        let mut spare = locked(&self.spare);
        if spare.len() < SPARES && buffer.capacity() <= SPARE_BYTES {
            spare.push(buffer);
        }
    }

    pub(super) fn set_reclaim(&self, reclaim: BTreeMap<GroupId, Lsn>) {
        self.long.store(!reclaim.is_empty(), Ordering::Release);
        *locked(&self.reclaim) = reclaim;
    }

    pub(super) fn reclaim(&self, group: GroupId) -> Option<Lsn> {
        if !self.long.load(Ordering::Acquire) {
            return None;
        }
        locked(&self.reclaim).get(&group).copied()
    }
}

fn drain(inner: &mut Inner, commands: &mut Vec<Command>) {
    if commands.is_empty() {
        core::mem::swap(&mut inner.commands, commands);
    } else {
        commands.append(&mut inner.commands);
    }
    inner.forced = false;
    inner.since = None;
}
