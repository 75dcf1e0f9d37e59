//! Who holds a job, and what happens when nobody is heard of any more.

use std::time::Duration;

use jobs::contract::Cursor;
use postrider::queue::{Hold, LeaseRef, Settled, Status};

use super::Adapter;
use crate::queue::jobs::{
    LEASE, SECOND, cause, claim, claim_one, done, ids, job, jobs, put, record, retry, settle,
    tenant,
};

const TICK: Duration = Duration::from_millis(1);

pub(crate) async fn a_lease_is_held_until_its_last_millisecond(adapter: &dyn Adapter) {
    // given
    let (queue, clock) = adapter.open().await;
    let id = put(&*queue, "a", vec![job("l")]).await[0];
    let running = claim_one(&*queue).await;
    assert_eq!(running.lease_until, queue.now().plus(LEASE));

    // when, then
    clock.advance(LEASE - TICK);
    assert!(queue.rescue(10, 3).await.unwrap().is_empty());
    assert!(claim(&*queue, 10).await.is_empty());
    clock.advance(TICK);
    let rescued = queue.rescue(10, 3).await.unwrap();
    assert_eq!(rescued.len(), 1);
    let one = &rescued[0];
    assert_eq!((one.id, one.worker.as_str(), one.status), (id, "worker-1", Status::Queued));
    assert_eq!(one.tenant, tenant("a"));
    assert!(queue.rescue(10, 3).await.unwrap().is_empty());
}

pub(crate) async fn an_extended_lease_is_kept(adapter: &dyn Adapter) {
    // given
    let (queue, clock) = adapter.open().await;
    put(&*queue, "a", jobs("l", 2)).await;
    let running = claim(&*queue, 2).await;

    // when one of two jobs is renewed for ten leases
    for _ in 0..10 {
        clock.advance(LEASE - SECOND);
        let held = queue.extend(&[running[0].lease], LEASE).await.unwrap();
        assert_eq!(held, [Hold::Held]);
        let rescued = queue.rescue(10, 9).await.unwrap();
        assert!(rescued.iter().all(|r| r.id == running[1].lease.id));
    }

    // then it is still held, and the other one is not
    let both = [running[0].lease, running[1].lease];
    assert_eq!(queue.extend(&both, LEASE).await.unwrap(), [Hold::Held, Hold::Lost]);
    assert_eq!(settle(&*queue, &running[0], done()).await, Settled::Done);
    let unknown = LeaseRef { fence: 7, ..running[0].lease };
    assert_eq!(queue.extend(&[unknown], LEASE).await.unwrap(), [Hold::Lost]);
}

pub(crate) async fn a_stale_fence_writes_nothing(adapter: &dyn Adapter) {
    // given a zombie, whose job somebody else runs by now
    let (queue, clock) = adapter.open().await;
    let id = put(&*queue, "a", vec![job("l")]).await[0];
    let zombie = claim_one(&*queue).await;
    clock.advance(LEASE);
    queue.rescue(10, 3).await.unwrap();
    let waiting = record(&*queue, "a", id).await;
    assert_eq!(settle(&*queue, &zombie, done()).await, Settled::Lost);
    assert_eq!(record(&*queue, "a", id).await, waiting);
    let running = claim_one(&*queue).await;
    let before = record(&*queue, "a", id).await;

    // when
    let settled = settle(&*queue, &zombie, done()).await;
    let stored = queue.checkpoint(&zombie.lease, &Cursor::default()).await.unwrap();
    let held = queue.extend(&[zombie.lease], LEASE * 9).await.unwrap();

    // then
    assert_eq!((settled, stored, held), (Settled::Lost, false, vec![Hold::Lost]));
    assert_eq!(record(&*queue, "a", id).await, before);
    assert!(running.lease.fence > zombie.lease.fence);
    assert_eq!(settle(&*queue, &running, done()).await, Settled::Done);
}

