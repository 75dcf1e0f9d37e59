//! One SQL text for two databases: an enum over their native pools.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use sqlx::{
    ConnectOptions, Connection, PgConnection, PgPool, Postgres, Sqlite, SqliteConnection,
    SqlitePool, Transaction,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::{StoreError, error::words, host_file::following};
use crate::sqlite::{CANTOPEN, CORRUPT, NOTADB, PERM, READONLY, open_once_free, primary};

/// How long to wait for a database to answer at start, or for a free connection later.
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections that read, or to Postgres.
const CONNECTIONS: u32 = 8;
const FILE: &str = "store.sqlite";

/// A pool of one of the two databases.
#[derive(Debug, Clone)]
pub enum Db {
    /// SQLite.
    Lite(SqlitePool),
    /// Postgres.
    Pg(PgPool),
}

/// The pools of a store. On Postgres they are one.
pub(super) struct Pools {
    pub(super) reader: Db,
    pub(super) writer: Db,
    pub(super) log: Db,
}

impl Pools {
    pub(super) async fn close(&self) {
        self.reader.close().await;
        self.log.close().await;
        self.writer.close().await;
    }
}

/// A connection of its own, outside the pools.
pub(super) enum OwnConnection {
    Lite(SqliteConnection),
    Pg(PgConnection),
}

/// A transaction that writes.
pub(super) enum Tx {
    Lite(Transaction<'static, Sqlite>),
    Pg(Transaction<'static, Postgres>),
}

/// Expands the body once per database: SQL and Rust are written once.
macro_rules! on {
    ($db:expr, $p:ident => $body:expr) => {
        match $db {
            $crate::store::Db::Lite($p) => $body,
            $crate::store::Db::Pg($p) => $body,
        }
    };
}

/// The same for a [`Tx`] or an [`OwnConnection`], named first.
macro_rules! on_conn {
    ($kind:ident, $held:expr, $c:ident => $body:expr) => {
        match $held {
            $crate::store::db::$kind::Lite($c) => $body,
            $crate::store::db::$kind::Pg($c) => $body,
        }
    };
}

pub(crate) use on;
pub(super) use on_conn;

impl Db {
    /// Begins a transaction that writes. On SQLite it takes the write lock now: one that began by
    /// reading could not take it later if somebody else wrote in between, however long it waited.
    pub(super) async fn begin(&self) -> Result<Tx, StoreError> {
        Ok(match self {
            Self::Lite(pool) => Tx::Lite(pool.begin_with("BEGIN IMMEDIATE").await?),
            Self::Pg(pool) => Tx::Pg(pool.begin().await?),
        })
    }

    /// Begins a transaction whose commit does not wait for the disk: after a power cut the last of them
    /// may be missing, in their order, and never after the end of a process. On SQLite that is a
    /// property of the pool.
    pub(super) async fn begin_unwaited(&self) -> Result<Tx, StoreError> {
        let mut tx = self.begin().await?;
        if let Tx::Pg(tx) = &mut tx {
            sqlx::query("SET LOCAL synchronous_commit TO off").execute(&mut **tx).await?;
        }
        Ok(tx)
    }

    /// Holds up the other writers of this process until what is given is dropped. SQLite lets one
    /// write, and lets the others sleep for a while and look again; here they come one after the other.
    pub(super) async fn turn(&self) -> Result<Option<PoolConnection<Sqlite>>, StoreError> {
        match self {
            Self::Lite(pool) => Ok(Some(pool.acquire().await?)),
            Self::Pg(_) => Ok(None),
        }
    }

    pub(super) async fn close(&self) {
        on!(self, pool => pool.close().await);
    }
}

impl Tx {
    pub(super) async fn commit(self) -> Result<(), StoreError> {
        match self {
            Self::Lite(tx) => tx.commit().await?,
            Self::Pg(tx) => tx.commit().await?,
        }
        Ok(())
    }
}

/// Where a store is.
#[derive(Debug, Clone)]
pub(super) enum Address {
    Lite(PathBuf),
    Pg(Box<PgConnectOptions>),
}

impl Address {
    /// Reads `store.url`; nothing is opened yet.
    pub(super) fn read(url: &str, data_dir: &Path) -> Result<Self, StoreError> {
        if url.trim().is_empty() {
            return Ok(Self::Lite(data_dir.join(FILE)));
        }
        Self::read_named(url).map_err(StoreError::Url)
    }

    /// Reads the URL of a database; the error says what was expected.
    pub(super) fn read_named(url: &str) -> Result<Self, String> {
        let url = url.trim();
        // A URL may hold a password: only its scheme is ever repeated.
        let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
        match scheme {
            "postgres" | "postgresql" => PgConnectOptions::from_str(url)
                .map(|options| options.application_name("postrider").disable_statement_logging())
                .map(|options| Self::Pg(Box::new(options)))
                .map_err(|_| {
                    "expected postgres://USER:PASSWORD@HOST:PORT/DATABASE, and what was got cannot \
                     be read as that"
                        .into()
                }),
            "sqlite" => {
                let rest = url.trim_start_matches("sqlite:");
                let file = rest.strip_prefix("//").unwrap_or(rest);
                if file.is_empty() || file.starts_with(':') || file.contains('?') {
                    return Err(format!(
                        "expected sqlite://FILE, got {url:?}; what is in memory would be lost"
                    ));
                }
                Ok(Self::Lite(file.into()))
            }
            "" => {
                Err("expected postgres://… or sqlite://FILE, got something that is no URL".into())
            }
            other => Err(format!("expected postgres://… or sqlite://FILE, got a URL of {other:?}")),
        }
    }

    /// Pools to read from and to write to. SQLite has one writer, so a process has one connection
    /// that writes, and one that writes the log; on Postgres they are the same pool.
    pub(super) async fn open(&self) -> Result<Pools, StoreError> {
        match self {
            Self::Lite(file) => {
                create_directory(file)?;
                let options = lite_options(file);
                // The file is made, and its journal set, by one connection before there are more.
                let open = || lite_pool(1).connect_with(options.clone());
                let writer = open_once_free(PATIENCE, open, primary)
                    .await
                    .map_err(|error| lite_refused(file, &error))?;
                let unwaited = options.clone().synchronous(SqliteSynchronous::Normal);
                let log = lite_pool(1).connect_lazy_with(unwaited);
                let reader = lite_pool(CONNECTIONS).connect_lazy_with(options);
                let (reader, writer) = (Db::Lite(reader), Db::Lite(writer));
                Ok(Pools { reader, writer, log: Db::Lite(log) })
            }
            Self::Pg(options) => {
                // A pool would hide why it got no connection.
                let first = self.connect_postgres(options).await?;
                let _ = first.close().await;
                let pool = PgPoolOptions::new()
                    .max_connections(CONNECTIONS)
                    .acquire_timeout(PATIENCE)
                    .connect_lazy_with((**options).clone());
                let (reader, writer) = (Db::Pg(pool.clone()), Db::Pg(pool.clone()));
                Ok(Pools { reader, writer, log: Db::Pg(pool) })
            }
        }
    }

    /// Pools to a database that belongs to somebody else: it is not made, and how it keeps its journal
    /// is its owner's business. Nothing is connected to yet.
    pub(super) fn connect_lazily(&self) -> (Db, Db) {
        match self {
            Self::Lite(file) => {
                let options = SqliteConnectOptions::new()
                    .filename(file)
                    .foreign_keys(true)
                    .busy_timeout(PATIENCE)
                    .disable_statement_logging();
                let pool = |connections| {
                    following(lite_pool(connections), file).connect_lazy_with(options.clone())
                };
                (Db::Lite(pool(CONNECTIONS)), Db::Lite(pool(1)))
            }
            Self::Pg(options) => {
                let pool = PgPoolOptions::new()
                    .max_connections(CONNECTIONS)
                    .acquire_timeout(PATIENCE)
                    .connect_lazy_with((**options).clone());
                (Db::Pg(pool.clone()), Db::Pg(pool))
            }
        }
    }

    /// A connection outside the pools, for what must not hold up others.
    pub(super) async fn connect(&self) -> Result<OwnConnection, StoreError> {
        Ok(match self {
            Self::Lite(file) => {
                OwnConnection::Lite(SqliteConnection::connect_with(&lite_options(file)).await?)
            }
            Self::Pg(options) => OwnConnection::Pg(self.connect_postgres(options).await?),
        })
    }

    async fn connect_postgres(
        &self,
        options: &PgConnectOptions,
    ) -> Result<PgConnection, StoreError> {
        let place = match options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", options.get_host(), options.get_port()),
        };
        match tokio::time::timeout(PATIENCE, PgConnection::connect_with(options)).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => {
                Err(StoreError::Unavailable(format!("Postgres at {place}: {}", words(&error))))
            }
            Err(_) => Err(StoreError::Unavailable(format!(
                "Postgres at {place} did not answer within {} s",
                PATIENCE.as_secs()
            ))),
        }
    }
}

