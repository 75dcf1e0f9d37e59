//! Who waits hears of what happens.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use postrider::queue::{LanePolicy, NewJob, Queue, Seen};
use tokio::{task::JoinHandle, time::timeout};

use super::Adapter;
use crate::queue::jobs::{QUEUE, claim, claims, done, job, jobs, put, record, settle};

/// Long past any wake-up, so that a lost one fails the test instead of hanging it.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits in a task of its own; the task runs before this returns.
async fn waiter(queue: &Arc<dyn Queue>, seen: Seen) -> JoinHandle<()> {
    let queue = Arc::clone(queue);
    let waiter = tokio::spawn(async move { queue.wait(QUEUE, seen, None).await });
    tokio::task::yield_now().await;
    waiter
}

async fn woke(waiter: JoinHandle<()>) {
    timeout(PATIENCE, waiter).await.expect("the waiter was told").unwrap();
}

pub(crate) async fn a_waiter_hears_of_a_new_job(adapter: &dyn Adapter) {
    // given
    let (queue, _) = adapter.open().await;
    let seen = claims(&*queue, 1).await.seen;
    let waiter = waiter(&queue, seen).await;
    assert!(!waiter.is_finished());

    // when
    put(&*queue, "a", vec![job("l")]).await;

    // then
    woke(waiter).await;
}

pub(crate) async fn a_waiter_that_claimed_among_others_hears_of_a_new_job(adapter: &dyn Adapter) {
    // given many claims at once that all find nothing
    let (queue, _) = adapter.open().await;
    claims(&*queue, 1).await;
    let seen = join_all((0..20).map(|_| claims(&*queue, 1))).await;
    let latest = seen.into_iter().map(|claims| claims.seen).max().expect("there are twenty");
    let waiter = waiter(&queue, latest).await;
    assert!(!waiter.is_finished());

    // when
    put(&*queue, "a", vec![job("l")]).await;

    // then
    woke(waiter).await;
}

pub(crate) async fn a_waiter_hears_of_another_process_job(adapter: &dyn Adapter) {
    // given
    let (here, _) = adapter.open().await;
    let (there, _) = adapter.open().await;

    for _ in 0..5 {
        let seen = claims(&*here, 9).await.seen;
        let waiter = waiter(&here, seen).await;

        // when
        put(&*there, "a", vec![job("l")]).await;

        // then
        woke(waiter).await;
    }
}

pub(crate) async fn a_waiter_does_not_miss_what_came_before_it_waited(adapter: &dyn Adapter) {
    // given a claim that saw nothing
    let (here, _) = adapter.open().await;
    let (there, _) = adapter.open().await;

    for by in [&here, &there] {
        let seen = claims(&*here, 9).await.seen;

        // when a job comes before the worker begins to wait
        put(&**by, "a", vec![job("l")]).await;

        // then
        woke(waiter(&here, seen).await).await;
    }
}

pub(crate) async fn a_waiter_hears_of_a_freed_seat(adapter: &dyn Adapter) {
    // given a lane with one seat, which is taken
    let (queue, _) = adapter.open().await;
    let policy = Arc::new(LanePolicy { limits: Vec::new(), in_flight: Some(1) });
    let batch = jobs("l", 2).into_iter().map(|j| NewJob { policy: Arc::clone(&policy), ..j });
    put(&*queue, "a", batch.collect()).await;
    let first = claims(&*queue, 9).await;
    let seen = claims(&*queue, 9).await.seen;
    let waiter = waiter(&queue, seen).await;

    // when
    settle(&*queue, &first.jobs[0], done()).await;

    // then
    woke(waiter).await;
    assert_eq!(claim(&*queue, 9).await.len(), 1);
}

pub(crate) async fn changes_have_rising_versions(adapter: &dyn Adapter) {
    // given
    let (here, _) = adapter.open().await;
    let (there, _) = adapter.open().await;
    let id = put(&*there, "a", vec![job("l")]).await[0];
    let first = here.changed(Seen(0), PATIENCE).await;
    let before = record(&*here, "a", id).await.version;
    assert!(first >= Seen(before));

    // when
    let running = claim(&*there, 1).await;
    settle(&*there, &running[0], done()).await;

    // then
    let mut seen = first;
    while record(&*here, "a", id).await.completed_at.is_none() {
        seen = timeout(PATIENCE, here.changed(seen, PATIENCE)).await.unwrap();
    }
    let after = record(&*here, "a", id).await.version;
    assert!(after > before);
    assert!(here.changed(Seen(after - 1), PATIENCE).await >= Seen(after));
    assert_eq!(here.changed(Seen(u64::MAX), Duration::from_millis(1)).await, Seen(u64::MAX));
}
