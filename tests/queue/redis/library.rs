//! The library of scripts, which a server may lack.

use futures::future::join_all;
use postrider::queue::{
    Inspect, LaneFilter, Queue, QueueError, Status,
    redis::{RedisConfig, RedisQueue},
};
use redis::Value;

use super::drain;
use crate::{
    queue::jobs::{job, jobs, put, submission},
    support::{eventually_ok, redis::Private},
};

/// The names of a server's libraries.
async fn libraries(server: &Private) -> Vec<String> {
    let listed: Vec<Vec<Value>> = server.ask("FUNCTION LIST").await.unwrap();
    let name = |library: Vec<Value>| match &library[..] {
        [_, Value::BulkString(name), ..] => String::from_utf8(name.clone()).unwrap(),
        other => panic!("{other:?}"),
    };
    listed.into_iter().map(name).collect()
}

#[tokio::test]
async fn a_server_that_lost_it_is_given_it_again_once() {
    // given a queue, a library of somebody else's, and what another version left
    let server = Private::start(&[]).await;
    let queue = RedisQueue::open(&server.config()).await.unwrap();
    let [name] = &libraries(&server).await[..] else { panic!("one library") };

    // when it is lost while nobody looks, and many call at once
    server.ask::<()>("FUNCTION FLUSH").await.unwrap();
    for name in ["others", "postrider_0123456789abcdef"] {
        let text =
            format!("#!lua name={name}\nredis.register_function('{name}_f', function() end)");
        let mut load = redis::cmd("FUNCTION");
        let load = load.arg("LOAD").arg(text);
        load.query_async::<()>(&mut server.connection().await.unwrap()).await.unwrap();
    }
    server.ask::<()>("CONFIG RESETSTAT").await.unwrap();
    let tenants: Vec<String> = (0..20).map(|number| format!("t{number}")).collect();
    let puts = tenants.iter().map(|tenant| put(&queue, tenant, jobs("l", 5)));
    let taken: Vec<_> = join_all(puts).await.into_iter().flatten().collect();

    // then all of them are carried out, and it was loaded once, beside the others
    assert_eq!(drain(&queue).await.len(), taken.len());
    let mut found = libraries(&server).await;
    found.sort();
    let mut expected = ["others", "postrider_0123456789abcdef", name].map(str::to_owned);
    expected.sort();
    assert_eq!(found, expected);
    let loads = server.info("commandstats", "cmdstat_function|load").await;
    assert!(loads.starts_with("calls=1,"), "{loads}");
}

#[tokio::test]
async fn a_full_server_that_lacks_it_is_drained_all_the_same() {
    // given a server with jobs
    let server = Private::start(&[]).await;
    let config = server.config();
    let queue = RedisQueue::open(&config).await.unwrap();
    let taken = put(&queue, "a", jobs("l", 50)).await;

    // when it is full, and has lost the library
    server.ask::<()>("FUNCTION FLUSH").await.unwrap();
    server.configure("maxmemory", "1mb").await;

    // then a worker that begins there drains it, and nothing new comes in
    let worker = RedisQueue::open(&config).await.unwrap();
    let refused = worker.enqueue(submission("a", vec![job("l")])).await.unwrap_err();
    assert!(matches!(refused, QueueError::Unavailable(_)), "{refused}");
    assert_eq!(drain(&worker).await, taken.into_iter().collect());
    assert_eq!(libraries(&server).await, [""; 0]);

    // and once there is room it is loaded
    server.configure("maxmemory", "1gb").await;
    eventually_ok("jobs are taken", || worker.enqueue(submission("a", vec![job("l")]))).await;
    assert_eq!(libraries(&server).await.len(), 1);
}

#[tokio::test]
async fn who_may_not_load_it_is_told_which_rights_are_missing() {
    // given a user who may call functions, and a server without any
    let server = Private::start(&[]).await;
    let user = "ACL SETUSER us on >mine ~postrider:* &postrider:* +@all -function|load";
    server.ask::<()>(user).await.unwrap();
    let url = format!("{}?user=us&pass=mine", server.url());

    // when
    let refused = RedisQueue::open(&RedisConfig { url, ..server.config() }).await.err();

    // then
    let words = "needs the rights in config/redis/users.acl";
    assert!(
        matches!(&refused, Some(QueueError::Denied(said)) if said.contains(words)),
        "{refused:?}"
    );
}

#[tokio::test]
async fn nothing_is_left_of_a_call_that_failed_halfway() {
    // given a queue with a job, in which a list was broken that a call writes late
    let server = Private::start(&[]).await;
    let queue = RedisQueue::open(&RedisConfig { shards: 1, ..server.config() }).await.unwrap();
    let mut taken = put(&queue, "a", vec![job("l")]).await;
    let base =
        server.keys().await.iter().find_map(|key| key.strip_suffix("lane_ids").map(str::to_owned));
    let base = base.expect("there is a lane");
    server.ask::<()>(&format!("RENAME {base}ids {base}hidden")).await.unwrap();
    server.ask::<()>(&format!("SET {base}ids broken")).await.unwrap();

    // when a call fails on its way, and all is well again
    let failed = queue.enqueue(submission("a", vec![job("l")])).await.unwrap_err();
    assert!(failed.to_string().contains("WRONGTYPE"), "{failed}");
    server.ask::<()>(&format!("RENAME {base}hidden {base}ids")).await.unwrap();

    // then what comes next counts itself alone
    taken.extend(put(&queue, "a", vec![job("l")]).await);
    let counted = queue.queues().await.unwrap();
    let lanes = queue.lanes(&LaneFilter { limit: 10, ..LaneFilter::default() }).await.unwrap();
    assert_eq!((counted[0].counts[&Status::Queued], lanes[0].waiting), (2, 2));
    assert_eq!(drain(&queue).await, taken.into_iter().collect());
}
