//! Schedulers: promote, rescue, prune, and the crontab.

use serde::Deserialize;

/// The section `[scheduler]` of the configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SchedulerConfig {}
