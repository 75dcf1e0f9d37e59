//! The schema: migrations inside the program, and whether a store is of the program's version.
//!
//! `migrations/store/common` is for both databases and numbered from 1; what only one of them needs
//! is in a folder of its own, numbered from 1001. Both are one list, applied in order.

use std::{collections::BTreeSet, fmt};

use sqlx::migrate::{Migrate, MigrateError, Migrator};

use super::{
    StoreError,
    db::{Db, Tx},
};

static COMMON: Migrator = sqlx::migrate!("migrations/store/common");
static POSTGRES: Migrator = sqlx::migrate!("migrations/store/postgres");

/// The first number of what only one database needs.
const OVERLAY: i64 = 1_000;
/// Not sqlx' own name: the store may share a database with another program that uses sqlx.
const TABLE: &str = "postrider_migrations";
/// Postgres' advisory lock around migrations ("postride" as a number); it ends with the transaction,
/// where sqlx' own would stay with the connection after an error.
const LOCK: i64 = 0x706f_7374_7269_6465;

/// What to do when the schema is older than the program, or not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnOldSchema {
    /// Bring it up to date: for the embedded default, and for `postrider migrate`.
    Migrate,
    /// Refuse: where many processes share a store, an operator says when.
    Refuse,
}

/// A version of the schema: the last common migration, and the last of the database's own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SchemaVersion {
    common: i64,
    overlay: i64,
}

impl SchemaVersion {
    fn of(versions: &BTreeSet<i64>) -> Self {
        let last = |from, to| versions.range(from..to).next_back().copied().unwrap_or(from);
        Self { common: last(0, OVERLAY), overlay: last(OVERLAY, i64::MAX) - OVERLAY }
    }
}

impl fmt::Display for SchemaVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.overlay {
            0 => write!(f, "{}", self.common),
            overlay => write!(f, "{}.{overlay}", self.common),
        }
    }
}

/// What a migration did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migrated {
    /// The version before.
    pub from: SchemaVersion,
    /// The version now.
    pub to: SchemaVersion,
}

/// Brings the schema to the program's version, or says why it is not.
pub(super) async fn check(writer: &Db, on_old: OnOldSchema) -> Result<Migrated, StoreError> {
    // One transaction: of processes that start at once one migrates and the others find it done.
    match writer.begin().await? {
        Tx::Lite(mut tx) => {
            let migrated = bring(&mut *tx, &list(&[&COMMON]), on_old).await?;
            tx.commit().await?;
            Ok(migrated)
        }
        Tx::Pg(mut tx) => {
            sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *tx).await?;
            let migrated = bring(&mut *tx, &list(&[&COMMON, &POSTGRES]), on_old).await?;
            tx.commit().await?;
            Ok(migrated)
        }
    }
}

fn list(parts: &[&Migrator]) -> Migrator {
    let all = parts.iter().flat_map(|part| part.iter().cloned()).collect();
    let mut migrator = Migrator::with_migrations(all);
    migrator.dangerous_set_table_name(TABLE);
    migrator.set_locking(false);
    migrator
}

async fn bring<C: Migrate>(
    conn: &mut C,
    migrator: &Migrator,
    on_old: OnOldSchema,
) -> Result<Migrated, StoreError> {
    conn.ensure_migrations_table(TABLE).await.map_err(failed)?;
    let applied = conn.list_applied_migrations(TABLE).await.map_err(failed)?;
    let applied: BTreeSet<i64> = applied.iter().map(|migration| migration.version).collect();
    let known: BTreeSet<i64> = migrator.iter().map(|migration| migration.version).collect();
    let (from, to) = (SchemaVersion::of(&applied), SchemaVersion::of(&known));
    if !applied.is_subset(&known) {
        return Err(StoreError::Newer { found: from, known: to });
    }
    if applied != known && on_old == OnOldSchema::Refuse {
        return Err(StoreError::Older { found: from, known: to });
    }
    // With nothing to apply this still compares the checksums of what was applied.
    migrator.run_direct(None, conn, false).await.map_err(failed)?;
    Ok(Migrated { from, to })
}

fn failed(error: MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(error) => error.into(),
        MigrateError::VersionMismatch(version) => StoreError::Unusable(format!(
            "its migration {version} is not the one that this postrider has; was a released \
             migration edited?"
        )),
        other => StoreError::Unusable(other.to_string()),
    }
}
