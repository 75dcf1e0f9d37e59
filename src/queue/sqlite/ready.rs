//! Proving that the file can be written to.

use super::tx::{Tx, Verb};
use crate::queue::QueueError;

/// Writes the time, and nothing else.
pub(super) struct Ready;

impl Verb for Ready {
    type Answer = ();
    const DURABLE: bool = true;

    async fn run(self, tx: &mut Tx<'_>) -> Result<(), QueueError> {
        let sql = "UPDATE meta SET last_seen = $1";
        sqlx::query(sql).bind(tx.now.millis()).execute(&mut *tx.conn).await?;
        Ok(())
    }
}
