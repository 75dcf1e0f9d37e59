//! Tests: the store. Every test of behaviour runs over SQLite and over Postgres.

#![allow(clippy::unwrap_used, reason = "what fails in a test is to fail it")]

mod apply;
pub(crate) mod endpoints;
mod keys;
mod ledger;
mod mailboxes;
mod opening;
mod prospects;
mod secrets;
mod suppressions;
mod ticks;

use std::{path::Path, time::Duration};

use jobs::contract::{Moment, RunInfo, TenantId};
use postrider::{
    secrets::Secrets,
    store::{OnOldSchema, Store, StoreConfig},
};
use sqlx::{
    AssertSqlSafe, Connection, PgConnection, SqliteConnection, sqlite::SqliteConnectOptions,
};
use tempfile::TempDir;

use crate::support::postgres;

/// 2026-06-10T09:00:00Z.
pub(crate) const NOW: Moment = Moment::from_millis(1_781_082_000_000);
/// How long an entry of the ledger is left alone.
pub(crate) const STALE: Duration = Duration::from_secs(3_600);

/// Makes one test over SQLite and one over Postgres of an `async fn(Given)`.
macro_rules! on_both {
    ($($(#[$meta:meta])* async fn $name:ident($given:ident) $body:block)*) => {$(
        $(#[$meta])*
        mod $name {
            #[allow(clippy::wildcard_imports, unused_imports)] // the test reads as if it were outside
            use super::*;

            async fn test($given: $crate::store::Given) $body

            #[tokio::test]
            async fn sqlite() {
                test($crate::store::Given::sqlite().await).await;
            }

            #[tokio::test]
            async fn postgres() {
                test($crate::store::Given::postgres().await).await;
            }
        }
    )*};
}
pub(crate) use on_both;

/// A store of its own, with the tenants `dev` and `acme`.
pub(crate) struct Given {
    pub(crate) store: Store,
    pub(crate) dir: TempDir,
    pub(crate) url: String,
}

impl Given {
    pub(crate) async fn sqlite() -> Self {
        Self::at(String::new()).await
    }

    pub(crate) async fn postgres() -> Self {
        Self::at(postgres::schema().await).await
    }

    async fn at(url: String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&url, dir.path()).await;
        for tenant in [dev(), acme()] {
            store.create_tenant(&tenant, NOW).await.unwrap();
        }
        Self { store, dir, url }
    }

    /// Writes into the account of the only bulk job there is.
    async fn account(&self, set: &str, text: &str) {
        let sql = AssertSqlSafe(format!("UPDATE bulk_runs SET {set}"));
        if self.url.is_empty() {
            let file = self.dir.path().join("store.sqlite");
            let options = SqliteConnectOptions::new().filename(file);
            let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
            sqlx::query(sql).bind(text).execute(&mut connection).await.unwrap();
        } else {
            let mut connection = PgConnection::connect(&self.url).await.unwrap();
            sqlx::query(sql).bind(text).execute(&mut connection).await.unwrap();
        }
    }

    /// A run has written down what it is about to do, and then ended.
    pub(crate) async fn plan(&self, planned: &str) {
        self.account("planned = $1", planned).await;
    }

    /// A run has done one chunk of so many items.
    pub(crate) async fn jump(&self, items: u32) {
        let set = "chunk = 1, processed = CAST($1 AS BIGINT)";
        self.account(set, &items.to_string()).await;
    }

    /// The same store, as another process opens it.
    pub(crate) async fn again(&self) -> Store {
        open(&self.url, self.dir.path()).await
    }
}

async fn open(url: &str, dir: &Path) -> Store {
    Store::open(&config(url), dir, secrets(1), OnOldSchema::Migrate).await.unwrap()
}

pub(crate) fn config(url: &str) -> StoreConfig {
    StoreConfig { url: url.to_owned() }
}

pub(crate) fn secrets(byte: u8) -> Secrets {
    use base64::{Engine, engine::general_purpose::STANDARD};
    Secrets::from_base64(&STANDARD.encode([byte; 32]).into()).unwrap()
}

pub(crate) fn dev() -> TenantId {
    "dev".parse().unwrap()
}

pub(crate) fn acme() -> TenantId {
    "acme".parse().unwrap()
}

/// The run of `dev`'s job number `job` under a fence.
pub(crate) fn run(job: u128, fence: u64) -> RunInfo {
    RunInfo {
        job: jobs::contract::JobId::from_u128(job),
        tenant: dev(),
        attempt: 1,
        max_attempts: 8,
        fence,
        created_at: NOW,
        cursor: None,
    }
}
