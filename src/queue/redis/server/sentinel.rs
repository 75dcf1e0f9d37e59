//! Asking sentinels which server is the primary.

use std::{collections::HashMap, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use redis::{AsyncConnectionConfig, Client, ConnectionInfo};
use tokio::time::timeout;

use super::place::at;
use crate::queue::QueueError;

/// How long one sentinel may take.
const PATIENCE: Duration = Duration::from_millis(700);

/// The sentinels, and what they watch for us.
#[derive(Debug)]
pub(super) struct Sentinels {
    pub(super) sentinels: Vec<ConnectionInfo>,
    pub(super) master: String,
    pub(super) like: ConnectionInfo,
}

/// What one sentinel says.
struct Word {
    host: String,
    port: u16,
    /// Which failover it knows of; the higher number wins, as it does among sentinels themselves.
    epoch: u64,
}

impl Sentinels {
    /// Where the primary is, by the newest of what a majority of them says.
    ///
    /// One sentinel that was cut off from the others would name a server that is none any more.
    pub(super) async fn primary(&self) -> Result<ConnectionInfo, QueueError> {
        let mut asked: FuturesUnordered<_> =
            self.sentinels.iter().map(|sentinel| self.ask(sentinel)).collect();
        let majority = self.sentinels.len() / 2 + 1;
        let (mut words, mut trouble) = (Vec::new(), Vec::new());
        while let Some(answer) = asked.next().await {
            match answer {
                Ok(word) => words.push(word),
                Err(error) => trouble.push(error),
            }
            if words.len() == majority {
                break;
            }
        }
        match words.into_iter().max_by_key(|word| word.epoch) {
            Some(word) => Ok(at(&self.like, &word.host, word.port)),
            None => Err(QueueError::Unavailable(format!(
                "no sentinel knows a server {:?} ({})",
                self.master,
                trouble.join("; ")
            ))),
        }
    }

    async fn ask(&self, sentinel: &ConnectionInfo) -> Result<Word, String> {
        let address = sentinel.addr().to_string();
        let answer = match timeout(PATIENCE, asked(sentinel, &self.master)).await {
            Ok(answer) => answer.map_err(|error| format!("{address}: {error}"))?,
            Err(_) => return Err(format!("{address}: no answer in time")),
        };
        let number = |name: &str| answer.get(name).and_then(|text| text.parse().ok());
        let port = number("port").and_then(|port: u64| u16::try_from(port).ok());
        match (answer.get("ip"), port, number("config-epoch")) {
            (Some(host), Some(port), Some(epoch)) => Ok(Word { host: host.clone(), port, epoch }),
            _ => Err(format!("{address}: an answer without an address")),
        }
    }
}

async fn asked(
    sentinel: &ConnectionInfo,
    master: &str,
) -> redis::RedisResult<HashMap<String, String>> {
    let client = Client::open(sentinel.clone())?;
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    redis::cmd("SENTINEL").arg("MASTER").arg(master).query_async(&mut connection).await
}
