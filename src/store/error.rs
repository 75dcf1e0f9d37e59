//! Why the store could not do what was asked.

use jobs::contract::Fault;

use super::SchemaVersion;

/// Why the store could not do what was asked. No text names a password.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The configured place is none.
    #[error("store.url: {0}")]
    Url(String),
    /// It cannot be reached, or is busy; the same call may work later.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// The file of the embedded store cannot be made or written to.
    #[error("cannot create the store: {0}")]
    CannotCreate(String),
    /// The schema is older than the program's.
    #[error(
        "the store has schema version {found}, and this postrider needs {known}: \
         run `postrider migrate`"
    )]
    Older {
        /// The version of the store.
        found: SchemaVersion,
        /// The version of the program.
        known: SchemaVersion,
    },
    /// The schema is newer than the program's.
    #[error(
        "the store has schema version {found}, and this postrider knows {known}: use the postrider \
         that ran `postrider migrate` last, or a newer one"
    )]
    Newer {
        /// The version of the store.
        found: SchemaVersion,
        /// The version of the program.
        known: SchemaVersion,
    },
    /// Its data is not what this program expects; trying again does not help.
    #[error("the store cannot be used: {0}")]
    Unusable(String),
    /// There would be more of something than there may be.
    #[error("{0}")]
    TooMany(String),
    /// The tenant is not there.
    #[error(
        "there is no tenant {0:?}; `postrider keys create --create-tenant` or `postrider apply --create-tenant` makes it"
    )]
    NoTenant(String),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let words = words(&error);
        match &error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed => Self::Unavailable(words),
            sqlx::Error::Database(database) if passes(database.code().as_deref()) => {
                Self::Unavailable(words)
            }
            _ => Self::Unusable(words),
        }
    }
}

/// Whether a database's own error may be gone the next time.
fn passes(code: Option<&str>) -> bool {
    let Some(code) = code else { return false };
    // SQLite's codes are numbers; the low byte says busy, locked, I/O error, full. Postgres' are five
    // characters, the first two its classes: connection, rollback, resources, intervention, system.
    match code.parse::<u32>() {
        Ok(number) if code.len() < 5 => matches!(number & 0xff, 5 | 6 | 10 | 13),
        _ => ["08", "40", "53", "57", "58"].iter().any(|class| code.starts_with(class)),
    }
}

/// The words of an error, without the prefixes that name a library's types.
pub(super) fn words(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(database) => database.message().to_owned(),
        sqlx::Error::Io(source) => source.to_string(),
        other => other.to_string(),
    }
}

impl From<StoreError> for Fault {
    /// What a job or a caller hears. The store's own words go to the log: they may name hosts and
    /// tables.
    fn from(error: StoreError) -> Self {
        tracing::warn!(error = %error, "The store could not do what was asked.");
        match error {
            StoreError::Unavailable(_) | StoreError::CannotCreate(_) => {
                Self::transient("store_unavailable", "the store is not available")
            }
            _ => Self::permanent("store_unusable", "the store cannot be used"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::passes;

    #[test]
    fn what_passes_is_told_from_what_stays() {
        // SQLite: busy, busy snapshot, locked, disk full. Postgres: connection failure, deadlock,
        // too many connections, admin shutdown.
        for code in ["5", "517", "6", "13", "08006", "40P01", "53300", "57P01"] {
            assert!(passes(Some(code)), "{code}");
        }
        // SQLite: constraint, not a database. Postgres: unique violation, undefined table.
        for code in ["1555", "26", "23505", "42P01"] {
            assert!(!passes(Some(code)), "{code}");
        }
        assert!(!passes(None));
    }
}
