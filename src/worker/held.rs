//! Jobs that are claimed and whose verdicts are not stored yet.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use tokio::sync::Notify;

/// Counts jobs that are held, and wakes the one who waits for a change.
#[derive(Default)]
pub(super) struct Held {
    count: AtomicUsize,
    changed: Notify,
}

/// A job that is held, until this is dropped.
pub(super) struct Share(Arc<Held>);

impl Held {
    /// One more.
    pub(super) fn share(self: &Arc<Self>) -> Share {
        self.count.fetch_add(1, SeqCst);
        Share(Arc::clone(self))
    }

    pub(super) fn count(&self) -> usize {
        self.count.load(SeqCst)
    }

    /// Says that something changed which whoever waits wants to look at.
    pub(super) fn look(&self) {
        self.changed.notify_one();
    }

    /// Waits for a change since the last time. One may wait.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Waits until nothing is held.
    pub(super) async fn none(&self) {
        while self.count() > 0 {
            self.changed().await;
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, SeqCst);
        self.0.look();
    }
}
