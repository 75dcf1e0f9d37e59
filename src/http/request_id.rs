//! The name under which one request is found again: in its answer, in the log and in its jobs.

use std::fmt;

/// `req_` and a ULID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RequestId(String);

impl RequestId {
    /// A new one. A caller's own is not taken over: it could forge lines in the log.
    pub(super) fn generate() -> Self {
        Self(format!("req_{}", ulid::Ulid::generate()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
