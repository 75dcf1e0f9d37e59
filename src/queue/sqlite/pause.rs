//! An operator's pause, of a queue or of one lane.

use super::{
    lanes,
    tx::{Tx, Verb},
};
use crate::queue::{Changed, PauseTarget, QueueError};

/// Who resumes a lane ends what it waits for, too.
const PAUSE_LANE: &str = "
UPDATE lanes
   SET paused = $2,
       parked_until = CASE WHEN $2 THEN parked_until END,
       park_reason = CASE WHEN $2 THEN park_reason END
 WHERE id = $1 AND (paused <> $2 OR (NOT $2 AND parked_until > $3))";

/// Stops or resumes claims from a queue, or from one lane.
pub(super) struct Pause {
    pub(super) what: PauseTarget,
    pub(super) paused: bool,
}

impl Verb for Pause {
    type Answer = Changed;
    const DURABLE: bool = true;

    async fn run(self, tx: &mut Tx<'_>) -> Result<Changed, QueueError> {
        match self.what {
            PauseTarget::Queue(name) => queue(tx, &name, self.paused).await,
            PauseTarget::Lane(lane) => match lanes::find(tx.conn, &lane).await? {
                Some(id) => one_lane(tx, id, self.paused).await,
                None => Ok(Changed::Unknown),
            },
        }
    }
}

async fn queue(tx: &mut Tx<'_>, name: &str, paused: bool) -> Result<Changed, QueueError> {
    let sql = "SELECT paused FROM queues WHERE name = $1";
    let is: Option<bool> = sqlx::query_scalar(sql).bind(name).fetch_optional(&mut *tx.conn).await?;
    match is {
        None => return Ok(Changed::Unknown),
        Some(is) if is == paused => return Ok(Changed::NotApplicable),
        Some(_) => {}
    }
    let sql = "UPDATE queues SET paused = $2 WHERE name = $1";
    sqlx::query(sql).bind(name).bind(paused).execute(&mut *tx.conn).await?;
    tx.change();
    tx.wake(name);
    Ok(Changed::Done)
}

async fn one_lane(tx: &mut Tx<'_>, id: i64, paused: bool) -> Result<Changed, QueueError> {
    let now = tx.now.millis();
    let changing = sqlx::query(PAUSE_LANE).bind(id).bind(paused).bind(now);
    if changing.execute(&mut *tx.conn).await?.rows_affected() == 0 {
        return Ok(Changed::NotApplicable);
    }
    tx.change();
    tx.touch(id);
    Ok(Changed::Done)
}
