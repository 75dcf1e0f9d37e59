//! What goes wrong with records: with one of them, with all of them, or with the way to them.

use jobs::contract::Fault;
use sqlx::error::{DatabaseError, ErrorKind};

/// What went wrong with a statement over records. No text repeats a value.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The database refuses what a record would become.
    Refused(Refusal),
    /// The table is not what was declared, or is so no longer; the database's words.
    NotAsDeclared(String),
    /// The database does not let us do it: to any record, or by a policy to one of these.
    Denied(String),
    /// The database is out of reach, or busy.
    Away(String),
    /// Somebody else changes the same records; the database gave one of the two up.
    Clash(String),
    /// Anything else; trying again does not help.
    Broken(String),
    /// A statement did not change every record that it was to change.
    NotAll,
    /// The job's account is a later run's.
    Lost,
}

/// Why a record cannot become what it should.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) code: &'static str,
    pub(super) words: String,
}

impl From<sqlx::Error> for Trouble {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database) => of_database(&**database),
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed => Self::Away(error.to_string()),
            _ => Self::Broken(error.to_string()),
        }
    }
}

fn of_database(error: &dyn DatabaseError) -> Trouble {
    let code = error.code().unwrap_or_default();
    let words = || error.message().to_owned();
    match code.parse::<u32>() {
        // SQLite's codes are numbers of up to four digits; the low byte says what sort.
        Ok(number) if code.len() < 5 => match number & 0xff {
            // Too big, constraint, mismatch.
            18..=20 => Trouble::Refused(refusal(error, "constraint")),
            1 if is_about_names(error.message()) => Trouble::NotAsDeclared(words()),
            // Busy, locked, read-only, I/O error, full, cannot open.
            5 | 6 | 8 | 10 | 13 | 14 => Trouble::Away(words()),
            _ => Trouble::Broken(words()),
        },
        // Postgres' are five characters, the first two their class.
        _ => match (&code[..code.len().min(2)], &*code) {
            // No such table, column, schema, function; another type; no such key.
            (_, "42P01" | "42703" | "3F000" | "42883" | "42804" | "42P10" | "428C9") => {
                Trouble::NotAsDeclared(words())
            }
            (_, "42501") => Trouble::Denied(words()),
            ("22", _) => Trouble::Refused(refusal(error, "invalid_value")),
            ("23" | "P0", _) => Trouble::Refused(refusal(error, "constraint")),
            // A deadlock; a plan of before the table changed.
            ("40", _) | (_, "0A000") => Trouble::Clash(words()),
            // A server that is a replica now; connection, login, database, resources, locks,
            // intervention, system.
            (_, "25006") | ("08" | "28" | "3D" | "53" | "55" | "57" | "58", _) => {
                Trouble::Away(words())
            }
            _ => Trouble::Broken(words()),
        },
    }
}

fn is_about_names(words: &str) -> bool {
    let starts = ["no such table", "no such column", "ON CONFLICT clause does not match"];
    starts.iter().any(|start| words.starts_with(start)) || words.contains("has no column named")
}

/// In words of our own: a database's may repeat values of other records.
fn refusal(error: &dyn DatabaseError, code: &'static str) -> Refusal {
    let what = match error.kind() {
        ErrorKind::UniqueViolation => "another record has this value, which only one may have",
        ErrorKind::ForeignKeyViolation => "what it refers to is not there, or is referred to",
        ErrorKind::NotNullViolation => "a column that needs a value would have none",
        ErrorKind::CheckViolation => "it breaks a rule of the table",
        _ if code == "invalid_value" => "the database cannot store the value",
        _ => "the database refuses the change",
    };
    let name = match error.constraint() {
        Some(name) => Some(name.to_owned()),
        // SQLite names columns or the rule at the end of its words.
        None => error.message().split_once(" constraint failed: ").map(|(_, name)| name.to_owned()),
    };
    let name = name.map(|name| format!(" ({name})")).unwrap_or_default();
    Refusal { code, words: format!("{what}{name}") }
}

impl Trouble {
    /// What whoever runs this hears, with the database's own words.
    pub(super) fn words(&self, what: &str) -> String {
        match self {
            Self::Refused(Refusal { words, .. }) => format!("{what}: {words}"),
            Self::NotAsDeclared(words) => format!("{what} is not what was declared: {words}"),
            Self::Away(words) | Self::Clash(words) => format!("{what} is out of reach: {words}"),
            Self::Denied(words) | Self::Broken(words) => format!("{what} cannot be used: {words}"),
            Self::NotAll | Self::Lost => format!("{what} has changed"),
        }
    }

    /// What a job hears. The database's own words go to the log: they may name hosts.
    pub(super) fn fault(self, what: &str) -> Fault {
        match self {
            Self::Refused(Refusal { words, .. }) => Fault::permanent("records_refused", words),
            Self::NotAsDeclared(words) => {
                tracing::warn!(error = words, "{what} is not what was declared");
                let words = format!("{what} is not what was declared");
                Fault::permanent("table_changed", words)
            }
            Self::Away(words) | Self::Clash(words) => {
                tracing::warn!(error = words, "{what} is out of reach");
                Fault::transient("records_unavailable", format!("{what} is out of reach"))
            }
            Self::Denied(words) | Self::Broken(words) => {
                tracing::warn!(error = words, "{what} cannot be used");
                Fault::permanent("records_unusable", format!("{what} cannot be used"))
            }
            // Whoever counts asks for the ids then.
            Self::NotAll => Fault::transient("records_unavailable", format!("{what} has changed")),
            Self::Lost => crate::store::bulk::lost(),
        }
    }
}
