//! Jobs that were submitted together stay together for as long as they fare as most do.

use jobs::contract::Verdict;
use postrider::queue::{
    Inspect, LaneFilter, LaneRecord, NewJob, Queue, Settled, Settlement, redis::RedisQueue,
};

use crate::{
    queue::jobs::{claim, done, ids, job, jobs, put, settle, together},
    support::redis::Private,
};

/// Keys in which something is kept of jobs by themselves.
async fn kept_apart(server: &Private) -> Vec<String> {
    let keys = server.keys().await;
    keys.into_iter().filter(|key| key.ends_with("states") || key.ends_with("jobs")).collect()
}

#[tokio::test]
async fn what_several_claims_took_is_settled_at_once_and_stays_together() {
    // given jobs that came together, and were claimed a few at a time
    let server = Private::start(&[]).await;
    let queue = RedisQueue::open(&server.config()).await.unwrap();
    put(&queue, "a", jobs("l", 60)).await;
    let mut claimed = Vec::new();
    for some in [7, 12, 1, 25, 15] {
        claimed.extend(claim(&queue, some).await);
    }
    assert_eq!(claimed.len(), 60);

    // when they complete one behind the other
    let ends =
        claimed.iter().map(|c| Settlement { lease: c.lease, verdict: done(), refund: false });
    let settled = queue.settle(ends.collect()).await.unwrap();

    // then none was taken out of what they came in
    assert_eq!(settled, [Settled::Done; 60]);
    assert_eq!(kept_apart(&server).await, Vec::<String>::new());
}

/// Jobs of several lanes in turns, whose ids belong together.
fn spread(lanes: &[&str], each: usize) -> Vec<NewJob> {
    together((0..lanes.len() * each).map(|n| job(lanes[n % lanes.len()])).collect())
}

/// The leases that the server holds.
async fn leases(server: &Private) -> usize {
    let keys = server.keys().await;
    let mut held = 0;
    for key in keys.into_iter().filter(|key| key.ends_with("leases")) {
        held += server.ask::<usize>(&format!("ZCARD {key}")).await.unwrap();
    }
    held
}

#[tokio::test]
async fn jobs_of_many_lanes_are_claimed_under_one_lease() {
    // given jobs of three lanes that came together
    let server = Private::start(&[]).await;
    let queue = RedisQueue::open(&server.config()).await.unwrap();
    put(&queue, "a", spread(&["x", "y", "z"], 4)).await;

    // when all are claimed
    let claimed = claim(&queue, 32).await;

    // then lane by lane, under one lease
    let lanes: Vec<_> = claimed.iter().map(|c| c.lane.as_str()).collect();
    let expected = ["x", "y", "z"].map(|lane| vec![format!("custom:{lane}"); 4]).concat();
    assert_eq!(lanes, expected);
    assert_eq!(leases(&server).await, 1);

    // and when all but one lane's complete
    for job in &claimed[..8] {
        assert_eq!(settle(&queue, job, done()).await, Settled::Done);
    }

    // then these run on, and are counted in their lane alone
    let page = queue.lanes(&LaneFilter { limit: 9, ..LaneFilter::default() }).await.unwrap();
    let running = |record: &LaneRecord| (record.lane.name.as_str().to_owned(), record.in_flight);
    let mut counts: Vec<_> = page.iter().map(running).collect();
    counts.sort();
    let counted = |lane: &str, count| (format!("custom:{lane}"), count);
    assert_eq!(counts, [counted("x", 0), counted("y", 0), counted("z", 4)]);
    assert_eq!(leases(&server).await, 1);
    assert_eq!(kept_apart(&server).await, Vec::<String>::new());
}

#[tokio::test]
async fn what_ends_otherwise_leaves_the_others_of_all_lanes_together() {
    // given jobs of two lanes that were claimed together
    let server = Private::start(&[]).await;
    let queue = RedisQueue::open(&server.config()).await.unwrap();
    put(&queue, "a", spread(&["x", "y"], 2)).await;
    let claimed = claim(&queue, 4).await;

    // when the first of the second lane is to run again, and all others complete
    let snoozed = &claimed[2];
    assert_eq!(settle(&queue, snoozed, Verdict::Release).await, Settled::Done);
    for job in [&claimed[0], &claimed[1], &claimed[3]] {
        assert_eq!(settle(&queue, job, done()).await, Settled::Done);
    }

    // then it alone is claimed again
    assert_eq!(leases(&server).await, 0);
    assert_eq!(ids(&claim(&queue, 4).await), [snoozed.lease.id]);
}
