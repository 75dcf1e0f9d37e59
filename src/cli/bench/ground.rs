//! Fresh ground for one measurement: a queue with nothing in it.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use jobs::contract::Job;

use super::{Failure, noop::Noop, server::Server};
use crate::{
    config::Config,
    queue::{
        Queue, Status,
        redis::{RedisConfig, RedisQueue},
        sqlite::SqliteQueue,
    },
};

/// How long the benchmark's own calls wait: a full pipeline on a busy machine is no failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a queue is, for every process that works on it.
#[derive(Debug, Clone)]
pub(super) enum Address {
    /// On a server, below a prefix.
    Redis {
        /// The server.
        url: String,
        /// What all keys begin with.
        prefix: String,
    },
    /// In a directory.
    Sqlite {
        /// The directory.
        dir: PathBuf,
    },
}

/// A queue for one measurement.
pub(super) struct Ground {
    pub(super) queue: Arc<dyn Queue>,
    pub(super) address: Address,
    /// Where workers count.
    pub(super) counts: PathBuf,
    /// The configuration file that this process was given.
    pub(super) config_file: Option<PathBuf>,
    server: Option<Server>,
}

impl Address {
    /// Opens the queue there.
    pub(super) async fn open(&self, config: &Config) -> Result<Arc<dyn Queue>, Failure> {
        Ok(match self {
            Self::Redis { url, prefix } => {
                let config = RedisConfig {
                    url: url.clone(),
                    prefix: prefix.clone(),
                    submit_timeout: PATIENCE,
                    response_timeout: PATIENCE,
                    ..config.redis.clone()
                };
                Arc::new(RedisQueue::open(&config).await?)
            }
            Self::Sqlite { dir } => {
                Arc::new(SqliteQueue::open(&dir.join("queue.sqlite"), &config.queue).await?)
            }
        })
    }
}

impl Ground {
    pub(super) async fn open(
        config: &Config,
        address: Address,
        counts: PathBuf,
        config_file: Option<PathBuf>,
        server: Option<Server>,
    ) -> Result<Self, Failure> {
        let queue = address.open(config).await?;
        Ok(Self { queue, address, counts, config_file, server })
    }

    /// How many of the jobs have which status.
    pub(super) async fn tally(&self) -> Result<BTreeMap<Status, u64>, Failure> {
        let queues = self.queue.queues().await?;
        let ours = queues.into_iter().find(|queue| queue.name == Noop::QUEUE);
        Ok(ours.map(|queue| queue.counts).unwrap_or_default())
    }

    /// Seconds of CPU that the server has used; 0 where there is none.
    pub(super) async fn server_cpu(&self) -> Result<f64, Failure> {
        match &self.server {
            Some(server) => server.cpu().await,
            None => Ok(0.0),
        }
    }

    /// Removes what the measurement left.
    pub(super) async fn clear(self) -> Result<(), Failure> {
        drop(self.queue);
        if let (Address::Redis { prefix, .. }, Some(server)) = (&self.address, &self.server) {
            // The prefix ends here: number 1 must not take number 10 along.
            server.clear(&format!("{prefix}:")).await?;
        }
        Ok(())
    }
}
