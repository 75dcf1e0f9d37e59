//! Taking jobs out, in turns.
//!
//! The claim walks ready tenants and their ready lanes in memory, one job a turn, and writes what it
//! took in a handful of statements. What it reads are index ranges of lanes that are ready and of the
//! heads of these lanes, so that its cost does not grow with what waits.

use std::collections::HashMap;

use jobs::contract::{JobId, LaneName, Moment, TenantId};
use serde_json::json;

use super::{
    error::corrupt,
    lanes, limits,
    turns::{Take, Turns},
    tx::{Tx, Verb},
};
use crate::queue::{Ask, Claimed, Claims, LeaseRef, QueueError};

/// Jobs in one claim at most: so much is one transaction.
const MOST_JOBS: u32 = 1_000;
/// Attempts of a job that are remembered.
const HISTORY: i64 = 50;
/// Lanes that are looked at again, at most, to tell the next moment.
const MOST_CORRECTED: u32 = 100;
/// Lanes that become ready in one step at most.
const MOST_WOKEN: i64 = 500;

pub(super) const WAKE: &str = "
UPDATE lanes SET state = 'ready', next_at = NULL
 WHERE id IN (SELECT id FROM lanes
               WHERE queue = $1 AND state = 'later' AND next_at <= $2
               ORDER BY next_at LIMIT $3)";

pub(super) const LEASE: &str = "
UPDATE jobs
   SET state = 'processing', attempt = attempt + 1, fence = fence + 1, lease_until = $2,
       worker = $3, started_at = coalesce(started_at, $4), wait = 'turn', wait_reason = NULL,
       version = $5
 WHERE seq IN (SELECT value FROM json_each($1))
RETURNING seq, id, tenant, kind, fence, attempt, max_attempts, crashes, created_at, due_at, cursor,
          request_id, lane, callback IS NOT NULL AS callback";

pub(super) const BODIES: &str = "
SELECT job, body FROM payloads WHERE job IN (SELECT value FROM json_each($1))";

pub(super) const BEGIN_ATTEMPTS: &str = "
INSERT INTO attempts (job, fence, number, started_at, worker)
SELECT seq, fence, attempt, $2, worker FROM jobs
 WHERE seq IN (SELECT value FROM json_each($1))";

const FORGET_ATTEMPTS: &str = "DELETE FROM attempts WHERE job = $1 AND fence <= $2";

/// The lane of the queue whose moment comes first.
pub(super) const FIRST: &str = "
SELECT l.id, NULL FROM tenants AS t
  JOIN lanes AS l ON l.queue = t.queue AND l.tenant = t.tenant AND l.state = 'ready'
 WHERE t.queue = $1 AND t.ready_lanes > 0
UNION ALL
SELECT * FROM (SELECT id, next_at FROM lanes
                WHERE queue = $1 AND state = 'later' ORDER BY next_at LIMIT 1)
LIMIT 1";

/// Takes up to `max` jobs that may run now, each under a lease and a new fence.
pub(super) struct Claim(pub(super) Ask);

impl Verb for Claim {
    type Answer = Claims;

    async fn run(self, tx: &mut Tx<'_>) -> Result<Claims, QueueError> {
        let Self(mut ask) = self;
        ask.max = ask.max.min(MOST_JOBS);
        tx.flush().await?;
        let sql = "SELECT paused FROM queues WHERE name = $1";
        let paused = sqlx::query_scalar(sql).bind(&ask.queue).fetch_optional(&mut *tx.conn).await?;
        let paused = match paused {
            Some(paused) => paused,
            None => {
                // A worker's queue is known from its first claim on, so that it can be paused.
                lanes::next_turns(tx, &ask.queue, 0).await?;
                false
            }
        };
        if paused {
            return Ok(Claims { jobs: Vec::new(), next_at: None, seen: tx.seen() });
        }
        wake(tx, &ask.queue).await?;
        let taken = Turns::new(&ask).walk(tx).await?;
        let jobs = if taken.is_empty() { Vec::new() } else { lease(tx, &ask, taken).await? };
        tx.flush().await?;
        let next_at = next_at(tx, &ask.queue).await?;
        Ok(Claims { jobs, next_at, seen: tx.seen() })
    }
}

/// Makes every lane ready whose moment has come, in bounded steps. Each was put off by a claim once,
/// so that this costs no more than the claims that it follows.
async fn wake(tx: &mut Tx<'_>, queue: &str) -> Result<(), QueueError> {
    loop {
        let woken = sqlx::query(WAKE)
            .bind(queue)
            .bind(tx.now.millis())
            .bind(MOST_WOKEN)
            .execute(&mut *tx.conn)
            .await?;
        if woken.rows_affected() < MOST_WOKEN.unsigned_abs() {
            return Ok(());
        }
    }
}

