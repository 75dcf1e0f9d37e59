//! Forgetting what is past its time, a bounded piece at a time.

use std::time::Duration;

use super::tx::{Tx, Verb};
use crate::queue::{QueueError, Retention};

pub(super) const FINISHED: &str = "
DELETE FROM jobs
 WHERE seq IN (SELECT seq FROM jobs
                WHERE state IN ('completed', 'failed', 'cancelled') AND state = $1
                  AND completed_at <= $2
                ORDER BY completed_at LIMIT $3)";

const CROWDED: &str = "
SELECT tenant, count(*) - $1 FROM jobs WHERE state = 'failed'
 GROUP BY tenant HAVING count(*) > $1 LIMIT $2";

pub(super) const OLDEST_DEAD: &str = "
DELETE FROM jobs
 WHERE seq IN (SELECT seq FROM jobs WHERE state = 'failed' AND tenant = $1
                ORDER BY completed_at, seq LIMIT $2)";

pub(super) const SUBMISSIONS: &str = "
DELETE FROM submissions
 WHERE (tenant, key) IN (SELECT tenant, key FROM submissions WHERE expires_at <= $1 LIMIT $2)";

pub(super) const PERMITS: &str = "
DELETE FROM permits WHERE id IN (SELECT id FROM permits WHERE expires_at <= $1 LIMIT $2)";

/// Lanes that nothing is known of any more: they come back with the next job.
pub(super) const LANES: &str = "
DELETE FROM lanes
 WHERE id IN (SELECT id FROM lanes
               WHERE jobs = 0 AND paused = 0 AND coalesce(parked_until, 0) <= $1 LIMIT $2)";

const TENANTS: &str = "
DELETE FROM tenants
 WHERE (queue, tenant) IN (SELECT t.queue, t.tenant FROM tenants AS t
                            WHERE NOT EXISTS (SELECT 1 FROM lanes AS l
                                               WHERE l.queue = t.queue AND l.tenant = t.tenant)
                            LIMIT $1)";

const BUCKETS: &str = "
DELETE FROM buckets
 WHERE id IN (SELECT id FROM buckets AS b
               WHERE NOT EXISTS (SELECT 1 FROM lane_buckets AS l WHERE l.bucket = b.id)
                 AND NOT EXISTS (SELECT 1 FROM permits AS p WHERE p.bucket = b.id)
               LIMIT $1)";

/// Removes at most `max` finished jobs, idempotency records, spent permits and lanes without jobs.
pub(super) struct Prune {
    pub(super) max: u32,
    pub(super) keep: Retention,
}

impl Verb for Prune {
    type Answer = u32;

    async fn run(self, tx: &mut Tx<'_>) -> Result<u32, QueueError> {
        let mut left = u64::from(self.max);
        self.finished(tx, &mut left).await?;
        self.crowded(tx, &mut left).await?;
        let now = tx.now.millis();
        for sql in [SUBMISSIONS, PERMITS, LANES] {
            let query = sqlx::query(sql).bind(now).bind(bound(left));
            left -= query.execute(&mut *tx.conn).await?.rows_affected();
        }
        // What lanes leave behind is not worth counting, but it is bounded all the same.
        for sql in [TENANTS, BUCKETS] {
            sqlx::query(sql).bind(bound(u64::from(self.max))).execute(&mut *tx.conn).await?;
        }
        let removed = u64::from(self.max) - left;
        if removed > 0 {
            tx.change();
        }
        Ok(u32::try_from(removed).unwrap_or(self.max))
    }
}

impl Prune {
    async fn finished(&self, tx: &mut Tx<'_>, left: &mut u64) -> Result<(), QueueError> {
        let kept: [(&str, Duration); 3] = [
            ("completed", self.keep.completed),
            ("cancelled", self.keep.cancelled),
            ("failed", self.keep.failed),
        ];
        for (state, keep) in kept {
            let query = sqlx::query(FINISHED).bind(state);
            let query = query.bind(tx.now.minus(keep).millis()).bind(bound(*left));
            *left -= query.execute(&mut *tx.conn).await?.rows_affected();
        }
        Ok(())
    }

    /// Thins the dead of tenants that have too many of them, oldest first.
    async fn crowded(&self, tx: &mut Tx<'_>, left: &mut u64) -> Result<(), QueueError> {
        let crowded: Vec<(String, i64)> = sqlx::query_as(CROWDED)
            .bind(self.keep.failed_max)
            .bind(bound(*left))
            .fetch_all(&mut *tx.conn)
            .await?;
        for (tenant, surplus) in crowded {
            let query = sqlx::query(OLDEST_DEAD).bind(tenant).bind(surplus.min(bound(*left)));
            *left -= query.execute(&mut *tx.conn).await?.rows_affected();
        }
        Ok(())
    }
}

fn bound(left: u64) -> i64 {
    i64::try_from(left).unwrap_or(i64::MAX)
}
