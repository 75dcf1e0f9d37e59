//! Failed jobs, retried and discarded in bulk.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use jobs::contract::{Cause, JobId, LaneName, TenantId, Verdict};
use postrider::queue::{
    Ask, JobFilter, NewJob, Priority, Queue, Settlement, Status, Submission, redis::RedisQueue,
};
use serde_json::json;

use super::desk::Desk;
use crate::{store::dev, support::redis};

const QUEUE: &str = "send";

/// Failed jobs of a tenant; every third failed of something else.
async fn dead(queue: &dyn Queue, tenant: &TenantId, count: usize) -> Vec<JobId> {
    let mut ids = Vec::new();
    for _ in 0..count.div_ceil(500) {
        let jobs: Vec<_> = (0..500.min(count - ids.len())).map(|_| job()).collect();
        ids.extend(jobs.iter().map(|job| job.id));
        let submission = Submission { tenant: tenant.clone(), jobs, idempotency: None };
        queue.enqueue(submission).await.unwrap();
    }
    let mut left = count;
    while left > 0 {
        let ask = Ask {
            queue: QUEUE.into(),
            worker: "test".into(),
            max: 100,
            lease: Duration::from_secs(60),
        };
        let claimed = queue.claim(&ask).await.unwrap().jobs;
        assert!(!claimed.is_empty());
        let settle = |(n, job): (usize, postrider::queue::Claimed)| {
            let code = if n % 3 == 0 { "away" } else { "refused" };
            let error = Cause::new(code, "a test says so");
            let verdict = Verdict::Fail { error, spent: true, retryable: true };
            Settlement { lease: job.lease, verdict, refund: false }
        };
        left -= claimed.len();
        queue.settle(claimed.into_iter().enumerate().map(settle).collect()).await.unwrap();
    }
    ids
}

fn job() -> NewJob {
    NewJob {
        id: JobId::generate(),
        kind: "send".into(),
        queue: QUEUE.into(),
        lane: LaneName::tenant(),
        policy: Arc::default(),
        payload: Bytes::from_static(b"{}"),
        priority: Priority::Normal,
        run_at: None,
        max_attempts: 3,
        unique: None,
        total_items: 1,
        tags: Vec::new(),
        callback: Vec::new(),
        request_id: "test".into(),
    }
}

async fn in_status(queue: &dyn Queue, tenant: &TenantId, status: Status) -> usize {
    let mut filter = JobFilter {
        tenant: Some(tenant.clone()),
        status: Some(status),
        limit: 1_000,
        ..JobFilter::default()
    };
    let mut count = 0;
    loop {
        let jobs = queue.jobs(&filter).await.unwrap();
        let Some(last) = jobs.last() else { return count };
        filter.before = Some(last.id);
        count += jobs.len();
    }
}

async fn two_thousand_dead_jobs_are_retried_or_discarded(desk: Desk) {
    // given
    let (queue, other) = (Arc::clone(&desk.queue), "other".parse().unwrap());
    let ids = dead(&*queue, &dev(), 2_000).await;
    let theirs = dead(&*queue, &other, 1).await;
    // when those that failed of one thing are retried
    let away = in_status(&*queue, &dev(), Status::Failed).await;
    assert_eq!(away, 2_000);
    let retry = json!({"resource": "dead-jobs", "action": "retry",
        "selection": {"mode": "filter", "filter": {"field": "code", "equals": "away"}}});
    let (retried, failed, _) = desk.done(1, &retry).await;
    // then these are queued, and the others are dead
    assert_eq!(failed, 0);
    let retried = usize::try_from(retried).unwrap();
    assert!((660..=700).contains(&retried), "{retried}");
    assert_eq!(in_status(&*queue, &dev(), Status::Queued).await, retried);
    // when all are discarded by their ids, with one of somebody else's
    let mut all: Vec<_> = ids.iter().map(ToString::to_string).collect();
    all.push(theirs[0].to_string());
    let discard = json!({"resource": "dead-jobs", "action": "discard",
        "selection": {"mode": "ids", "ids": all}});
    let (processed, failed, _) = desk.done(2, &discard).await;
    // then what is dead is gone, and nothing else
    assert_eq!((processed, failed), (2_001, retried as u64 + 1));
    assert_eq!(in_status(&*queue, &dev(), Status::Failed).await, 0);
    assert_eq!(in_status(&*queue, &dev(), Status::Queued).await, retried);
    assert_eq!(in_status(&*queue, &other, Status::Failed).await, 1);
}

#[tokio::test]
async fn of_the_embedded_queue() {
    two_thousand_dead_jobs_are_retried_or_discarded(Desk::lite().await).await;
}

#[tokio::test]
async fn of_redis() {
    let mut desk = Desk::lite().await;
    desk.queue = Arc::new(RedisQueue::open(&redis::place()).await.unwrap());
    desk.declaring(super::desk::DECLARED);
    two_thousand_dead_jobs_are_retried_or_discarded(desk).await;
}
