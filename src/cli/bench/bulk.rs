//! Records changed a second by one bulk job, beside a loop that is written by hand: one
//! `UPDATE … FROM (VALUES …)` for each 500 records, each in a transaction of its own, one after the other,
//! in the same database. Both find their records by the key.
//!
//! The records are a product's, in a database of its own; each has changes of its own. The job's time is
//! its whole life: submitted, claimed, checked twice, its account kept, its progress told. The loop has
//! its values at hand.

use std::{fs, io::Write, os::unix::fs::OpenOptionsExt, path::Path, time::Duration};

use jobs::{
    BulkUpdate,
    contract::{Job, JobId, ports::Clock},
};
use serde_json::json;
use sqlx::{
    AssertSqlSafe, PgPool, QueryBuilder,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions},
};
use tokio::time::Instant;

use super::{
    Failure, Plan,
    figures::{Figure, Promise},
    house::{House, tenant},
    note,
    place::Place,
    postgres::wrong,
};
use crate::{
    clock::SystemClock,
    intake::JobRequest,
    queue::{JobRecord, Status},
    store::{Db, on},
};

/// Records that the loop changes at once: as many as the job.
const CHUNK: usize = 500;
/// What of the loop's pace is promised, in percent.
const PROMISED: f64 = 50.0;
/// How often it is looked how far the job is, and how long nothing may happen.
const LOOK: Duration = Duration::from_millis(10);
const STANDSTILL: Duration = Duration::from_secs(120);

/// How the loop begins its transactions: as one who has looked at its plan. Left to itself Postgres walks
/// over the whole table for each 500 records, and the loop would be no yardstick.
const BEGIN_LITE: &str = "BEGIN IMMEDIATE";
const BEGIN_POSTGRES: &str = "BEGIN; SET LOCAL enable_seqscan = off; \
     SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off";

const STATUSES: [&str; 3] = ["waiting", "solved", "closed"];

/// Two tables that are the same: one for the loop, one for the job.
const TABLES: [&str; 2] = ["by_hand", "tickets"];
const COLUMNS: &str = "(id TEXT NOT NULL PRIMARY KEY, tenant TEXT NOT NULL, subject TEXT NOT NULL, \
     status TEXT NOT NULL, priority BIGINT NOT NULL, updated_at BIGINT)";
const DECLARED: &str = r#"
[[resources]]
name = "tickets"
database = "desk"
table = "tickets"
id = "id"
tenant = "tenant"
touch = ["updated_at"]
[resources.fields]
status = { type = "enum", values = ["open", "waiting", "solved", "closed"] }
priority = { type = "integer", min = 0, max = 9 }
[resources.actions.update]
"#;
const DIFFERENT: &str = "SELECT count(*) FROM tickets AS t JOIN by_hand AS h ON h.id = t.id \
     WHERE t.status <> h.status OR t.priority <> h.priority OR t.updated_at IS NULL";

/// What the figures of a database are called.
struct Names {
    database: &'static str,
    by_hand: &'static str,
    ours: &'static str,
    taken_in: &'static str,
    share: &'static str,
}

const SQLITE: Names = Names {
    database: "SQLite",
    by_hand: "SQLite: loop by hand",
    ours: "SQLite: bulk-update",
    taken_in: "SQLite: job taken in",
    share: "SQLite: of the loop",
};
const POSTGRES: Names = Names {
    database: "Postgres",
    by_hand: "Postgres: loop by hand",
    ours: "Postgres: bulk-update",
    taken_in: "Postgres: job taken in",
    share: "Postgres: of the loop",
};

/// A record as it is to be.
struct Record {
    id: String,
    status: &'static str,
    priority: i64,
}

/// A product's database.
struct Desk {
    db: Db,
    url: String,
    /// Where Postrider's own store is; empty: the embedded default.
    store: String,
}

/// In SQLite, and in Postgres where there is one.
pub(super) async fn measure(plan: &Plan, place: &Place) -> Result<Vec<Figure>, Failure> {
    let lite = Desk::lite(&place.directory(&format!("desk-{}", ulid::Ulid::generate()))?).await?;
    let mut figures = compare(&SQLITE, plan, place, &lite).await?;
    match place.postgres_schema().await? {
        Some(url) => {
            let desk = Desk::postgres(url).await?;
            figures.extend(compare(&POSTGRES, plan, place, &desk).await?);
        }
        None => note("no Postgres at store.url, and none is installed: bulk is measured on SQLite"),
    }
    Ok(figures)
}

async fn compare(
    names: &Names,
    plan: &Plan,
    place: &Place,
    desk: &Desk,
) -> Result<Vec<Figure>, Failure> {
    note(format!("bulk: {} records in {}", plan.records, names.database));
    desk.fill(plan.records).await.map_err(wrong)?;
    let records: Vec<Record> = (1..=plan.records).map(Record::new).collect();
    let count = f64::from(plan.records);
    let began = Instant::now();
    by_hand(&desk.db, &records).await.map_err(wrong)?;
    let loops = count / began.elapsed().as_secs_f64();
    let Took { taken_in, whole } = job(place, desk, &records).await?;
    let ours = count / whole.as_secs_f64();
    desk.is_the_same().await?;
    on!(&desk.db, pool => pool.close().await);
    let share = Figure::new(names.share, ours * 100.0 / loops, "%");
    Ok(vec![
        Figure::new(names.by_hand, loops, "records/s"),
        Figure::new(names.ours, ours, "records/s"),
        Figure::new(names.taken_in, taken_in.as_secs_f64() * 1e3, "ms"),
        share.promised(Promise::AtLeast(PROMISED)),
    ])
}

