//! Jobs that are over: putting them back, and deleting them.

use jobs::contract::{JobId, TenantId};

use super::tx::{Tx, Verb};
use crate::queue::{Changed, QueueError};

pub(super) const FIND: &str = "
SELECT seq, lane, state, cancel_requested, kind, unique_key
  FROM jobs WHERE id = $1 AND tenant = $2";

const REVIVE: &str = "
UPDATE jobs
   SET state = 'waiting', wait = 'turn', wait_reason = NULL, run_at = $2, due_at = $2,
       attempt = 0, crashes = 0, retryable = 0, cancelled_by = NULL, cancel_requested = 0,
       completed_at = NULL, told = 0, version = $3
 WHERE seq = $1";

pub(super) const TWIN: &str = "
SELECT 1 FROM jobs
 WHERE tenant = $1 AND kind = $2 AND unique_key = $3 AND unique_key IS NOT NULL
   AND state IN ('waiting', 'processing')";

/// A job that a person named.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Found {
    pub(super) seq: i64,
    pub(super) lane: i64,
    pub(super) state: String,
    pub(super) cancel_requested: bool,
    kind: String,
    unique_key: Option<String>,
}

impl Found {
    pub(super) async fn load(
        tx: &mut Tx<'_>,
        tenant: &TenantId,
        id: JobId,
    ) -> Result<Option<Self>, QueueError> {
        Ok(sqlx::query_as(FIND)
            .bind(id.to_string())
            .bind(tenant.as_str())
            .fetch_optional(&mut *tx.conn)
            .await?)
    }
}

/// Puts a dead or cancelled job back in its lane.
pub(super) struct Retry {
    pub(super) tenant: TenantId,
    pub(super) id: JobId,
}

impl Verb for Retry {
    type Answer = Changed;
    const DURABLE: bool = true;

    async fn run(self, tx: &mut Tx<'_>) -> Result<Changed, QueueError> {
        let Some(job) = Found::load(tx, &self.tenant, self.id).await? else {
            return Ok(Changed::Unknown);
        };
        if !matches!(job.state.as_str(), "failed" | "cancelled") {
            return Ok(Changed::NotApplicable);
        }
        // Another job took its place meanwhile: two unfinished ones must not share a key.
        let twin: Option<i64> = sqlx::query_scalar(TWIN)
            .bind(self.tenant.as_str())
            .bind(&job.kind)
            .bind(&job.unique_key)
            .fetch_optional(&mut *tx.conn)
            .await?;
        if twin.is_some() {
            return Ok(Changed::NotApplicable);
        }
        let version = tx.change();
        sqlx::query(REVIVE)
            .bind(job.seq)
            .bind(tx.now.millis())
            .bind(version)
            .execute(&mut *tx.conn)
            .await?;
        tx.touch(job.lane);
        Ok(Changed::Done)
    }
}

/// Deletes a finished job.
pub(super) struct Discard {
    pub(super) tenant: TenantId,
    pub(super) id: JobId,
}

impl Verb for Discard {
    type Answer = Changed;
    const DURABLE: bool = true;

    async fn run(self, tx: &mut Tx<'_>) -> Result<Changed, QueueError> {
        let Some(job) = Found::load(tx, &self.tenant, self.id).await? else {
            return Ok(Changed::Unknown);
        };
        if matches!(job.state.as_str(), "waiting" | "processing") {
            return Ok(Changed::NotApplicable);
        }
        tx.change();
        let sql = "DELETE FROM jobs WHERE seq = $1";
        sqlx::query(sql).bind(job.seq).execute(&mut *tx.conn).await?;
        Ok(Changed::Done)
    }
}
