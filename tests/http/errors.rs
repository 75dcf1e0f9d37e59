//! How refusals look.

use std::fmt::Write;

use postrider::http::{ErrorCode, listen};
use reqwest::Method;
use serde_json::{Value, json};

use super::house::{House, answer, good, header, sent};

#[test]
fn codes_are_as_they_were_promised() {
    let mut codes = String::new();
    for code in ErrorCode::ALL {
        writeln!(codes, "{} {} {}", code.status().as_u16(), code.as_str(), code.title()).unwrap();
    }
    assert_eq!(codes, include_str!("error_codes.golden.txt"));
}

#[tokio::test]
async fn a_refusal_is_a_problem_document() {
    let house = House::open().await;

    let response = sent(house.get("/jobs/job_x")).await;

    assert_eq!(header(&response, "content-type"), "application/problem+json");
    let request_id = header(&response, "x-request-id").to_owned();
    assert!(request_id.starts_with("req_") && request_id.len() == 30, "{request_id}");
    let body: Value = response.json().await.unwrap();
    assert_eq!(
        body,
        json!({
            "type": "/errors/job_not_found", "title": "No such job", "status": 404,
            "detail": "There is no job with this id.", "code": "job_not_found",
            "message": "There is no job with this id.", "request_id": request_id
        })
    );
}

#[tokio::test]
async fn paths_that_lead_nowhere_and_methods_that_are_not_there() {
    let house = House::open().await;
    for path in ["/", "/job", "/jobs/", "/jobs/a/b", "/healthz", "/metrics", "/jobs%2Fsend"] {
        let response = sent(house.get(path)).await;
        assert_eq!(response.status(), 404, "{path}");
        header(&response, "x-request-id");
    }
    for (method, path, allow) in [
        (Method::GET, "/jobs", "POST, OPTIONS"),
        (Method::DELETE, "/jobs", "POST, OPTIONS"),
        (Method::PATCH, "/jobs/x", "POST, OPTIONS"),
        (Method::POST, "/jobs/job_x", "GET, HEAD, OPTIONS"),
        (Method::POST, "/openapi.json", "GET, HEAD, OPTIONS"),
        (Method::from_bytes(b"BREW").unwrap(), "/jobs/job_x", "GET, HEAD, OPTIONS"),
    ] {
        let response = sent(house.request(method, path)).await;
        assert_eq!(response.status(), 405, "{path}");
        assert_eq!(header(&response, "allow"), allow);
    }
    let response = sent(house.request(Method::OPTIONS, "/jobs")).await;
    assert_eq!((response.status().as_u16(), header(&response, "allow")), (204, "POST, OPTIONS"));
}

#[tokio::test]
async fn a_queue_out_of_reach_is_503_and_says_nothing_of_itself() {
    let house = House::open().await;
    let id = house.submitted().await;
    house.queue.set_down(true);
    for request in [house.post("/jobs", &good()), house.get(&format!("/jobs/{id}"))] {
        let response = sent(request).await;
        assert_eq!(response.status(), 503);
        assert_eq!(header(&response, "retry-after"), "5");
        let text = response.text().await.unwrap();
        assert!(!text.contains("redis") && !text.contains("secret"), "{text}");
    }
}

#[tokio::test]
async fn a_full_disk_refuses_jobs_and_still_answers_questions() {
    let house = House::open().await;
    let id = house.submitted().await;
    house.queue.set_full();
    answer(house.post("/jobs", &good()), 503).await;
    let body = answer(house.get(&format!("/jobs/{id}")), 200).await;
    assert_eq!(body["data"]["id"], id.as_str());
}

#[tokio::test]
async fn a_mistake_of_ours_is_one_answer_and_the_façade_goes_on() {
    let house = House::open().await;
    let request = house.request(Method::GET, "/jobs/x").bearer_auth("prk_panic");
    let problem = answer(request, 500).await;
    assert_eq!(problem["code"], "internal_error");
    assert!(!problem.to_string().contains("mistake, for"), "{problem}");
    house.submitted().await;
}

#[tokio::test]
async fn checks_are_made_in_their_order() {
    let house = House::with(|http| http.rate_limit = "1/min".parse().unwrap()).await;
    let huge = "x".repeat(2_000_000);
    let post = |key: &str| house.request(Method::POST, "/jobs").bearer_auth(key);
    // Size before key, key before limit, limit before the content type.
    answer(post("prk_no").body(huge), 413).await;
    answer(post("prk_no").body("["), 401).await;
    answer(post(super::house::ACME).body("["), 415).await;
    answer(post(super::house::ACME).body("["), 429).await;
    // The content type before JSON, JSON before scopes, scopes before the schema.
    let house = House::open().await;
    let post = |body: &'static str| {
        let request = house.request(Method::POST, "/jobs").bearer_auth(super::house::READER);
        request.body(body)
    };
    let json = |body| post(body).header("content-type", "application/json");
    answer(post("["), 415).await;
    answer(json("[").header("idempotency-key", "a b"), 400).await;
    answer(json("["), 400).await;
    answer(json(r#"{"type":"send","oops":1}"#), 403).await;
    answer(json(r#"{"type":"nap","oops":1}"#), 422).await;
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let house = House::open().await;
    let words = listen(house.address).await.unwrap_err().to_string();
    assert_eq!(words, format!("cannot listen on {}: the address is in use", house.address));
    let words = listen("192.0.2.1:0".parse().unwrap()).await.unwrap_err().to_string();
    assert_eq!(words, "cannot listen on 192.0.2.1:0: this host has no such address");
}
