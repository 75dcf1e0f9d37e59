//! How far each entry of the crontab has got.

use async_trait::async_trait;
use jobs::contract::{Fault, Moment, TenantId};

use super::{Store, StoreError, db::on};
use crate::scheduler::Ticks;

const LAST: &str = "SELECT last_tick FROM crontab_ticks WHERE tenant = $1 AND name = $2";
const BEGIN: &str = "INSERT INTO crontab_ticks (tenant, name, last_tick) VALUES ($1, $2, $3) \
     ON CONFLICT (tenant, name) DO NOTHING";
const ADVANCE: &str = "UPDATE crontab_ticks SET last_tick = $3 \
     WHERE tenant = $1 AND name = $2 AND last_tick = $4";

#[async_trait]
impl Ticks for Store {
    async fn last(&self, tenant: &TenantId, name: &str) -> Result<Option<Moment>, Fault> {
        let last: Option<(i64,)> = on!(&self.reader, p => sqlx::query_as(LAST)
            .bind(tenant.as_str())
            .bind(name)
            .fetch_optional(p)
            .await)
        .map_err(StoreError::from)?;
        Ok(last.map(|(millis,)| Moment::from_millis(millis)))
    }

    async fn advance(
        &self,
        tenant: &TenantId,
        name: &str,
        from: Option<Moment>,
        to: Moment,
    ) -> Result<bool, Fault> {
        let changed = on!(&self.writer, p => {
            let query = sqlx::query(if from.is_some() { ADVANCE } else { BEGIN })
                .bind(tenant.as_str())
                .bind(name)
                .bind(to.millis());
            let query = match from {
                Some(from) => query.bind(from.millis()),
                None => query,
            };
            query.execute(p).await.map(|done| done.rows_affected())
        });
        Ok(changed.map_err(StoreError::from)? == 1)
    }
}
