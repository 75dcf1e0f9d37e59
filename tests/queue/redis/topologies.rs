//! Other servers than one on a socket that lets everybody in: with TLS, with users, and Valkey.

use postrider::queue::{
    QueueError,
    redis::{RedisConfig, RedisQueue},
};
use redis::{Client, RedisError};

use super::{Redis, exam, unusable};
use crate::support::redis::{as_user, command, over_tls, place, valkey};

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
