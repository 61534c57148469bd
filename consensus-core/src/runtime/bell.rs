//! How producers wake the one task that consumes: a wake a sleep, not a wake an item.

use alloc::task::Wake;
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering::SeqCst},
};
use tokio::sync::Notify;

/// Wakes one sleeping task. Ringing while it is awake costs a load.
///
/// The sleeper calls [`listen`](Self::listen), looks at all its sources once more, and only then
/// awaits [`heard`](Self::heard); a producer fills its source and then rings. Whoever comes second
/// in the one order of these steps sees what the other did, so no wake is lost.
#[derive(Debug, Default)]
pub(super) struct Bell {
    listening: AtomicBool,
    notify: Notify,
}

impl Bell {
    /// Wakes the task if it sleeps or is about to.
    #[inline]
    pub(super) fn ring(&self) {
        if self.listening.load(SeqCst) && self.listening.swap(false, SeqCst) {
            self.notify.notify_one();
        }
    }

    /// From here on a ring is heard. Look at the sources after this and before sleeping.
    pub(super) fn listen(&self) {
        self.listening.store(true, SeqCst);
    }

    /// The task has found work and does not sleep.
    pub(super) fn ignore(&self) {
        self.listening.store(false, SeqCst);
    }

    /// Sleeps until somebody rings. May return without a reason.
    pub(super) async fn heard(&self) {
        self.notify.notified().await;
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

/// Locks. A panic of another holder stops its node by other means; what is guarded here are queues,
/// which are whole between any two statements.
#[inline]
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
