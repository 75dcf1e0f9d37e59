//! Configuration: the defaults inside the binary, then a file, then the environment.
//!
//! `config/default.toml` lists every option with its unit, default and reason, and is part of the
//! binary. `--config FILE` overrides it, `POSTRIDER_SECTION__KEY` overrides both. Each section is
//! declared by the module that uses it.

mod load;
mod ranges;
mod values;

use std::path::PathBuf;

use secrecy::SecretString;
use serde::Deserialize;

pub use self::{
    load::{ConfigError, DEFAULTS, Layers, WrongValue, variables},
    ranges::{Ranges, spoken},
    values::{Rate, duration},
};

/// Everything that can be configured.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the embedded queue and store, and mail written as files, live.
    pub data_dir: PathBuf,
    /// 32 bytes in base64 that seal credentials and the pepper of API keys; empty: none.
    pub secret_key: SecretString,
    /// The secret key before this one, while what it sealed is wrapped anew; empty: none.
    pub secret_key_previous: SecretString,
    /// The shared queue.
    pub redis: crate::queue::redis::RedisConfig,
    /// The SQL store.
    pub store: crate::store::StoreConfig,
    /// The queue, whichever adapter carries it.
    pub queue: crate::queue::QueueConfig,
    /// The façade and the admin listener.
    pub http: crate::http::HttpConfig,
    /// Workers.
    pub worker: crate::worker::WorkerConfig,
    /// Schedulers.
    pub scheduler: crate::scheduler::SchedulerConfig,
    /// Records that are changed in bulk.
    pub resources: crate::resources::ResourcesConfig,
    /// What lanes may draw on.
    pub limits: crate::limits::LimitsConfig,
    /// Mail.
    pub mail: crate::mail::MailConfig,
    /// Webhooks.
    pub webhooks: crate::webhooks::WebhooksConfig,
    /// Logs.
    pub log: crate::telemetry::LogConfig,
}

impl Config {
    /// Names every option whose value lies outside its range. Each section checks its own.
    fn ranges(&self, ranges: &mut Ranges) {
        if self.data_dir.as_os_str().is_empty() {
            ranges.problem("data_dir", "expected a directory, got nothing".into());
        }
        self.redis.ranges(ranges);
        self.worker.ranges(ranges);
        self.limits.ranges(ranges);
        self.scheduler.ranges(ranges);
        self.webhooks.ranges(ranges);
        if let Err(error) = crate::telemetry::subscriber(&self.log, std::io::sink, false) {
            let words = error.to_string();
            let words = words.strip_prefix("log.level: ").unwrap_or(&words);
            ranges.problem("log.level", words.to_owned());
        }
    }
}
