//! What a process does that has nothing to do: nothing; and it hears of work all the same.

use std::{collections::BTreeMap, time::Duration};

use postrider::queue::{Queue, redis::RedisQueue};

use crate::{
    queue::jobs::{QUEUE, claims, job, put},
    support::{eventually_ok, redis::Private},
};

/// How often each command was called, but for those by which we ask.
async fn calls(server: &Private) -> BTreeMap<String, u64> {
    let text: String = server.ask("INFO commandstats").await.unwrap();
    let calls = text.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let count = rest.split(',').next()?.parse().ok()?;
        (name != "info" && !name.starts_with("client")).then(|| (name.to_owned(), count))
    });
    calls.collect()
}

/// Waits until the process has asked so many times whether its subscription stands.
async fn pings(server: &Private, count: u64) -> BTreeMap<String, u64> {
    eventually_ok("it pings", || async {
        let calls = calls(server).await;
        match calls.get("ping") {
            Some(pings) if *pings >= count => Ok(calls),
            _ => Err(format!("{calls:?}")),
        }
    })
    .await
}

#[tokio::test]
async fn a_process_at_rest_sends_nothing_but_pings() {
    // given a worker that found nothing and waits
    let server = Private::start(&[]).await;
    let queue = RedisQueue::open(&server.config()).await.unwrap();
    let seen = claims(&queue, 1).await.seen;
    let waiting = tokio::spawn(async move { queue.wait(QUEUE, seen, None).await });

    // when it has been silent for two beats
    let before = calls(&server).await;
    let pinged = before.get("ping").copied().unwrap_or(0);
    let after = pings(&server, pinged + 2).await;

    // then nothing else was sent
    assert!(!waiting.is_finished());
    let mut expected = before;
    expected.insert("ping".into(), after["ping"]);
    assert_eq!(after, expected);
}

#[tokio::test]
async fn a_lost_subscription_is_noticed_at_once() {
    // given a worker that waits
    let server = Private::start(&[]).await;
    let here = RedisQueue::open(&server.config()).await.unwrap();
    let there = RedisQueue::open(&server.config()).await.unwrap();
    let seen = claims(&here, 1).await.seen;

    // when its subscription is cut, and a job comes in while it has none
    server.ask::<()>("CLIENT KILL TYPE pubsub").await.unwrap();
    put(&there, "a", vec![job("l")]).await;

    // then it looks again, long before its net of half a minute
    let woken = tokio::time::timeout(Duration::from_secs(20), here.wait(QUEUE, seen, None)).await;
    assert!(woken.is_ok());
    assert_eq!(claims(&here, 1).await.jobs.len(), 1);
}
