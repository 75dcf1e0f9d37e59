//! What SQLite's errors mean to a caller of the queue.

use crate::queue::QueueError;

/// Primary result codes (<https://www.sqlite.org/rescode.html>) of troubles that may pass: BUSY,
/// LOCKED, NOMEM, READONLY, INTERRUPT, IOERR, FULL, CANTOPEN, PROTOCOL.
const PASSING: [i32; 9] = [5, 6, 7, 8, 9, 10, 13, 14, 15];

impl From<sqlx::Error> for QueueError {
    fn from(error: sqlx::Error) -> Self {
        let words = error.to_string();
        match &error {
            sqlx::Error::Database(inner) => match inner.code().and_then(|c| c.parse().ok()) {
                Some(code) if PASSING.contains(&primary(code)) => Self::Unavailable(words),
                _ => Self::Unusable(words),
            },
            sqlx::Error::Io(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Unavailable(words),
            _ => Self::Unusable(words),
        }
    }
}

/// The lowest byte of an extended result code.
fn primary(code: i32) -> i32 {
    code & 0xff
}

/// What is stored is not what this program wrote.
pub(super) fn corrupt(what: &str, words: impl std::fmt::Display) -> QueueError {
    QueueError::Unusable(format!("the queue's file holds {what} that cannot be read: {words}"))
}
