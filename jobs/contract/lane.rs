//! The names of lanes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A lane's name inside its tenant and queue: what it is the lane of, then which one.
///
/// `tenant`, `mailbox:dev@example.com`, `custom:nightly`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LaneName(String);

impl LaneName {
    /// The lane of everything of a tenant for which there is no narrower one.
    pub fn tenant() -> Self {
        Self("tenant".into())
    }

    /// The lane of a mailbox; addresses that differ only in case share it.
    pub fn mailbox(address: &str) -> Self {
        Self(format!("mailbox:{}", address.to_lowercase()))
    }

    /// The lane of a webhook endpoint.
    pub fn endpoint(id: &str) -> Self {
        Self(format!("endpoint:{id}"))
    }

    /// The lane of the records of a resource.
    pub fn resource(name: &str) -> Self {
        Self(format!("resource:{name}"))
    }

    /// A lane that a caller named for jobs that have none of their own.
    pub fn custom(name: &str) -> Self {
        Self(format!("custom:{name}"))
    }

    /// A lane name as it was stored or typed.
    pub fn from_text(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The mailbox this is the lane of, if it is one's.
    pub fn as_mailbox(&self) -> Option<&str> {
        self.0.strip_prefix("mailbox:")
    }

    /// The webhook endpoint this is the lane of, if it is one's.
    pub fn as_endpoint(&self) -> Option<&str> {
        self.0.strip_prefix("endpoint:")
    }

    /// The resource this is the lane of, if it is one's.
    pub fn as_resource(&self) -> Option<&str> {
        self.0.strip_prefix("resource:")
    }

    /// Whether this is the lane of the whole tenant.
    pub fn is_tenant(&self) -> bool {
        self.0 == "tenant"
    }
}

impl fmt::Display for LaneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
