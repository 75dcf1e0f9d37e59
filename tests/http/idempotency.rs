//! The same submission again.

use futures::future::join_all;
use reqwest::{RequestBuilder, header::HeaderValue};
use serde_json::{Value, json};

use super::house::{House, answer, good, header, sent};

fn keyed(house: &House, key: &str, body: &Value) -> RequestBuilder {
    house.post("/jobs", body).header("idempotency-key", key)
}

#[tokio::test]
async fn a_repetition_is_answered_byte_for_byte() {
    let house = House::open().await;

    let first = sent(keyed(&house, "k-1", &good())).await;
    let again = sent(keyed(&house, "\"k-1\"", &good())).await;

    assert_eq!((first.status(), again.status()), (202.try_into().unwrap(), first.status()));
    assert!(first.headers().get("idempotent-replayed").is_none());
    assert_eq!(header(&again, "idempotent-replayed"), "true");
    assert_eq!(header(&first, "location"), header(&again, "location"));
    assert_ne!(header(&first, "x-request-id"), header(&again, "x-request-id"));
    let first = first.text().await.unwrap();
    assert_eq!(first, again.text().await.unwrap());
    let body: Value = serde_json::from_str(&first).unwrap();
    assert_eq!(body["meta"]["idempotency_key"], "k-1");
    assert_eq!(house.queue.all().len(), 1);
}

#[tokio::test]
async fn a_repeated_batch_is_answered_with_its_list() {
    let house = House::open().await;
    let batch = json!({"jobs": [good(), good()]});
    let first = sent(keyed(&house, "b", &batch)).await.text().await.unwrap();
    let again = sent(keyed(&house, "b", &batch)).await;
    assert!(again.headers().get("location").is_none());
    assert_eq!(first, again.text().await.unwrap());
    assert_eq!(house.queue.all().len(), 2);
}

#[tokio::test]
async fn a_job_that_was_there_before_is_answered_alike_every_time() {
    let house = House::open().await;
    let mut twin = good();
    twin["payload"]["only_one"] = json!("x");
    let known = answer(house.post("/jobs", &twin), 202).await["data"]["id"].clone();
    for body in [twin.clone(), json!({"jobs": [good(), twin]})] {
        let key = body.to_string().len().to_string();
        let first = sent(keyed(&house, &key, &body)).await;
        let again = sent(keyed(&house, &key, &body)).await;
        assert_eq!(header(&again, "idempotent-replayed"), "true");
        let first = first.text().await.unwrap();
        assert_eq!(first, again.text().await.unwrap());
        assert!(first.contains(known.as_str().unwrap()), "{first}");
    }
    assert_eq!(house.queue.all().len(), 2);
}

#[tokio::test]
async fn another_request_under_the_same_key_is_refused() {
    let house = House::open().await;
    answer(keyed(&house, "k", &good()), 202).await;
    let mut other = good();
    other["priority"] = json!("low");
    for request in [
        keyed(&house, "k", &other),
        keyed(&house, "k", &json!({"jobs": [good()]})),
        house.post("/jobs/send", &good()["payload"]).header("idempotency-key", "k"),
    ] {
        let problem = answer(request, 422).await;
        assert_eq!(problem["code"], "idempotency_key_reused");
    }
    assert_eq!(house.queue.all().len(), 1);
}

#[tokio::test]
async fn refusals_are_not_remembered() {
    let house = House::open().await;
    answer(keyed(&house, "k", &json!({"type": "send"})), 422).await;
    house.queue.set_down(true);
    answer(keyed(&house, "k", &good()), 503).await;
    house.queue.set_down(false);
    answer(keyed(&house, "k", &good()), 202).await;
}

#[tokio::test]
async fn odd_keys_are_refused_or_kept_apart() {
    let house = House::open().await;
    for bad in [&b""[..], b"\"\"", b"a b", b"\"a", b"\"a\\n\"", b"\xc3\xa9", &[b'k'; 256]] {
        let key = HeaderValue::from_bytes(bad).unwrap();
        let request = house.post("/jobs", &good()).header("idempotency-key", key);
        let problem = answer(request, 400).await;
        assert_eq!(problem["code"], "invalid_header", "{bad:?}");
    }
    let twice = keyed(&house, "a", &good()).header("idempotency-key", "a");
    answer(twice, 400).await;
    for good_key in ["a", "A", "http:a", "../a", "a%20", "{a}", "'a'", &"k".repeat(255)] {
        let response = sent(keyed(&house, good_key, &good())).await;
        assert_eq!(response.status(), 202, "{good_key}");
        assert!(response.headers().get("idempotent-replayed").is_none(), "{good_key}");
    }
}

#[tokio::test]
async fn a_thousand_equal_posts_at_once_make_one_job() {
    let house = House::open().await;

    let posts = (0..1_000).map(|_| async {
        let response = sent(keyed(&house, "one", &good())).await;
        assert_eq!(response.status(), 202);
        let replayed = response.headers().contains_key("idempotent-replayed");
        (replayed, response.text().await.unwrap())
    });
    let answers = join_all(posts).await;

    assert_eq!(house.queue.all().len(), 1);
    assert_eq!(answers.iter().filter(|(replayed, _)| !replayed).count(), 1);
    assert!(answers.iter().all(|(_, body)| *body == answers[0].1));
}