async fn lease(tx: &mut Tx<'_>, ask: &Ask, taken: Vec<Take>) -> Result<Vec<Claimed>, QueueError> {
    let seqs = json!(taken.iter().map(|t| t.job).collect::<Vec<_>>()).to_string();
    let until = tx.now.plus(ask.lease);
    let version = tx.change();
    let rows: Vec<Row> = sqlx::query_as(LEASE)
        .bind(&seqs)
        .bind(until.millis())
        .bind(&ask.worker)
        .bind(tx.now.millis())
        .bind(version)
        .fetch_all(&mut *tx.conn)
        .await?;
    let bodies: Vec<(i64, Vec<u8>)> =
        sqlx::query_as(BODIES).bind(&seqs).fetch_all(&mut *tx.conn).await?;
    let now = tx.now.millis();
    sqlx::query(BEGIN_ATTEMPTS).bind(&seqs).bind(now).execute(&mut *tx.conn).await?;
    for row in rows.iter().filter(|row| row.fence > HISTORY) {
        sqlx::query(FORGET_ATTEMPTS)
            .bind(row.seq)
            .bind(row.fence - HISTORY)
            .execute(&mut *tx.conn)
            .await?;
    }
    draw(tx, &rows).await?;

    let mut rows: HashMap<i64, Row> = rows.into_iter().map(|row| (row.seq, row)).collect();
    let mut bodies: HashMap<i64, Vec<u8>> = bodies.into_iter().collect();
    let mut claimed = Vec::with_capacity(taken.len());
    for take in taken {
        tx.touch(take.lane);
        let row = rows.remove(&take.job).ok_or_else(|| corrupt("a job", "it is gone"))?;
        let body = bodies.remove(&take.job).ok_or_else(|| corrupt("a job", "without payload"))?;
        claimed.push(row.claimed(take.name, body, until)?);
    }
    Ok(claimed)
}

/// Draws what the lanes' limits count for each of these claims.
async fn draw(tx: &mut Tx<'_>, rows: &[Row]) -> Result<(), QueueError> {
    let claims: Vec<_> = rows.iter().map(|row| (row.lane, row.seq, row.fence)).collect();
    sqlx::query(limits::DRAW_FOR_CLAIMS)
        .bind(json!(claims).to_string())
        .bind(tx.now.millis())
        .execute(&mut *tx.conn)
        .await?;
    Ok(())
}

/// The first moment at which something may be claimed.
///
/// Lanes that share a bucket are not told of each other's permits, so that what a lane promised may
/// be too early: the first one is looked at again, until one keeps its word.
async fn next_at(tx: &mut Tx<'_>, queue: &str) -> Result<Option<Moment>, QueueError> {
    let mut at = None;
    for _ in 0..MOST_CORRECTED {
        let first: Option<(i64, Option<i64>)> =
            sqlx::query_as(FIRST).bind(queue).fetch_optional(&mut *tx.conn).await?;
        let Some((lane, promised)) = first else { return Ok(None) };
        let promised = promised.map_or(tx.now, Moment::from_millis);
        at = Some(promised);
        if lanes::refresh(tx, [lane]).await? == at {
            break;
        }
    }
    // Too early at worst: the claim that comes then goes on correcting.
    Ok(at)
}

#[derive(Debug, sqlx::FromRow)]
struct Row {
    seq: i64,
    id: String,
    tenant: String,
    kind: String,
    fence: i64,
    attempt: u32,
    max_attempts: u32,
    crashes: u32,
    created_at: i64,
    due_at: i64,
    cursor: Option<String>,
    request_id: String,
    lane: i64,
    callback: bool,
}

impl Row {
    fn claimed(
        self,
        lane: LaneName,
        body: Vec<u8>,
        lease_until: Moment,
    ) -> Result<Claimed, QueueError> {
        let id: JobId = self.id.parse().map_err(|e| corrupt("a job's id", e))?;
        let tenant: TenantId = self.tenant.parse().map_err(|e| corrupt("a tenant", e))?;
        let cursor = self.cursor.map(|text| serde_json::from_str(&text)).transpose();
        Ok(Claimed {
            lease: LeaseRef { id, fence: u64::try_from(self.fence).unwrap_or_default() },
            tenant,
            kind: self.kind.into(),
            lane,
            payload: body.into(),
            attempt: self.attempt,
            max_attempts: self.max_attempts,
            crashes: self.crashes,
            created_at: Moment::from_millis(self.created_at),
            due_at: Moment::from_millis(self.due_at),
            lease_until,
            cursor: cursor.map_err(|e| corrupt("a cursor", e))?,
            request_id: self.request_id.into(),
            callback: self.callback,
        })
    }
}
