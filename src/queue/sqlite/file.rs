//! The file: opening it, making it, and refusing one that is not ours.

use std::{path::Path, time::Duration};

use sqlx::{
    ConnectOptions, Connection, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions},
};

use super::clock::HostClock;
use crate::queue::QueueError;

/// Every step of the schema, in order; a file's version is the number of steps it has taken.
const STEPS: [&str; 1] = [include_str!("../../../migrations/queue/0001_queue.sql")];

/// Marks a file as ours (`PRAGMA application_id`): `PRQ1`.
const APPLICATION: i64 = 0x5052_5131;

/// Pauses between tries to open a file that another process is just making.
const PAUSE: Duration = Duration::from_millis(20);

/// How a file is opened.
#[derive(Debug, Clone)]
pub(super) struct File<'p> {
    pub(super) path: &'p Path,
    pub(super) busy_timeout: Duration,
}

impl File<'_> {
    fn options(&self) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(self.path)
            .busy_timeout(self.busy_timeout)
            .foreign_keys(true)
            .disable_statement_logging()
    }

    /// The connection that writes; the file and its schema are made if they are not there.
    pub(super) async fn writer(
        &self,
        clock: &dyn HostClock,
    ) -> Result<SqliteConnection, QueueError> {
        let options = self.options().create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
        // SQLite does not wait where waiting could be for ever, as when two processes switch a new
        // file to WAL at once; trying again is left to us.
        let tries = self.busy_timeout.as_millis() / PAUSE.as_millis();
        let mut tried = 0;
        loop {
            let opened = match options.connect().await.map_err(QueueError::from) {
                Ok(conn) => self.prepare(conn, clock).await,
                Err(error) => Err(error),
            };
            match opened {
                Err(QueueError::Unavailable(words)) if tried < tries && is_busy(&words) => {
                    tried += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(self.explain(error)),
                Ok(conn) => return Ok(conn),
            }
        }
    }

    /// A connection that reads, apart from the pool.
    pub(super) async fn reader(&self) -> Result<SqliteConnection, QueueError> {
        Ok(self.options().read_only(true).connect().await?)
    }

    /// Connections that read.
    pub(super) fn readers(&self, count: u32) -> SqlitePool {
        let options = self.options().read_only(true);
        SqlitePoolOptions::new()
            .max_connections(count)
            .acquire_timeout(self.busy_timeout)
            .connect_lazy_with(options)
    }

    /// Brings the schema up to date, in one transaction.
    async fn prepare(
        &self,
        mut conn: SqliteConnection,
        clock: &dyn HostClock,
    ) -> Result<SqliteConnection, QueueError> {
        let known = i64::try_from(STEPS.len()).unwrap_or(i64::MAX);
        let mut tx = conn.begin_with("BEGIN IMMEDIATE").await?;
        let version: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *tx).await?;
        let application: i64 =
            sqlx::query_scalar("PRAGMA application_id").fetch_one(&mut *tx).await?;
        let tables: i64 =
            sqlx::query_scalar("SELECT count(*) FROM sqlite_schema").fetch_one(&mut *tx).await?;
        if application != APPLICATION && (tables > 0 || application != 0) {
            let path = self.path.display();
            let words = format!("{path} is a SQLite file, but not a queue of postrider");
            return Err(QueueError::Unusable(words));
        }
        if !(0..=known).contains(&version) {
            let path = self.path.display();
            let words = format!(
                "{path} has schema version {version}, this postrider knows 1 to {known}; use the \
                 postrider that wrote it, or a newer one"
            );
            return Err(QueueError::Unusable(words));
        }
        for step in STEPS.iter().skip(usize::try_from(version).unwrap_or(usize::MAX)) {
            sqlx::raw_sql(*step).execute(&mut *tx).await?;
        }
        if version == 0 {
            first_row(&mut tx, clock).await?;
        }
        if version < known {
            let marks =
                format!("PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {known};");
            sqlx::raw_sql(sqlx::AssertSqlSafe(marks)).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(conn)
    }

    fn explain(&self, error: QueueError) -> QueueError {
        let path = self.path.display();
        match error {
            QueueError::Unavailable(words) if words.contains("unable to open") => {
                QueueError::Unusable(format!(
                    "{path} cannot be opened: its directory must be there and writable ({words})"
                ))
            }
            QueueError::Unavailable(words) if words.contains("readonly") => QueueError::Unusable(
                format!("{path} cannot be written to: the file or its directory is read-only"),
            ),
            QueueError::Unavailable(words) => QueueError::Unavailable(format!("{path}: {words}")),
            QueueError::Unusable(words) if words.contains("not a database") => {
                QueueError::Unusable(format!("{path} is not a SQLite file"))
            }
            other => other,
        }
    }
}

async fn first_row(conn: &mut SqliteConnection, clock: &dyn HostClock) -> Result<(), QueueError> {
    let (up, wall) = (clock.uptime(), clock.wall());
    let sql = "INSERT INTO meta (one, version, boot_id, clock_offset, last_seen)
               VALUES (1, 0, $1, $2, $3)";
    sqlx::query(sql)
        .bind(&*up.boot)
        .bind(wall.millis().saturating_sub(up.millis))
        .bind(wall.millis())
        .execute(conn)
        .await?;
    Ok(())
}

fn is_busy(words: &str) -> bool {
    words.contains("locked") || words.contains("busy")
}
