//! Redis for tests: one server for the run, one prefix for each test.

use std::sync::atomic::{AtomicU32, Ordering};

use postrider::queue::redis::RedisConfig;

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
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let (process, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let prefix = format!("test-{process}-{number}-{:08x}", rand::random::<u32>());
    // Generous: the run's server and its tests share the machine with everything else.
    let patience = std::time::Duration::from_secs(20);
    let defaults = super::defaults().redis;
    RedisConfig { url: server(), prefix, submit_timeout: patience, ..defaults }
}
