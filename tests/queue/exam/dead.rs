//! Jobs that are over.

use jobs::contract::{JobId, Verdict};
use postrider::queue::{Changed, NewJob, Queue, Retention, Status};

use super::Adapter;
use crate::queue::jobs::{
    HOUR, LEASE, MINUTE, SECOND, claim_one, done, fail, job, jobs, put, record, retention, settle,
    tenant,
};

async fn end(queue: &dyn Queue, of: &str, verdict: Verdict) -> JobId {
    let id = put(queue, of, vec![job("l")]).await[0];
    let running = claim_one(queue).await;
    settle(queue, &running, verdict).await;
    id
}

async fn is_there(queue: &dyn Queue, of: &str, id: JobId) -> bool {
    queue.job(&tenant(of), id).await.unwrap().is_some()
}

pub(crate) async fn a_failed_job_is_retried_with_all_its_attempts(adapter: &dyn Adapter) {
    // given a job that was quarantined
    let (queue, clock) = adapter.open().await;
    let id = put(&*queue, "a", vec![job("l")]).await[0];
    let first = claim_one(&*queue).await;
    clock.advance(LEASE);
    queue.rescue(1, 1).await.unwrap();
    assert_eq!(record(&*queue, "a", id).await.status, Status::Failed);

    // when
    assert_eq!(queue.retry(&tenant("a"), id).await.unwrap(), Changed::Done);

    // then
    let back = record(&*queue, "a", id).await;
    assert_eq!((back.status, back.attempt, back.crashes), (Status::Queued, 0, 0));
    assert_eq!((back.completed_at, back.retryable), (None, false));
    let again = claim_one(&*queue).await;
    assert_eq!((again.attempt, again.due_at), (1, queue.now()));
    assert!(again.lease.fence > first.lease.fence);
}

pub(crate) async fn a_cancelled_job_is_retried(adapter: &dyn Adapter) {
    // given
    let (queue, _) = adapter.open().await;
    let id = put(&*queue, "a", vec![job("l")]).await[0];
    queue.cancel(&tenant("a"), id, "ada").await.unwrap();

    // when
    assert_eq!(queue.retry(&tenant("a"), id).await.unwrap(), Changed::Done);

    // then
    let back = record(&*queue, "a", id).await;
    assert_eq!((back.status, back.cancelled_by), (Status::Queued, None));
    assert_eq!(claim_one(&*queue).await.lease.id, id);
}

pub(crate) async fn an_unfinished_job_is_neither_retried_nor_discarded(adapter: &dyn Adapter) {
    // given
    let (queue, _) = adapter.open().await;
    let completed = end(&*queue, "b", done()).await;
    let runs = put(&*queue, "a", vec![job("l")]).await[0];
    claim_one(&*queue).await;
    let waits = put(&*queue, "a", vec![job("l")]).await[0];

    // when, then
    for id in [waits, runs] {
        assert_eq!(queue.retry(&tenant("a"), id).await.unwrap(), Changed::NotApplicable);
        assert_eq!(queue.discard(&tenant("a"), id).await.unwrap(), Changed::NotApplicable);
    }
    assert_eq!(queue.retry(&tenant("b"), completed).await.unwrap(), Changed::NotApplicable);
}

pub(crate) async fn a_finished_job_is_discarded(adapter: &dyn Adapter) {
    let (queue, _) = adapter.open().await;
    for verdict in [done(), fail(), Verdict::Cancel] {
        // given
        let id = end(&*queue, "a", verdict).await;

        // when
        assert_eq!(queue.discard(&tenant("a"), id).await.unwrap(), Changed::Done);

        // then
        assert!(!is_there(&*queue, "a", id).await);
        assert_eq!(queue.discard(&tenant("a"), id).await.unwrap(), Changed::Unknown);
    }
}

pub(crate) async fn a_retry_does_not_make_a_twin(adapter: &dyn Adapter) {
    // given a dead job whose place another one has taken
    let (queue, _) = adapter.open().await;
    let twin = || NewJob { unique: Some("only one".into()), ..job("l") };
    let dead = put(&*queue, "a", vec![twin()]).await[0];
    settle(&*queue, &claim_one(&*queue).await, fail()).await;
    put(&*queue, "a", vec![twin()]).await;

    // when, then
    assert_eq!(queue.retry(&tenant("a"), dead).await.unwrap(), Changed::NotApplicable);
    settle(&*queue, &claim_one(&*queue).await, done()).await;
    assert_eq!(queue.retry(&tenant("a"), dead).await.unwrap(), Changed::Done);
}

pub(crate) async fn finished_jobs_are_kept_as_long_as_told(adapter: &dyn Adapter) {
    // given one job of each end, one that waits and one that runs
    let (queue, clock) = adapter.open().await;
    let completed = end(&*queue, "a", done()).await;
    let cancelled = end(&*queue, "a", Verdict::Cancel).await;
    let failed = end(&*queue, "a", fail()).await;
    let runs = put(&*queue, "a", vec![job("l")]).await[0];
    claim_one(&*queue).await;
    let waits = put(&*queue, "a", vec![job("l")]).await[0];
    let keep =
        Retention { completed: MINUTE, cancelled: MINUTE * 2, failed: MINUTE * 3, ..retention() };

    // when, then
    let mut left = vec![completed, cancelled, failed];
    clock.advance(MINUTE - SECOND);
    assert_eq!(queue.prune(100, &keep).await.unwrap(), 0);
    clock.advance(SECOND);
    while !left.is_empty() {
        assert_eq!(queue.prune(100, &keep).await.unwrap(), 1);
        let gone = left.remove(0);
        assert!(!is_there(&*queue, "a", gone).await);
        for id in left.iter().chain([&runs, &waits]) {
            assert!(is_there(&*queue, "a", *id).await);
        }
        clock.advance(MINUTE);
    }
    clock.advance(HOUR * 1_000);
    queue.prune(100, &keep).await.unwrap();
    assert!(is_there(&*queue, "a", runs).await && is_there(&*queue, "a", waits).await);
}

pub(crate) async fn the_dead_of_a_tenant_are_thinned_oldest_first(adapter: &dyn Adapter) {
    // given
    let (queue, clock) = adapter.open().await;
    let mut dead = Vec::new();
    for _ in 0..5 {
        dead.push(end(&*queue, "a", fail()).await);
        clock.advance(SECOND);
    }
    let other = end(&*queue, "b", fail()).await;

    // when
    let keep = Retention { failed_max: 2, ..retention() };
    assert_eq!(queue.prune(100, &keep).await.unwrap(), 3);

    // then
    for (index, id) in dead.iter().enumerate() {
        assert_eq!(is_there(&*queue, "a", *id).await, index >= 3, "{index}");
    }
    assert!(is_there(&*queue, "b", other).await);
}

pub(crate) async fn pruning_is_bounded(adapter: &dyn Adapter) {
    // given
    let (queue, clock) = adapter.open().await;
    let all = put(&*queue, "a", jobs("l", 10)).await;
    for id in &all {
        queue.cancel(&tenant("a"), *id, "ada").await.unwrap();
    }
    clock.advance(HOUR);

    // when, then every call does its part, and what it says is what it did
    let mut left = 10;
    while left > 0 {
        let removed = queue.prune(4, &retention()).await.unwrap();
        assert!((1..=4).contains(&removed), "{removed}");
        left -= removed.min(left);
    }
    for id in all {
        assert!(!is_there(&*queue, "a", id).await);
    }
}
