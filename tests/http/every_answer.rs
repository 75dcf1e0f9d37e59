//! What every answer carries, whatever its status.

use std::collections::BTreeSet;

use bytes::Bytes;
use http_body_util::StreamBody;
use hyper::body::Frame;
use postrider::queue::Status;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use super::house::{ACME, House, READER, answer, good, header, sent};

const OF_THE_ALLOWANCE: [&str; 5] = [
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "ratelimit-policy",
    "ratelimit",
];

/// Checks an answer: its status, its id in head and body, and whether it tells of an allowance, which is
/// told to whom is known and to nobody else.
async fn check(request: RequestBuilder, status: u16, known: bool, ids: &mut BTreeSet<String>) {
    let response = sent(request).await;
    assert_eq!(response.status(), status);
    let id = header(&response, "x-request-id").to_owned();
    let ulid = id.strip_prefix("req_").unwrap();
    assert!(ulid.len() == 26 && ulid.bytes().all(|c| c.is_ascii_alphanumeric()), "{id}");
    assert!(ids.insert(id.clone()), "an id is for one request");
    for name in OF_THE_ALLOWANCE {
        assert_eq!(response.headers().contains_key(name), known, "{name} of {status}");
    }
    let comes_again = response.headers().contains_key("retry-after");
    assert!(comes_again || !matches!(status, 429 | 503), "{status} says when to come again");
    assert!(response.headers().contains_key("date"));
    assert!(!response.headers().contains_key("server"), "what serves is nobody's business");
    if status >= 400 {
        assert_eq!(header(&response, "content-type"), "application/problem+json");
        assert_eq!(header(&response, "cache-control"), "no-store");
        check_problem(response, status, &id).await;
    }
}

async fn check_problem(response: Response, status: u16, id: &str) {
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["status"], status);
    assert_eq!(problem["request_id"], id);
    let code = problem["code"].as_str().unwrap();
    assert_eq!(problem["type"], format!("/errors/{code}"));
    assert_eq!(problem["message"], problem["detail"]);
    assert!(problem["title"].is_string(), "{problem}");
}

#[tokio::test]
async fn every_status_carries_the_same() {
    let house = House::open().await;
    let id = house.submitted().await;
    let path = format!("/jobs/{id}");
    let post = || house.request(Method::POST, "/jobs").bearer_auth(ACME);
    let json = || post().header("content-type", "application/json");
    let endless = || {
        let chunk = |_| Ok::<_, std::io::Error>(Frame::data(Bytes::from("x".repeat(0x1_0000))));
        reqwest::Body::wrap(StreamBody::new(futures::stream::iter((0..32).map(chunk))))
    };
    let ids = &mut BTreeSet::new();

    check(house.post("/jobs", &good()), 202, true, ids).await;
    check(house.get(&path), 200, true, ids).await;
    check(house.get(&path).header("accept", "text/html"), 200, true, ids).await;
    check(house.get(&path).header("accept", "text/event-stream"), 200, true, ids).await;
    check(house.get(&path).header("if-none-match", "*"), 304, true, ids).await;
    check(json().body("{"), 400, true, ids).await;
    check(json().header("idempotency-key", "a b").body("{}"), 400, true, ids).await;
    check(house.request(Method::POST, "/jobs").bearer_auth(READER).json(&good()), 403, true, ids)
        .await;
    check(house.get("/jobs/job_x"), 404, true, ids).await;
    check(house.get(&path).header("accept", "image/png"), 406, true, ids).await;
    check(json().body(endless()), 413, true, ids).await;
    check(post().body("x"), 415, true, ids).await;
    check(house.post("/jobs", &json!({})), 422, true, ids).await;

    check(house.request(Method::GET, "/openapi.json"), 200, false, ids).await;
    check(house.request(Method::OPTIONS, &path), 204, false, ids).await;
    check(house.request(Method::GET, &path), 401, false, ids).await;
    check(house.get("/nowhere"), 404, false, ids).await;
    check(house.request(Method::DELETE, &path), 405, false, ids).await;
    check(json().body("x".repeat(2_000_000)), 413, false, ids).await;
    check(house.request(Method::GET, &path).bearer_auth("prk_panic"), 500, false, ids).await;

    house.queue.change(&id, |job| job.status = Status::Completed);
    let events = || house.get(&path).header("accept", "text/event-stream");
    let told = sent(events()).await.text().await.unwrap();
    let last = told.split("id: ").nth(1).unwrap().split('\n').next().unwrap();
    check(events().header("last-event-id", last), 204, true, ids).await;

    house.queue.set_above_mark(true);
    check(house.post("/jobs", &good()), 503, true, ids).await;
    house.queue.set_down(true);
    check(house.post("/jobs", &good()), 503, false, ids).await;
}

#[tokio::test]
async fn who_has_used_its_allowance_up_hears_so_with_every_form() {
    let house = House::with(|http| http.rate_limit = "1/h".parse().unwrap()).await;
    let id = house.submitted().await;
    let path = format!("/jobs/{id}");
    let ids = &mut BTreeSet::new();
    for accept in ["application/json", "text/html", "text/event-stream"] {
        check(house.get(&path).header("accept", accept), 429, true, ids).await;
    }
    check(house.post("/jobs", &good()), 429, true, ids).await;
}

#[tokio::test]
async fn above_the_mark_nothing_new_is_taken_and_all_else_goes_on() {
    // given an acknowledged submission
    let house = House::open().await;
    let keyed = |key| house.post("/jobs", &good()).header("idempotency-key", key);
    let first = sent(keyed("known")).await.text().await.unwrap();
    let id = house.queue.all()[0].id;

    // when
    house.queue.set_above_mark(true);

    // then what is new is refused, and not remembered
    let problem = answer(keyed("new"), 503).await;
    assert_eq!(problem["code"], "unavailable");
    assert!(!problem.to_string().contains("81"), "{problem}");
    // what was acknowledged is acknowledged again, and shown
    assert_eq!(sent(keyed("known")).await.text().await.unwrap(), first);
    answer(house.get(&format!("/jobs/{id}")), 200).await;
    // and below it all is well
    house.queue.set_above_mark(false);
    let response = sent(keyed("new")).await;
    assert_eq!(response.status(), 202);
    assert!(!response.headers().contains_key("idempotent-replayed"));
}
