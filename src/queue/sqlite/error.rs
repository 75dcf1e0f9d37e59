//! What SQLite's errors mean to a caller of the queue.

use crate::queue::QueueError;

// Primary result codes (<https://www.sqlite.org/rescode.html>).
pub(super) const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const NOMEM: i32 = 7;
pub(super) const READONLY: i32 = 8;
const INTERRUPT: i32 = 9;
const IOERR: i32 = 10;
const FULL: i32 = 13;
pub(super) const CANTOPEN: i32 = 14;
const PROTOCOL: i32 = 15;
pub(super) const NOTADB: i32 = 26;

/// Troubles that may pass.
const PASSING: [i32; 9] =
    [BUSY, LOCKED, NOMEM, READONLY, INTERRUPT, IOERR, FULL, CANTOPEN, PROTOCOL];

impl From<sqlx::Error> for QueueError {
    fn from(error: sqlx::Error) -> Self {
        let words = error.to_string();
        let passes = match &error {
            sqlx::Error::Io(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => true,
            _ => primary(&error).is_some_and(|code| PASSING.contains(&code)),
        };
        if passes { Self::Unavailable(words) } else { Self::Unusable(words) }
    }
}

/// SQLite's primary result code, which is the lowest byte of the extended one.
pub(super) fn primary(error: &sqlx::Error) -> Option<i32> {
    let code: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}

/// What is stored is not what this program wrote.
pub(super) fn corrupt(what: &str, words: impl std::fmt::Display) -> QueueError {
    QueueError::Unusable(format!("the queue's file holds {what} that cannot be read: {words}"))
}
