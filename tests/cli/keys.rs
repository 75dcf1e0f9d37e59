//! Keys that are revoked and rotated beside a façade that has seen them.

use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::program::{Up, command, path};
use crate::support::eventually_ok;

async fn status(up: &Up, key: &str) -> u16 {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let ask = client.get(format!("{}/jobs/job_x", up.told("url"))).bearer_auth(key);
    ask.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_revocation_is_felt_within_five_seconds() {
    // given a key that the façade trusts
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let mut command = command(&["up", "--data", path(&data), "--listen", "127.0.0.1:0"]);
    // It is asked again and again, with a good key and with one that is none any more.
    command.env("POSTRIDER_HTTP__RATE_LIMIT", "1000000/min");
    command.env("POSTRIDER_HTTP__STRANGERS", "1000000/min");
    let up = Up::spawn(command, dir).await;
    let made = up.json(&["keys", "create", "--tenant", "dev"]).await;
    let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    assert_eq!(status(&up, key).await, 404);

    // when
    up.beside(&["keys", "revoke", "--tenant", "dev", id]).await.with(0);
    let began = Instant::now();

    // then
    eventually_ok("the key opens nothing", || async {
        match status(&up, key).await {
            401 => Ok(()),
            other => Err(other),
        }
    })
    .await;
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    assert_eq!(status(&up, up.told("key")).await, 404, "no other key is touched");
}

#[tokio::test]
async fn a_rotated_key_and_its_successor_open_the_same_doors() {
    let up = Up::new().await;
    let made = up.json(&["keys", "create", "--tenant", "dev"]).await;
    let (id, old) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    let rotated = up.json(&["keys", "rotate", "--tenant", "dev", id]).await;
    let new = rotated["key"].as_str().unwrap();
    assert_ne!(old, new);
    assert_eq!((status(&up, old).await, status(&up, new).await), (404, 404));
}
