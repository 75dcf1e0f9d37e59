//! A product with a table of tickets, in a database of its own.

use std::{collections::BTreeMap, sync::Arc};

use jobs::{
    BulkUpdate,
    contract::{
        Context, Job, JobId, Outcome, Ports, RunInfo,
        fakes::Fakes,
        ports::{ItemErrors, Progress, Records},
    },
};
use postrider::{
    queue::Queue,
    resources::{Compared, Declarations, Keeper, Tables, compare},
    store::{
        Store,
        records::{Hosts, RecordStore},
    },
};
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgPool, SqlitePool, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use crate::{
    store::{Given, run},
    support::{embedded_queue, postgres},
};

/// What the product declares. `$TIME` and `$JSON` are what each database has for moments and JSON.
const TABLES: &str = "
    CREATE TABLE tickets (
        organisation TEXT NOT NULL, id TEXT NOT NULL, status TEXT NOT NULL DEFAULT 'open',
        priority BIGINT CHECK (priority < 100), subject TEXT, urgent BOOLEAN, due_at $TIME,
        meta $JSON, score DOUBLE PRECISION, reference VARCHAR(20) UNIQUE, updated_at BIGINT,
        deleted_at BIGINT, changes BIGINT NOT NULL DEFAULT 0, PRIMARY KEY (organisation, id));
    CREATE TABLE notes (
        id BIGINT NOT NULL PRIMARY KEY, organisation TEXT NOT NULL, words TEXT, made_at $TIME NOT NULL)";

pub(crate) const DECLARED: &str = r#"
    [databases.desk]
    url = "env:DESK"

    [[resources]]
    name = "tickets"
    database = "desk"
    table = "tickets"
    id = "id"
    tenant = "organisation"
    soft_delete = "deleted_at"
    touch = ["updated_at"]
    [resources.fields]
    status = { type = "enum", values = ["open", "closed", "suspended"] }
    priority = { type = "integer", min = 0, max = 1000, null = true }
    subject = { type = "text", max = 100, null = true }
    urgent = { type = "boolean", null = true }
    due = { type = "timestamp", column = "due_at", null = true }
    meta = { type = "json", null = true }
    score = { type = "number", null = true }
    reference = { type = "text", max = 20, null = true }
    deleted = { type = "timestamp", column = "deleted_at", stored = "milliseconds", null = true }
    [resources.actions.update]
    [resources.actions.upsert]
    [resources.actions.delete]
    [resources.actions.suspend]
    do = "update"
    set = { status = "suspended" }
    [resources.actions.restore]
    do = "update"
    set = { deleted = "$null" }

    [[resources]]
    name = "notes"
    database = "desk"
    table = "notes"
    id = { column = "id", form = "integer" }
    tenant = "organisation"
    insert = { made_at = "$now" }
    [resources.fields.words]
    type = "text"
    null = true
    [resources.actions.update]
    [resources.actions.upsert]
    [resources.actions.delete]
    [resources.actions.ensure]
"#;

/// The product's database.
#[derive(Clone)]
pub(crate) enum Host {
    Lite(SqlitePool),
    Pg(PgPool),
}

impl Host {
    pub(crate) async fn execute(&self, sql: &str) {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Self::Lite(pool) => drop(sqlx::raw_sql(sql).execute(pool).await.unwrap()),
            Self::Pg(pool) => drop(sqlx::raw_sql(sql).execute(pool).await.unwrap()),
        }
    }

    /// The texts of a query of one column.
    pub(crate) async fn texts(&self, sql: &str) -> Vec<Option<String>> {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Self::Lite(pool) => sqlx::query_scalar(sql).fetch_all(pool).await.unwrap(),
            Self::Pg(pool) => sqlx::query_scalar(sql).fetch_all(pool).await.unwrap(),
        }
    }

    pub(crate) async fn text(&self, sql: &str) -> String {
        self.texts(sql).await.pop().flatten().unwrap_or_else(|| "NULL".to_owned())
    }

    pub(crate) async fn count(&self, condition: &str) -> usize {
        let sql = format!("SELECT CAST(count(*) AS TEXT) FROM tickets WHERE {condition}");
        self.text(&sql).await.parse().unwrap()
    }
}

/// A store, a product's database, and what is declared of both.
pub(crate) struct Desk {
    pub(crate) given: Given,
    pub(crate) host: Host,
    pub(crate) url: String,
    pub(crate) declared: Arc<Declarations>,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) fakes: Fakes,
    tables: RecordStore,
    keeper: Keeper,
    pub(crate) dir: TempDir,
}

impl Desk {
    pub(crate) async fn lite() -> Self {
        Self::over(Given::sqlite().await, false).await
    }

    pub(crate) async fn pg() -> Self {
        Self::over(Given::postgres().await, true).await
    }

