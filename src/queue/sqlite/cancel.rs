//! Calling a job off.

use jobs::contract::{JobId, TenantId};

use super::{
    dead::Found,
    tx::{Tx, Verb},
};
use crate::queue::{Cancelled, QueueError, Status};

const AT_ONCE: &str = "
UPDATE jobs SET state = 'cancelled', cancelled_by = $2, completed_at = $3, version = $4
 WHERE seq = $1";

const REQUEST: &str = "
UPDATE jobs SET cancel_requested = 1, cancelled_by = $2, version = $3 WHERE seq = $1";

/// Cancels a job: at once while it waits, as soon as its worker hears of it while it runs.
pub(super) struct Cancel {
    pub(super) tenant: TenantId,
    pub(super) id: JobId,
    pub(super) by: String,
}

impl Verb for Cancel {
    type Answer = Cancelled;
    const DURABLE: bool = true;

    async fn run(self, tx: &mut Tx<'_>) -> Result<Cancelled, QueueError> {
        let Some(job) = Found::load(tx, &self.tenant, self.id).await? else {
            return Ok(Cancelled::Unknown);
        };
        match job.state.as_str() {
            "waiting" => {
                let version = tx.change();
                sqlx::query(AT_ONCE)
                    .bind(job.seq)
                    .bind(self.by)
                    .bind(tx.now.millis())
                    .bind(version)
                    .execute(&mut *tx.conn)
                    .await?;
                tx.touch(job.lane);
                Ok(Cancelled::AtOnce)
            }
            "processing" => {
                if !job.cancel_requested {
                    let version = tx.change();
                    sqlx::query(REQUEST)
                        .bind(job.seq)
                        .bind(self.by)
                        .bind(version)
                        .execute(&mut *tx.conn)
                        .await?;
                }
                Ok(Cancelled::Requested)
            }
            "failed" => Ok(Cancelled::TooLate(Status::Failed)),
            "cancelled" => Ok(Cancelled::TooLate(Status::Cancelled)),
            _ => Ok(Cancelled::TooLate(Status::Completed)),
        }
    }
}
