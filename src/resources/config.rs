//! The section `[resources]` of the configuration.

use std::path::PathBuf;

use serde::Deserialize;

/// The section `[resources]` of the configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResourcesConfig {
    /// The file of declarations; empty: `resources.toml` in the data directory, if there is one.
    pub file: PathBuf,
}
