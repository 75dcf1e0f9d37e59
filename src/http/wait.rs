//! Callers that wait for a job.
//!
//! One watcher a process follows the queue's changes and reads the watched jobs again, however many
//! callers wait for them: a job with a hundred waiters costs one read. Rounds are spaced by what they
//! cost, so that a thousand watched jobs in a busy queue slow the news down, and nothing else.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jobs::contract::{JobId, TenantId};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::version::Version;
use crate::queue::{JobRecord, Queue, Seen};

/// Changes within this time are one piece of news.
const GATHER: Duration = Duration::from_millis(20);
/// The watcher rests this many times as long as its last round of reads took.
const REST: u32 = 3;
/// The watcher reads at least this often, even if the queue says that nothing has changed.
const AT_LEAST_EVERY: Duration = Duration::from_secs(5);

type Key = (TenantId, JobId);

/// The watcher, and who waits.
pub(super) struct Hub {
    queue: Arc<dyn Queue>,
    most: usize,
    watched: Mutex<Watched>,
    arrival: Notify,
}

#[derive(Default)]
struct Watched {
    jobs: HashMap<Key, watch::Sender<News>>,
    waiters: HashMap<TenantId, usize>,
}

/// What is known of a watched job.
#[derive(Debug, Clone)]
enum News {
    Nothing,
    Is(Arc<JobRecord>),
    Gone,
}

impl Hub {
    /// A hub that lets at most `most` callers of each tenant wait.
    pub(super) fn new(queue: Arc<dyn Queue>, most: usize) -> Self {
        Self { queue, most, watched: Mutex::default(), arrival: Notify::new() }
    }

    /// Begins to wait for a job; nothing when too many of the tenant's callers do already.
    ///
    /// The caller reads the job *after* this: what happens to it from then on is not missed.
    pub(super) fn watch(self: &Arc<Self>, tenant: &TenantId, id: JobId) -> Option<Watch> {
        let key = (tenant.clone(), id);
        let mut watched = self.lock();
        let waiters = watched.waiters.entry(tenant.clone()).or_default();
        if *waiters >= self.most {
            return None;
        }
        *waiters += 1;
        let job =
            watched.jobs.entry(key.clone()).or_insert_with(|| watch::Sender::new(News::Nothing));
        let news = job.subscribe();
        self.arrival.notify_one();
        Some(Watch { hub: Arc::clone(self), key, news })
    }

    /// Brings the news, until `stop`.
    pub(super) async fn run(&self, stop: CancellationToken) {
        let rounds = async {
            let mut seen = Seen::default();
            loop {
                self.somebody_waits().await;
                seen = self.queue.changed(seen, AT_LEAST_EVERY).await;
                let began = Instant::now();
                self.round().await;
                tokio::time::sleep(GATHER.max(began.elapsed() * REST)).await;
            }
        };
        stop.run_until_cancelled(rounds).await;
    }

    async fn somebody_waits(&self) {
        while self.lock().jobs.is_empty() {
            self.arrival.notified().await;
        }
    }

    async fn round(&self) {
        let keys: Vec<Key> = self.lock().jobs.keys().cloned().collect();
        for key in keys {
            let news = match self.queue.job(&key.0, key.1).await {
                Ok(Some(job)) => News::Is(Arc::new(job)),
                Ok(None) => News::Gone,
                Err(error) => {
                    tracing::debug!(error = %error, "watched jobs could not be read");
                    return;
                }
            };
            if let Some(job) = self.lock().jobs.get(&key) {
                job.send_if_modified(|known| known.replace(news));
            }
            // A queue that answers from memory never waits, and callers must not wait for a round.
            tokio::task::coop::consume_budget().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        // Nothing panics while it is held; if it did, counts would still be counts.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl News {
    /// Takes news over, and says whether it is any.
    fn replace(&mut self, news: Self) -> bool {
        let same = match (&*self, &news) {
            (Self::Is(known), Self::Is(now)) => Version::of(known) == Version::of(now),
            (Self::Gone, Self::Gone) | (Self::Nothing, Self::Nothing) => true,
            _ => false,
        };
        if !same {
            *self = news;
        }
        !same
    }
}

/// One waiting caller; it leaves when this is dropped.
pub(super) struct Watch {
    hub: Arc<Hub>,
    key: Key,
    news: watch::Receiver<News>,
}

impl Watch {
    /// Waits for news of the job; nothing when it is gone.
    ///
    /// What was read before the wait began is no news. News may still be older than what the caller
    /// read: a round that began earlier can end later.
    pub(super) async fn next(&mut self) -> Option<Arc<JobRecord>> {
        loop {
            // The sender lives as long as this does, so an error cannot be.
            self.news.changed().await.ok()?;
            match &*self.news.borrow_and_update() {
                News::Is(job) => return Some(Arc::clone(job)),
                News::Gone => return None,
                News::Nothing => {}
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut watched = self.hub.lock();
        // This receiver is still there: it is the last one when it is the only one.
        if watched.jobs.get(&self.key).is_some_and(|job| job.receiver_count() <= 1) {
            watched.jobs.remove(&self.key);
        }
        if let Some(waiters) = watched.waiters.get_mut(&self.key.0) {
            *waiters -= 1;
            if *waiters == 0 {
                watched.waiters.remove(&self.key.0);
            }
        }
    }
}
