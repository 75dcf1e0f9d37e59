//! Many at once.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use jobs::contract::JobId;
use postrider::queue::{Ask, Enqueued, Queue, QueueError, Settled, Settlement, Submission};
use tokio::{task::JoinSet, time::timeout};

use super::Adapter;
use crate::queue::jobs::{
    LEASE, MINUTE, QUEUE, claim, done, idempotency, ids, job, jobs, limit, limited, put,
    submission, tenant,
};

pub(crate) async fn a_job_is_never_claimed_twice_over_several_handles(adapter: &dyn Adapter) {
    // given a backlog, and handles as several processes have them
    let (first, _) = adapter.open().await;
    let mut all = HashSet::new();
    for tenant in ["a", "b", "c"] {
        for lane in ["x", "y"] {
            all.extend(put(&*first, tenant, jobs(lane, 100)).await);
        }
    }
    let mut handles = vec![first];
    for _ in 0..3 {
        handles.push(adapter.open().await.0);
    }

    // when two workers on each drain it
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mut workers = JoinSet::new();
    for (index, handle) in handles.iter().cycle().take(8).enumerate() {
        let (queue, seen) = (Arc::clone(handle), Arc::clone(&seen));
        workers.spawn(async move { drain(&*queue, &format!("worker-{index}"), &seen).await });
    }
    while let Some(worker) = workers.join_next().await {
        worker.unwrap();
    }

    // then every job was held once
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), all.len());
    assert_eq!(seen.iter().copied().collect::<HashSet<_>>(), all);
}

async fn drain(queue: &dyn Queue, worker: &str, seen: &Mutex<Vec<JobId>>) {
    loop {
        let ask = Ask { queue: QUEUE.into(), worker: worker.into(), max: 7, lease: LEASE };
        let claimed = queue.claim(&ask).await.unwrap().jobs;
        if claimed.is_empty() {
            return;
        }
        seen.lock().unwrap().extend(ids(&claimed));
        let ends =
            claimed.iter().map(|c| Settlement { lease: c.lease, verdict: done(), refund: false });
        let settled = queue.settle(ends.collect()).await.unwrap();
        assert!(settled.iter().all(|s| *s == Settled::Done));
    }
}

pub(crate) async fn a_thousand_equal_submissions_make_one_job(adapter: &dyn Adapter) {
    // given
    let (one, _) = adapter.open().await;
    let (two, _) = adapter.open().await;

    // when
    let mut callers = JoinSet::new();
    for index in 0..1_000 {
        let queue = Arc::clone(if index % 2 == 0 { &one } else { &two });
        let idempotency = Some(idempotency("k", 1, "the answer"));
        let same = Submission { idempotency, ..submission("a", vec![job("l")]) };
        callers.spawn(async move { queue.enqueue(same).await.unwrap() });
    }
    let answers = callers.join_all().await;

    // then
    let fresh = answers.iter().filter(|a| matches!(a, Enqueued::Fresh(_))).count();
    let replayed = Enqueued::Replayed("the answer".into());
    assert_eq!((fresh, answers.iter().filter(|a| **a == replayed).count()), (1, 999));
    assert_eq!(claim(&*one, 10).await.len(), 1);
}

pub(crate) async fn one_bad_submission_does_not_fail_its_neighbours(adapter: &dyn Adapter) {
    // given a job whose id is taken
    let (queue, _) = adapter.open().await;
    let known = job("l");
    put(&*queue, "a", vec![known.clone()]).await;

    // when it is submitted again among others that all come at once
    let mut callers = JoinSet::new();
    for index in 0..100 {
        let queue = Arc::clone(&queue);
        let batch = if index % 10 == 3 { vec![job("l"), known.clone()] } else { vec![job("l")] };
        callers.spawn(async move { queue.enqueue(submission("a", batch)).await });
    }
    let answers = callers.join_all().await;

    // then it alone is refused
    let refused = answers.iter().filter(|a| matches!(a, Err(QueueError::Unusable(_)))).count();
    assert_eq!((refused, answers.iter().filter(|a| a.is_ok()).count()), (10, 90));
    assert_eq!(claim(&*queue, 1_000).await.len(), 91);
}

pub(crate) async fn a_caller_that_goes_away_blocks_nobody(adapter: &dyn Adapter) {
    // given
    let (queue, _) = adapter.open().await;

    // when callers give up in the middle of their calls
    for _ in 0..50 {
        let given_up = timeout(Duration::ZERO, queue.enqueue(submission("a", jobs("l", 10)))).await;
        drop(given_up);
    }

    // then others are served, and what was taken in was taken in whole
    put(&*queue, "b", vec![job("l")]).await;
    let claimed = claim(&*queue, 1_000).await;
    let theirs = claimed.iter().filter(|c| c.tenant == tenant("a")).count();
    assert_eq!((theirs % 10, claimed.len() - theirs), (0, 1));
}

pub(crate) async fn limits_hold_when_everybody_draws_at_once(adapter: &dyn Adapter) {
    // given a bucket that lanes and draws share, and handles as several processes have them
    let (one, _) = adapter.open().await;
    let (two, _) = adapter.open().await;
    let shared = limit("b", 30, MINUTE);
    for lane in ["x", "y", "z"] {
        put(&*one, "a", limited(jobs(lane, 50), vec![shared.clone()])).await;
    }

    // when
    let mut callers = JoinSet::new();
    for index in 0..80 {
        let queue = Arc::clone(if index % 2 == 0 { &one } else { &two });
        let shared = shared.clone();
        callers.spawn(async move {
            if index % 4 < 2 {
                usize::from(queue.draw(&tenant("a"), &shared).await.unwrap().granted)
            } else {
                claim(&*queue, 3).await.len()
            }
        });
    }
    let drawn: usize = callers.join_all().await.into_iter().sum();

    // then all of the allowance was given out, and nothing beyond
    assert_eq!(drawn, 30);
}
