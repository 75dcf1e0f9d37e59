//! The queue's own time: the host's uptime plus an offset that the file keeps.
//!
//! Uptime never jumps and is the same for all processes of a host, so that a step of the wall clock
//! neither ends leases nor opens limits. [`Tend`] follows such a step, and moves what is measured in
//! spans along with it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use jobs::contract::{Moment, ports::Clock};
use sqlx::SqliteConnection;

use super::tx::{Tx, Verb};
use crate::{clock::SystemClock, queue::QueueError};

/// The clocks of a host, handed in so that tests can step them.
pub trait HostClock: Send + Sync {
    /// The boot that uptime counts from, and the milliseconds since then.
    fn uptime(&self) -> Uptime;
    /// What the wall clock shows.
    fn wall(&self) -> Moment;
}

/// How long a host is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uptime {
    /// Names the boot; another name means that uptime began anew.
    pub boot: Arc<str>,
    /// Milliseconds since then, time asleep included.
    pub millis: i64,
}

/// The clocks of this host.
#[derive(Debug)]
pub struct SystemHostClock {
    boot: Arc<str>,
    /// Where there is no boot time to read: this process' start.
    fallback: (Moment, Instant),
}

impl SystemHostClock {
    /// The clocks of this host.
    pub fn new() -> Self {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
        let boot = boot.map_or_else(|_| "wall".into(), |id| Arc::from(id.trim()));
        Self { boot, fallback: (SystemClock.now(), Instant::now()) }
    }
}

impl Default for SystemHostClock {
    fn default() -> Self {
        Self::new()
    }
}

impl HostClock for SystemHostClock {
    fn uptime(&self) -> Uptime {
        let millis = boot_millis().unwrap_or_else(|| {
            let (start, since) = self.fallback;
            start.plus(since.elapsed()).millis()
        });
        Uptime { boot: Arc::clone(&self.boot), millis }
    }

    fn wall(&self) -> Moment {
        SystemClock.now()
    }
}

#[cfg(target_os = "linux")]
fn boot_millis() -> Option<i64> {
    let at = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Some(at.tv_sec.saturating_mul(1_000).saturating_add(at.tv_nsec / 1_000_000))
}

#[cfg(not(target_os = "linux"))]
fn boot_millis() -> Option<i64> {
    None
}

/// The offset as this process last read it, for readers that open no transaction.
pub(super) struct Anchor {
    host: Arc<dyn HostClock>,
    offset: AtomicI64,
}

impl Anchor {
    pub(super) fn new(host: Arc<dyn HostClock>) -> Self {
        Self { host, offset: AtomicI64::new(0) }
    }

    /// The queue's time by the offset last read.
    pub(super) fn now(&self) -> Moment {
        let offset = self.offset.load(Ordering::Acquire);
        Moment::from_millis(self.host.uptime().millis.saturating_add(offset))
    }

    /// Moves the offset, for readers; the next transaction reads what was committed.
    fn step(&self, by: i64) {
        self.offset.fetch_add(by, Ordering::AcqRel);
    }

    /// What the wall clock shows.
    pub(super) fn wall(&self) -> Moment {
        self.host.wall()
    }

    /// The queue's time by the offset in the file, for readers. The first transaction of a process has
    /// seen to it that the offset is of this boot.
    pub(super) fn observe(&self, kept: &Kept) -> Moment {
        self.offset.store(kept.clock_offset, Ordering::Release);
        self.now()
    }

    /// The queue's time by the offset in the file; after a reboot the offset is made anew, so that
    /// time goes on from the wall clock, or from the last time seen if the wall clock is behind.
    pub(super) async fn read(
        &self,
        conn: &mut SqliteConnection,
        kept: &Kept,
    ) -> Result<Moment, QueueError> {
        let up = self.host.uptime();
        let mut offset = kept.clock_offset;
        if *kept.boot_id != *up.boot {
            let from = self.host.wall().millis().max(kept.last_seen);
            offset = from.saturating_sub(up.millis);
            sqlx::query("UPDATE meta SET boot_id = $1, clock_offset = $2")
                .bind(&*up.boot)
                .bind(offset)
                .execute(conn)
                .await?;
        }
        self.offset.store(offset, Ordering::Release);
        Ok(Moment::from_millis(up.millis.saturating_add(offset)))
    }
}

/// The row of `meta`.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Kept {
    pub(super) version: i64,
    pub(super) boot_id: String,
    pub(super) clock_offset: i64,
    pub(super) last_seen: i64,
}

impl Kept {
    pub(super) async fn load(conn: &mut SqliteConnection) -> Result<Self, QueueError> {
        let sql = "SELECT version, boot_id, clock_offset, last_seen FROM meta";
        Ok(sqlx::query_as(sql).fetch_one(conn).await?)
    }
}

/// Follows the wall clock when it stepped by more than `tolerance`.
///
/// What counts in spans (leases, permits, parking by a limit, how long a submission is remembered)
/// moves by the same step, in one transaction. What names a moment of the calendar (`run_at`, a
/// snooze) stays, except that a job whose turn had come keeps it.
pub(super) struct Tend {
    pub(super) anchor: Arc<Anchor>,
    pub(super) tolerance: Duration,
}

impl Verb for Tend {
    type Answer = ();

    async fn run(self, tx: &mut Tx<'_>) -> Result<(), QueueError> {
        let (old, new) = (tx.now, self.anchor.wall());
        if old.since(new).max(new.since(old)) <= self.tolerance {
            return Ok(());
        }
        let step = new.millis().saturating_sub(old.millis());
        for sql in SHIFTS {
            sqlx::query(sql).bind(step).execute(&mut *tx.conn).await?;
        }
        for sql in KEEP_TURNS {
            sqlx::query(sql).bind(new.millis()).execute(&mut *tx.conn).await?;
        }
        let lanes: Vec<i64> = sqlx::query_scalar(LANES_WITH_JOBS).fetch_all(&mut *tx.conn).await?;
        lanes.into_iter().for_each(|lane| tx.touch(lane));
        tx.now = new;
        self.anchor.step(step);
        tx.wake_all().await?;
        tracing::warn!(clock.step_ms = step, "the wall clock stepped; the queue's time follows it");
        Ok(())
    }
}

const SHIFTS: [&str; 5] = [
    "UPDATE meta SET clock_offset = clock_offset + $1",
    "UPDATE jobs SET lease_until = lease_until + $1 WHERE state = 'processing'",
    "UPDATE permits SET at = at + $1, expires_at = expires_at + $1",
    "UPDATE submissions SET expires_at = expires_at + $1",
    "UPDATE lanes SET parked_until = parked_until + $1
      WHERE parked_until IS NOT NULL AND park_reason LIKE '{\"Limit\"%'",
];

/// After a step back, jobs that only wait for their turn, or had it, would lie in the future.
const KEEP_TURNS: [&str; 2] = [
    "UPDATE jobs SET run_at = $1 WHERE state = 'waiting' AND wait = 'turn' AND run_at > $1",
    "UPDATE jobs SET run_at = $1 WHERE state = 'processing' AND run_at > $1",
];

const LANES_WITH_JOBS: &str = "SELECT id FROM lanes WHERE waiting > 0";
