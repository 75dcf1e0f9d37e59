//! The façade: POST /jobs and GET /jobs/<id>, and nothing else for callers.

use serde::Deserialize;

/// The section `[http]` of the configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {}
