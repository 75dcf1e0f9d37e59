//! What is wrong with a payload, and where.

use serde::Serialize;

/// One thing wrong with a payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Where: a JSON pointer (RFC 6901) into the payload, `""` for the whole.
    pub pointer: String,
    /// What, for programs: `snake_case`.
    pub code: &'static str,
    /// What, for people: one sentence that says what was expected.
    pub message: String,
}

impl Problem {
    /// A problem at `pointer`.
    pub fn new(pointer: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), code, message: message.into() }
    }

    /// The same problem, with its pointer moved under `prefix`.
    #[must_use]
    pub fn under(mut self, prefix: &str) -> Self {
        self.pointer.insert_str(0, prefix);
        self
    }
}
