//! The queue in Redis sits the exam.

use std::sync::Arc;

use async_trait::async_trait;
use postrider::queue::{
    Queue,
    redis::{RedisConfig, RedisQueue},
};

use super::{
    clock::TestClock,
    exam::{Adapter, exam},
};
use crate::support::redis::place;

/// A prefix on the run's server, opened as often as a test likes.
pub(crate) struct Redis {
    config: RedisConfig,
    clock: TestClock,
}

impl Redis {
    pub(crate) fn new() -> Self {
        Self { config: place(), clock: TestClock::new() }
    }
}

#[async_trait]
impl Adapter for Redis {
    async fn open(&self) -> (Arc<dyn Queue>, TestClock) {
        let clock = Arc::new(self.clock.clone());
        let queue = RedisQueue::open_with_clock(&self.config, clock).await.unwrap();
        (Arc::new(queue), self.clock.clone())
    }
}

exam!(Redis::new());
