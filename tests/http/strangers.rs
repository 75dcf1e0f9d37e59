//! Callers without a good key.

use std::time::{Duration, Instant};

use futures::future::join_all;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;

use super::house::{ACME, GLOBEX, House, good, header, sent};

async fn three_an_hour() -> House {
    House::with(|http| http.strangers = "3/h".parse().unwrap()).await
}

fn stranger(house: &House, key: &str) -> RequestBuilder {
    house.request(Method::GET, "/jobs/job_x").bearer_auth(key)
}

#[tokio::test]
async fn strangers_are_turned_away_and_told_when_to_come_again() {
    let house = three_an_hour().await;
    for _ in 0..3 {
        assert_eq!(sent(stranger(&house, "prk_no")).await.status(), 401);
        assert_eq!(sent(house.request(Method::GET, "/jobs/job_x")).await.status(), 401);
    }

    for request in [
        stranger(&house, "prk_no"),
        stranger(&house, "prk_another"),
        house.request(Method::GET, "/jobs/job_x"),
        house.request(Method::POST, "/jobs").json(&good()),
        house.request(Method::GET, "/openapi.json"),
    ] {
        let response = sent(request).await;
        assert_eq!(response.status(), 429);
        let seconds: u64 = header(&response, "retry-after").parse().unwrap();
        assert!((1_100..=1_200).contains(&seconds), "{seconds}");
        assert!(response.headers().get("x-ratelimit-limit").is_none(), "it is no tenant's");
        let problem: Value = response.json().await.unwrap();
        assert_eq!(problem["code"], "rate_limited");
    }
}

#[tokio::test]
async fn a_flood_without_keys_shuts_nobody_out_who_has_one() {
    let house = three_an_hour().await;
    for n in 0..20 {
        sent(house.request(Method::GET, "/jobs/job_x")).await;
        sent(stranger(&house, &format!("no-key-{n}"))).await;
    }
    assert_eq!(sent(house.request(Method::GET, "/jobs/job_x")).await.status(), 429);
    // From the same address, with a key that was never seen before.
    assert_eq!(sent(stranger(&house, ACME)).await.status(), 404);
    assert_eq!(house.keys.asked(), 1, "what cannot be a key is not looked up");
}

#[tokio::test]
async fn a_key_that_was_good_before_is_none_of_theirs() {
    let house = three_an_hour().await;
    assert_eq!(sent(stranger(&house, ACME)).await.status(), 404);
    for _ in 0..10 {
        sent(stranger(&house, "prk_no")).await;
    }
    // The same address, and it is shut to whoever is not known.
    assert_eq!(sent(stranger(&house, GLOBEX)).await.status(), 429);
    for _ in 0..10 {
        assert_eq!(sent(house.post("/jobs", &good())).await.status(), 202);
    }
    // Until the key is revoked: then it is a stranger's.
    house.keys.revoke(ACME);
    let after = async || match sent(stranger(&house, ACME)).await.status() {
        StatusCode::TOO_MANY_REQUESTS => Ok(()),
        other => Err(other),
    };
    crate::support::eventually_ok("the revocation is felt", after).await;
}

#[tokio::test]
async fn behind_a_proxy_each_address_has_an_allowance_of_its_own() {
    let house = House::with(|http| {
        http.strangers = "3/h".parse().unwrap();
        http.proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let from = |address: &str, key| {
        // What comes before the proxy's own word may be anybody's invention.
        let forwarded = format!("203.0.113.{}, {address}", rand::random::<u8>());
        stranger(&house, key).header("x-forwarded-for", forwarded)
    };
    for _ in 0..3 {
        assert_eq!(sent(from("198.51.100.1", "prk_no")).await.status(), 401);
    }
    assert_eq!(sent(from("198.51.100.1", "prk_no")).await.status(), 429);
    // Somebody else behind the same proxy, with a key that was never seen before.
    assert_eq!(sent(from("198.51.100.2", ACME)).await.status(), 404);
}

#[tokio::test]
async fn who_is_no_proxy_of_ours_is_not_believed() {
    let house = three_an_hour().await;
    let from = |n| stranger(&house, "prk_no").header("x-forwarded-for", format!("198.51.100.{n}"));
    for n in 0..3 {
        assert_eq!(sent(from(n)).await.status(), 401);
    }
    assert_eq!(sent(from(4)).await.status(), 429);
}

#[tokio::test]
async fn the_store_is_not_asked_for_those_who_are_turned_away() {
    let house = three_an_hour().await;
    for _ in 0..50 {
        sent(stranger(&house, "prk_no")).await;
    }
    assert_eq!(house.keys.asked(), 3);
}

#[tokio::test]
async fn a_flood_of_strangers_does_not_slow_callers() {
    let house = House::open().await;
    let slowest = async || {
        let mut slowest = Duration::ZERO;
        for _ in 0..50 {
            let began = Instant::now();
            assert_eq!(sent(house.post("/jobs", &good())).await.status(), 202);
            slowest = slowest.max(began.elapsed());
        }
        slowest
    };
    slowest().await;

    let flood = join_all((0..20).map(|_| async {
        let mut refused = 0;
        for _ in 0..100 {
            refused += usize::from(sent(stranger(&house, "prk_no")).await.status() == 429);
        }
        refused
    }));
    let (refused, slowest) = tokio::join!(flood, slowest());

    assert!(refused.into_iter().sum::<usize>() >= 1_900, "all but the first sixty or so");
    // Twenty requests of the flood are always under way here, in one thread with the caller.
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
}
