//! API keys: who may ask, for which tenant, for what.

use std::{collections::BTreeSet, time::Duration};

use jobs::contract::{Moment, TenantId};

use super::{
    Store, StoreError,
    db::{Tx, on, on_conn},
};
use crate::secrets::{ApiKey, Environment, KeyHash};

/// Active keys that a tenant may have: one in use, one to move to, one to spare.
pub const MOST_ACTIVE_KEYS: u32 = 3;
/// How old `last_used_at` may be before a use is written down: a key is not worth a write a request.
const USE_WORTH_WRITING_MS: i64 = 60_000;
/// How long a caller may wait for that.
const NOTE_WITHIN: Duration = Duration::from_millis(250);

const LOCK_TENANT: &str = "UPDATE tenants SET created_at = created_at WHERE id = $1";
const ACTIVE: &str = "SELECT count(*) FROM api_keys WHERE tenant = $1 AND revoked_at IS NULL \
     AND (expires_at IS NULL OR expires_at > $2)";
const INSERT: &str = "INSERT INTO api_keys \
     (id, tenant, environment, label, hash, scopes, created_at, expires_at) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
const FIND: &str = "SELECT tenant, hash, scopes, last_used_at FROM api_keys \
     WHERE id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)";
const USED: &str = "UPDATE api_keys SET last_used_at = $2 WHERE id = $1";
const LIST: &str = "SELECT id, environment, label, scopes, created_at, expires_at, revoked_at, \
     last_used_at, replaced_by FROM api_keys WHERE tenant = $1 ORDER BY created_at, id";
const REVOKE: &str = "UPDATE api_keys SET revoked_at = $3 \
     WHERE tenant = $1 AND id = $2 AND revoked_at IS NULL";

/// Who a key belongs to, and what it may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The tenant.
    pub tenant: TenantId,
    /// The key's name, for logs.
    pub key_id: String,
    /// `jobs:read`, `send:write` …
    pub scopes: BTreeSet<String>,
}

/// What a new key is to be.
#[derive(Debug, Clone, Default)]
pub struct NewKey {
    /// What it is for.
    pub environment: Environment,
    /// The operator's words for it.
    pub label: Option<String>,
    /// What it may.
    pub scopes: BTreeSet<String>,
    /// Until when it is valid; always, if not given.
    pub expires_at: Option<Moment>,
}

/// Why there is no new key.
#[derive(Debug, thiserror::Error)]
pub enum NewKeyError {
    /// The tenant has as many as it may.
    #[error(
        "the tenant {0} has {MOST_ACTIVE_KEYS} active keys, and more are not allowed: revoke one \
         first (`postrider keys list`, `postrider keys revoke`)"
    )]
    TooMany(TenantId),
    /// The store could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A key as it is listed: nothing of its secret.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct KeyRecord {
    /// Its name.
    pub id: String,
    /// `live` or `test`.
    pub environment: String,
    /// The operator's words for it.
    pub label: Option<String>,
    /// What it may.
    pub scopes: BTreeSet<String>,
    /// When it was made.
    pub created_at: Moment,
    /// Until when it is valid.
    pub expires_at: Option<Moment>,
    /// When it was revoked.
    pub revoked_at: Option<Moment>,
    /// When it was used last, to the minute.
    pub last_used_at: Option<Moment>,
    /// The key that took its place; it is valid until it expires.
    pub replaced_by: Option<String>,
}

#[derive(sqlx::FromRow)]
struct Listed {
    id: String,
    environment: String,
    label: Option<String>,
    scopes: String,
    created_at: i64,
    expires_at: Option<i64>,
    revoked_at: Option<i64>,
    last_used_at: Option<i64>,
    replaced_by: Option<String>,
}

#[derive(sqlx::FromRow)]
struct Found {
    tenant: String,
    hash: String,
    scopes: String,
    last_used_at: Option<i64>,
}

impl Store {
    /// Makes a key for a tenant. The answer is the only time that it is to be seen.
    ///
    /// # Errors
    ///
    /// When the tenant is not there or has as many keys as it may, or the store is out of reach.
    pub async fn create_key(
        &self,
        tenant: &TenantId,
        new: &NewKey,
        now: Moment,
    ) -> Result<ApiKey, NewKeyError> {
        let key = ApiKey::generate(new.environment);
        let hash = self.secrets.hash(&key);
        let mut tx = self.writer.begin().await?;
        if !has_place(&mut tx, tenant, now).await? {
            return Err(NewKeyError::TooMany(tenant.clone()));
        }
        insert(&mut tx, tenant, &key, &hash, new, now).await?;
        tx.commit().await?;
        Ok(key)
    }

