//! Deliveries whose job ended where no run could write that down: it was cancelled while it waited, it took
//! its workers with it, or it was put off for too long. The queue knows; the log is told here.

use jobs::contract::{JobId, Moment, TenantId, ports::DeliveryState};

use super::{Store, StoreError, db::on, deliveries::state_word};

/// Those whose next attempt is not ahead.
const WAITING: &str = "SELECT tenant, id FROM deliveries AS d \
     WHERE state = 'waiting' AND (tenant, id) > ($1, $2) AND updated_at < $3 \
       AND NOT EXISTS (SELECT 1 FROM delivery_attempts AS a \
                       WHERE a.tenant = d.tenant AND a.delivery = d.id AND a.next_at >= $3) \
     ORDER BY tenant, id LIMIT $4";
/// Unless it was tried meanwhile.
const END: &str = "UPDATE deliveries SET state = $5, updated_at = $4 \
     WHERE tenant = $1 AND id = $2 AND state = 'waiting' AND updated_at < $3";

/// A delivery that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingDelivery {
    /// Whose it is.
    pub tenant: TenantId,
    /// Its name: `dlv_…`.
    pub id: String,
}

impl WaitingDelivery {
    /// The job that makes it; none, if its name tells of none.
    pub fn job(&self) -> Option<JobId> {
        JobId::under_prefix("dlv", &self.id)
    }
}

impl Store {
    /// The next deliveries that have waited since before a moment and are not due later, in the order of
    /// their tenants and names, those behind `after`.
    ///
    /// # Errors
    ///
    /// When the store is out of reach.
    pub async fn waiting_deliveries(
        &self,
        after: Option<&WaitingDelivery>,
        before: Moment,
        limit: u32,
    ) -> Result<Vec<WaitingDelivery>, StoreError> {
        let (tenant, id) =
            after.map_or(("", ""), |after| (after.tenant.as_str(), after.id.as_str()));
        let rows: Vec<(String, String)> = on!(&self.reader, p => sqlx::query_as(WAITING)
            .bind(tenant)
            .bind(id)
            .bind(before.millis())
            .bind(i64::from(limit))
            .fetch_all(p)
            .await)?;
        let read = |(tenant, id): (String, String)| {
            let tenant = tenant.parse().map_err(|words| {
                StoreError::Unusable(format!("the tenant of delivery {id}: {words}"))
            })?;
            Ok(WaitingDelivery { tenant, id })
        };
        rows.into_iter().map(read).collect()
    }

    /// Writes down how a delivery stands that has waited since before a moment; `false` when it was tried
    /// meanwhile.
    ///
    /// # Errors
    ///
    /// When the store is out of reach.
    pub async fn end_delivery(
        &self,
        delivery: &WaitingDelivery,
        state: DeliveryState,
        before: Moment,
        now: Moment,
    ) -> Result<bool, StoreError> {
        let done = on!(&self.writer, p => sqlx::query(END)
            .bind(delivery.tenant.as_str())
            .bind(&delivery.id)
            .bind(before.millis())
            .bind(now.millis())
            .bind(state_word(state))
            .execute(p)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }
}
