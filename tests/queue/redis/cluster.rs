//! The queue in a cluster of three nodes, of which one may be away.

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
    Changed, Enqueued, Hold, Inspect, JobFilter, Lack, NewJob, PauseTarget, Queue, QueueError,
    Settled, Settlement,
    redis::{RedisConfig, RedisQueue, Weight},
};
use rustix::process::Signal;

use super::{Redis, TestClock, drain, exam};
use crate::{
    queue::jobs::{
        LEASE, SECOND, claim, done, ids, job, jobs, lane, put, retention, submission, tenant,
    },
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
                match queue.enqueue(submission("a", jobs("l", 5))).await {
                    Ok(Enqueued::Fresh(ids)) => taken.extend(ids),
                    // The shard rests while it moves.
                    Err(QueueError::Unavailable(_)) => continue,
                    other => panic!("{other:?}"),
                }
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

/// A cluster that goes on without one of its nodes.
async fn that_goes_on() -> Cluster {
    let cluster = Cluster::start().await;
    for node in 0..3 {
        let alone = command("CONFIG SET cluster-require-full-coverage no");
        cluster.ask::<()>(node, alone).await.unwrap();
    }
    cluster
}

/// Whether a tenant's shard lies on a node. Stored data go by the shard: it never changes.
async fn lies_on(node: usize, cluster: &Cluster, config: &RedisConfig, tenant: &str) -> bool {
    let shard = crc32fast::hash(tenant.as_bytes()) % u32::from(config.shards);
    let slot = command(&format!("CLUSTER KEYSLOT {{{}:{shard}}}", config.prefix));
    Cluster::node_of(cluster.ask(0, slot).await.unwrap()) == node
}

#[tokio::test]
async fn without_one_node_the_shards_of_the_others_are_tended() {
    // given jobs that run in shards on all nodes
    let mut cluster = that_goes_on().await;
    let (config, clock) = (cluster.place(), TestClock::new());
    let queue = RedisQueue::open_with_clock(&config, Arc::new(clock.clone())).await.unwrap();
    let (mut here, mut away) = (HashSet::new(), HashSet::new());
    for number in 0..30 {
        let name = format!("t{number}");
        let told = NewJob { callback: vec!["ep_1".into()], ..job("l") };
        let ids = put(&queue, &name, vec![told]).await;
        let lies_there = lies_on(1, &cluster, &config, &name).await;
        if lies_there { &mut away } else { &mut here }.extend(ids);
    }
    assert!(!here.is_empty() && !away.is_empty(), "{here:?} {away:?}");
    let mut running = Vec::new();
    while running.len() < 30 {
        running.extend(claim(&queue, 30).await);
    }

    // when that node is killed
    cluster.kill(1);

    // then leases of the others are renewed, and verdicts stored
    let leases: Vec<_> = running.iter().map(|job| job.lease).collect();
    let holds = queue.extend(&leases, LEASE).await.unwrap();
    for (lease, hold) in leases.iter().zip(holds) {
        let expected = if here.contains(&lease.id) { Hold::Held } else { Hold::Unknown };
        assert_eq!(hold, expected);
    }
    let one_of =
        |some: &HashSet<JobId>| *leases.iter().find(|lease| some.contains(&lease.id)).unwrap();
    let ended = [one_of(&away), one_of(&here)];
    let ends = ended.map(|lease| Settlement { lease, verdict: done(), refund: false });
    let settled = queue.settle(ends.to_vec()).await.unwrap();
    assert_eq!(settled, [Settled::Unknown, Settled::Done]);

    // and what their workers left is taken back and told, in one beat of a scheduler
    clock.advance(LEASE + SECOND);
    let began = Instant::now();
    queue.promote(100).await.unwrap();
    let rescued: HashSet<_> =
        queue.rescue(100, 3).await.unwrap().iter().map(|job| job.id).collect();
    let untold: Vec<_> = queue.untold(100).await.unwrap().iter().map(|job| job.id).collect();
    queue.prune(100, &retention()).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(untold, [ended[1].id]);
    here.remove(&ended[1].id);
    assert_eq!(rescued, here);
    let again = ids(&claim(&queue, 30).await);
    assert!(!again.is_empty() && again.iter().all(|id| here.contains(id)), "{again:?}");
}

#[tokio::test]
async fn without_one_node_a_queue_is_opened_and_refuses_only_what_lies_there() {
    // given a cluster of which one node is away
    let mut cluster = that_goes_on().await;
    let config = cluster.place();
    let mut tenants = Vec::new();
    for name in (0..12).map(|number| format!("t{number}")) {
        let away = lies_on(1, &cluster, &config, &name).await;
        tenants.push((name, away));
    }
    assert!(tenants.iter().any(|(_, away)| *away) && tenants.iter().any(|(_, away)| !*away));
    cluster.kill(1);

    // when
    let found = RedisQueue::examine(&config).await.unwrap();
    let queue = RedisQueue::open(&config).await.unwrap();

    // then the node is named, and what is not there is said
    let port = cluster.port(1);
    let node = found.iter().find(|finding| finding.server.ends_with(&format!(":{port}"))).unwrap();
    assert_eq!(node.weight, Weight::Warns);
    assert!(node.to_string().contains("the server does not answer"), "{node}");
    let lacks = queue.ready().await.unwrap();
    let some = " of 12 shards do not answer";
    assert!(matches!(&lacks[..], [Lack::Parts(words)] if words.contains(some)), "{lacks:?}");

    // and everything works for the tenants of the others
    for (name, away) in &tenants {
        let taken = queue.enqueue(submission(name, vec![job("l")])).await;
        let filter = JobFilter { tenant: Some(tenant(name)), limit: 10, ..JobFilter::default() };
        let listed = queue.jobs(&filter).await;
        let paused = queue.pause(&PauseTarget::Lane(lane(name, "l")), true).await;
        if *away {
            let refused = [taken.err(), listed.err(), paused.err()].map(Option::unwrap);
            for error in refused {
                assert!(matches!(error, QueueError::Unavailable(_)), "{error}");
            }
        } else {
            assert_eq!((taken.is_ok(), listed.unwrap().len()), (true, 1));
            assert_eq!(paused.unwrap(), Changed::Done);
        }
    }

    // and without the others there is no queue at all
    cluster.kill(0);
    cluster.kill(2);
    let gone = [
        queue.ready().await.err(),
        queue.rescue(1, 3).await.err(),
        RedisQueue::open(&config).await.err(),
    ];
    for error in gone {
        assert!(matches!(error, Some(QueueError::Unavailable(_))), "{error:?}");
    }
}
