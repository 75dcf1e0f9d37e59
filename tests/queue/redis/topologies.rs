//! Other servers than one on a socket that lets everybody in: with TLS, with users, and Valkey.

use postrider::queue::{
    Queue, QueueError,
    redis::{RedisConfig, RedisQueue},
};
use redis::{Client, RedisError};

use super::{Redis, exam, unusable};
use crate::{
    queue::jobs::{job, put, submission},
    support::{
        eventually_ok,
        redis::{Private, as_user, command, over_tls, place, valkey},
    },
};

mod with_tls {
    use super::*;

    exam!(Redis::at(over_tls().await));
}

mod as_the_shipped_user {
    use super::*;

    exam!(Redis::at(as_user().await));
}

mod in_valkey {
    use super::*;

    // Where there is none, tests/run says so, and nothing is asked.
    exam!(match valkey().await {
        Some(config) => Redis::at(config),
        None => return,
    });
}

fn words(opened: Result<RedisQueue, QueueError>) -> String {
    opened.err().expect("it was opened").to_string()
}

#[tokio::test]
async fn a_server_whose_certificate_nobody_vouches_for_is_refused() {
    // given a server with a certificate of a private authority
    let config = RedisConfig { ca_file: "".into(), ..over_tls().await };

    // when we trust the system's authorities alone
    let refused = words(RedisQueue::open(&config).await);

    // then
    assert!(refused.contains("invalid peer certificate"), "{refused}");
}

#[tokio::test]
async fn a_client_without_a_certificate_is_turned_away_where_one_is_asked_for() {
    // given
    let none = || "".into();
    let config = over_tls().await;
    let config = RedisConfig { client_certificate: none(), client_key: none(), ..config };

    // when
    let refused = words(RedisQueue::open(&config).await);

    // then
    assert!(refused.contains("not available"), "{refused}");
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named() {
    let good = over_tls().await;
    let rows = [
        (RedisConfig { ca_file: "/nowhere.pem".into(), ..good.clone() }, "/nowhere.pem"),
        (RedisConfig { client_key: "".into(), ..good.clone() }, "expected both or none"),
        (RedisConfig { ca_file: good.ca_file.clone(), ..place() }, "PEM files for rediss://"),
    ];
    for (config, expected) in rows {
        // when
        let refused = unusable(RedisQueue::open(&config).await);

        // then
        assert!(refused.contains(expected), "{refused}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_said_and_not_repeated() {
    // given
    let config = as_user().await;
    let url = config.url.replace("s3cr:t", "hunter2");

    // when
    let refused = words(RedisQueue::open(&RedisConfig { url, ..config }).await);

    // then
    assert!(refused.contains("cannot be used") && !refused.contains("hunter2"), "{refused}");
}

#[tokio::test]
async fn the_shipped_user_can_do_nothing_else() {
    // given
    let client = Client::open(as_user().await.url).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();

    for forbidden in [
        "FLUSHALL",
        "CONFIG GET *",
        "KEYS *",
        "SHUTDOWN",
        "GET another:key",
        "PUBLISH another:channel x",
        "MONITOR",
    ] {
        // when
        let answer: Result<redis::Value, RedisError> =
            command(forbidden).query_async(&mut connection).await;

        // then
        let error = answer.expect_err(forbidden);
        assert_eq!(error.code(), Some("NOPERM"), "{forbidden}: {error}");
    }
}

#[tokio::test]
async fn a_server_that_refuses_us_while_we_run_is_waited_for_and_at_the_start_it_is_not() {
    // given what is changed about a user, what is said of it, and what ends it
    let rows = [
        ("resetpass >other", "look at the user and the password in redis.url", "resetpass >mine"),
        ("off", "look at the user and the password in redis.url", "on"),
        ("-fcall", "needs the rights in config/redis/users.acl", "+fcall"),
        ("-hincrby", "needs the rights in config/redis/users.acl", "+hincrby"),
        ("resetkeys ~other:*", "that begin with redis.prefix", "~postrider:*"),
    ];
    let server = Private::start(&[]).await;
    server.ask::<()>("ACL SETUSER us on >mine ~postrider:* &postrider:* +@all").await.unwrap();
    let url = format!("{}?user=us&pass=mine", server.url());
    let config = RedisConfig { url, ..server.config() };
    let queue = RedisQueue::open(&config).await.unwrap();
    put(&queue, "a", vec![job("l")]).await;
    for (begin, words, end) in rows {
        // when
        server.ask::<()>(&format!("ACL SETUSER us {begin}")).await.unwrap();
        server.ask::<i64>("CLIENT KILL USER us").await.unwrap();
        let refused = eventually_ok("it is refused", || async {
            match queue.enqueue(submission("a", vec![job("l")])).await {
                Err(QueueError::Denied(words)) => Ok(words),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        let at_start = RedisQueue::open(&config).await.err();
        server.ask::<()>(&format!("ACL SETUSER us {end}")).await.unwrap();

        // then
        assert!(refused.contains(words) && !refused.contains("mine"), "{begin}: {refused}");
        assert!(matches!(at_start, Some(QueueError::Denied(_))), "{begin}: {at_start:?}");
        eventually_ok("it is mended", || queue.enqueue(submission("a", vec![job("l")]))).await;
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_named() {
    // given nobody at a port
    let config = RedisConfig { url: "redis://127.0.0.1:1".into(), ..place() };

    // when
    let refused = words(RedisQueue::open(&config).await);

    // then
    assert!(refused.contains("Redis at 127.0.0.1:1: "), "{refused}");
}
