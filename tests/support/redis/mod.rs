//! Redis for tests: one server for the run and one prefix for each test, servers of a test's own, and
//! larger arrangements that are started by the first test that needs them.

mod cluster;
mod daemon;
mod private;
mod sentinel;

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use postrider::queue::redis::RedisConfig;
use redis::{AsyncConnectionConfig, Client, RedisResult, aio::MultiplexedConnection};

pub(crate) use self::{
    cluster::{Cluster, command},
    private::{Private, as_user, over_tls, valkey},
    sentinel::Watched,
};

const VARIABLE: &str = "POSTRIDER_TEST_REDIS";
/// Generous: servers and tests share the machine with everything else.
const PATIENCE: Duration = Duration::from_secs(20);

/// The URL of the run's server.
pub(crate) fn server() -> String {
    std::env::var(VARIABLE).unwrap_or_else(|_| {
        panic!(
            "{VARIABLE} is not set: run the tests with tests/run, or start a server of your own \
             with `tests/support/redis.sh start DIR` and export what it prints"
        )
    })
}

/// A connection that asks as an operator would, and waits for the answer: a machine full of tests is slow.
async fn patient(client: &Client) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    client.get_multiplexed_async_connection_with_config(&config).await
}

/// A place of its own on the run's server.
pub(crate) fn place() -> RedisConfig {
    place_at(server())
}

/// A place of its own on another server.
pub(crate) fn place_at(url: String) -> RedisConfig {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let (process, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    // Below the prefix of the default, to which the shipped user is confined.
    let prefix = format!("postrider:test-{process}-{number}-{:08x}", rand::random::<u32>());
    let defaults = super::defaults().redis;
    RedisConfig { url, prefix, submit_timeout: PATIENCE, ..defaults }
}
