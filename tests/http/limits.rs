//! How many requests a tenant may send.

use std::time::Duration;

use reqwest::{Method, Response};

use super::house::{GLOBEX, House, READER, answer, good, header, sent};

fn told(response: &Response) -> [String; 5] {
    [
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
        "ratelimit-policy",
        "ratelimit",
    ]
    .map(|name| header(response, name).to_owned())
}

async fn three_a_minute() -> House {
    House::with(|http| http.rate_limit = "3/min".parse().unwrap()).await
}

/// The clock of the house stands at 1781082000.25.
const RESET: &str = "1781082061";

#[tokio::test]
async fn the_headers_count_down_to_the_edge() {
    let house = three_a_minute().await;
    for left in ["2", "1", "0"] {
        let response = sent(house.post("/jobs", &good())).await;
        assert_eq!(response.status(), 202);
        let short = format!("\"default\";r={left};t=61");
        assert_eq!(told(&response), ["3", left, RESET, "\"default\";q=3;w=60", &short]);
    }
    let response = sent(house.post("/jobs", &good())).await;
    assert_eq!(response.status(), 429);
    assert_eq!(header(&response, "retry-after"), "61");
    assert_eq!(told(&response), ["3", "0", RESET, "\"default\";q=3;w=60", "\"default\";r=0;t=61"]);
    let problem: serde_json::Value = response.json().await.unwrap();
    assert_eq!(problem["code"], "rate_limited");
    assert_eq!(house.queue.all().len(), 3);
}

#[tokio::test]
async fn who_heeds_the_headers_is_let_in() {
    let house = three_a_minute().await;
    for _ in 0..3 {
        answer(house.post("/jobs", &good()), 202).await;
    }
    house.queue.pass(Duration::from_millis(59_999));
    let response = sent(house.post("/jobs", &good())).await;
    assert_eq!(response.status(), 429);
    let seconds: u64 = header(&response, "retry-after").parse().unwrap();
    house.queue.pass(Duration::from_secs(seconds));
    answer(house.post("/jobs", &good()), 202).await;
}

#[tokio::test]
async fn the_keys_of_a_tenant_share_an_allowance_and_tenants_do_not() {
    let house = three_a_minute().await;
    for _ in 0..3 {
        answer(house.post("/jobs", &good()), 202).await;
    }
    let get = |key| house.request(Method::GET, "/jobs/job_x").bearer_auth(key);
    answer(get(READER), 429).await;
    answer(get(GLOBEX), 404).await;
}

#[tokio::test]
async fn answers_to_mistakes_count_and_tell() {
    let house = three_a_minute().await;
    let response = sent(house.get("/jobs/job_x")).await;
    assert_eq!(response.status(), 404);
    assert_eq!(header(&response, "x-ratelimit-remaining"), "2");
    let response = sent(house.post("/jobs", &serde_json::json!({}))).await;
    assert_eq!(response.status(), 422);
    assert_eq!(header(&response, "x-ratelimit-remaining"), "1");
}

#[tokio::test]
async fn strangers_spend_no_tenants_allowance() {
    let house = three_a_minute().await;
    for _ in 0..10 {
        answer(house.request(Method::GET, "/jobs/job_x").bearer_auth("prk_no"), 401).await;
    }
    let response = sent(house.get("/jobs/job_x")).await;
    assert_eq!(header(&response, "x-ratelimit-remaining"), "2");
}
