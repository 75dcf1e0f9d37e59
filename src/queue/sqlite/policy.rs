//! Replacing what a lane may draw on.

use super::{
    lanes, limits,
    tx::{Tx, Verb},
};
use crate::queue::{LanePolicy, LaneRef, QueueError};

const UNPARK_LIMIT: &str = "
UPDATE lanes SET parked_until = NULL, park_reason = NULL
 WHERE id = $1 AND park_reason LIKE '{\"Limit\"%'";

/// Replaces what a lane may draw on. A lane that is not known gets its policy from its first job.
pub(super) struct SetPolicy {
    pub(super) lane: LaneRef,
    pub(super) policy: LanePolicy,
}

impl Verb for SetPolicy {
    type Answer = ();

    async fn run(self, tx: &mut Tx<'_>) -> Result<(), QueueError> {
        let Some(id) = lanes::find(tx.conn, &self.lane).await? else { return Ok(()) };
        let sql = "UPDATE lanes SET policy = $2 WHERE id = $1";
        lanes::write_policy(tx, sql, id, &self.policy).await?;
        limits::bind(tx, id, &self.lane.tenant, &self.policy).await?;
        sqlx::query(UNPARK_LIMIT).bind(id).execute(&mut *tx.conn).await?;
        tx.change();
        tx.touch(id);
        Ok(())
    }
}
