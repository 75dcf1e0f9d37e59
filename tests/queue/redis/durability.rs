//! What an acknowledged job survives where a replica is waited for.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use jobs::contract::{JobId, TenantId};
use postrider::queue::{
    Ask, Enqueued, Inspect, Queue, QueueError, Settled, Settlement, Status, Submission,
    redis::{Durability, RedisConfig, RedisQueue},
};
use rustix::process::Signal;
use tokio::task::JoinSet;

use super::drain;
use crate::{
    queue::jobs::{LEASE, QUEUE, claims, done, idempotency, job, jobs, put, submission, tenant},
    support::{
        eventually, eventually_ok,
        redis::{Cluster, Watched, command},
    },
};

const SUBMITTERS: usize = 8;

fn replicated(place: RedisConfig) -> RedisConfig {
    RedisConfig {
        durability: Durability::Replicated,
        replica_timeout: Duration::from_millis(500),
        submit_timeout: Duration::from_millis(900),
        ..place
    }
}

/// Callers who submit until they are told to stop, and what they were promised.
struct Callers {
    stop: Arc<AtomicBool>,
    promised: Arc<Mutex<HashSet<(TenantId, JobId)>>>,
    tasks: JoinSet<()>,
}

impl Callers {
    fn at(queue: &Arc<RedisQueue>) -> Self {
        Self::of(queue, 1)
    }

    /// Callers of so many tenants, in turn.
    fn of(queue: &Arc<RedisQueue>, tenants: usize) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let promised = Arc::<Mutex<HashSet<_>>>::default();
        let turn = Arc::<AtomicUsize>::default();
        let mut tasks = JoinSet::new();
        for _ in 0..SUBMITTERS {
            let (queue, stop, promised) = (queue.clone(), stop.clone(), Arc::clone(&promised));
            let turn = Arc::clone(&turn);
            tasks.spawn(async move {
                while !stop.load(SeqCst) {
                    let name = format!("t{}", turn.fetch_add(1, SeqCst) % tenants);
                    let batch = jobs("l", 3);
                    let ids: Vec<_> = batch.iter().map(|job| (tenant(&name), job.id)).collect();
                    match queue.enqueue(submission(&name, batch)).await {
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

    async fn end(self) -> HashSet<JobId> {
        self.end_by_tenant().await.into_iter().map(|(_, id)| id).collect()
    }

    async fn end_by_tenant(mut self) -> HashSet<(TenantId, JobId)> {
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
    failover(&Watched::start().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_and_servers_that_speak_tls_alone_are_followed_as_well() {
    failover(&Watched::over_tls().await).await;
}

async fn failover(watched: &Watched) {
    // given callers, and a worker that waits
    let config = replicated(watched.place());
    let queue = Arc::new(RedisQueue::open(&config).await.unwrap());
    let callers = Callers::at(&queue);
    callers.more(300).await;

    // when the primary is killed
    watched.signal_primary(Signal::KILL);
    replica_took_over(watched).await;

    // then whoever was promised something finds it at the other server
    let promised = callers.end().await;
    eventually_ok("the queue is back", || queue.ready()).await;
    let kept = drain(&*queue).await;
    let lost = promised.difference(&kept).count();
    assert_eq!(lost, 0, "of {}", promised.len());

    // and news come from there
    let seen = claims(&*queue, 1).await.seen;
    let local = RedisConfig { durability: Durability::Local, ..config };
    // A sentinel may name the lost server a moment longer than the others.
    let other = eventually_ok("another queue opens", || RedisQueue::open(&local)).await;
    put(&other, "a", vec![job("l")]).await;
    let woken = queue.wait(QUEUE, seen, None);
    assert!(tokio::time::timeout(Duration::from_secs(20), woken).await.is_ok());
}

/// Tenants that lie in shards of every node.
const TENANTS: usize = 40;

/// Claims and completes until it is told to stop; how many jobs it has completed.
async fn work(queue: Arc<RedisQueue>, stop: Arc<AtomicBool>, count: Arc<AtomicUsize>) {
    while !stop.load(SeqCst) {
        let ask = Ask { queue: QUEUE.into(), worker: "w".into(), max: 50, lease: LEASE };
        // What fails is another one's turn, as it is for workers.
        let Ok(claims) = queue.claim(&ask).await else { continue };
        if claims.jobs.is_empty() {
            queue.wait(QUEUE, claims.seen, claims.next_at).await;
        }
        let ends = claims.jobs.iter().map(|job| Settlement {
            lease: job.lease,
            verdict: done(),
            refund: false,
        });
        if let Ok(settled) = queue.settle(ends.collect()).await {
            count.fetch_add(settled.iter().filter(|s| **s == Settled::Done).count(), SeqCst);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_takes_over_in_a_cluster_has_all_that_was_acknowledged() {
    // given callers of tenants in every shard of a cluster, and a worker
    let mut cluster = Cluster::with_replicas().await;
    let config = replicated(cluster.place());
    let queue = Arc::new(RedisQueue::open(&config).await.unwrap());
    let (stop, count) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let working = tokio::spawn(work(Arc::clone(&queue), Arc::clone(&stop), Arc::clone(&count)));
    let callers = Callers::of(&queue, TENANTS);
    callers.more(300).await;

    // when a node is killed
    cluster.kill(1);
    let took_over = || async {
        let role: Vec<redis::Value> =
            cluster.ask(4, command("ROLE")).await.map_err(|e| e.to_string())?;
        let master = redis::Value::BulkString(b"master".into());
        if role.first() == Some(&master) { Ok(()) } else { Err(format!("{role:?}")) }
    };
    eventually_ok("the replica takes over", took_over).await;

    // then submissions are taken again in every shard (without a replica any more where it took over)
    let local = RedisConfig { durability: Durability::Local, ..config };
    let local = eventually_ok("the queue opens", || RedisQueue::open(&local)).await;
    for number in 0..TENANTS {
        let name = format!("t{number}");
        eventually_ok("it is stored", || local.enqueue(submission(&name, vec![job("l")]))).await;
    }
    // and by this handle, which has seen the other node die
    callers.more(callers.count() + 100).await;
    let promised = callers.end_by_tenant().await;
    // and work goes on in all of them
    assert!(count.load(SeqCst) > 0);
    let nothing_waits = || async {
        let counted = queue.queues().await.map_err(|error| error.to_string())?;
        match counted[0].counts[&Status::Queued] {
            0 => Ok(()),
            waiting => Err(format!("{waiting} wait")),
        }
    };
    eventually_ok("the worker gets through", nothing_waits).await;
    stop.store(true, SeqCst);
    put(&local, "t0", vec![job("l")]).await;
    working.await.unwrap();

    // and whatever was promised is there.
    let mut lost = 0;
    for (tenant, id) in &promised {
        lost += usize::from(queue.job(tenant, *id).await.unwrap().is_none());
    }
    assert_eq!(lost, 0, "of {}", promised.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_falls_silent_and_comes_back_takes_nothing_with_it() {
    // given callers
    let watched = Watched::start().await;
    let queue = Arc::new(RedisQueue::open(&replicated(watched.place())).await.unwrap());
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
    let config = replicated(watched.place());
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
