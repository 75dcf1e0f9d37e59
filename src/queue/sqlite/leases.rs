//! Leases: renewing them, and saying under one how far a job has got.

use std::{collections::HashMap, time::Duration};

use jobs::contract::{Cursor, JobId};

use super::{
    error::corrupt,
    settle::{Run, running},
    tx::{Tx, Verb},
};
use crate::queue::{Hold, LeaseRef, QueueError};

/// A lease is never made shorter: whoever asked for more was promised more.
pub(super) const RENEW: &str = "UPDATE jobs SET lease_until = max(lease_until, $2) WHERE seq = $1";

const CHECKPOINT: &str = "UPDATE jobs SET cursor = $2, version = $3 WHERE seq = $1";

/// Renews leases by `lease` from now.
pub(super) struct Extend {
    pub(super) leases: Vec<LeaseRef>,
    pub(super) lease: Duration,
}

impl Verb for Extend {
    type Answer = Vec<Hold>;

    async fn run(self, tx: &mut Tx<'_>) -> Result<Vec<Hold>, QueueError> {
        let ids: Vec<JobId> = self.leases.iter().map(|lease| lease.id).collect();
        let running = running(tx, &ids).await?;
        let until = tx.now.plus(self.lease).millis();
        let mut holds = Vec::with_capacity(self.leases.len());
        for lease in &self.leases {
            let Some(run) = held(&running, lease) else {
                holds.push(Hold::Lost);
                continue;
            };
            sqlx::query(RENEW).bind(run.seq).bind(until).execute(&mut *tx.conn).await?;
            holds.push(if run.cancel_requested { Hold::CancelRequested } else { Hold::Held });
        }
        Ok(holds)
    }
}

/// Stores how far a running job has got.
pub(super) struct Checkpoint {
    pub(super) lease: LeaseRef,
    pub(super) cursor: Cursor,
}

impl Verb for Checkpoint {
    type Answer = bool;

    async fn run(self, tx: &mut Tx<'_>) -> Result<bool, QueueError> {
        let running = running(tx, &[self.lease.id]).await?;
        let Some(run) = held(&running, &self.lease) else { return Ok(false) };
        let cursor = serde_json::to_string(&self.cursor).map_err(|e| corrupt("a cursor", e))?;
        let version = tx.change();
        sqlx::query(CHECKPOINT)
            .bind(run.seq)
            .bind(cursor)
            .bind(version)
            .execute(&mut *tx.conn)
            .await?;
        Ok(true)
    }
}

fn held<'r>(running: &'r HashMap<JobId, Run>, lease: &LeaseRef) -> Option<&'r Run> {
    running.get(&lease.id).filter(|run| run.holds(lease.fence))
}
