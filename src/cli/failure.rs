//! Why a command did not do what was asked, and the exit code that says so to scripts.

use std::{fmt, io, process::ExitCode};

use super::{apply::ApplyError, keys::KeysError};
use crate::{config::ConfigError, queue::QueueError};

/// `EX_UNAVAILABLE`.
const UNAVAILABLE: u8 = 69;

/// Why a command did not do what was asked. The codes are those of `sysexits.h`, where there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    /// One sentence; empty when there is nobody left to read it.
    pub sentence: String,
}

impl Failure {
    /// The job that was waited for did not complete (1).
    pub fn job(sentence: impl Into<String>) -> Self {
        Self { code: 1, sentence: sentence.into() }
    }

    /// What was given cannot be used: a payload, a file, an id (65, `EX_DATAERR`).
    pub fn data(sentence: impl Into<String>) -> Self {
        Self { code: 65, sentence: sentence.into() }
    }

    /// Something that is needed cannot be reached (69, `EX_UNAVAILABLE`).
    pub fn unavailable(sentence: impl Into<String>) -> Self {
        Self { code: UNAVAILABLE, sentence: sentence.into() }
    }

    /// A file or directory cannot be made or written to (73, `EX_CANTCREAT`).
    pub fn cannot_create(sentence: impl Into<String>) -> Self {
        Self { code: 73, sentence: sentence.into() }
    }

    /// The configuration is wrong (78, `EX_CONFIG`).
    pub fn config(sentence: impl Into<String>) -> Self {
        Self { code: 78, sentence: sentence.into() }
    }

    /// Whether it may well be over a moment later: something cannot be reached.
    pub fn passes(&self) -> bool {
        self.code == UNAVAILABLE
    }

    /// The exit code.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for Failure {}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::config(error.to_string())
    }
}

impl From<QueueError> for Failure {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::Unavailable(_) => Self::unavailable(error.to_string()),
            // Another schema, or no queue at all: `data_dir` or `redis.url` points to the wrong one.
            QueueError::Unusable(_) | QueueError::Denied(_) => Self::config(error.to_string()),
        }
    }
}

impl From<ApplyError> for Failure {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Store(error) => error.into(),
            ApplyError::Output(error) => error.into(),
            ApplyError::Queue(_) => Self::unavailable(error.to_string()),
            ApplyError::Data { .. } | ApplyError::Unreadable { .. } => {
                Self::data(error.to_string())
            }
        }
    }
}

impl From<KeysError> for Failure {
    fn from(error: KeysError) -> Self {
        match error {
            KeysError::Data(sentence) => Self::data(sentence),
            KeysError::Store(error) => error.into(),
            KeysError::Output(error) => error.into(),
        }
    }
}

/// Writing results failed. A reader that closed the pipe (`| head`) has what it wanted.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self { code: 0, sentence: String::new() };
        }
        Self { code: 74, sentence: format!("cannot write the result: {error}") }
    }
}
