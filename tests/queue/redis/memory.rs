//! A server whose memory fills up.

use std::{collections::HashSet, time::Duration};

use postrider::queue::{
    Inspect, Lack, Queue, QueueError, Retention,
    redis::{RedisConfig, RedisQueue},
};

use super::drain;
use crate::{
    queue::jobs::{job, jobs, put, retention, submission},
    support::{eventually_ok, redis::Private},
};

const NO_ROOM: &str = "of its maxmemory, from 80 % on it takes no more jobs";

#[tokio::test]
async fn from_the_mark_on_submissions_are_refused_while_workers_make_room() {
    // given a server with room, and jobs in it
    let server = Private::start(&["--maxmemory", "1gb"]).await;
    let config = RedisConfig { high_water: 0.8, ..server.config() };
    let queue = RedisQueue::open(&config).await.unwrap();
    let mut taken = HashSet::new();
    for _ in 0..10 {
        taken.extend(put(&queue, "a", jobs("l", 500)).await);
    }

    // when it has little more than what it uses
    let used: u64 = server.info("memory", "used_memory").await.parse().unwrap();
    server.configure("maxmemory", &(used * 100 / 83).to_string()).await;
    let refused = eventually_ok("submissions are refused", || async {
        match queue.enqueue(submission("a", vec![job("l")])).await {
            Err(QueueError::Unavailable(words)) => Ok(words),
            Ok(_) => Err("taken".to_owned()),
            Err(error) => panic!("{error}"),
        }
    })
    .await;

    // then it says why, and that before it is full
    assert!(refused.contains(NO_ROOM), "{refused}");

    // and so it does to whoever asks how it is
    let lacks = queue.ready().await.unwrap();
    assert!(matches!(&lacks[..], [Lack::Room(words)] if words.contains(NO_ROOM)), "{lacks:?}");
    let found = RedisQueue::examine(&config).await.unwrap();
    assert!(found.iter().any(|finding| finding.what.contains(NO_ROOM)), "{found:?}");

    // and workers drain it, until there is room again
    let drained = drain(&queue).await;
    assert!(taken.is_subset(&drained));
    let nothing_kept = Retention { completed: Duration::ZERO, ..retention() };
    while queue.prune(1_000, &nothing_kept).await.unwrap() > 0 {}
    eventually_ok("there is room", || queue.enqueue(submission("a", vec![job("l")]))).await;
    assert_eq!(queue.ready().await.unwrap(), []);
}

#[tokio::test]
async fn a_server_without_maxmemory_has_no_mark() {
    // given the lowest mark that there is
    let server = Private::start(&["--maxmemory", "0"]).await;
    let config = RedisConfig { high_water: 0.1, ..server.config() };
    let queue = RedisQueue::open(&config).await.unwrap();

    // when, then
    put(&queue, "a", jobs("l", 100)).await;
}
