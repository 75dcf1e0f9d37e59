//! What SQLite's errors mean to a caller of the queue.

use crate::{
    queue::QueueError,
    sqlite::{BUSY, CANTOPEN, FULL, INTERRUPT, IOERR, LOCKED, NOMEM, PROTOCOL, READONLY, primary},
};

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

/// What is stored is not what this program wrote.
pub(super) fn corrupt(what: &str, words: impl std::fmt::Display) -> QueueError {
    QueueError::Unusable(format!("the queue's file holds {what} that cannot be read: {words}"))
}