pub(crate) async fn the_same_fence_settles_once(adapter: &dyn Adapter) {
    // given
    let (queue, _) = adapter.open().await;
    let id = put(&*queue, "a", vec![job("l")]).await[0];
    let running = claim_one(&*queue).await;

    // when it is settled twice in one call, and once more
    let settlement =
        |verdict| postrider::queue::Settlement { lease: running.lease, verdict, refund: false };
    let both = vec![settlement(done()), settlement(retry(queue.now()))];
    let first = queue.settle(both).await.unwrap();
    let second = settle(&*queue, &running, retry(queue.now())).await;

    // then
    assert_eq!(first, [Settled::Done, Settled::Lost]);
    assert_eq!(second, Settled::Lost);
    assert_eq!(record(&*queue, "a", id).await.status, Status::Completed);
}

pub(crate) async fn a_vanished_worker_costs_a_crash_and_an_attempt(adapter: &dyn Adapter) {
    // given
    let (queue, clock) = adapter.open().await;
    let all = put(&*queue, "a", jobs("l", 2)).await;
    claim_one(&*queue).await;
    clock.advance(LEASE);

    // when
    queue.rescue(10, 3).await.unwrap();

    // then the job waits in its old place
    let back = record(&*queue, "a", all[0]).await;
    assert_eq!((back.status, back.attempt, back.crashes), (Status::Queued, 1, 1));
    assert_eq!(back.attempts[0].outcome.as_deref(), Some("vanished"));
    assert_eq!(back.error.unwrap().code, "worker_vanished");
    let again = claim(&*queue, 2).await;
    assert_eq!(ids(&again), all);
    assert_eq!((again[0].attempt, again[0].crashes), (2, 1));
}

pub(crate) async fn the_third_crash_is_quarantined(adapter: &dyn Adapter) {
    // given
    let (queue, clock) = adapter.open().await;
    let id = put(&*queue, "a", vec![job("l")]).await[0];

    // when
    for _ in 0..3 {
        claim_one(&*queue).await;
        clock.advance(LEASE);
        queue.rescue(10, 3).await.unwrap();
    }

    // then
    let dead = record(&*queue, "a", id).await;
    assert_eq!((dead.status, dead.crashes), (Status::Failed, 3));
    assert_eq!(dead.error.unwrap().code, "quarantined");
    assert!(dead.retryable);
    assert_eq!(dead.attempts[2].outcome.as_deref(), Some("vanished"));
    assert!(claim(&*queue, 1).await.is_empty());
}

pub(crate) async fn a_rescue_of_a_cancelled_job_cancels_it(adapter: &dyn Adapter) {
    // given
    let (queue, clock) = adapter.open().await;
    let id = put(&*queue, "a", vec![job("l")]).await[0];
    claim_one(&*queue).await;
    queue.cancel(&tenant("a"), id, "ada").await.unwrap();
    clock.advance(LEASE);

    // when
    let rescued = queue.rescue(10, 3).await.unwrap();

    // then
    assert_eq!(rescued[0].status, Status::Cancelled);
    let off = record(&*queue, "a", id).await;
    assert_eq!((off.status, off.cancelled_by.as_deref()), (Status::Cancelled, Some("ada")));
}

pub(crate) async fn rescuing_is_bounded(adapter: &dyn Adapter) {
    // given
    let (queue, clock) = adapter.open().await;
    put(&*queue, "a", jobs("l", 5)).await;
    claim(&*queue, 5).await;
    clock.advance(LEASE);

    // when, then
    for expected in [2, 2, 1, 0] {
        assert_eq!(queue.rescue(2, 3).await.unwrap().len(), expected);
    }
}

pub(crate) async fn a_checkpoint_is_handed_to_the_next_run(adapter: &dyn Adapter) {
    // given
    let (queue, _) = adapter.open().await;
    let id = put(&*queue, "a", vec![job("l")]).await[0];
    let running = claim_one(&*queue).await;
    assert_eq!(running.cursor, None);
    assert_eq!(record(&*queue, "a", id).await.cursor.total, 1);

    // when
    let cursor = Cursor { processed: 7, failed: 1, total: 9, position: Some("row 7".into()) };
    assert!(queue.checkpoint(&running.lease, &cursor).await.unwrap());

    // then
    assert_eq!(record(&*queue, "a", id).await.cursor, cursor);
    let again = postrider::queue::Settlement {
        lease: running.lease,
        verdict: jobs::contract::Verdict::Rescue { error: cause() },
        refund: false,
    };
    queue.settle(vec![again]).await.unwrap();
    assert_eq!(claim_one(&*queue).await.cursor, Some(cursor));
}
