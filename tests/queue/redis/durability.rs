//! What an acknowledged job survives where a replica is waited for.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use jobs::contract::JobId;
use postrider::queue::{
    Enqueued, Inspect, Queue, QueueError, Submission,
    redis::{Durability, RedisConfig, RedisQueue},
};
use rustix::process::Signal;
use tokio::task::JoinSet;

use super::drain;
use crate::{
    queue::jobs::{QUEUE, claims, idempotency, job, jobs, put, submission},
    support::{eventually, eventually_ok, redis::Watched},
};

const SUBMITTERS: usize = 8;

fn replicated(watched: &Watched) -> RedisConfig {
    RedisConfig {
        durability: Durability::Replicated,
        replica_timeout: Duration::from_millis(500),
        submit_timeout: Duration::from_millis(900),
        ..watched.place()
    }
}

/// Callers who submit until they are told to stop, and what they were promised.
struct Callers {
    stop: Arc<AtomicBool>,
    promised: Arc<Mutex<HashSet<JobId>>>,
    tasks: JoinSet<()>,
}

impl Callers {
    fn at(queue: &Arc<RedisQueue>) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let promised = Arc::<Mutex<HashSet<JobId>>>::default();
        let mut tasks = JoinSet::new();
        for _ in 0..SUBMITTERS {
            let (queue, stop, promised) = (queue.clone(), stop.clone(), Arc::clone(&promised));
            tasks.spawn(async move {
                while !stop.load(SeqCst) {
                    let batch = jobs("l", 3);
                    let ids: Vec<JobId> = batch.iter().map(|job| job.id).collect();
                    match queue.enqueue(submission("a", batch)).await {
                        Ok(_) => promised.lock().unwrap().extend(ids),
                        Err(QueueError::Unavailable(_)) => tokio::task::yield_now().await,
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
        Self { stop, promised, tasks }
    }

    fn count(&self) -> usize {
        self.promised.lock().unwrap().len()
    }

    async fn more(&self, than: usize) {
        eventually("jobs are acknowledged", || self.count() > than).await;
    }

    async fn end(mut self) -> HashSet<JobId> {
        self.stop.store(true, SeqCst);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        std::mem::take(&mut *self.promised.lock().unwrap())
    }
}

async fn replica_took_over(watched: &Watched) {
    let role = || async {
        let role: Vec<redis::Value> =
            watched.ask_replica("ROLE").await.map_err(|e| e.to_string())?;
        let master = redis::Value::BulkString(b"master".into());
        if role.first() == Some(&master) { Ok(()) } else { Err(format!("{role:?}")) }
    };
    eventually_ok("the replica takes over", role).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_loses_nothing_that_was_acknowledged() {
    // given callers, and a worker that waits
    let watched = Watched::start().await;
    let config = replicated(&watched);
    let queue = Arc::new(RedisQueue::open(&config).await.unwrap());
    let callers = Callers::at(&queue);
    callers.more(300).await;

    // when the primary is killed
    watched.signal_primary(Signal::KILL);
    replica_took_over(&watched).await;

    // then whoever was promised something finds it at the other server
    let promised = callers.end().await;
    eventually_ok("the queue is back", || queue.ready()).await;
    let kept = drain(&*queue).await;
    let lost = promised.difference(&kept).count();
    assert_eq!(lost, 0, "of {}", promised.len());

    // and news come from there
    let seen = claims(&*queue, 1).await.seen;
    let local = RedisConfig { durability: Durability::Local, ..config };
    let other = RedisQueue::open(&local).await.unwrap();
    put(&other, "a", vec![job("l")]).await;
    let woken = queue.wait(QUEUE, seen, None);
    assert!(tokio::time::timeout(Duration::from_secs(20), woken).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_falls_silent_and_comes_back_takes_nothing_with_it() {
    // given callers
    let watched = Watched::start().await;
    let queue = Arc::new(RedisQueue::open(&replicated(&watched)).await.unwrap());
    let callers = Callers::at(&queue);
    callers.more(300).await;

    // when the primary hangs for so long that it is replaced, and goes on as if nothing was
    watched.signal_primary(Signal::STOP);
    replica_took_over(&watched).await;
    watched.signal_primary(Signal::CONT);

    // then promises are made again as soon as it has become the replica, and all are kept
    callers.more(callers.count() + 300).await;
    let promised = callers.end().await;
    let kept = drain(&*queue).await;
    assert_eq!(promised.difference(&kept).count(), 0, "of {}", promised.len());
}

#[tokio::test]
async fn without_a_replica_nothing_is_acknowledged_and_a_repetition_is_safe() {
    // given a replica that hangs
    let watched = Watched::start().await;
    let config = replicated(&watched);
    let queue = RedisQueue::open(&config).await.unwrap();
    put(&queue, "a", vec![job("l")]).await;
    let batch = jobs("l", 2);
    let again = || Submission {
        idempotency: Some(idempotency("k", 1, "answer")),
        ..submission("a", batch.clone())
    };
    watched.signal_replica(Signal::STOP);

    // when, then neither the first attempt nor a repetition is answered as stored
    for _ in 0..2 {
        let refused = queue.enqueue(again()).await.unwrap_err().to_string();
        assert!(refused.contains("no replica had the jobs within 500 ms"), "{refused}");
    }
    // while workers go on, and callers do who did not ask for that much
    let local = RedisConfig { durability: Durability::Local, ..config };
    let local = RedisQueue::open(&local).await.unwrap();
    put(&local, "b", vec![job("l")]).await;
    assert_eq!(drain(&queue).await.len(), 4);

    // and once the replica is back, the repetition is answered as the first attempt
    watched.signal_replica(Signal::CONT);
    let answer = eventually_ok("the replica is back", || queue.enqueue(again())).await;
    assert!(matches!(answer, Enqueued::Replayed(_)), "{answer:?}");
}

#[tokio::test]
async fn sentinels_that_know_no_such_server_are_named() {
    // given
    let watched = Watched::start().await;
    let url = watched.place().url.replace("postrider-tests", "nobody");

    // when
    let refused = RedisQueue::open(&RedisConfig { url, ..watched.place() }).await.err().unwrap();

    // then
    let words = refused.to_string();
    assert!(words.contains("no sentinel knows a server \"nobody\""), "{words}");
}
