//! Carrying verdicts out, each under its fence.

use std::collections::HashMap;

use jobs::contract::{Cause, JobId, Moment, Verdict};
use serde_json::json;

use super::{
    error::corrupt,
    limits, park,
    tx::{Tx, Verb},
};
use crate::queue::{ParkReason, QueueError, Settled, Settlement, ending::Ending};

pub(super) const RUNNING: &str = "
SELECT seq, id, tenant, lane, worker, attempt, max_attempts, crashes, fence, due_at, cancel_requested
  FROM jobs
 WHERE state = 'processing' AND id IN (SELECT value FROM json_each($1))";

pub(super) const MOVE: &str = "
UPDATE jobs
   SET state = $2, run_at = coalesce($3, run_at), wait = $4, wait_reason = $5,
       attempt = max(attempt - $6, 0), crashes = crashes + $7,
       error = CASE WHEN $8 THEN error ELSE $9 END,
       result = $10, skipped = $11, retryable = $12, completed_at = $13,
       lease_until = NULL, version = $14
 WHERE seq = $1";

pub(super) const END_ATTEMPT: &str = "
UPDATE attempts SET ended_at = $3, outcome = $4, error = $5 WHERE job = $1 AND fence = $2";

/// Carries verdicts out.
pub(super) struct Settle(pub(super) Vec<Settlement>);

impl Verb for Settle {
    type Answer = Vec<Settled>;

    async fn run(self, tx: &mut Tx<'_>) -> Result<Vec<Settled>, QueueError> {
        let ids: Vec<JobId> = self.0.iter().map(|s| s.lease.id).collect();
        let mut running = running(tx, &ids).await?;
        let mut answers = Vec::with_capacity(self.0.len());
        for Settlement { lease, verdict, refund } in self.0 {
            // A stale one beside the one that holds must not take its place.
            let held = running.get(&lease.id).is_some_and(|run| run.holds(lease.fence));
            let settles = held && verdict != Verdict::Nothing;
            let Some(run) = settles.then(|| running.remove(&lease.id)).flatten() else {
                answers.push(Settled::Lost);
                continue;
            };
            let refund = refund || verdict == Verdict::Release;
            let ending = Ending::of(verdict, run.cancel_requested, tx.now);
            let cancels = ending.state == "cancelled";
            carry_out(tx, &run, ending, refund).await?;
            answers.push(if cancels { Settled::Cancelled } else { Settled::Done });
        }
        Ok(answers)
    }
}

/// A job under a lease.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Run {
    pub(super) seq: i64,
    pub(super) id: String,
    pub(super) tenant: String,
    pub(super) lane: i64,
    pub(super) worker: Option<String>,
    pub(super) attempt: u32,
    pub(super) max_attempts: u32,
    pub(super) crashes: u32,
    pub(super) fence: i64,
    pub(super) due_at: i64,
    pub(super) cancel_requested: bool,
}

impl Run {
    pub(super) fn holds(&self, fence: u64) -> bool {
        u64::try_from(self.fence).is_ok_and(|own| own == fence)
    }
}

/// Those of the jobs that run.
pub(super) async fn running(
    tx: &mut Tx<'_>,
    ids: &[JobId],
) -> Result<HashMap<JobId, Run>, QueueError> {
    let rows: Vec<Run> =
        sqlx::query_as(RUNNING).bind(json!(ids).to_string()).fetch_all(&mut *tx.conn).await?;
    rows.into_iter()
        .map(|run| Ok((run.id.parse().map_err(|e| corrupt("a job's id", e))?, run)))
        .collect()
}

/// Writes how a run ended.
pub(super) async fn carry_out(
    tx: &mut Tx<'_>,
    run: &Run,
    ending: Ending,
    refund: bool,
) -> Result<(), QueueError> {
    let json = |value| serde_json::to_string(value).map_err(|e| corrupt("a cause", e));
    let error = ending.error.as_ref().and_then(Option::as_ref).map(json).transpose()?;
    let why = ending.why.as_ref().map(|why| Cause::new("snoozed", why.as_str()));
    let told = why.as_ref().map(json).transpose()?.or_else(|| error.clone());
    let version = tx.change();
    sqlx::query(MOVE)
        .bind(run.seq)
        .bind(ending.state)
        .bind(ending.run_at.map(Moment::millis))
        .bind(ending.wait)
        .bind(&ending.wait_reason)
        .bind(ending.gives_back)
        .bind(ending.crashed)
        .bind(ending.error.is_none())
        .bind(error)
        .bind(ending.result.map(|value| value.to_string()))
        .bind(&ending.skipped)
        .bind(ending.retryable)
        .bind((ending.state != "waiting").then(|| tx.now.millis()))
        .bind(version)
        .execute(&mut *tx.conn)
        .await?;
    sqlx::query(END_ATTEMPT)
        .bind(run.seq)
        .bind(run.fence)
        .bind(tx.now.millis())
        .bind(ending.outcome)
        .bind(told)
        .execute(&mut *tx.conn)
        .await?;
    if refund {
        limits::refund(tx, run.seq, run.fence).await?;
    }
    if let Some(until) = ending.park_until {
        let reason = ParkReason::Snooze(ending.why.unwrap_or_default());
        park::park(tx, run.lane, until, &reason).await?;
    }
    tx.touch(run.lane);
    Ok(())
}
