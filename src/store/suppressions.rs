//! Addresses and domains that a tenant must not write to.

use async_trait::async_trait;
use jobs::contract::{
    Fault, Moment, TenantId,
    ports::{Suppression, Suppressions},
};

use super::{
    Store, StoreError,
    db::{Tx, on, on_conn},
    name_of,
};

/// The address' own entry before its domain's: it says more.
const FIND: &str = "SELECT reason, since FROM suppressions \
     WHERE tenant = $1 AND name IN ($2, $3) ORDER BY CASE name WHEN $2 THEN 0 ELSE 1 END LIMIT 1";
const ADD: &str = "INSERT INTO suppressions (tenant, name, reason, since) VALUES ($1, $2, $3, $4) \
     ON CONFLICT (tenant, name) DO NOTHING";

#[async_trait]
impl Suppressions for Store {
    async fn find(&self, tenant: &TenantId, email: &str) -> Result<Option<Suppression>, Fault> {
        let name = name_of(email);
        let domain = name.rfind('@').map_or("", |at| &name[at..]).to_owned();
        let found: Option<(String, i64)> = on!(&self.reader, p => sqlx::query_as(FIND)
            .bind(tenant.as_str())
            .bind(&name)
            .bind(&domain)
            .fetch_optional(p)
            .await)
        .map_err(StoreError::from)?;
        Ok(found.map(|(reason, since)| Suppression { reason, since: Moment::from_millis(since) }))
    }

    async fn add(
        &self,
        tenant: &TenantId,
        email: &str,
        reason: &str,
        now: Moment,
    ) -> Result<(), Fault> {
        on!(&self.writer, p => sqlx::query(ADD)
            .bind(tenant.as_str())
            .bind(name_of(email))
            .bind(reason)
            .bind(now.millis())
            .execute(p)
            .await
            .map(|_| ()))
        .map_err(StoreError::from)?;
        Ok(())
    }
}

/// Adds an address or `@domain` inside a transaction; `false` when it was there.
pub(super) async fn add(
    tx: &mut Tx,
    tenant: &TenantId,
    entry: &str,
    reason: &str,
    now: Moment,
) -> Result<bool, StoreError> {
    let added = on_conn!(Tx, tx, c => sqlx::query(ADD)
        .bind(tenant.as_str())
        .bind(name_of(entry))
        .bind(reason)
        .bind(now.millis())
        .execute(&mut **c)
        .await
        .map(|done| done.rows_affected()))?;
    Ok(added == 1)
}
