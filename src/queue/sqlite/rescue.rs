//! Taking jobs back from workers that vanished.

use std::time::Duration;

use jobs::contract::{End, Facts, Moment, Retry, judge};

use super::{
    error::corrupt,
    settle::{Run, carry_out},
    tx::{Tx, Verb},
};
use crate::queue::{QueueError, Rescued, ending::Ending};

pub(super) const EXPIRED: &str = "
SELECT seq, id, tenant, lane, worker, attempt, max_attempts, crashes, fence, due_at, cancel_requested
  FROM jobs
 WHERE state = 'processing' AND lease_until <= $1
 ORDER BY lease_until LIMIT $2";

/// Takes back at most `max` jobs whose lease ran out.
pub(super) struct Rescue {
    pub(super) max: u32,
    pub(super) max_crashes: u32,
}

impl Verb for Rescue {
    type Answer = Vec<Rescued>;

    async fn run(self, tx: &mut Tx<'_>) -> Result<Vec<Rescued>, QueueError> {
        let expired: Vec<Run> = sqlx::query_as(EXPIRED)
            .bind(tx.now.millis())
            .bind(self.max)
            .fetch_all(&mut *tx.conn)
            .await?;
        let mut rescued = Vec::with_capacity(expired.len());
        for run in expired {
            let verdict = judge(End::Vanished, &facts(&run, self.max_crashes, tx.now));
            let ending = Ending::of(verdict, run.cancel_requested, tx.now).vanished();
            let status = ending.status();
            carry_out(tx, &run, ending, false).await?;
            rescued.push(Rescued {
                id: run.id.parse().map_err(|e| corrupt("a job's id", e))?,
                tenant: run.tenant.parse().map_err(|e| corrupt("a tenant", e))?,
                worker: run.worker.unwrap_or_default(),
                status,
            });
        }
        Ok(rescued)
    }
}

/// What the judge needs for a vanished worker: retry times and patience play no part there.
fn facts(run: &Run, max_crashes: u32, now: Moment) -> Facts {
    Facts {
        attempt: run.attempt,
        max_attempts: run.max_attempts,
        crashes: run.crashes,
        max_crashes,
        now,
        due_at: Moment::from_millis(run.due_at),
        patience: Duration::MAX,
        retry: Retry { max_attempts: run.max_attempts, waits: &[], jitter: 0.0 },
        chance: 0.5,
        cancel_requested: run.cancel_requested,
    }
}
