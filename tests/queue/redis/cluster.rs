//! The queue in a cluster of three nodes.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use jobs::contract::JobId;
use postrider::queue::{
    Queue, QueueError,
    redis::{RedisConfig, RedisQueue},
};
use rustix::process::Signal;

use super::{Redis, drain, exam};
use crate::{
    queue::jobs::{job, jobs, put, submission},
    support::{
        eventually, eventually_ok,
        redis::{Cluster, command},
    },
};

async fn spread() -> Redis {
    Redis::at(Cluster::shared().await.place())
}

/// All tenants in one slot of one node, where whose turn it is can be told exactly.
pub(crate) async fn in_one_slot() -> Redis {
    Redis::at(RedisConfig { shards: 1, ..Cluster::shared().await.place() })
}

exam!(spread().await);

#[tokio::test]
async fn shards_lie_on_all_nodes() {
    // given two processes, and tenants in all shards
    let cluster = Cluster::start().await;
    let config = cluster.place();
    let here = RedisQueue::open(&config).await.unwrap();
    let there = RedisQueue::open(&config).await.unwrap();
    let mut all = HashSet::new();
    for number in 0..40 {
        all.extend(put(&here, &format!("t{number}"), jobs("l", 5)).await);
    }

    // then every node has some of it, and the other process finds all of it
    for node in 0..3 {
        assert!(cluster.ask::<u64>(node, redis::cmd("DBSIZE")).await.unwrap() > 0);
    }
    assert_eq!(drain(&there).await, all);
}

#[tokio::test]
async fn a_shard_that_moves_to_another_node_loses_nothing() {
    // given a submitter, and a shard on one node
    let cluster = Cluster::start().await;
    let config = RedisConfig { shards: 1, ..cluster.place() };
    let queue = Arc::new(RedisQueue::open(&config).await.unwrap());
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let submitter = tokio::spawn({
        let (queue, stop, count) = (Arc::clone(&queue), Arc::clone(&stop), Arc::clone(&count));
        async move {
            let mut taken = HashSet::new();
            while !stop.load(SeqCst) {
                taken.extend(put(&*queue, "a", jobs("l", 5)).await);
                count.fetch_add(1, SeqCst);
            }
            taken
        }
    });
    let more = |than: usize| {
        let count = Arc::clone(&count);
        async move { eventually("jobs come in", || count.load(SeqCst) > than).await }
    };
    more(20).await;

    // when its slot moves, key by key
    let slot = format!("CLUSTER KEYSLOT {{{}:0}}", config.prefix);
    let slot: u16 = cluster.ask(0, command(&slot)).await.unwrap();
    move_slot(&cluster, slot).await;

    // then jobs come in as before, and none of them is lost
    more(count.load(SeqCst) + 20).await;
    stop.store(true, SeqCst);
    let taken = submitter.await.unwrap();
    assert_eq!(drain(&*queue).await, taken);
}

/// Moves a slot to the next node, as `redis-cli --cluster reshard` does.
async fn move_slot(cluster: &Cluster, slot: u16) {
    let from = Cluster::node_of(slot);
    let to = (from + 1) % 3;
    let id = |node| cluster.ask::<String>(node, command("CLUSTER MYID"));
    let (source, target) = (id(from).await.unwrap(), id(to).await.unwrap());
    let set = |what: String| command(&format!("CLUSTER SETSLOT {slot} {what}"));
    cluster.ask::<()>(to, set(format!("IMPORTING {source}"))).await.unwrap();
    cluster.ask::<()>(from, set(format!("MIGRATING {target}"))).await.unwrap();
    loop {
        let keys = command(&format!("CLUSTER GETKEYSINSLOT {slot} 3"));
        let keys: Vec<Vec<u8>> = cluster.ask(from, keys).await.unwrap();
        if keys.is_empty() {
            break;
        }
        let mut migrate = redis::cmd("MIGRATE");
        migrate.arg("127.0.0.1").arg(cluster.port(to)).arg("").arg(0).arg(5_000).arg("KEYS");
        cluster.ask::<()>(from, migrate.arg(keys).to_owned()).await.unwrap();
    }
    for node in [to, from, (to + 1) % 3] {
        cluster.ask::<()>(node, set(format!("NODE {target}"))).await.unwrap();
    }
}

#[tokio::test]
async fn a_node_that_hangs_is_waited_out() {
    // given shards on all nodes
    let cluster = Cluster::start().await;
    let place = cluster.place();
    let config = RedisConfig { submit_timeout: Duration::from_millis(900), ..place };
    let queue = RedisQueue::open(&config).await.unwrap();
    for number in 0..40 {
        let name = format!("t{number}");
        eventually_ok("it is stored", || queue.enqueue(submission(&name, vec![job("l")]))).await;
    }

    // when one of them hangs
    cluster.signal(1, Signal::STOP);
    let mut refused = None;
    for number in 0..40 {
        let began = Instant::now();
        if let Err(error) = queue.enqueue(submission(&format!("t{number}"), vec![job("l")])).await {
            refused = Some((error, began.elapsed()));
            break;
        }
    }

    // then submissions to it are refused in time, and work goes on once it is back
    let (error, took) = refused.expect("a shard lies on that node");
    assert!(matches!(error, QueueError::Unavailable(_)), "{error}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    cluster.signal(1, Signal::CONT);
    for number in 0..40 {
        let name = format!("t{number}");
        eventually_ok("it is back", || queue.enqueue(submission(&name, vec![job("l")]))).await;
    }
    let drained: HashSet<JobId> = drain(&queue).await;
    assert!(drained.len() >= 80, "{}", drained.len());
}

#[tokio::test]
async fn one_node_of_a_cluster_is_not_taken_for_all_of_it() {
    // given a URL that does not say that it is one
    let cluster = Cluster::shared().await;
    let url = format!("redis://127.0.0.1:{}", cluster.port(0));

    // when
    let refused = super::unusable(RedisQueue::open(&RedisConfig { url, ..cluster.place() }).await);

    // then
    assert!(refused.contains("write redis+cluster:// in redis.url"), "{refused}");
}
