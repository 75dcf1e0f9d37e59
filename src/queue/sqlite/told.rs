//! Taking note that the end of a job was told.

use jobs::contract::{JobId, TenantId};

use super::tx::{Tx, Verb};
use crate::queue::QueueError;

/// Not a change that anybody is told of: callers do not see it.
pub(super) const TOLD: &str = "
UPDATE jobs SET told = 1
 WHERE id = $1 AND tenant = $2 AND version = $3 AND completed_at IS NOT NULL";

/// Takes note that the end that a job had at a version was told.
pub(super) struct Told {
    pub(super) tenant: TenantId,
    pub(super) id: JobId,
    pub(super) version: u64,
}

impl Verb for Told {
    type Answer = ();

    async fn run(self, tx: &mut Tx<'_>) -> Result<(), QueueError> {
        sqlx::query(TOLD)
            .bind(self.id.to_string())
            .bind(self.tenant.as_str())
            .bind(i64::try_from(self.version).unwrap_or(i64::MAX))
            .execute(&mut *tx.conn)
            .await?;
        Ok(())
    }
}
