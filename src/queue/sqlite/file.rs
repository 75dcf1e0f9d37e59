//! The file: opening it, making it, and refusing one that is not ours.

use std::{path::Path, time::Duration};

use sqlx::{
    ConnectOptions, Connection, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions},
};

use super::clock::HostClock;
use crate::{
    queue::QueueError,
    sqlite::{CANTOPEN, NOTADB, READONLY, open_once_free, primary},
};

/// Every step of the schema, in order; a file's version is the number of steps it has taken.
const STEPS: [&str; 2] = [
    include_str!("../../../migrations/queue/0001_queue.sql"),
    include_str!("../../../migrations/queue/0002_untold.sql"),
];

/// The version that they make.
#[expect(clippy::cast_possible_wrap, reason = "nobody writes that many steps")]
const KNOWN: i64 = STEPS.len() as i64;

/// Marks a file as ours (`PRAGMA application_id`): `PRQ1`.
const APPLICATION: i64 = 0x5052_5131;

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
        // A checkpoint syncs the disk: four times SQLite's own 1,000 pages between two of them.
        let options = self
            .options()
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .pragma("wal_autocheckpoint", "4000")
            .pragma("cache_size", "-16000");
        let open = || self.try_writer(&options, clock);
        let opened = open_once_free(self.busy_timeout, open, Trouble::code).await;
        opened.map_err(|trouble| match trouble {
            Trouble::Sqlite(error) => self.explain(error),
            Trouble::Refused(words) => QueueError::Unusable(words),
        })
    }

    async fn try_writer(
        &self,
        options: &SqliteConnectOptions,
        clock: &dyn HostClock,
    ) -> Result<SqliteConnection, Trouble> {
        let mut conn = options.connect().await?;
        self.prepare(&mut conn, clock).await?;
        Ok(conn)
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
        conn: &mut SqliteConnection,
        clock: &dyn HostClock,
    ) -> Result<(), Trouble> {
        let mut tx = conn.begin_with("BEGIN IMMEDIATE").await?;
        let version: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *tx).await?;
        let application: i64 =
            sqlx::query_scalar("PRAGMA application_id").fetch_one(&mut *tx).await?;
        let tables: i64 =
            sqlx::query_scalar("SELECT count(*) FROM sqlite_schema").fetch_one(&mut *tx).await?;
        let path = self.path.display();
        let new = tables == 0 && application == 0 && version == 0;
        if !new && application != APPLICATION {
            let words = format!("{path} is a SQLite file, but not a queue of postrider");
            return Err(Trouble::Refused(words));
        }
        if !new && !(1..=KNOWN).contains(&version) {
            let words = format!(
                "{path} has schema version {version}, this postrider knows {KNOWN} and older; use the \
                 postrider that wrote it, or a newer one"
            );
            return Err(Trouble::Refused(words));
        }
        for step in STEPS.iter().skip(usize::try_from(version).unwrap_or(usize::MAX)) {
            sqlx::raw_sql(*step).execute(&mut *tx).await?;
        }
        if new {
            first_row(&mut tx, clock).await?;
        }
        if version < KNOWN {
            let marks =
                format!("PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {KNOWN};");
            sqlx::raw_sql(sqlx::AssertSqlSafe(marks)).execute(&mut *tx).await?;
        }
        Ok(tx.commit().await?)
    }

    fn explain(&self, error: sqlx::Error) -> QueueError {
        let path = self.path.display();
        let unusable = |words: &str| QueueError::Unusable(format!("{path} {words}"));
        match primary(&error) {
            Some(CANTOPEN) => {
                unusable("cannot be opened: its directory must be there, and writable")
            }
            Some(READONLY) => {
                unusable("cannot be written to: the file or its directory is read-only")
            }
            Some(NOTADB) => unusable("is not a SQLite file"),
            _ => match error.into() {
                QueueError::Unavailable(words) => {
                    QueueError::Unavailable(format!("{path}: {words}"))
                }
                QueueError::Unusable(words) | QueueError::Denied(words) => {
                    QueueError::Unusable(format!("{path}: {words}"))
                }
            },
        }
    }
}

/// Why a file was not opened.
enum Trouble {
    Sqlite(sqlx::Error),
    Refused(String),
}

impl Trouble {
    fn code(&self) -> Option<i32> {
        match self {
            Self::Sqlite(error) => primary(error),
            Self::Refused(_) => None,
        }
    }
}

impl From<sqlx::Error> for Trouble {
    fn from(error: sqlx::Error) -> Self {
        Self::Sqlite(error)
    }
}

async fn first_row(conn: &mut SqliteConnection, clock: &dyn HostClock) -> Result<(), sqlx::Error> {
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
