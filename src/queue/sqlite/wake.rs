//! Who waits for a change, and how the news reach them.
//!
//! The writer of this process tells them at once. What other processes wrote is seen by one poller
//! that looks at the write-ahead log's size and time while somebody waits, asks
//! `PRAGMA data_version` when they changed, and rests otherwise.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use jobs::contract::Moment;
use sqlx::SqliteConnection;
use tokio::sync::{Notify, watch};

use super::tx::News;
use crate::queue::{QueueError, Seen};

/// The longest that a waiter sleeps without looking at the queue's clock, which goes on while the
/// host is asleep and may be stepped by others.
const LOOK: Duration = Duration::from_secs(1);

/// What is known of the file's versions.
#[derive(Debug, Default)]
struct Known {
    version: u64,
    woken: BTreeMap<String, u64>,
}

/// The waiters of this process.
pub(super) struct Wake {
    known: watch::Sender<Known>,
    waiters: AtomicUsize,
    somebody: Notify,
}

impl Wake {
    pub(super) fn new() -> Self {
        let known = watch::Sender::new(Known::default());
        Self { known, waiters: AtomicUsize::new(0), somebody: Notify::new() }
    }

    /// Tells the waiters; news that are older than what is known change nothing.
    pub(super) fn publish(&self, news: &News) {
        self.known.send_if_modified(|known| {
            let mut newer = news.version > known.version;
            known.version = known.version.max(news.version);
            for (queue, version) in &news.woken {
                let at = known.woken.entry(queue.clone()).or_default();
                newer |= *version > *at;
                *at = (*at).max(*version);
            }
            newer
        });
    }

    /// Waits until something may have become claimable in `queue` since `seen`, or until `until`.
    pub(super) async fn claimable(
        &self,
        queue: &str,
        seen: Seen,
        until: Option<Moment>,
        now: impl Fn() -> Moment,
    ) {
        let _waiter = self.enter();
        let mut known = self.known.subscribe();
        loop {
            let news = |known: &Known| known.woken.get(queue).is_some_and(|at| *at > seen.0);
            let left = until.map_or(LOOK, |until| until.since(now()).min(LOOK));
            if left.is_zero() {
                return;
            }
            // The sender lives in `self`: `wait_for` fails only by running out of time.
            if tokio::time::timeout(left, known.wait_for(news)).await.is_ok() {
                return;
            }
        }
    }

    /// Waits until anything changed since `seen`, or `at_most` this long; the version known then.
    pub(super) async fn any(&self, seen: Seen, at_most: Duration) -> Seen {
        let _waiter = self.enter();
        let mut known = self.known.subscribe();
        let changed = known.wait_for(|known| known.version > seen.0);
        let _ = tokio::time::timeout(at_most, changed).await;
        let version = self.known.borrow().version;
        Seen(version.max(seen.0))
    }

    fn enter(&self) -> Waiter<'_> {
        self.waiters.fetch_add(1, Ordering::SeqCst);
        self.somebody.notify_one();
        Waiter(self)
    }

    /// Watches for what other processes write, for as long as the task is not aborted.
    pub(super) async fn poll(
        self: Arc<Self>,
        mut conn: SqliteConnection,
        mut log: Log,
        every: Duration,
    ) {
        let mut last = None;
        loop {
            while self.waiters.load(Ordering::SeqCst) == 0 {
                self.somebody.notified().await;
            }
            if log.may_have_changed()
                && let Err(error) = self.look(&mut conn, &mut last).await
            {
                tracing::debug!(error = %error, "could not look for changes of the queue's file");
                log.forget();
            }
            tokio::time::sleep(every).await;
        }
    }

    async fn look(
        &self,
        conn: &mut SqliteConnection,
        last: &mut Option<i64>,
    ) -> Result<(), QueueError> {
        let sql = "PRAGMA data_version";
        let version: i64 = sqlx::query_scalar(sql).fetch_one(&mut *conn).await?;
        if *last != Some(version) {
            self.publish(&read(conn).await?);
            // Remembered after the reading: a failed one is tried again.
            *last = Some(version);
        }
        Ok(())
    }
}

/// Looks at an unchanged log during which the file is asked all the same: file times tick every few
/// milliseconds, so that the first looks may come before the last write of a tick.
const SETTLED: u32 = 10;
/// Later it is asked every so many looks, whatever the file system says of its times.
const DISTRUST: u32 = 100;

/// The write-ahead log from outside. A commit appends to it or overwrites it, so that asking the file
/// system, which costs a hundredth of asking SQLite, tells whether there may be news.
///
/// It is never opened: closing it would drop the locks that SQLite holds in this process.
pub(super) struct Log {
    path: PathBuf,
    seen: Option<(u64, SystemTime)>,
    unchanged: u32,
}

impl Log {
    /// The log of the queue's file at `path`.
    pub(super) fn of(path: &Path) -> Self {
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        Self { path: log.into(), seen: None, unchanged: 0 }
    }

    fn may_have_changed(&mut self) -> bool {
        let now = fs::metadata(&self.path).and_then(|m| Ok((m.len(), m.modified()?))).ok();
        if now.is_none() || now != self.seen {
            self.seen = now;
            self.unchanged = 0;
            return true;
        }
        self.unchanged = self.unchanged.wrapping_add(1);
        self.unchanged <= SETTLED || self.unchanged.is_multiple_of(DISTRUST)
    }

    /// Asks anew the next time.
    fn forget(&mut self) {
        self.seen = None;
    }
}

/// The versions that the file holds.
pub(super) async fn read(conn: &mut SqliteConnection) -> Result<News, QueueError> {
    // Queues first: a version read later is never older than what they say.
    let rows: Vec<(String, i64)> =
        sqlx::query_as("SELECT name, woken FROM queues").fetch_all(&mut *conn).await?;
    let version: i64 = sqlx::query_scalar("SELECT version FROM meta").fetch_one(conn).await?;
    let woken = rows.into_iter().map(|(q, at)| (q, u64::try_from(at).unwrap_or(0))).collect();
    Ok(News { version: u64::try_from(version).unwrap_or(0), woken })
}

/// Somebody who waits; counted until dropped.
struct Waiter<'w>(&'w Wake);

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.waiters.fetch_sub(1, Ordering::SeqCst);
    }
}
