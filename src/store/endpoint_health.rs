//! Endpoints as jobs see them: who subscribed, who is disabled, whose circuit is open.

use async_trait::async_trait;
use jobs::{
    contract::{
        Fault, Moment, TenantId,
        ports::{Endpoint, EndpointStatus, Endpoints},
    },
    webhook_delivery::matches,
};

use super::{Store, StoreError, db::on, endpoint_row::broken};

const ENABLED: &str =
    "SELECT id, events FROM endpoints WHERE tenant = $1 AND disabled IS NULL ORDER BY id";
const PROBE: &str = "UPDATE endpoints SET probe_until = $4 \
     WHERE tenant = $1 AND id = $2 AND circuit_until <= $3 \
       AND (probe_until IS NULL OR probe_until <= $3)";
const OPEN: &str = "UPDATE endpoints SET circuit_until = $3, probe_until = NULL \
     WHERE tenant = $1 AND id = $2";
const DISABLE: &str = "UPDATE endpoints SET disabled = $3, updated_at = $4 \
     WHERE tenant = $1 AND id = $2 AND disabled IS NULL";

impl Store {
    pub(super) async fn disable_because(
        &self,
        tenant: &TenantId,
        id: &str,
        why: &str,
        now: Moment,
    ) -> Result<bool, StoreError> {
        let changed = on!(&self.writer, p => sqlx::query(DISABLE)
            .bind(tenant.as_str())
            .bind(id)
            .bind(why)
            .bind(now.millis())
            .execute(p)
            .await
            .map(|done| done.rows_affected()))?;
        self.endpoints.forget(tenant, id);
        Ok(changed == 1)
    }
}

#[async_trait]
impl Endpoints for Store {
    async fn find(&self, tenant: &TenantId, id: &str) -> Result<Option<Endpoint>, Fault> {
        let Some(row) = self.endpoint_lately(tenant, id).await? else { return Ok(None) };
        let disabled = row.disabled.clone();
        Ok(Some(Endpoint {
            id: id.to_owned(),
            format: row.settings.format,
            status: disabled.map_or(EndpointStatus::Enabled, EndpointStatus::Disabled),
            circuit_until: row.circuit_until,
        }))
    }

    async fn subscribers(&self, tenant: &TenantId, event: &str) -> Result<Vec<String>, Fault> {
        let rows: Vec<(String, String)> = on!(&self.reader, p => sqlx::query_as(ENABLED)
            .bind(tenant.as_str())
            .fetch_all(p)
            .await)
        .map_err(StoreError::from)?;
        let mut subscribers = Vec::new();
        for (id, events) in rows {
            let events: Vec<String> =
                serde_json::from_str(&events).map_err(|e| broken("events", e))?;
            if events.iter().any(|subscription| matches(subscription, event)) {
                subscribers.push(id);
            }
        }
        Ok(subscribers)
    }

    async fn probe(
        &self,
        tenant: &TenantId,
        id: &str,
        now: Moment,
        until: Moment,
    ) -> Result<bool, Fault> {
        let taken = on!(&self.writer, p => sqlx::query(PROBE)
            .bind(tenant.as_str())
            .bind(id)
            .bind(now.millis())
            .bind(until.millis())
            .execute(p)
            .await
            .map(|done| done.rows_affected()));
        Ok(taken.map_err(StoreError::from)? == 1)
    }

    async fn open_circuit(&self, tenant: &TenantId, id: &str, until: Moment) -> Result<(), Fault> {
        on!(&self.writer, p => sqlx::query(OPEN)
            .bind(tenant.as_str())
            .bind(id)
            .bind(until.millis())
            .execute(p)
            .await
            .map(|_| ()))
        .map_err(StoreError::from)?;
        self.endpoints.forget(tenant, id);
        Ok(())
    }

    async fn disable(
        &self,
        tenant: &TenantId,
        id: &str,
        why: &str,
        now: Moment,
    ) -> Result<bool, Fault> {
        Ok(self.disable_because(tenant, id, why, now).await?)
    }
}