    async fn over(given: Given, pg: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (host, url, types) = if pg {
            let url = postgres::schema().await;
            (Host::Pg(PgPool::connect(&url).await.unwrap()), url, ["TIMESTAMPTZ", "JSONB"])
        } else {
            let file = dir.path().join("desk.sqlite");
            let options = SqliteConnectOptions::new().filename(&file).create_if_missing(true);
            let pool = SqlitePool::connect_with(options).await.unwrap();
            let url = format!("sqlite://{}", file.display());
            (Host::Lite(pool), url, ["TEXT", "TEXT"])
        };
        let tables = TABLES.replace("$TIME", types[0]).replace("$JSON", types[1]);
        host.execute(&tables).await;
        let queue = embedded_queue(dir.path()).await;
        let (declared, tables, keeper) = keeper(&given.store, &url, DECLARED, &queue).unwrap();
        let fakes = Fakes::default();
        Self { given, host, url, declared, queue, fakes, tables, keeper, dir }
    }

    /// The same product with other declarations.
    pub(crate) fn declaring(&mut self, text: &str) {
        let made = keeper(&self.given.store, &self.url, text, &self.queue).unwrap();
        (self.declared, self.tables, self.keeper) = made;
    }

    /// In what the product's tables are not what is declared.
    pub(crate) async fn compared(&self) -> Compared {
        compare(&self.declared, Tables::All(&self.tables)).await
    }

    /// Tickets `t0000` and on of a tenant; the status by turns, the number as the priority.
    pub(crate) async fn tickets(&self, tenant: &str, count: usize) {
        for from in (0..count).step_by(500) {
            let row = |n: usize| {
                let status = ["open", "closed"][n % 2];
                format!("('{tenant}', 't{n:04}', '{status}', {})", n % 100)
            };
            let rows: Vec<_> = (from..count.min(from + 500)).map(row).collect();
            let sql = "INSERT INTO tickets (organisation, id, status, priority) VALUES ";
            self.host.execute(&format!("{sql}{}", rows.join(","))).await;
        }
    }

    pub(crate) fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    pub(crate) fn ports(&self) -> Arc<Ports> {
        let records = Arc::new(self.keeper.clone()) as Arc<dyn Records>;
        Arc::new(Ports { records, ..(*self.fakes.ports()).clone() })
    }

    /// Runs a job of tenant `dev` once.
    pub(crate) async fn run_as(&self, run: RunInfo, payload: &Value) -> Outcome {
        let declared = self.declared.resources();
        let catalogue = jobs::catalogue();
        catalogue.find("bulk-update").unwrap().check(payload, declared).unwrap();
        let job: BulkUpdate = serde_json::from_value(payload.clone()).unwrap();
        let progress = Arc::clone(&self.fakes.progress) as Arc<dyn Progress>;
        job.perform(&Context::new(run, self.ports(), progress)).await
    }

    /// Runs job number `job`, which must end well; how far it got.
    pub(crate) async fn done(&self, job: u128, payload: &Value) -> (u64, u64, u64) {
        self.run_as(run(job, 1), payload).await.unwrap();
        let cursor = self.fakes.progress.cursor(JobId::from_u128(job)).unwrap();
        (cursor.processed, cursor.failed, cursor.total)
    }

    /// The errors of a job's items: id, code, words.
    pub(crate) async fn errors(&self, job: u128) -> Vec<(String, String, String)> {
        let (info, store) = (run(job, 1), &self.given.store);
        let errors = store.item_errors(&info.tenant, info.job, None, 10_000).await.unwrap();
        errors.into_iter().map(|e| (e.item_id, e.code, e.message)).collect()
    }

    pub(crate) async fn codes(&self, job: u128) -> Vec<(String, String)> {
        self.errors(job).await.into_iter().map(|(id, code, _)| (id, code)).collect()
    }
}

fn keeper(
    store: &Store,
    url: &str,
    text: &str,
    queue: &Arc<dyn Queue>,
) -> Result<(Arc<Declarations>, RecordStore, Keeper), String> {
    let env = BTreeMap::from([("DESK".to_owned(), url.to_owned())]);
    let declared = Declarations::read("resources.toml", text, &|name| env.get(name).cloned());
    let declared = Arc::new(declared.map_err(|error| error.to_string())?);
    let tables = RecordStore::new(store.clone(), Hosts::new(declared.databases())?);
    let keeper = Keeper::new(Arc::clone(&declared), tables.clone(), Arc::clone(queue));
    Ok((declared, tables, keeper))
}

/// Makes one test over SQLite and one over Postgres of an `async fn(Desk)`.
macro_rules! on_desks {
    ($($(#[$meta:meta])* async fn $name:ident($desk:ident) $body:block)*) => {$(
        $(#[$meta])*
        mod $name {
            #[allow(clippy::wildcard_imports, unused_imports)] // the test reads as if it were outside
            use super::*;

            #[allow(unused_mut)] // some tests declare something else
            async fn test(mut $desk: $crate::bulk::desk::Desk) $body

            #[tokio::test]
            async fn sqlite() {
                test($crate::bulk::desk::Desk::lite().await).await;
            }

            #[tokio::test]
            async fn postgres() {
                test($crate::bulk::desk::Desk::pg().await).await;
            }
        }
    )*};
}
pub(crate) use on_desks;
