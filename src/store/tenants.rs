//! Whose everything is.

use jobs::contract::{Moment, TenantId};

use super::{Put, Store, StoreError, db::on};

impl Store {
    /// Makes a tenant, if it is not there.
    ///
    /// # Errors
    ///
    /// When the store is out of reach.
    pub async fn create_tenant(&self, tenant: &TenantId, now: Moment) -> Result<Put, StoreError> {
        const SQL: &str =
            "INSERT INTO tenants (id, created_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING";
        let made = on!(&self.writer, p => sqlx::query(SQL)
            .bind(tenant.as_str())
            .bind(now.millis())
            .execute(p)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(if made == 1 { Put::Created } else { Put::Unchanged })
    }

    /// Every tenant, in the order of their names.
    ///
    /// # Errors
    ///
    /// When the store is out of reach.
    pub async fn tenants(&self) -> Result<Vec<TenantId>, StoreError> {
        let mut names: Vec<String> = on!(&self.reader, p => {
            sqlx::query_scalar("SELECT id FROM tenants").fetch_all(p).await
        })?;
        names.sort_unstable();
        names.into_iter().map(|name| name.parse().map_err(StoreError::Unusable)).collect()
    }

    /// Says clearly that a tenant is not there, before a foreign key does.
    pub(crate) async fn require_tenant(&self, tenant: &TenantId) -> Result<(), StoreError> {
        let found: Option<String> = on!(&self.reader, p => {
            sqlx::query_scalar("SELECT id FROM tenants WHERE id = $1")
                .bind(tenant.as_str())
                .fetch_optional(p)
                .await
        })?;
        found.map(|_| ()).ok_or_else(|| StoreError::NoTenant(tenant.to_string()))
    }
}
