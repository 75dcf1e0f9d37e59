//! Permits: what limits count.
//!
//! A window admits a permit at `t` when fewer than `count` lie in `(t - window, t]`. So the moment at
//! which a full window opens is the `count`th newest permit plus the window, exactly.

use jobs::contract::{Moment, TenantId};
use sqlx::SqliteConnection;

use super::tx::{Tx, Verb};
use crate::queue::{Drawn, LanePolicy, Limit, QueueError};

/// The newest permits of a bucket, from the `skip`th on.
pub(super) const NTH_NEWEST: &str = "
SELECT at FROM permits
 WHERE bucket = (SELECT id FROM buckets WHERE tenant = $1 AND name = $2)
 ORDER BY at DESC LIMIT 1 OFFSET $3";

pub(super) const USED: &str = "
SELECT count(*) FROM permits
 WHERE bucket = (SELECT id FROM buckets WHERE tenant = $1 AND name = $2) AND at > $3";

const KEEP_LONGER: &str = "
UPDATE permits SET expires_at = at + $2 WHERE bucket = $1 AND expires_at < at + $2";

/// Lanes that a limit parks are looked at again when a permit of theirs comes back.
pub(super) const LANES_OF_CLAIM: &str = "
SELECT DISTINCT l.id FROM permits AS p
  JOIN lane_buckets AS b ON b.bucket = p.bucket
  JOIN lanes AS l ON l.id = b.lane AND l.state = 'later'
 WHERE p.job = $1 AND p.fence = $2";

impl Limit {
    fn window(&self) -> i64 {
        i64::try_from(self.window_ms).unwrap_or(i64::MAX)
    }
}

/// The moment from which all `limits` admit a permit, and the limit that is the last to do so; none
/// when they do now.
pub(super) async fn blocked_until<'l>(
    conn: &mut SqliteConnection,
    tenant: &TenantId,
    limits: &'l [Limit],
    now: Moment,
) -> Result<Option<(Moment, &'l Limit)>, QueueError> {
    let mut last = None;
    for limit in limits {
        let opens = opens_at(conn, tenant, limit).await?;
        if let Some(at) = opens.filter(|at| *at > now && last.is_none_or(|(l, _)| *at > l)) {
            last = Some((at, limit));
        }
    }
    Ok(last)
}

/// When the window has room for one more; none when it never was full.
async fn opens_at(
    conn: &mut SqliteConnection,
    tenant: &TenantId,
    limit: &Limit,
) -> Result<Option<Moment>, QueueError> {
    let at: Option<i64> = sqlx::query_scalar(NTH_NEWEST)
        .bind(limit.owner(tenant))
        .bind(&limit.bucket)
        .bind(i64::from(limit.count.max(1)) - 1)
        .fetch_optional(conn)
        .await?;
    Ok(at.map(|at| Moment::from_millis(at.saturating_add(limit.window()))))
}

/// How many permits the window admits now.
pub(super) async fn room(
    conn: &mut SqliteConnection,
    tenant: &TenantId,
    limit: &Limit,
    now: Moment,
) -> Result<u32, QueueError> {
    let used: i64 = sqlx::query_scalar(USED)
        .bind(limit.owner(tenant))
        .bind(&limit.bucket)
        .bind(now.millis().saturating_sub(limit.window()))
        .fetch_one(conn)
        .await?;
    Ok(limit.count.saturating_sub(u32::try_from(used).unwrap_or(u32::MAX)))
}

