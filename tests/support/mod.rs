//! What the tests share: servers, directories, builders.

pub mod browser;
mod faulty;
pub mod mail;
pub mod postgres;
pub mod proxy;
pub mod receiver;
pub mod redis;

use std::{future::Future, path::Path, sync::Arc, time::Duration};

use postrider::{
    config::Config,
    queue::{Queue, sqlite::SqliteQueue},
};

pub use self::faulty::{Faults, Faulty};

/// How long anything may take before its test fails.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a condition without an event of its own is looked at.
const BEAT: Duration = Duration::from_millis(5);

/// Waits until `holds`.
pub async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let answer = || async { if holds() { Ok(()) } else { Err("not yet") } };
    eventually_ok(what, answer).await;
}

/// Waits until `attempt` answers `Ok`, and returns its answer.
pub async fn eventually_ok<T, E, F>(what: &str, attempt: impl Fn() -> F) -> T
where
    E: std::fmt::Debug,
    F: Future<Output = Result<T, E>>,
{
    eventually_within(PATIENCE, what, attempt).await
}

/// The same with a patience of its own.
pub async fn eventually_within<T, E, F>(
    patience: Duration,
    what: &str,
    attempt: impl Fn() -> F,
) -> T
where
    E: std::fmt::Debug,
    F: Future<Output = Result<T, E>>,
{
    let deadline = tokio::time::Instant::now() + patience;
    let mut beat = tokio::time::interval(BEAT);
    loop {
        match attempt().await {
            Ok(answer) => return answer,
            Err(error) if tokio::time::Instant::now() > deadline => {
                panic!("it was waited for in vain that {what}: {error:?}")
            }
            Err(_) => {
                beat.tick().await;
            }
        }
    }
}

/// The built-in configuration.
pub fn defaults() -> Config {
    Config::load(None, std::iter::empty()).expect("the defaults are valid")
}

/// The embedded queue of a data directory.
pub async fn embedded_queue(data_dir: &Path) -> Arc<dyn Queue> {
    let file = data_dir.join("queue.sqlite");
    Arc::new(SqliteQueue::open(&file, &defaults().queue).await.expect("the queue opens"))
}
