//! Rotating API keys: a new key takes the place of an old one, which stays valid for a while.

use std::time::Duration;

use jobs::contract::{Moment, TenantId};

use super::{
    NewKey, NewKeyError, Store, StoreError,
    db::{Tx, on_conn},
    keys::{has_place, insert, scopes},
};
use crate::secrets::{ApiKey, Environment};

/// How long the old key is valid after its rotation: over a weekend, for whoever forgot a place where
/// it is used.
pub const ROTATION_GRACE: Duration = Duration::from_secs(72 * 3_600);

const FIND: &str = "SELECT environment, label, scopes, created_at, expires_at, replaced_by \
     FROM api_keys WHERE tenant = $1 AND id = $2 AND revoked_at IS NULL \
     AND (expires_at IS NULL OR expires_at > $3)";
const REPLACE: &str =
    "UPDATE api_keys SET expires_at = $3, replaced_by = $4 WHERE tenant = $1 AND id = $2";

/// What a rotation made.
#[derive(Debug)]
pub struct Rotated {
    /// The new key; the only time that it is to be seen.
    pub key: ApiKey,
    /// Until when the old one is valid.
    pub old_until: Moment,
}

/// Why a key was not rotated.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// The tenant has no such key that is valid.
    #[error("the tenant {0} has no such key, or it is revoked or expired")]
    NoKey(TenantId),
    /// It was rotated before.
    #[error("the key was rotated already: {0} took its place; rotate that one")]
    Replaced(String),
    /// There is no new key.
    #[error(transparent)]
    New(#[from] NewKeyError),
}

#[derive(sqlx::FromRow)]
struct Old {
    environment: String,
    label: Option<String>,
    scopes: String,
    created_at: i64,
    expires_at: Option<i64>,
    replaced_by: Option<String>,
}

impl Store {
    /// Makes a key that is what an old one was, with as long to live from now if that was limited,
    /// and ends the old one after [`ROTATION_GRACE`]. Both count as active until then.
    ///
    /// # Errors
    ///
    /// When there is no such key, it was rotated already, the tenant has as many active keys as it
    /// may, or the store is out of reach.
    pub async fn rotate_key(
        &self,
        tenant: &TenantId,
        id: &str,
        now: Moment,
    ) -> Result<Rotated, RotateError> {
        let mut tx = self.writer.begin().await.map_err(NewKeyError::from)?;
        let has_place = has_place(&mut tx, tenant, now).await.map_err(NewKeyError::from)?;
        let old = find(&mut tx, tenant, id, now).await.map_err(NewKeyError::from)?;
        let Some(old) = old else { return Err(RotateError::NoKey(tenant.clone())) };
        if let Some(by) = old.replaced_by {
            return Err(RotateError::Replaced(by));
        }
        if !has_place {
            return Err(NewKeyError::TooMany(tenant.clone()).into());
        }
        let new = old.successor(now).map_err(NewKeyError::from)?;
        let key = ApiKey::generate(new.environment);
        let hash = self.secrets.hash(&key);
        insert(&mut tx, tenant, &key, &hash, &new, now).await.map_err(NewKeyError::from)?;
        let grace = now.plus(ROTATION_GRACE);
        let old_until = old.expires_at.map_or(grace, |at| Moment::from_millis(at).min(grace));
        on_conn!(Tx, &mut tx, c => sqlx::query(REPLACE)
            .bind(tenant.as_str())
            .bind(id)
            .bind(old_until.millis())
            .bind(key.id())
            .execute(&mut **c)
            .await
            .map(|_| ()))
        .map_err(|error| NewKeyError::from(StoreError::from(error)))?;
        tx.commit().await.map_err(NewKeyError::from)?;
        Ok(Rotated { key, old_until })
    }
}

async fn find(
    tx: &mut Tx,
    tenant: &TenantId,
    id: &str,
    now: Moment,
) -> Result<Option<Old>, StoreError> {
    on_conn!(Tx, tx, c => sqlx::query_as(FIND)
        .bind(tenant.as_str())
        .bind(id)
        .bind(now.millis())
        .fetch_optional(&mut **c)
        .await)
    .map_err(StoreError::from)
}

impl Old {
    fn successor(&self, now: Moment) -> Result<NewKey, StoreError> {
        let environment = match self.environment.as_str() {
            "test" => Environment::Test,
            _ => Environment::Live,
        };
        let lifetime = |end: i64| {
            now.plus(Moment::from_millis(end).since(Moment::from_millis(self.created_at)))
        };
        Ok(NewKey {
            environment,
            label: self.label.clone(),
            scopes: scopes(&self.scopes)?,
            expires_at: self.expires_at.map(lifetime),
        })
    }
}
