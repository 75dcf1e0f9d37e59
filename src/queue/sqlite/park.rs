//! Putting a lane to sleep until a moment.

use jobs::contract::Moment;

use super::{
    error::corrupt,
    lanes,
    tx::{Tx, Verb},
};
use crate::queue::{LaneRef, ParkReason, QueueError};

/// Longer wins: whoever asked for more patience had a reason.
const PARK: &str = "
UPDATE lanes SET parked_until = $2, park_reason = $3
 WHERE id = $1 AND coalesce(parked_until, $4) < $2";

/// Parks a lane until a moment.
pub(super) struct Park {
    pub(super) lane: LaneRef,
    pub(super) until: Moment,
    pub(super) reason: ParkReason,
}

impl Verb for Park {
    type Answer = ();

    async fn run(self, tx: &mut Tx<'_>) -> Result<(), QueueError> {
        let lane = lanes::ensure(tx, &self.lane, None).await?;
        park(tx, lane, self.until, &self.reason).await
    }
}

/// Parks a known lane, unless the moment is past or the lane is parked for longer.
pub(super) async fn park(
    tx: &mut Tx<'_>,
    lane: i64,
    until: Moment,
    reason: &ParkReason,
) -> Result<(), QueueError> {
    let reason = serde_json::to_string(reason).map_err(|e| corrupt("a reason for parking", e))?;
    sqlx::query(PARK)
        .bind(lane)
        .bind(until.millis())
        .bind(reason)
        .bind(tx.now.millis())
        .execute(&mut *tx.conn)
        .await?;
    tx.change();
    tx.touch(lane);
    Ok(())
}
