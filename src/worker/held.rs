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
pub(super) struct Share {
    held: Arc<Held>,
    count: usize,
}

impl Held {
    /// So many more.
    pub(super) fn shares(self: &Arc<Self>, count: usize) -> Vec<Share> {
        self.count.fetch_add(count, SeqCst);
        (0..count).map(|_| Share { held: Arc::clone(self), count: 1 }).collect()
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

impl Share {
    /// Gives shares back: whoever waits is woken once for all that lie beside others of the same kind.
    pub(super) fn give_back(shares: impl IntoIterator<Item = Self>) {
        let mut all: Option<Self> = None;
        for mut share in shares {
            match &mut all {
                Some(all) if Arc::ptr_eq(&all.held, &share.held) => {
                    all.count += std::mem::take(&mut share.count);
                }
                _ => all = Some(share),
            }
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.count > 0 {
            self.held.count.fetch_sub(self.count, SeqCst);
            self.held.look();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_given_back_one_by_one_and_together() {
        let (one, other) = (Arc::new(Held::default()), Arc::new(Held::default()));
        let mut shares = one.shares(3);
        shares.extend(other.shares(2));
        shares.extend(one.shares(1));
        assert_eq!((one.count(), other.count()), (4, 2));
        shares.remove(0);
        assert_eq!((one.count(), other.count()), (3, 2));
        Share::give_back(shares);
        assert_eq!((one.count(), other.count()), (0, 0));
    }
}
