//! Redis for tests: one server for the run and one prefix for each test, servers of a test's own, and
//! larger arrangements that are started by the first test that needs them.

mod cluster;
mod daemon;
mod private;
mod sentinel;

use std::sync::atomic::{AtomicU32, Ordering};

use postrider::queue::redis::RedisConfig;

pub(crate) use self::{
    cluster::{Cluster, command},
    private::{Private, as_user, over_tls, valkey},
    sentinel::Watched,
};

const VARIABLE: &str = "POSTRIDER_TEST_REDIS";

/// The URL of the run's server.
pub(crate) fn server() -> String {
    std::env::var(VARIABLE).unwrap_or_else(|_| {
        panic!(
            "{VARIABLE} is not set: run the tests with tests/run, or start a server of your own \
             with `tests/support/redis.sh start DIR` and export what it prints"
        )
    })
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
    // Generous: the run's server and its tests share the machine with everything else.
    let patience = std::time::Duration::from_secs(20);
    let defaults = super::defaults().redis;
    RedisConfig { url, prefix, submit_timeout: patience, ..defaults }
}
