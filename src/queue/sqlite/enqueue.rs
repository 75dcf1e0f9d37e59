//! Taking jobs in.

use std::{collections::HashMap, time::Duration};

use jobs::contract::{JobId, LaneName, TenantId};

use super::{
    error::corrupt,
    lanes,
    tx::{Tx, Verb},
};
use crate::queue::{
    Enqueued, Idempotency, LaneRef, NewJob, Priority, QueueError, Submission, bounds, with_ids,
};

pub(super) const REMEMBERED: &str = "
SELECT fingerprint, answer FROM submissions WHERE tenant = $1 AND key = $2 AND expires_at > $3";

const REMEMBER: &str = "
INSERT INTO submissions (tenant, key, fingerprint, answer, expires_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (tenant, key) DO UPDATE SET
    fingerprint = excluded.fingerprint, answer = excluded.answer, expires_at = excluded.expires_at";

pub(super) const TWIN: &str = "
SELECT id FROM jobs
 WHERE tenant = $1 AND kind = $2 AND unique_key = $3 AND unique_key IS NOT NULL
   AND state IN ('waiting', 'processing')";

const INSERT: &str = "
INSERT INTO jobs (id, tenant, kind, queue, lane, priority, run_at, wait, due_at, max_attempts,
                  items, unique_key, tags, request_id, created_at, version, callback)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $7, $9, $10, $11, $12, $13, $14, $15, $16)
RETURNING seq";

/// Takes jobs in: all of the submission or nothing.
pub(super) struct Enqueue(pub(super) Submission);

impl Verb for Enqueue {
    type Answer = Enqueued;
    const DURABLE: bool = true;

    async fn run(self, tx: &mut Tx<'_>) -> Result<Enqueued, QueueError> {
        let Submission { tenant, jobs, idempotency } = self.0;
        let count = jobs.len();
        bounds::check(count)?;
        if let Some(idempotency) = &idempotency
            && let Some(known) = recall(tx, &tenant, idempotency).await?
        {
            return Ok(known);
        }
        let asked: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
        let mut lanes = HashMap::new();
        let mut ids = Vec::with_capacity(count);
        for job in jobs {
            ids.push(take_in(tx, &tenant, job, &mut lanes).await?);
        }
        if let Some(idempotency) = idempotency {
            let answer = with_ids(&idempotency.answer, &asked, &ids);
            remember(tx, &tenant, &Idempotency { answer, ..idempotency }).await?;
        }
        Ok(Enqueued::Fresh(ids))
    }
}

async fn recall(
    tx: &mut Tx<'_>,
    tenant: &TenantId,
    idempotency: &Idempotency,
) -> Result<Option<Enqueued>, QueueError> {
    let found: Option<(Vec<u8>, Vec<u8>)> = sqlx::query_as(REMEMBERED)
        .bind(tenant.as_str())
        .bind(&idempotency.key)
        .bind(tx.now.millis())
        .fetch_optional(&mut *tx.conn)
        .await?;
    Ok(found.map(|(fingerprint, answer)| {
        if fingerprint == idempotency.fingerprint {
            Enqueued::Replayed(answer.into())
        } else {
            Enqueued::KeyReused
        }
    }))
}

async fn remember(
    tx: &mut Tx<'_>,
    tenant: &TenantId,
    idempotency: &Idempotency,
) -> Result<(), QueueError> {
    let Idempotency { key, fingerprint, answer, keep } = idempotency;
    sqlx::query(REMEMBER)
        .bind(tenant.as_str())
        .bind(key)
        .bind(fingerprint.as_slice())
        .bind(answer.as_ref())
        .bind(tx.now.plus(Duration::max(*keep, Duration::from_millis(1))).millis())
        .execute(&mut *tx.conn)
        .await?;
    Ok(())
}

/// Lanes that this submission has met, by queue and name.
type Lanes = HashMap<(String, LaneName), i64>;

async fn take_in(
    tx: &mut Tx<'_>,
    tenant: &TenantId,
    job: NewJob,
    lanes: &mut Lanes,
) -> Result<JobId, QueueError> {
    if let Some(key) = &job.unique
        && let Some(twin) = twin(tx, tenant, &job.kind, key).await?
    {
        return Ok(twin);
    }
    let key = (job.queue.clone(), job.lane.clone());
    let lane = match lanes.get(&key) {
        Some(lane) => *lane,
        None => {
            let of = LaneRef {
                queue: job.queue.clone(),
                tenant: tenant.clone(),
                name: job.lane.clone(),
            };
            let lane = lanes::ensure(tx, &of, Some(job.policy.as_ref())).await?;
            tx.touch(lane);
            lanes.insert(key, lane);
            lane
        }
    };
    insert(tx, tenant, lane, &job).await?;
    Ok(job.id)
}

async fn twin(
    tx: &mut Tx<'_>,
    tenant: &TenantId,
    kind: &str,
    key: &str,
) -> Result<Option<JobId>, QueueError> {
    let id: Option<String> = sqlx::query_scalar(TWIN)
        .bind(tenant.as_str())
        .bind(kind)
        .bind(key)
        .fetch_optional(&mut *tx.conn)
        .await?;
    id.map(|id| id.parse().map_err(|e| corrupt("a job's id", e))).transpose()
}

async fn insert(
    tx: &mut Tx<'_>,
    tenant: &TenantId,
    lane: i64,
    job: &NewJob,
) -> Result<(), QueueError> {
    let later = job.run_at.filter(|at| *at > tx.now);
    let tags = serde_json::to_string(&job.tags).map_err(|e| corrupt("tags", e))?;
    let callback = (!job.callback.is_empty()).then(|| serde_json::json!(job.callback).to_string());
    let version = tx.change();
    let seq: i64 = sqlx::query_scalar(INSERT)
        .bind(job.id.to_string())
        .bind(tenant.as_str())
        .bind(&job.kind)
        .bind(&job.queue)
        .bind(lane)
        .bind(rank(job.priority))
        .bind(later.unwrap_or(tx.now).millis())
        .bind(later.map_or("turn", |_| "schedule"))
        .bind(job.max_attempts)
        .bind(i64::try_from(job.total_items).unwrap_or(i64::MAX))
        .bind(&job.unique)
        .bind(tags)
        .bind(&job.request_id)
        .bind(tx.now.millis())
        .bind(version)
        .bind(callback)
        .fetch_one(&mut *tx.conn)
        .await?;
    sqlx::query("INSERT INTO payloads (job, body) VALUES ($1, $2)")
        .bind(seq)
        .bind(job.payload.as_ref())
        .execute(&mut *tx.conn)
        .await?;
    Ok(())
}

/// The place of a priority in the run order.
fn rank(priority: Priority) -> i64 {
    match priority {
        Priority::High => 0,
        Priority::Normal => 1,
        Priority::Low => 2,
    }
}
