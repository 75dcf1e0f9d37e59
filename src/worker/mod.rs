//! Workers: claim jobs, perform them through apalis, judge and settle.

use serde::Deserialize;

/// The section `[worker]` of the configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerConfig {}
