//! What Redis' errors mean to a caller of the queue.

use redis::{ErrorKind, RedisError};

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

/// Answers of a server that does not let somebody in, or not do something.
const DENIED: [&str; 3] = ["WRONGPASS", "NOAUTH", "NOPERM"];
/// What Redis 7.0 says when a script may not call a command, and newer ones.
const DENIED_TO_SCRIPTS: [&str; 2] = ["The user executing the script", "ACL failure in script"];

/// What to do about rights that are missing.
const RIGHTS: &str = "the user in redis.url needs the rights in config/redis/users.acl, for keys and \
     channels that begin with redis.prefix";

impl From<RedisError> for QueueError {
    fn from(error: RedisError) -> Self {
        let words = error.to_string();
        let lacks_rights = error.code() == Some("NOPERM")
            || DENIED_TO_SCRIPTS.iter().any(|said| words.contains(said));
        if lacks_rights {
            return Self::Denied(format!("{words}; {RIGHTS}"));
        }
        if error.kind() == ErrorKind::AuthenticationFailed
            || error.code().is_some_and(|code| DENIED.contains(&code))
            || words.contains("without any password configured")
        {
            return Self::Denied(format!(
                "{words}; look at the user and the password in redis.url"
            ));
        }
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

/// The same failure, with the server that it is about.
pub(super) fn at_server(server: &str, error: QueueError) -> QueueError {
    let named = |words: String| format!("Redis at {server}: {words}");
    match error {
        QueueError::Unavailable(words) => QueueError::Unavailable(named(words)),
        QueueError::Unusable(words) => QueueError::Unusable(named(words)),
        QueueError::Denied(words) => QueueError::Denied(named(words)),
    }
}

/// What is stored is not what this program wrote.
pub(super) fn corrupt(what: &str, words: impl std::fmt::Display) -> QueueError {
    QueueError::Unusable(format!("Redis holds {what} that cannot be read: {words}"))
}
