//! The names of lanes.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// A lane's name inside its tenant and queue: what it is the lane of, then which one.
///
/// `tenant`, `mailbox:dev@example.com`, `custom:nightly`. Its clones share one text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct LaneName(Arc<str>);

impl LaneName {
    /// The lane of everything of a tenant for which there is no narrower one.
    pub fn tenant() -> Self {
        Self("tenant".into())
    }

    /// The lane of a mailbox; addresses that differ only in case share it.
    pub fn mailbox(address: &str) -> Self {
        Self(format!("mailbox:{}", address.to_lowercase()).into())
    }

    /// The lane of a webhook endpoint.
    pub fn endpoint(id: &str) -> Self {
        Self(format!("endpoint:{id}").into())
    }

    /// The lane of the records of a resource.
    pub fn resource(name: &str) -> Self {
        Self(format!("resource:{name}").into())
    }

    /// A lane that a caller named for jobs that have none of their own.
    pub fn custom(name: &str) -> Self {
        Self(format!("custom:{name}").into())
    }

    /// A lane name as it was stored or typed.
    pub fn from_text(text: impl Into<String>) -> Self {
        Self(text.into().into())
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
        &*self.0 == "tenant"
    }
}

impl From<String> for LaneName {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<LaneName> for String {
    fn from(name: LaneName) -> Self {
        name.as_str().to_owned()
    }
}

impl fmt::Display for LaneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