/// The bucket of a limit, made if it is new, its permits kept for at least the limit's window.
async fn bucket(tx: &mut Tx<'_>, tenant: &TenantId, limit: &Limit) -> Result<Bucket, QueueError> {
    let find = "SELECT id, keep_ms FROM buckets WHERE tenant = $1 AND name = $2";
    let found: Option<Bucket> = sqlx::query_as(find)
        .bind(limit.owner(tenant))
        .bind(&limit.bucket)
        .fetch_optional(&mut *tx.conn)
        .await?;
    match found {
        Some(bucket) if bucket.keep_ms >= limit.window() => Ok(bucket),
        Some(Bucket { id, .. }) => {
            let sql = "UPDATE buckets SET keep_ms = $2 WHERE id = $1";
            for sql in [sql, KEEP_LONGER] {
                sqlx::query(sql).bind(id).bind(limit.window()).execute(&mut *tx.conn).await?;
            }
            Ok(Bucket { id, keep_ms: limit.window() })
        }
        None => {
            let sql = "INSERT INTO buckets (tenant, name, keep_ms) VALUES ($1, $2, $3)
                       RETURNING id, keep_ms";
            Ok(sqlx::query_as(sql)
                .bind(limit.owner(tenant))
                .bind(&limit.bucket)
                .bind(limit.window())
                .fetch_one(&mut *tx.conn)
                .await?)
        }
    }
}

#[derive(Debug, sqlx::FromRow)]
struct Bucket {
    id: i64,
    keep_ms: i64,
}

/// Remembers which buckets the lane draws on.
pub(super) async fn bind(
    tx: &mut Tx<'_>,
    lane: i64,
    tenant: &TenantId,
    policy: &LanePolicy,
) -> Result<(), QueueError> {
    sqlx::query("DELETE FROM lane_buckets WHERE lane = $1")
        .bind(lane)
        .execute(&mut *tx.conn)
        .await?;
    for limit in &policy.limits {
        let bucket = bucket(tx, tenant, limit).await?;
        sqlx::query("INSERT OR IGNORE INTO lane_buckets (lane, bucket) VALUES ($1, $2)")
            .bind(lane)
            .bind(bucket.id)
            .execute(&mut *tx.conn)
            .await?;
    }
    Ok(())
}

/// Draws, for each of these claims (JSON: `[[lane, job, fence], …]`), one permit of each bucket of
/// its lane.
pub(super) const DRAW_FOR_CLAIMS: &str = "
INSERT INTO permits (bucket, at, expires_at, job, fence)
SELECT b.id, $2, $2 + b.keep_ms, c.value ->> 1, c.value ->> 2
  FROM json_each($1) AS c
  JOIN lane_buckets AS l ON l.lane = c.value ->> 0
  JOIN buckets AS b ON b.id = l.bucket";

/// Gives back what a claim drew.
pub(super) async fn refund(tx: &mut Tx<'_>, job: i64, fence: i64) -> Result<(), QueueError> {
    let lanes: Vec<i64> =
        sqlx::query_scalar(LANES_OF_CLAIM).bind(job).bind(fence).fetch_all(&mut *tx.conn).await?;
    sqlx::query("DELETE FROM permits WHERE job = $1 AND fence = $2")
        .bind(job)
        .bind(fence)
        .execute(&mut *tx.conn)
        .await?;
    lanes.into_iter().for_each(|lane| tx.touch(lane));
    Ok(())
}

/// Draws one permit apart from any lane.
pub(super) struct Draw {
    pub(super) tenant: TenantId,
    pub(super) limit: Limit,
}

impl Verb for Draw {
    type Answer = Drawn;

    async fn run(self, tx: &mut Tx<'_>) -> Result<Drawn, QueueError> {
        let Self { tenant, limit } = self;
        let bucket = bucket(tx, &tenant, &limit).await?;
        let room = room(tx.conn, &tenant, &limit, tx.now).await?;
        if room == 0 {
            let opens = opens_at(tx.conn, &tenant, &limit).await?;
            return Ok(Drawn { granted: false, remaining: 0, reset_at: opens.unwrap_or(tx.now) });
        }
        sqlx::query("INSERT INTO permits (bucket, at, expires_at) VALUES ($1, $2, $3)")
            .bind(bucket.id)
            .bind(tx.now.millis())
            .bind(tx.now.millis().saturating_add(bucket.keep_ms))
            .execute(&mut *tx.conn)
            .await?;
        let reset_at = Moment::from_millis(tx.now.millis().saturating_add(limit.window()));
        Ok(Drawn { granted: true, remaining: room - 1, reset_at })
    }
}
