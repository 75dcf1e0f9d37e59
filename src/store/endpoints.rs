//! Endpoints: where a tenant's events go, as operators keep them.

use std::time::Duration;

use async_trait::async_trait;
use jobs::contract::{Fault, Moment, TenantId, ports::Format};
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};

use super::{
    EndpointRow, EndpointSettings, MOST_ENDPOINTS, MOST_OLD_SECRETS, Put, Store, StoreError,
    db::{Tx, on, on_conn},
    endpoint_row::{Confidential, Old, Row, select, word},
};
use crate::{
    config::Rate,
    limits::EndpointPace,
    webhooks::{Address, Addresses, SigningSecret},
};

const FIND: &str = select!("WHERE tenant = $1 AND id = $2");
const ALL: &str = select!("WHERE tenant = $1 ORDER BY id");
const PUT: &str = include_str!("queries/endpoint_put.sql");
const COUNT: &str = "SELECT count(*) FROM endpoints WHERE tenant = $1";
const SEAL: &str = "UPDATE endpoints SET confidential = $3, updated_at = $4 \
     WHERE tenant = $1 AND id = $2";
const ENABLE: &str = "UPDATE endpoints SET disabled = NULL, failing_since = NULL, \
     circuit_until = NULL, probe_until = NULL, counted_from = $3, updated_at = $3 \
     WHERE tenant = $1 AND id = $2 AND disabled IS NOT NULL";

/// What an operator's word is, where Postrider has no better one.
const BY_OPERATOR: &str = "an operator disabled it";
/// Slack takes one message a second for each URL.
const SLACK_PACE: Rate = Rate { count: 1, window: Duration::from_secs(1) };

/// What registering an endpoint did.
#[derive(Debug, Clone)]
pub struct Registered {
    /// The endpoint.
    pub id: String,
    /// Whether it was there before.
    pub put: Put,
    /// The secret that was made for it, to be shown once.
    pub made: Option<SigningSecret>,
    /// Why it stays disabled, if nobody said whether it shall be.
    pub disabled: Option<String>,
}

