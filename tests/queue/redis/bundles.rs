//! Jobs that were submitted together stay together for as long as they fare as most do.

use postrider::queue::{Queue, Settled, Settlement, redis::RedisQueue};

use crate::{
    queue::jobs::{claim, done, jobs, put},
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
