//! What callers are told while Redis is out of reach, slow, or full.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use jobs::contract::JobId;
use postrider::queue::{Inspect, Queue, Retention, Settlement, redis::RedisQueue};
use rustix::process::Signal;

use super::{
    house::{House, answer, good, header, sent},
    kinds,
};
use crate::{
    queue::jobs::{claim, done, ids},
    support::{eventually_ok, redis::Private},
};

async fn house(server: &Private) -> House<RedisQueue> {
    let config = server.config();
    // Who submits does not wait as long as a worker does.
    assert!(config.submit_timeout < Duration::from_secs(1));
    assert!(config.response_timeout > Duration::from_secs(1) + SLACK);
    let queue = RedisQueue::open(&config).await.unwrap();
    House::over(Arc::new(queue), kinds::catalogue(), |_| {}).await
}

/// What a busy machine adds to the second within which callers hear that nothing is taken in.
const SLACK: Duration = Duration::from_secs(3);

/// Asserts that nothing is taken in now, and that the caller hears so in time, and when to come again, and
/// nothing about the reason.
async fn refuses(house: &House<RedisQueue>) {
    let began = Instant::now();
    let response = sent(house.post("/jobs", &good()).header("idempotency-key", "k")).await;
    let took = began.elapsed();
    assert_eq!(response.status(), 503);
    assert_eq!(header(&response, "retry-after"), "5");
    assert!(took < Duration::from_secs(1) + SLACK, "{took:?}");
    let text = response.text().await.unwrap().to_lowercase();
    for inside in ["redis", "socket", "oom", "maxmemory", "script", "timed out"] {
        assert!(!text.contains(inside), "{text}");
    }
}

/// Completes all jobs, as workers do, and answers which.
async fn drain(queue: &dyn Queue) -> BTreeSet<JobId> {
    let mut drained = BTreeSet::new();
    loop {
        let claimed = claim(queue, 100).await;
        if claimed.is_empty() {
            return drained;
        }
        drained.extend(ids(&claimed));
        let ends =
            claimed.iter().map(|c| Settlement { lease: c.lease, verdict: done(), refund: false });
        queue.settle(ends.collect()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_gone_is_503_within_a_second_until_it_is_back() {
    // given an acknowledged job
    let mut server = Private::start(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let house = house(&server).await;
    let id = house.submitted().await;

    // when the server is gone, again and again, then so are submissions and questions
    for _ in 0..2 {
        server.kill();
        for _ in 0..3 {
            refuses(&house).await;
        }
        let problem = answer(house.get(&format!("/jobs/{id}")), 503).await;
        assert_eq!(problem["code"], "unavailable");

        // and all is well as soon as it is back
        server.restart().await;
        let began = Instant::now();
        eventually_ok("submissions are taken", || async {
            let status = sent(house.post("/jobs", &good())).await.status();
            if status == 202 { Ok(()) } else { Err(status) }
        })
        .await;
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        answer(house.get(&format!("/jobs/{id}")), 200).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_is_503_within_a_second() {
    let server = Private::start(&[]).await;
    let house = house(&server).await;
    house.submitted().await;
    server.signal(Signal::STOP);
    refuses(&house).await;
    refuses(&house).await;
    server.signal(Signal::CONT);
    eventually_ok("submissions are taken", || async {
        let status = sent(house.post("/jobs", &good())).await.status();
        if status == 202 { Ok(()) } else { Err(status) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_refuses_jobs_and_still_answers_questions_while_workers_drain() {
    // given jobs in a server that has no room for more
    let server = Private::start(&[]).await;
    let house = house(&server).await;
    let mut taken = BTreeSet::new();
    for _ in 0..20 {
        taken.insert(house.submitted().await.parse::<JobId>().unwrap());
    }
    server.configure("maxmemory", "100kb").await;

    // when, then
    refuses(&house).await;
    for id in &taken {
        let body = answer(house.get(&format!("/jobs/{id}")), 200).await;
        assert_eq!(body["data"]["status"], "queued");
    }
    assert_eq!(drain(&*house.queue).await, taken);
    for id in &taken {
        let body = answer(house.get(&format!("/jobs/{id}")), 200).await;
        assert_eq!(body["data"]["status"], "completed");
    }
    let nothing_kept = Retention {
        completed: Duration::ZERO,
        cancelled: Duration::ZERO,
        failed: Duration::ZERO,
        failed_max: 0,
    };
    house.queue.prune(1_000, &nothing_kept).await.unwrap();
    answer(house.get(&format!("/jobs/{}", taken.first().unwrap())), 404).await;

    // and with room there is work again, under the key that was refused before
    server.configure("maxmemory", "0").await;
    answer(house.post("/jobs", &good()).header("idempotency-key", "k"), 202).await;
    assert_eq!(house.queue.queues().await.unwrap().len(), 1);
}
