//! What Redis' errors mean to a caller of the queue.

use redis::RedisError;

use crate::queue::QueueError;

/// Answers of a server that may well give another one later.
const PASSING: [&str; 12] = [
    "LOADING",
    "BUSY",
    "READONLY",
    "MASTERDOWN",
    "NOREPLICAS",
    "OOM",
    "TRYAGAIN",
    "CLUSTERDOWN",
    "MISCONF",
    "UNBLOCKED",
    "NOTBUSY",
    "EXECABORT",
];

impl From<RedisError> for QueueError {
    fn from(error: RedisError) -> Self {
        let words = error.to_string();
        let answered = error.code().is_some();
        let passes = error.code().is_some_and(|code| PASSING.contains(&code))
            // A full server says so inside the error of a script, too.
            || words.contains("OOM command not allowed")
            || words.contains("max number of clients");
        if passes || (!answered && (error.is_io_error() || error.is_timeout())) {
            Self::Unavailable(words)
        } else {
            Self::Unusable(words)
        }
    }
}

/// What is stored is not what this program wrote.
pub(super) fn corrupt(what: &str, words: impl std::fmt::Display) -> QueueError {
    QueueError::Unusable(format!("Redis holds {what} that cannot be read: {words}"))
}
