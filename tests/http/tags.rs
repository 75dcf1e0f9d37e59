//! `ETag` and `If-None-Match`.

use std::time::{Duration, Instant};

use jobs::contract::Moment;
use postrider::queue::{Status, Waiting, WaitingFor};
use reqwest::RequestBuilder;
use serde_json::Value;

use super::house::{House, header, sent};
use crate::support::eventually;

fn knowing(house: &House, id: &str, tag: &str) -> RequestBuilder {
    house.get(&format!("/jobs/{id}")).header("if-none-match", tag)
}

async fn tag(house: &House, id: &str) -> String {
    header(&sent(house.get(&format!("/jobs/{id}"))).await, "etag").to_owned()
}

#[tokio::test]
async fn what_is_known_is_not_told_again() {
    let house = House::open().await;
    let id = house.submitted().await;
    let known = tag(&house, &id).await;

    for hit in [known.as_str(), known.trim_start_matches("W/"), &format!("\"x\", {known}"), "*"] {
        let response = sent(knowing(&house, &id, hit)).await;
        assert_eq!(response.status(), 304, "{hit}");
        assert_eq!(header(&response, "etag"), known);
        assert_eq!(header(&response, "cache-control"), "private, no-cache");
        assert_eq!(header(&response, "vary"), "Accept, Authorization, Prefer");
        assert_eq!(header(&response, "retry-after"), "2");
        assert!(response.headers().get("content-type").is_none());
        assert_eq!(response.text().await.unwrap(), "");
    }
    for miss in ["\"x\"", "nonsense", ""] {
        assert_eq!(sent(knowing(&house, &id, miss)).await.status(), 200, "{miss}");
    }

    house.queue.change(&id, |job| job.status = Status::Processing);
    assert_eq!(sent(knowing(&house, &id, &known)).await.status(), 200);
    assert_ne!(tag(&house, &id).await, known);
}

#[tokio::test]
async fn why_a_job_waits_is_part_of_what_is_known() {
    let house = House::open().await;
    let id = house.submitted().await;
    let mut tags = vec![tag(&house, &id).await];
    for minute in [1, 2] {
        house.queue.surround(
            &id,
            Waiting {
                what: WaitingFor::Limit,
                reason: Some("mailbox 40/h".into()),
                until: Some(Moment::from_millis(1_781_082_000_000 + minute * 60_000)),
            },
        );
        tags.push(tag(&house, &id).await);
    }
    tags.dedup();
    assert_eq!(tags.len(), 3, "{tags:?}");
}

#[tokio::test]
async fn the_forms_of_a_job_have_tags_of_their_own() {
    let house = House::open().await;
    let id = house.submitted().await;
    let json = tag(&house, &id).await;
    let page = |known: &str| knowing(&house, &id, known).header("accept", "text/html");
    let response = sent(page(&json)).await;
    assert_eq!(response.status(), 200);
    let tag = header(&response, "etag").to_owned();
    assert_ne!(tag, json);
    let response = sent(page(&tag)).await;
    assert_eq!(response.status(), 304);
    // The page that is kept has a nonce of its own, and its policy must not be replaced.
    assert!(response.headers().get("content-security-policy").is_none());
}

#[tokio::test]
async fn a_wait_with_a_tag_ends_with_any_change() {
    let house = House::open().await;
    let id = house.submitted().await;
    let known = tag(&house, &id).await;
    for tag in [known.as_str(), "*"] {
        let before = house.queue.reads();
        let began = Instant::now();
        let ask = knowing(&house, &id, tag).header("prefer", "wait=60");
        let (response, ()) = tokio::join!(sent(ask), async {
            eventually("the caller waits", || house.queue.reads() > before).await;
            house.queue.change(&id, |job| job.attempt += 1);
        });
        assert!(began.elapsed() < Duration::from_secs(30));
        assert_eq!(response.status(), 200);
        assert_eq!(header(&response, "preference-applied"), "wait=60");
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["data"]["status"], "queued", "it has changed, and not ended");
    }
}

#[tokio::test]
async fn a_wait_with_an_old_tag_is_answered_at_once() {
    let house = House::open().await;
    let id = house.submitted().await;
    let known = tag(&house, &id).await;
    house.queue.change(&id, |job| job.status = Status::Processing);
    let began = Instant::now();
    let response = sent(knowing(&house, &id, &known).header("prefer", "wait=60")).await;
    assert_eq!(response.status(), 200);
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn a_wait_in_which_nothing_changed_says_so() {
    let house = House::open().await;
    let id = house.submitted().await;
    let known = tag(&house, &id).await;
    for tag in [known.as_str(), "*"] {
        let response = sent(knowing(&house, &id, tag).header("prefer", "wait=1")).await;
        assert_eq!(response.status(), 304);
        assert_eq!(header(&response, "preference-applied"), "wait=1");
    }
    // What is final will not change: nobody is held for it.
    house.queue.change(&id, |job| job.status = Status::Completed);
    let known = tag(&house, &id).await;
    let began = Instant::now();
    let response = sent(knowing(&house, &id, &known).header("prefer", "wait=60")).await;
    assert_eq!(response.status(), 304);
    assert!(began.elapsed() < Duration::from_secs(30));
}
