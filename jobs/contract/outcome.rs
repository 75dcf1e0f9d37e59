//! The few ways in which a job ends, and the faults that ports answer with.

use std::{borrow::Cow, fmt, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Moment;

/// What a job answers when its run is over.
pub type Outcome = Result<Done, Stop>;

/// The run did what it was for, or found that there was nothing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Done {
    /// The work is done; the value is what `GET /jobs/<id>` shows as `result`.
    Finished(Value),
    /// There was no reason to do the work; the text says why.
    Skipped(String),
}

/// The run ended without having done its work.
#[derive(Debug, Clone, PartialEq)]
pub enum Stop {
    /// Try again: at the time of the kind's retry policy, or `after` this long if that is given.
    Retry {
        /// What went wrong.
        cause: Cause,
        /// How long to wait, where somebody said so.
        after: Option<Duration>,
    },
    /// Not now. The attempt is given back; a snooze is no error.
    Snooze {
        /// Not before this moment.
        until: Moment,
        /// In words, for whoever asks why the job waits.
        why: String,
        /// What sleeps.
        scope: Scope,
    },
    /// Never: trying again could not help.
    Cancel {
        /// What went wrong.
        cause: Cause,
    },
}

/// What a snooze puts to sleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// This job only.
    Job,
    /// The whole lane: every job that waits in it.
    Lane,
}

/// Why something failed: a stable code for programs, a sentence for people.
///
/// The sentence is shown to the tenant and kept with the job, so it names no secret, no body and
/// no address that the tenant did not submit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// `snake_case`, from a fixed set in the code that makes it.
    pub code: Cow<'static, str>,
    /// One sentence.
    pub message: String,
}

impl Cause {
    /// A cause with this code and sentence.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code: Cow::Borrowed(code), message: message.into() }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

/// How a port fails, as classified by the adapter that knows the protocol behind it.
///
/// `?` in a job turns a fault into the right [`Stop`].
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Fault {
    /// May well work next time: a lost connection, a busy database.
    #[error("{0}")]
    Transient(Cause),
    /// The other side asks for patience until a moment.
    #[error("{cause}")]
    Throttled {
        /// What the other side said.
        cause: Cause,
        /// Until when it wants to be left alone.
        until: Moment,
        /// Whether that goes for the job or for its whole lane.
        scope: Scope,
    },
    /// Will not work next time either.
    #[error("{0}")]
    Permanent(Cause),
}

impl Fault {
    /// A transient fault with this code and sentence.
    pub fn transient(code: &'static str, message: impl Into<String>) -> Self {
        Self::Transient(Cause::new(code, message))
    }

    /// A permanent fault with this code and sentence.
    pub fn permanent(code: &'static str, message: impl Into<String>) -> Self {
        Self::Permanent(Cause::new(code, message))
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Transient(cause) => Self::Retry { cause, after: None },
            Fault::Throttled { cause, until, scope } => {
                Self::Snooze { until, why: cause.message, scope }
            }
            Fault::Permanent(cause) => Self::Cancel { cause },
        }
    }
}
