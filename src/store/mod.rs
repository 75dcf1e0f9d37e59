//! The SQL store: what has happened.

use serde::Deserialize;

/// The section `[store]` of the configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// Where it is; empty: SQLite in the data directory.
    pub url: String,
}