/// The loop.
async fn by_hand(db: &Db, records: &[Record]) -> Result<(), sqlx::Error> {
    let (tenant, now) = (tenant(), SystemClock.now().millis());
    let begin = match db {
        Db::Lite(_) => BEGIN_LITE,
        Db::Pg(_) => BEGIN_POSTGRES,
    };
    for chunk in records.chunks(CHUNK) {
        on!(db, pool => {
            let mut sql = QueryBuilder::new(
                "UPDATE by_hand AS t SET status = v.column2, priority = v.column3, updated_at = ",
            );
            sql.push_bind(now).push(" FROM (");
            sql.push_values(chunk, |mut row, record| {
                row.push_bind(record.id.as_str())
                    .push_bind(record.status)
                    .push_bind(record.priority);
            });
            sql.push(") AS v WHERE t.tenant = ").push_bind(tenant.as_str());
            sql.push(" AND t.id = v.column1");
            let mut tx = pool.begin_with(begin).await?;
            sql.build().execute(&mut *tx).await?;
            tx.commit().await?;
        });
    }
    Ok(())
}

/// How long one job about all records took.
struct Took {
    /// From its submission to its receipt.
    taken_in: Duration,
    /// From its submission to its end.
    whole: Duration,
}

/// Has one job about all records carried out.
async fn job(place: &Place, desk: &Desk, records: &[Record]) -> Result<Took, Failure> {
    let dir = place.directory(&format!("declared-{}", ulid::Ulid::generate()))?;
    let file = dir.join("resources.toml");
    declare(&file, &desk.url)?;
    let house = House::open(place, |config| {
        config.store.url.clone_from(&desk.store);
        config.resources.file = file;
    })
    .await?;
    let payload = json!({
        "resource": "tickets",
        "action": "update",
        "selection": {"mode": "items", "items": records.iter().map(Record::item).collect::<Vec<_>>()},
    });
    let began = Instant::now();
    let ids = house.submit(vec![JobRequest::new(BulkUpdate::KIND, payload)]).await?;
    let taken_in = began.elapsed();
    let job = ended(&house, ids[0]).await?;
    let whole = began.elapsed();
    house.close().await?;
    match (job.status, job.cursor.failed) {
        (Status::Completed, 0) => Ok(Took { taken_in, whole }),
        (status, failed) => Err(Failure::unavailable(format!(
            "the bulk job ended as {}, and {failed} of its records failed",
            status.as_str()
        ))),
    }
}

/// Waits for the end of a job.
async fn ended(house: &House, id: JobId) -> Result<JobRecord, Failure> {
    let (mut seen, mut since) = (0, Instant::now());
    loop {
        let job = house.app.queue.job(&tenant(), id).await?;
        let job = job.ok_or_else(|| Failure::unavailable("the bulk job is gone"))?;
        if job.status.is_final() {
            return Ok(job);
        }
        if job.cursor.processed > seen {
            (seen, since) = (job.cursor.processed, Instant::now());
        }
        if since.elapsed() > STANDSTILL {
            return Err(Failure::unavailable(format!("{seen} records were changed, and no more")));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Declares the product's table; the URL may hold a password.
fn declare(file: &Path, url: &str) -> Result<(), Failure> {
    let text = format!("[databases.desk]\nurl = {}\n{DECLARED}", toml::Value::from(url));
    let mut options = fs::OpenOptions::new();
    let written = options.write(true).create_new(true).mode(0o600).open(file);
    written
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|e| Failure::cannot_create(format!("cannot write {}: {e}", file.display())))
}

impl Record {
    fn new(number: u32) -> Self {
        let status = STATUSES[number as usize % STATUSES.len()];
        Self { id: format!("ticket-{number}"), status, priority: i64::from(number % 10) }
    }

    fn item(&self) -> serde_json::Value {
        let Self { id, status, priority } = self;
        json!({"id": id, "update": {"status": status, "priority": priority}})
    }
}

impl Desk {
    async fn lite(dir: &Path) -> Result<Self, Failure> {
        let file = dir.join("desk.sqlite");
        let options = SqliteConnectOptions::new()
            .filename(&file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal);
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await;
        let url = format!("sqlite://{}", file.display());
        Ok(Self { db: Db::Lite(pool.map_err(wrong)?), url, store: String::new() })
    }

    /// Postrider's store is there, too, as in a fleet.
    async fn postgres(url: String) -> Result<Self, Failure> {
        let pool = PgPool::connect(&url).await.map_err(wrong)?;
        Ok(Self { db: Db::Pg(pool), store: url.clone(), url })
    }

    async fn fill(&self, records: u32) -> Result<(), sqlx::Error> {
        for table in TABLES {
            let tenant = tenant();
            let sql = format!(
                "CREATE TABLE {table} {COLUMNS}; \
                 INSERT INTO {table} (id, tenant, subject, status, priority) \
                 WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {records}) \
                 SELECT 'ticket-' || i, '{tenant}', 'Where is parcel ' || i || '?', 'open', i % 7 FROM n; \
                 ANALYZE {table}"
            );
            on!(&self.db, pool => sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await.map(|_| ()))?;
        }
        Ok(())
    }

    /// Proves that the loop and the job have done the same.
    async fn is_the_same(&self) -> Result<(), Failure> {
        let asked = on!(&self.db, pool => sqlx::query_scalar(DIFFERENT).fetch_one(pool).await);
        let different: i64 = asked.map_err(wrong)?;
        if different == 0 {
            return Ok(());
        }
        Err(Failure::unavailable(format!("{different} records are not what the loop made of them")))
    }
}
