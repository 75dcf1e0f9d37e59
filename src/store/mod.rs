//! The SQL store: what has happened.
//!
//! SQLite for one host, Postgres for a fleet, behind one SQL text. What the store holds is its
//! tenants', and every call takes the tenant first.

mod accounts;
mod bulk;
mod callers;
mod db;
mod deliveries;
mod delivery_ends;
mod delivery_log;
mod delivery_writer;
mod endpoint;
mod endpoint_cache;
mod endpoint_health;
mod endpoint_row;
mod endpoints;
mod error;
mod host_file;
mod keys;
mod ledger;
mod mailbox;
mod mailboxes;
mod prospects;
pub mod records;
mod rotation;
mod schema;
mod staging;
mod suppressions;
mod tenants;
mod ticks;
mod vault;
mod warmup;

use std::{path::Path, sync::Arc, time::Duration};

use jobs::contract::Moment;
use serde::Deserialize;

pub(crate) use self::db::on;
pub use self::{
    db::Db,
    delivery_ends::WaitingDelivery,
    delivery_log::{AttemptLine, DeliveryRecord},
    delivery_writer::DeliveryWriter,
    endpoint::{EndpointRow, EndpointSettings, MOST_ENDPOINTS, MOST_OLD_SECRETS},
    endpoints::{Registered, RotateSecretError},
    error::StoreError,
    keys::{Caller, KeyRecord, MOST_ACTIVE_KEYS, NewKey, NewKeyError},
    mailbox::{LOGINS_REFUSED_AT_MOST, MailboxRow, MailboxSettings, Transport},
    mailboxes::Applied,
    prospects::{Prospect, is_field_name},
    rotation::{ROTATION_GRACE, RotateError, Rotated},
    schema::{Migrated, OnOldSchema, SchemaVersion},
    staging::{BATCH, Loaded, Staging},
    vault::Rewrapped,
    warmup::{MOST_WARMUP_A_DAY, WarmupSettings, WarmupType},
};
use self::{
    db::{Address, Pools},
    endpoint_cache::EndpointCache,
};
use crate::secrets::Secrets;

/// The section `[store]` of the configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// Where it is; empty: SQLite in the data directory.
    pub url: String,
}

/// What one call did to one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It was not there.
    Created,
    /// It was there, and different.
    Updated,
    /// It was there, and the same.
    Unchanged,
}

/// The store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    address: Address,
    reader: Db,
    writer: Db,
    /// Writes the log of deliveries, without waiting for the disk.
    log: Db,
    endpoints: Arc<EndpointCache>,
    secrets: Secrets,
}

impl Store {
    /// Opens the store that is configured; the embedded default is made when it is not there.
    ///
    /// # Errors
    ///
    /// When the URL is none, the store cannot be reached or made, or its schema is newer than this
    /// program, or older and not to be migrated.
    pub async fn open(
        config: &StoreConfig,
        data_dir: &Path,
        secrets: Secrets,
        on_old: OnOldSchema,
    ) -> Result<Self, StoreError> {
        let address = Address::read(&config.url, data_dir)?;
        let Pools { reader, writer, log } = open(&address, on_old).await?.0;
        let endpoints = Arc::default();
        let mut store = Self { address, reader, writer, log, endpoints, secrets };
        store.load_pepper().await?;
        Ok(store)
    }

    /// Brings the schema of the configured store to this program's version; needs no secrets.
    ///
    /// # Errors
    ///
    /// As [`Store::open`].
    pub async fn migrate(config: &StoreConfig, data_dir: &Path) -> Result<Migrated, StoreError> {
        let address = Address::read(&config.url, data_dir)?;
        let (pools, migrated) = open(&address, OnOldSchema::Migrate).await?;
        pools.close().await;
        Ok(migrated)
    }

    /// Proves that the store can be reached and read.
    ///
    /// # Errors
    ///
    /// When it cannot be.
    pub async fn ready(&self) -> Result<(), StoreError> {
        let one = db::on!(&self.reader, p => {
            tokio::time::timeout(READY_WITHIN, sqlx::query("SELECT 1").execute(p))
                .await
                .map(|answer| answer.map(|_| ()))
        });
        match one {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(StoreError::Unavailable(format!(
                "no answer within {} s",
                READY_WITHIN.as_secs()
            ))),
        }
    }

    /// Removes at most `max` things from before a moment, and first what hangs on them: what is left when
    /// this breaks off is found again. How many.
    async fn prune_with(
        &self,
        [hanging, things]: [&'static str; 2],
        before: Moment,
        max: u32,
    ) -> Result<u64, StoreError> {
        let mut removed = 0;
        for sql in [hanging, things] {
            removed = db::on!(&self.writer, p => sqlx::query(sql)
                .bind(before.millis())
                .bind(i64::from(max))
                .execute(p)
                .await
                .map(|done| done.rows_affected()))?;
        }
        Ok(removed)
    }

    /// Closes all connections; on SQLite this also folds the journal into the file.
    pub async fn shut(&self) {
        self.reader.close().await;
        self.log.close().await;
        self.writer.close().await;
    }
}

/// How long a proof of readiness may take: less than what asks for it waits.
const READY_WITHIN: Duration = Duration::from_secs(2);

async fn open(address: &Address, on_old: OnOldSchema) -> Result<(Pools, Migrated), StoreError> {
    let pools = address.open().await?;
    match schema::check(&pools.writer, on_old).await {
        Ok(migrated) => Ok((pools, migrated)),
        Err(error) => {
            pools.close().await;
            Err(error)
        }
    }
}

/// The name by which an address is found: addresses that differ only in case are one.
fn name_of(address: &str) -> String {
    // Postgres refuses a NUL in a text; there is no address with one to be found.
    address.trim().to_lowercase().replace('\0', "\u{fffd}")
}