    /// Whom a key belongs to; nobody, when it is unknown, expired or revoked.
    ///
    /// # Errors
    ///
    /// When the store is out of reach.
    pub async fn authenticate(
        &self,
        key: &ApiKey,
        now: Moment,
    ) -> Result<Option<Caller>, StoreError> {
        // Before the look-up, so that known and unknown names take the same time here.
        let hash = self.secrets.hash(key);
        let found: Option<Found> = on!(&self.reader, p => sqlx::query_as(FIND)
            .bind(key.id())
            .bind(now.millis())
            .fetch_optional(p)
            .await)?;
        let Some(found) = found.filter(|found| hash.matches(&found.hash)) else { return Ok(None) };
        let worth = found.last_used_at.is_none_or(|at| now.millis() - at >= USE_WORTH_WRITING_MS);
        if worth {
            self.note_use(key, now).await;
        }
        Ok(Some(Caller {
            tenant: found.tenant.parse().map_err(StoreError::Unusable)?,
            key_id: key.id().to_owned(),
            scopes: scopes(&found.scopes)?,
        }))
    }

    /// Nobody is turned away, or waits for long, because a note could not be taken.
    async fn note_use(&self, key: &ApiKey, now: Moment) {
        let note = async {
            on!(&self.writer, p => sqlx::query(USED)
                .bind(key.id())
                .bind(now.millis())
                .execute(p)
                .await
                .map(|_| ()))
        };
        let words = match tokio::time::timeout(NOTE_WITHIN, note).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => StoreError::from(error).to_string(),
            Err(_) => "the store is busy".to_owned(),
        };
        tracing::warn!(error = %words, key.id = key.id(), "The use of a key was not written down.");
    }

    /// The tenant's keys, oldest first, revoked ones too.
    ///
    /// # Errors
    ///
    /// When the store is out of reach.
    pub async fn keys(&self, tenant: &TenantId) -> Result<Vec<KeyRecord>, StoreError> {
        let rows: Vec<Listed> = on!(&self.reader, p => sqlx::query_as(LIST)
            .bind(tenant.as_str())
            .fetch_all(p)
            .await)?;
        rows.into_iter().map(Listed::read).collect()
    }

    /// Revokes a tenant's key; `false` when the tenant has no such key, or it was revoked already.
    ///
    /// # Errors
    ///
    /// When the store is out of reach.
    pub async fn revoke_key(
        &self,
        tenant: &TenantId,
        id: &str,
        now: Moment,
    ) -> Result<bool, StoreError> {
        let revoked = on!(&self.writer, p => sqlx::query(REVOKE)
            .bind(tenant.as_str())
            .bind(id)
            .bind(now.millis())
            .execute(p)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(revoked == 1)
    }
}

/// Whether a tenant may have one more key. Takes the tenant's row, so that of two that count at once
/// the second counts the first's.
pub(super) async fn has_place(
    tx: &mut Tx,
    tenant: &TenantId,
    now: Moment,
) -> Result<bool, StoreError> {
    let tenants = on_conn!(Tx, tx, c => sqlx::query(LOCK_TENANT)
        .bind(tenant.as_str())
        .execute(&mut **c)
        .await
        .map(|done| done.rows_affected()))?;
    if tenants == 0 {
        return Err(StoreError::NoTenant(tenant.to_string()));
    }
    let active: i64 = on_conn!(Tx, tx, c => sqlx::query_scalar(ACTIVE)
        .bind(tenant.as_str())
        .bind(now.millis())
        .fetch_one(&mut **c)
        .await)?;
    Ok(active < i64::from(MOST_ACTIVE_KEYS))
}

/// Writes a new key down.
pub(super) async fn insert(
    tx: &mut Tx,
    tenant: &TenantId,
    key: &ApiKey,
    hash: &KeyHash,
    new: &NewKey,
    now: Moment,
) -> Result<(), StoreError> {
    on_conn!(Tx, tx, c => sqlx::query(INSERT)
        .bind(key.id())
        .bind(tenant.as_str())
        .bind(key.environment().as_str())
        .bind(&new.label)
        .bind(hash.to_text())
        .bind(serde_json::json!(new.scopes).to_string())
        .bind(now.millis())
        .bind(new.expires_at.map(Moment::millis))
        .execute(&mut **c)
        .await
        .map(|_| ()))
    .map_err(StoreError::from)
}

impl Listed {
    fn read(self) -> Result<KeyRecord, StoreError> {
        Ok(KeyRecord {
            scopes: scopes(&self.scopes)?,
            id: self.id,
            environment: self.environment,
            label: self.label,
            created_at: Moment::from_millis(self.created_at),
            expires_at: self.expires_at.map(Moment::from_millis),
            revoked_at: self.revoked_at.map(Moment::from_millis),
            last_used_at: self.last_used_at.map(Moment::from_millis),
            replaced_by: self.replaced_by,
        })
    }
}

pub(super) fn scopes(text: &str) -> Result<BTreeSet<String>, StoreError> {
    serde_json::from_str(text)
        .map_err(|error| StoreError::Unusable(format!("the scopes of a key: {error}")))
}