/// Why a secret was not rotated.
#[derive(Debug, thiserror::Error)]
pub enum RotateSecretError {
    /// The tenant has no such endpoint.
    #[error("this tenant has no such endpoint")]
    Unknown,
    /// As many old secrets sign as may.
    #[error(
        "{MOST_OLD_SECRETS} old secrets still sign, one of them until {0}: wait until then, or \
         rotate with --grace 0s, which ends them all"
    )]
    TooMany(Moment),
    /// The store could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// The tenant's endpoint of this name, with its secrets.
    ///
    /// # Errors
    ///
    /// When the store is out of reach, or the secrets were sealed with another key.
    pub async fn endpoint_row(
        &self,
        tenant: &TenantId,
        id: &str,
    ) -> Result<Option<EndpointRow>, StoreError> {
        let row: Option<Row> = on!(&self.reader, p => sqlx::query_as(FIND)
            .bind(tenant.as_str())
            .bind(id)
            .fetch_optional(p)
            .await)?;
        row.map(|row| self.read_endpoint(tenant, row)).transpose()
    }

    /// The tenant's endpoints in the order of their names, with their secrets.
    ///
    /// # Errors
    ///
    /// As [`Store::endpoint_row`].
    pub async fn endpoint_rows(&self, tenant: &TenantId) -> Result<Vec<EndpointRow>, StoreError> {
        let rows: Vec<Row> = on!(&self.reader, p => sqlx::query_as(ALL)
            .bind(tenant.as_str())
            .fetch_all(p)
            .await)?;
        rows.into_iter().map(|row| self.read_endpoint(tenant, row)).collect()
    }

    /// Makes endpoints or replaces their settings, inside a transaction.
    pub(super) async fn put_endpoints(
        &self,
        tx: &mut Tx,
        tenant: &TenantId,
        endpoints: &[EndpointSettings],
        now: Moment,
    ) -> Result<Vec<Registered>, StoreError> {
        let mut registered = Vec::with_capacity(endpoints.len());
        for settings in endpoints {
            registered.push(self.put_endpoint(tx, tenant, settings, now).await?);
        }
        let count: i64 = on_conn!(Tx, tx, c => sqlx::query_scalar(COUNT)
            .bind(tenant.as_str())
            .fetch_one(&mut **c)
            .await)?;
        if count.unsigned_abs() > MOST_ENDPOINTS as u64 {
            let words = format!("a tenant has at most {MOST_ENDPOINTS} endpoints");
            return Err(StoreError::TooMany(words));
        }
        Ok(registered)
    }

    async fn put_endpoint(
        &self,
        tx: &mut Tx,
        tenant: &TenantId,
        settings: &EndpointSettings,
        now: Moment,
    ) -> Result<Registered, StoreError> {
        let id = &settings.id;
        let before: Option<Row> = on_conn!(Tx, tx, c => sqlx::query_as(FIND)
            .bind(tenant.as_str())
            .bind(id)
            .fetch_optional(&mut **c)
            .await)?;
        let put = if before.is_some() { Put::Updated } else { Put::Created };
        let disabled = match settings.enabled {
            Some(true) => None,
            Some(false) => Some(BY_OPERATOR.to_owned()),
            None => before.as_ref().and_then(|row| row.disabled.clone()),
        };
        let stays = disabled.clone().filter(|_| settings.enabled.is_none());
        // Secrets that do not open any more are other secrets: they are replaced.
        let before = before.and_then(|row| self.read_endpoint(tenant, row).ok());
        if before.as_ref().is_some_and(|row| row.is_as(settings)) {
            let id = id.clone();
            return Ok(Registered { id, put: Put::Unchanged, made: None, disabled: stays });
        }
        let kept = before.as_ref().and_then(|row| row.settings.secret.clone());
        let given = settings.secret.clone().or(kept);
        let made = given.is_none().then(SigningSecret::generate);
        let secret = given.or_else(|| made.clone()).expect("one is made where none is given");
        let old = match before {
            // A secret that is declared replaces all that there were.
            Some(row) if settings.secret.is_none() => old(&row.old_secrets, now),
            _ => Vec::new(),
        };
        let sealed = Confidential::of(settings, &secret, old);
        let sealed = self.seal_endpoint(tenant, id, &sealed)?;
        let signature =
            settings.second.as_ref().map(|second| serde_json::json!(second).to_string());
        on_conn!(Tx, tx, c => sqlx::query(PUT)
            .bind(tenant.as_str())
            .bind(id)
            .bind(&settings.description)
            .bind(word(settings.format))
            .bind(sealed)
            .bind(serde_json::json!(settings.events).to_string())
            .bind(signature)
            .bind(settings.rate.map(|rate| rate.to_string()))
            .bind(disabled)
            .bind(now.millis())
            .execute(&mut **c)
            .await
            .map(|_| ()))?;
        Ok(Registered { id: id.clone(), put, made, disabled: stays })
    }

    /// Gives an endpoint a new secret; the one before signs beside it for `grace`.
    ///
    /// # Errors
    ///
    /// When there is no such endpoint, too many old secrets sign, or the store is out of reach.
    pub async fn rotate_endpoint_secret(
        &self,
        tenant: &TenantId,
        id: &str,
        grace: Duration,
        now: Moment,
    ) -> Result<SigningSecret, RotateSecretError> {
        let mut tx = self.writer.begin().await?;
        let row: Option<Row> = on_conn!(Tx, &mut tx, c => sqlx::query_as(FIND)
            .bind(tenant.as_str())
            .bind(id)
            .fetch_optional(&mut **c)
            .await)
        .map_err(StoreError::from)?;
        let row = row.ok_or(RotateSecretError::Unknown)?;
        let mut sealed = self.unseal_endpoint(tenant, id, &row.confidential)?;
        sealed.old.retain(|old| old.until > now.millis() && !grace.is_zero());
        if let Some(first) = sealed.old.iter().map(|old| old.until).min()
            && sealed.old.len() >= MOST_OLD_SECRETS
        {
            return Err(RotateSecretError::TooMany(Moment::from_millis(first)));
        }
        let new = SigningSecret::generate();
        let secret = std::mem::replace(&mut sealed.secret, new.reveal().to_owned());
        if !grace.is_zero() {
            sealed.old.insert(0, Old { secret, until: now.plus(grace).millis() });
        }
        let sealed = self.seal_endpoint(tenant, id, &sealed)?;
        on_conn!(Tx, &mut tx, c => sqlx::query(SEAL)
            .bind(tenant.as_str())
            .bind(id)
            .bind(sealed)
            .bind(now.millis())
            .execute(&mut **c)
            .await
            .map(|_| ()))
        .map_err(StoreError::from)?;
        tx.commit().await?;
        self.endpoints.forget(tenant, id);
        Ok(new)
    }

    /// Enables an endpoint; its health begins anew. `false` when it was enabled already, or is not
    /// there.
    ///
    /// # Errors
    ///
    /// When the store is out of reach.
    pub async fn enable_endpoint(
        &self,
        tenant: &TenantId,
        id: &str,
        now: Moment,
    ) -> Result<bool, StoreError> {
        let changed = on!(&self.writer, p => sqlx::query(ENABLE)
            .bind(tenant.as_str())
            .bind(id)
            .bind(now.millis())
            .execute(p)
            .await
            .map(|done| done.rows_affected()))?;
        self.endpoints.forget(tenant, id);
        Ok(changed == 1)
    }

    /// Disables an endpoint as an operator does. `false` when it was disabled already, or is not
    /// there.
    ///
    /// # Errors
    ///
    /// When the store is out of reach.
    pub async fn disable_endpoint(
        &self,
        tenant: &TenantId,
        id: &str,
        now: Moment,
    ) -> Result<bool, StoreError> {
        self.disable_because(tenant, id, BY_OPERATOR, now).await
    }

    /// What the endpoint's lane may draw on; none when there is no such endpoint.
    pub(super) async fn pace_of(
        &self,
        tenant: &TenantId,
        id: &str,
    ) -> Result<Option<EndpointPace>, StoreError> {
        let Some(row) = self.endpoint_row(tenant, id).await? else { return Ok(None) };
        let url_rate = (row.settings.format == Format::Slack).then(|| {
            let digest = Sha256::digest(row.settings.url.expose_secret().as_bytes());
            let bucket: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
            (format!("slack:{bucket}"), SLACK_PACE)
        });
        Ok(Some(EndpointPace { own: row.settings.rate, url: url_rate }))
    }
}

fn old(secrets: &[(SigningSecret, Moment)], now: Moment) -> Vec<Old> {
    let signing = secrets.iter().filter(|(_, until)| *until > now);
    let old = |(secret, until): &(SigningSecret, Moment)| Old {
        secret: secret.reveal().to_owned(),
        until: until.millis(),
    };
    signing.map(old).collect()
}

#[async_trait]
impl Addresses for Store {
    async fn address(
        &self,
        tenant: &TenantId,
        endpoint: &str,
        now: Moment,
    ) -> Result<Option<Address>, Fault> {
        let row = self.endpoint_lately(tenant, endpoint).await?;
        Ok(row.map(|row| Address {
            secrets: row.signing(now),
            url: row.settings.url.clone(),
            format: row.settings.format,
            headers: row.settings.headers.clone(),
            second: row.settings.second.clone(),
        }))
    }
}
