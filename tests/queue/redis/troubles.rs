//! A server that is killed, hangs or is full.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use jobs::contract::JobId;
use postrider::queue::{
    Ask, Inspect, Queue, QueueError, Retention, Settled, Settlement, Status,
    redis::{RedisConfig, RedisQueue},
};
use rustix::process::Signal;

use super::drain;
use crate::{
    queue::jobs::{
        LEASE, MINUTE, QUEUE, claim, claims, done, job, jobs, limit, put, retention, submission,
        tenant,
    },
    support::{eventually_ok, redis::Private},
};

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill_and_the_queue_goes_on() {
    // given a server that is killed while jobs come in, one of which runs
    let mut server = Private::start(&["--appendonly", "yes", "--appendfsync", "everysec"]).await;
    let queue = Arc::new(RedisQueue::open(&server.config()).await.unwrap());
    let mut acknowledged: HashSet<JobId> =
        put(&*queue, "a", jobs("l", 10)).await.into_iter().collect();
    let running = claim(&*queue, 1).await.remove(0);
    let submitter = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move {
            let mut taken = Vec::new();
            loop {
                let batch = jobs("l", 20);
                let ids: Vec<JobId> = batch.iter().map(|j| j.id).collect();
                match queue.enqueue(submission("a", batch)).await {
                    Ok(_) => taken.extend(ids),
                    Err(QueueError::Unavailable(_)) => return taken,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    });
    let crowd = || async {
        let known = queue.queues().await.map_err(|e| e.to_string())?;
        let waiting = known.first().map_or(0, |q| q.counts[&Status::Queued]);
        if waiting >= 500 { Ok(()) } else { Err(format!("{waiting} wait")) }
    };
    eventually_ok("many jobs wait", crowd).await;

    // when
    server.kill();
    acknowledged.extend(submitter.await.unwrap());
    server.restart().await;

    // then the same handle goes on, though the server knows no script any more
    let settled = eventually_ok("the queue is back", || {
        queue.settle(vec![Settlement { lease: running.lease, verdict: done(), refund: false }])
    })
    .await;
    assert_eq!(settled, [Settled::Done]);
    let mut kept = drain(&*queue).await;
    kept.insert(running.lease.id);
    assert!(acknowledged.is_subset(&kept), "{} of {}", kept.len(), acknowledged.len());
}

#[tokio::test]
async fn a_waiter_hears_of_jobs_after_a_restart() {
    // given a worker that waits while its server is restarted
    let mut server = Private::start(&["--appendonly", "yes"]).await;
    let here = Arc::new(RedisQueue::open(&server.config()).await.unwrap());
    let seen = claims(&*here, 1).await.seen;
    server.kill();
    server.restart().await;
    let there = RedisQueue::open(&server.config()).await.unwrap();
    let id = put(&there, "a", vec![job("l")]).await[0];

    // when, then it is woken, whether or not its subscription stood when the job came
    let waited = tokio::time::timeout(Duration::from_secs(20), here.wait(QUEUE, seen, None)).await;
    assert!(waited.is_ok());
    let claimed = eventually_ok("the queue is back", || async {
        match claim(&*here, 1).await.pop() {
            Some(claimed) => Ok(claimed.lease.id),
            None => Err("nothing"),
        }
    })
    .await;
    assert_eq!(claimed, id);
}

#[tokio::test]
async fn a_submission_is_refused_within_a_second_while_the_server_hangs() {
    // given
    let server = Private::start(&[]).await;
    let queue = RedisQueue::open(&server.config()).await.unwrap();
    put(&queue, "a", vec![job("l")]).await;

    // when
    server.signal(Signal::STOP);
    let began = Instant::now();
    let refused = queue.enqueue(submission("a", vec![job("l")])).await;
    let took = began.elapsed();
    let unread = queue.job(&tenant("a"), JobId::generate()).await;
    server.signal(Signal::CONT);

    // then
    assert!(matches!(refused, Err(QueueError::Unavailable(_))), "{refused:?}");
    assert!(matches!(unread, Err(QueueError::Unavailable(_))), "{unread:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    eventually_ok("the queue is back", || queue.enqueue(submission("a", vec![job("l")]))).await;
}

#[tokio::test]
async fn a_full_server_refuses_submissions_and_drains() {
    // given jobs in a server that uses more memory than it may
    let server = Private::start(&[]).await;
    let queue = RedisQueue::open(&server.config()).await.unwrap();
    let taken: HashSet<JobId> = put(&queue, "a", jobs("l", 200)).await.into_iter().collect();
    server.configure("maxmemory", "100kb").await;

    // when
    let refused = queue.enqueue(submission("a", vec![job("l")])).await.unwrap_err();

    // then workers go on, and what is done is forgotten in its time
    assert!(
        matches!(&refused, QueueError::Unavailable(words) if words.contains("OOM")),
        "{refused}"
    );
    assert_eq!(drain(&queue).await, taken);
    // and callers may ask, which costs them a permit
    let asked = queue.draw(&tenant("a"), &limit("requests", 60, MINUTE)).await.unwrap();
    assert!(asked.granted);
    let nothing_kept = Retention { completed: Duration::ZERO, ..retention() };
    assert!(queue.prune(1_000, &nothing_kept).await.unwrap() >= 200);

    // and with room there is work again
    server.configure("maxmemory", "0").await;
    put(&queue, "a", vec![job("l")]).await;
}

#[tokio::test]
async fn what_passes_is_said_to_pass_and_then_it_works() {
    // given what makes a server refuse for a while, in which words, and what ends it
    let rows = [
        ("REPLICAOF 127.0.0.1 1", "read only replica", "REPLICAOF NO ONE"),
        ("CONFIG SET min-replicas-to-write 1", "NOREPLICAS", "CONFIG SET min-replicas-to-write 0"),
        ("CONFIG SET maxmemory 1", "maxmemory", "CONFIG SET maxmemory 0"),
    ];
    let server = Private::start(&["--repl-diskless-sync-delay", "0"]).await;
    let queue = RedisQueue::open(&server.config()).await.unwrap();
    put(&queue, "a", vec![job("l")]).await;
    for (begin, words, end) in rows {
        // when
        server.ask::<()>(begin).await.unwrap();
        let refused = queue.enqueue(submission("a", vec![job("l")])).await.unwrap_err();
        server.ask::<()>(end).await.unwrap();

        // then
        assert!(
            matches!(&refused, QueueError::Unavailable(said) if said.contains(words)),
            "{begin}: {refused}"
        );
        eventually_ok("it has passed", || queue.enqueue(submission("a", vec![job("l")]))).await;
    }
}

#[tokio::test]
async fn a_server_that_is_busy_is_waited_for() {
    // given a script of somebody else's that does not end
    let server = Private::start(&["--busy-reply-threshold", "10"]).await;
    let queue = RedisQueue::open(&server.config()).await.unwrap();
    let mut other = server.connection().await.unwrap();
    let endless = tokio::spawn(async move {
        let mut script = redis::cmd("EVAL");
        script.arg("while true do end").arg(0).query_async::<()>(&mut other).await
    });

    // when
    let refused = eventually_ok("it is busy", || async {
        match queue.enqueue(submission("a", vec![job("l")])).await {
            Err(error) if error.to_string().contains("BUSY") => Ok(error),
            other => Err(format!("{other:?}")),
        }
    })
    .await;

    // then
    assert!(matches!(refused, QueueError::Unavailable(_)), "{refused}");
    eventually_ok("the script is ended", || server.ask::<()>("SCRIPT KILL")).await;
    endless.await.unwrap().unwrap_err();
    eventually_ok("it has passed", || queue.enqueue(submission("a", vec![job("l")]))).await;
}

#[tokio::test]
async fn a_connection_that_was_closed_while_nobody_used_it_costs_no_call() {
    // given
    let server = Private::start(&[]).await;
    let queue = RedisQueue::open(&server.config()).await.unwrap();
    put(&queue, "a", vec![job("l")]).await;

    // when the server, or something on the way, closes all connections
    server.ask::<()>("CLIENT KILL TYPE normal SKIPME yes").await.unwrap();
    let gone = || async {
        let list: String = server.ask("CLIENT LIST TYPE normal").await.unwrap();
        // The one that asks is there.
        if list.lines().count() == 1 { Ok(()) } else { Err(list) }
    };
    eventually_ok("they are closed", gone).await;
    // Everybody here has heard what was on the wire before this answer.
    server.ask::<String>("PING").await.unwrap();
    tokio::task::yield_now().await;

    // then the next call goes over another one
    put(&queue, "a", vec![job("l")]).await;
}

#[tokio::test]
async fn a_server_that_reads_its_file_is_waited_for() {
    // given a server that needs some time to read what it kept, and jobs in it
    let mut server = Private::start(&["--appendonly", "yes", "--key-load-delay", "100"]).await;
    // It looks up from its file now and then.
    let config = RedisConfig { submit_timeout: Duration::from_secs(5), ..server.config() };
    let queue = RedisQueue::open(&config).await.unwrap();
    let taken: HashSet<JobId> = put(&queue, "a", jobs("l", 50)).await.into_iter().collect();
    let mut fill = redis::cmd("EVAL");
    fill.arg("for n = 1, 60000 do redis.call('SET', 'filler:' .. n, '') end").arg(0);
    fill.query_async::<()>(&mut server.connection().await.unwrap()).await.unwrap();

    // when it is killed and started again
    server.kill();
    server.begin_again();
    let refused = eventually_ok("it reads its file", || async {
        match queue.enqueue(submission("a", vec![job("m")])).await {
            Err(error) if error.to_string().contains("loading the dataset") => Ok(error),
            other => Err(format!("{other:?}")),
        }
    })
    .await;

    // then callers are told that it passes, and so it does: workers get what was kept
    assert!(matches!(refused, QueueError::Unavailable(_)), "{refused}");
    let unclaimed = queue.claim(&ask()).await.unwrap_err();
    assert!(matches!(&unclaimed, QueueError::Unavailable(_)), "{unclaimed}");
    eventually_ok("it has read its file", || queue.ready()).await;
    assert_eq!(drain(&queue).await, taken);
}

fn ask() -> Ask {
    Ask { queue: QUEUE.into(), worker: "w".into(), max: 10, lease: LEASE }
}

#[tokio::test]
async fn a_server_that_lost_its_primary_is_waited_for() {
    // given a queue whose server was made the replica of one that nobody reaches
    let server = Private::start(&["--replica-serve-stale-data", "no"]).await;
    let queue = RedisQueue::open(&server.config()).await.unwrap();
    let taken: HashSet<JobId> = put(&queue, "a", jobs("l", 5)).await.into_iter().collect();
    server.ask::<()>("REPLICAOF 127.0.0.1 1").await.unwrap();

    // when somebody asks, and a worker wants jobs
    let unread = queue.queues().await.unwrap_err();
    let unclaimed = queue.claim(&ask()).await.unwrap_err();

    // then both are told that it passes
    assert!(
        matches!(&unread, QueueError::Unavailable(said) if said.contains("Link with MASTER is down")),
        "{unread}"
    );
    assert!(matches!(&unclaimed, QueueError::Unavailable(_)), "{unclaimed}");
    server.ask::<()>("REPLICAOF NO ONE").await.unwrap();
    eventually_ok("it has passed", || queue.ready()).await;
    assert_eq!(drain(&queue).await, taken);
}
