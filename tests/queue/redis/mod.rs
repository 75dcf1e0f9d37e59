//! The queue in Redis sits the exam, and shows what only it has to: its server's troubles, its shards.

mod bundles;
pub(crate) mod cluster;
mod durability;
mod library;
mod memory;
mod rest;
mod shards;
mod topologies;
mod troubles;

use std::{collections::HashSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use jobs::contract::JobId;
use postrider::{
    config::Config,
    queue::{
        NewJob, Queue, QueueError, Settled, Settlement,
        redis::{RedisConfig, RedisQueue},
    },
};

use super::{
    clock::TestClock,
    exam::{Adapter, exam},
    jobs::{LEASE, QUEUE, claim, claims, done, ids, job, put, settle},
};
use crate::support::redis::{Private, place};

/// A prefix on the run's server, opened as often as a test likes.
pub(crate) struct Redis {
    config: RedisConfig,
    clock: TestClock,
}

impl Redis {
    pub(crate) fn new() -> Self {
        Self::at(place())
    }

    pub(crate) fn at(config: RedisConfig) -> Self {
        Self { config, clock: TestClock::new() }
    }
}

#[async_trait]
impl Adapter for Redis {
    async fn open(&self) -> (Arc<dyn Queue>, TestClock) {
        let clock = Arc::new(self.clock.clone());
        let queue = RedisQueue::open_with_clock(&self.config, clock).await.unwrap();
        (Arc::new(queue), self.clock.clone())
    }

    async fn open_side_by_side(&self) -> (Arc<dyn Queue>, TestClock) {
        let config = RedisConfig { shards: 1, ..self.config.clone() };
        Self { config, clock: self.clock.clone() }.open().await
    }
}

exam!(Redis::new());

fn unusable(opened: Result<RedisQueue, QueueError>) -> String {
    match opened.err() {
        Some(QueueError::Unusable(words)) => words,
        other => panic!("not unusable: {other:?}"),
    }
}

/// Completes jobs, and answers which.
async fn drain(queue: &dyn Queue) -> HashSet<JobId> {
    let mut seen = HashSet::new();
    loop {
        let claimed = claim(queue, 1_000).await;
        if claimed.is_empty() {
            return seen;
        }
        for id in ids(&claimed) {
            assert!(seen.insert(id), "{id} came twice");
        }
        let ends =
            claimed.iter().map(|c| Settlement { lease: c.lease, verdict: done(), refund: false });
        let settled = queue.settle(ends.collect()).await.unwrap();
        assert!(settled.iter().all(|s| *s == Settled::Done));
    }
}

#[tokio::test]
async fn a_server_that_evicts_is_refused() {
    // given
    let server = Private::start(&["--maxmemory-policy", "allkeys-lru"]).await;

    // when
    let refused = unusable(RedisQueue::open(&server.config()).await);

    // then
    assert!(refused.contains("expected maxmemory-policy noeviction, got allkeys-lru"), "{refused}");
}

#[tokio::test]
async fn a_replica_is_refused() {
    // given a replica of a server that nobody reaches
    let server = Private::start(&["--replicaof", "127.0.0.1 1"]).await;

    // when
    let refused = unusable(RedisQueue::open(&server.config()).await);

    // then
    assert!(refused.contains("the server is a replica"), "{refused}");
}

#[tokio::test]
async fn a_url_that_is_none_is_not_repeated() {
    // given one with a password
    let config = RedisConfig { url: "redis//:hunter2@host".into(), ..place() };

    // when
    let refused = unusable(RedisQueue::open(&config).await);

    // then
    assert!(refused.contains("redis.url: expected redis://"), "{refused}");
    assert!(!refused.contains("hunter2") && !format!("{config:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    // given
    let dir = tempfile::tempdir().unwrap();
    let url = format!("redis+unix://{}/nobody", dir.path().display());
    let config = RedisConfig { url, response_timeout: Duration::from_secs(1), ..place() };

    // when
    let refused = RedisQueue::open(&config).await.err();

    // then
    assert!(matches!(refused, Some(QueueError::Unavailable(_))), "{refused:?}");
}

#[tokio::test]
async fn options_out_of_range_are_named() {
    let rows = [
        ("SHARDS", "0", "redis.shards: expected 1 to 1024, got 0"),
        ("PREFIX", "a{b}", "redis.prefix: expected 1 to 64 letters"),
        ("SUBMIT_TIMEOUT", "1ms", "redis.submit_timeout: expected 50ms to 1m, got 1ms"),
    ];
    for (option, value, words) in rows {
        // when
        let env = [(format!("POSTRIDER_REDIS__{option}"), value.to_owned())];
        let error = Config::load(None, env).unwrap_err().to_string();

        // then
        assert!(error.contains(words), "{error}");
    }
}

#[tokio::test]
async fn by_the_servers_own_clock_a_later_job_runs_in_time_and_not_before() {
    // given
    let queue = RedisQueue::open(&place()).await.unwrap();
    let at = queue.now().plus(Duration::from_millis(300));
    put(&queue, "a", vec![NewJob { run_at: Some(at), ..job("l") }]).await;

    // when a worker waits as it is told
    let claimed = loop {
        let mut claims = claims(&queue, 1).await;
        match claims.jobs.pop() {
            Some(claimed) => break claimed,
            None => queue.wait(QUEUE, claims.seen, claims.next_at).await,
        }
    };

    // then its lease began at the job's moment or after
    assert!(claimed.lease_until >= at.plus(LEASE));
    assert!(queue.now() >= at);
    assert_eq!(settle(&queue, &claimed, done()).await, Settled::Done);
}