fn lite_pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(PATIENCE)
        // A file does not hang up.
        .test_before_acquire(false)
}

fn lite_options(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // What the ledger says was committed must survive a power cut too.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(PATIENCE)
        // Loading a million people is one slow statement, and its text is no news for an operator.
        .disable_statement_logging()
}

fn create_directory(file: &Path) -> Result<(), StoreError> {
    let Some(dir) = file.parent().filter(|dir| !dir.as_os_str().is_empty()) else { return Ok(()) };
    std::fs::create_dir_all(dir).map_err(|error| {
        StoreError::CannotCreate(format!("the directory {}: {error}", dir.display()))
    })
}

fn lite_refused(file: &Path, error: &sqlx::Error) -> StoreError {
    let what = format!("{}: {}", file.display(), words(error));
    match primary(error) {
        Some(PERM | READONLY | CANTOPEN) => StoreError::CannotCreate(what),
        Some(CORRUPT | NOTADB) => StoreError::Unusable(what),
        _ => StoreError::Unavailable(what),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_read_from_the_url() {
        let read = |url| Address::read(url, Path::new("data"));
        let file = |url| match read(url) {
            Ok(Address::Lite(file)) => file.display().to_string(),
            other => panic!("{url}: {other:?}"),
        };
        assert_eq!(file(""), "data/store.sqlite");
        assert_eq!(file("sqlite://x/y.db"), "x/y.db");
        assert_eq!(file("sqlite:///var/y.db"), "/var/y.db");
        assert!(matches!(read("postgres://u:p@h/d"), Ok(Address::Pg(_))));
        for wrong in ["sqlite://:memory:", "sqlite:", "sqlite://x?mode=ro", "mysql://h/d", "x.db"] {
            assert!(matches!(read(wrong), Err(StoreError::Url(_))), "{wrong}");
        }
    }

    #[test]
    fn a_wrong_url_is_refused_without_its_password() {
        for url in [
            "postgres://u:hunter2@h:notaport/d",
            "postgres://u:hunter2@[::/d",
            "mysql://u:hunter2@h/d",
            "postgres://u:hunter2@h/d?sslmode=hunter2",
            "u:hunter2@h/d",
        ] {
            let error = Address::read(url, Path::new("")).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
