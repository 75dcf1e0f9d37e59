//! Words for what tests of the queue do again and again.

use std::{sync::Arc, time::Duration};

use jobs::contract::{Cause, JobId, LaneName, Moment, TenantId, Verdict};
use postrider::queue::{
    Ask, Claimed, Claims, Enqueued, Idempotency, JobRecord, LanePolicy, LaneRef, Limit, NewJob,
    Priority, Queue, Retention, Settled, Settlement, Submission,
};
use serde_json::Value;

/// The queue that jobs of the exam wait in.
pub(crate) const QUEUE: &str = "send";
/// How long claims of the exam hold.
pub(crate) const LEASE: Duration = Duration::from_secs(30);
pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);

pub(crate) fn tenant(name: &str) -> TenantId {
    name.parse().unwrap()
}

pub(crate) fn lane(of: &str, name: &str) -> LaneRef {
    LaneRef { queue: QUEUE.into(), tenant: tenant(of), name: LaneName::custom(name) }
}

/// A job of lane `custom:<lane>` without limits.
pub(crate) fn job(lane: &str) -> NewJob {
    let id = JobId::generate();
    NewJob {
        id,
        kind: "send".into(),
        queue: QUEUE.into(),
        lane: LaneName::custom(lane),
        policy: Arc::new(LanePolicy::default()),
        payload: format!("{{\"job\":\"{id}\"}}").into(),
        priority: Priority::Normal,
        run_at: None,
        max_attempts: 3,
        unique: None,
        total_items: 1,
        tags: Vec::new(),
        request_id: "req_1".into(),
        callback: Vec::new(),
    }
}

pub(crate) fn jobs(lane: &str, count: usize) -> Vec<NewJob> {
    together((0..count).map(|_| job(lane)).collect())
}

pub(crate) fn limit(bucket: &str, count: u32, window: Duration) -> Limit {
    Limit {
        bucket: bucket.into(),
        label: format!("{bucket} {count}"),
        count,
        window_ms: u64::try_from(window.as_millis()).unwrap(),
        shared: false,
    }
}

pub(crate) fn limited(jobs: Vec<NewJob>, limits: Vec<Limit>) -> Vec<NewJob> {
    let policy = Arc::new(LanePolicy { limits, in_flight: None });
    jobs.into_iter().map(|job| NewJob { policy: Arc::clone(&policy), ..job }).collect()
}

/// Jobs whose ids belong together, as the intake gives them.
pub(crate) fn together(mut jobs: Vec<NewJob>) -> Vec<NewJob> {
    NewJob::name_together(&mut jobs);
    jobs
}

pub(crate) fn submission(of: &str, jobs: Vec<NewJob>) -> Submission {
    Submission { tenant: tenant(of), jobs, idempotency: None }
}

pub(crate) fn idempotency(key: &str, request: u8, answer: &'static str) -> Idempotency {
    let keep = Duration::from_secs(60);
    Idempotency { key: key.into(), fingerprint: [request; 32], answer: answer.into(), keep }
}

/// Takes jobs in that all are new, and answers their ids.
pub(crate) async fn put(queue: &dyn Queue, of: &str, jobs: Vec<NewJob>) -> Vec<JobId> {
    match queue.enqueue(submission(of, jobs)).await.unwrap() {
        Enqueued::Fresh(ids) => ids,
        other => panic!("not fresh: {other:?}"),
    }
}

pub(crate) async fn claims(queue: &dyn Queue, max: u32) -> Claims {
    let ask = Ask { queue: QUEUE.into(), worker: "worker-1".into(), max, lease: LEASE };
    queue.claim(&ask).await.unwrap()
}

pub(crate) async fn claim(queue: &dyn Queue, max: u32) -> Vec<Claimed> {
    claims(queue, max).await.jobs
}

/// Claims one job that must be there.
pub(crate) async fn claim_one(queue: &dyn Queue) -> Claimed {
    claim(queue, 1).await.pop().expect("a job to claim")
}

pub(crate) fn ids(claimed: &[Claimed]) -> Vec<JobId> {
    claimed.iter().map(|c| c.lease.id).collect()
}

pub(crate) async fn settle(queue: &dyn Queue, job: &Claimed, verdict: Verdict) -> Settled {
    settle_with(queue, job, verdict, false).await
}

pub(crate) async fn settle_with(
    queue: &dyn Queue,
    job: &Claimed,
    verdict: Verdict,
    refund: bool,
) -> Settled {
    let settlement = Settlement { lease: job.lease, verdict, refund };
    queue.settle(vec![settlement]).await.unwrap()[0]
}

pub(crate) fn done() -> Verdict {
    Verdict::Complete { result: Value::Null, skipped: None }
}

pub(crate) fn cause() -> Cause {
    Cause::new("smtp_later", "451 try again later")
}

pub(crate) fn fail() -> Verdict {
    Verdict::Fail { error: cause(), spent: true, retryable: true }
}

pub(crate) fn retry(at: Moment) -> Verdict {
    Verdict::Retry { at, error: cause() }
}

/// The record of a job that must be there.
pub(crate) async fn record(queue: &dyn Queue, of: &str, id: JobId) -> JobRecord {
    queue.job(&tenant(of), id).await.unwrap().expect("the job")
}

/// Keeps everything for an hour.
pub(crate) fn retention() -> Retention {
    Retention { completed: HOUR, cancelled: HOUR, failed: HOUR, failed_max: 1_000 }
}
