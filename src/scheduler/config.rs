//! The section `[scheduler]` of the configuration.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;

use crate::{config::Ranges, queue::Retention};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

/// The section `[scheduler]` of the configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SchedulerConfig {
    /// How often the queue is tended and the crontab is looked at.
    #[serde(deserialize_with = "crate::config::duration")]
    pub tick: Duration,
    /// How many jobs one step moves, rescues or removes at most.
    pub batch: u32,
    /// How often what is past its time is removed.
    #[serde(deserialize_with = "crate::config::duration")]
    pub prune_every: Duration,
    /// The crontab; empty: `crontab.toml` in the data directory, if there is one.
    pub crontab: PathBuf,
    /// How late a tick may fire and still not count as missed.
    #[serde(deserialize_with = "crate::config::duration")]
    pub grace: Duration,
    /// How far back missed ticks are made up for.
    #[serde(deserialize_with = "crate::config::duration")]
    pub catch_up: Duration,
    /// How long finished jobs are kept.
    pub keep: KeepConfig,
}

/// How long finished jobs are kept.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeepConfig {
    /// Completed jobs.
    #[serde(deserialize_with = "crate::config::duration")]
    pub completed: Duration,
    /// Cancelled jobs.
    #[serde(deserialize_with = "crate::config::duration")]
    pub cancelled: Duration,
    /// Failed jobs.
    #[serde(deserialize_with = "crate::config::duration")]
    pub failed: Duration,
    /// How many failed jobs of one tenant are kept at most.
    pub failed_max: u32,
}

impl KeepConfig {
    /// The same, in the queue's words.
    pub fn retention(&self) -> Retention {
        Retention {
            completed: self.completed,
            cancelled: self.cancelled,
            failed: self.failed,
            failed_max: self.failed_max,
        }
    }
}

impl SchedulerConfig {
    /// Names the options whose values make no sense.
    pub fn ranges(&self, ranges: &mut Ranges) {
        ranges.duration("scheduler.tick", self.tick, SECOND / 10..=SECOND * 60);
        ranges.number("scheduler.batch", self.batch, 1..=10_000);
        ranges.duration("scheduler.prune_every", self.prune_every, SECOND..=DAY);
        ranges.duration("scheduler.grace", self.grace, SECOND..=DAY);
        // The keys under which ticks are submitted are remembered for eight days.
        ranges.duration("scheduler.catch_up", self.catch_up, SECOND..=DAY * 7);
        let keep = [
            ("scheduler.keep.completed", self.keep.completed),
            ("scheduler.keep.cancelled", self.keep.cancelled),
            ("scheduler.keep.failed", self.keep.failed),
        ];
        for (option, span) in keep {
            ranges.duration(option, span, SECOND..=DAY * 3_650);
        }
        ranges.number("scheduler.keep.failed_max", self.keep.failed_max, 1..=10_000_000);
    }
}
