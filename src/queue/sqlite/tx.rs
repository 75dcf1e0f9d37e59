//! One transaction, and the verbs that run in it.

use std::collections::{BTreeMap, BTreeSet};

use jobs::contract::Moment;
use sqlx::SqliteConnection;

use super::{
    clock::{Anchor, Kept},
    lanes,
};
use crate::queue::{QueueError, Seen};

/// Something that writes, in one transaction with whatever else waits to be written.
///
/// An error undoes what this verb wrote and nothing else.
pub(super) trait Verb: Send + 'static {
    /// What the caller is told once the transaction is committed.
    type Answer: Send + 'static;
    /// Whether the answer is a promise that must survive a loss of power.
    const DURABLE: bool = false;

    /// Does the work; nothing is told to the caller before the commit.
    fn run(self, tx: &mut Tx<'_>) -> impl Future<Output = Result<Self::Answer, QueueError>> + Send;
}

/// An open transaction.
pub(super) struct Tx<'c> {
    /// The connection that it is open on.
    pub(super) conn: &'c mut SqliteConnection,
    /// The time that holds for all of it.
    pub(super) now: Moment,
    /// The version that the file had.
    before: i64,
    version: i64,
    changed: bool,
    touched: BTreeSet<i64>,
    woken: BTreeSet<String>,
}

/// What is new once a transaction is committed.
#[derive(Debug, Default)]
pub(super) struct News {
    /// The version that it made.
    pub(super) version: u64,
    /// For queues in which something became claimable: the version at which it did.
    pub(super) woken: BTreeMap<String, u64>,
}

impl<'c> Tx<'c> {
    /// The transaction that was just begun on `conn`.
    pub(super) async fn begin(
        conn: &'c mut SqliteConnection,
        anchor: &Anchor,
    ) -> Result<Self, QueueError> {
        let kept = Kept::load(conn).await?;
        let now = anchor.read(conn, &kept).await?;
        Ok(Self {
            conn,
            now,
            before: kept.version,
            version: kept.version,
            changed: false,
            touched: BTreeSet::new(),
            woken: BTreeSet::new(),
        })
    }

    /// The version of what the current verb changes; asking for it says that it does.
    pub(super) fn change(&mut self) -> i64 {
        self.changed = true;
        self.version
    }

    /// The version up to which the current verb saw everything: whatever comes later has a higher one.
    pub(super) fn seen(&self) -> Seen {
        // Numbers that are not used, by however many verbs, are given to the next changes.
        Seen(version(if self.changed { self.version } else { self.before }))
    }

    /// Begins the next verb: it gets a version of its own. A number that is not used is skipped.
    pub(super) fn next_verb(&mut self) {
        self.version += 1;
    }

    /// Has the lane's state worked out again, before the next claim or the commit.
    pub(super) fn touch(&mut self, lane: i64) {
        self.touched.insert(lane);
    }

    /// Something may have become claimable in `queue`.
    pub(super) fn wake(&mut self, queue: &str) {
        self.changed = true;
        if !self.woken.contains(queue) {
            self.woken.insert(queue.to_owned());
        }
    }

    /// Something may have become claimable in any queue.
    pub(super) async fn wake_all(&mut self) -> Result<(), QueueError> {
        let sql = "SELECT name FROM queues";
        let names: Vec<String> = sqlx::query_scalar(sql).fetch_all(&mut *self.conn).await?;
        names.iter().for_each(|name| self.wake(name));
        Ok(())
    }

    /// Works out the state of every lane touched so far.
    pub(super) async fn flush(&mut self) -> Result<(), QueueError> {
        let touched = std::mem::take(&mut self.touched);
        lanes::refresh(self, touched).await?;
        Ok(())
    }

    /// Writes what there is to write before the commit.
    pub(super) async fn finish(mut self) -> Result<News, QueueError> {
        self.flush().await?;
        if !self.changed {
            return Ok(News::default());
        }
        for queue in &self.woken {
            sqlx::query("UPDATE queues SET woken = $1 WHERE name = $2")
                .bind(self.version)
                .bind(queue)
                .execute(&mut *self.conn)
                .await?;
        }
        sqlx::query("UPDATE meta SET version = $1, last_seen = $2")
            .bind(self.version)
            .bind(self.now.millis())
            .execute(&mut *self.conn)
            .await?;
        let version = version(self.version);
        Ok(News { version, woken: self.woken.into_iter().map(|q| (q, version)).collect() })
    }
}

/// A version as callers see it; the file never holds a negative one.
fn version(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
