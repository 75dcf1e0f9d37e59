//! Who calls, and what the key allows.

use reqwest::Method;
use serde_json::{Value, json};

use super::house::{ACME, GLOBEX, House, READER, SENDER, answer, good, header, sent};

/// The body of an answer without what is different in every answer.
fn without_request_id(mut body: Value) -> String {
    assert!(body.as_object_mut().unwrap().remove("request_id").is_some());
    body.to_string()
}

#[tokio::test]
async fn every_key_that_is_not_good_gets_the_same_answer() {
    let house = House::open().await;
    let mut bodies = std::collections::BTreeSet::new();
    for authorization in [
        None,
        Some("".to_owned()),
        Some("Bearer".to_owned()),
        Some("Bearer prk_unknown".to_owned()),
        Some(format!("Basic {ACME}")),
        Some(ACME.to_owned()),
        Some(format!("Bearer {ACME} {ACME}")),
        Some(format!("Bearer {}", "x".repeat(5_000))),
    ] {
        let mut request = house.request(Method::POST, "/jobs").json(&good());
        if let Some(authorization) = &authorization {
            request = request.header("authorization", authorization);
        }
        let response = sent(request).await;
        assert_eq!(response.status(), 401, "{authorization:?}");
        assert_eq!(header(&response, "www-authenticate"), "Bearer realm=\"postrider\"");
        assert!(response.headers().get("x-ratelimit-limit").is_none());
        bodies.insert(without_request_id(response.json().await.unwrap()));
    }
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    assert_eq!(house.queue.all(), []);
}

#[tokio::test]
async fn a_key_allows_what_its_scopes_say_and_writing_is_not_reading() {
    let house = House::open().await;
    let id = house.submitted().await;
    let classify = json!({"type": "classify", "payload": {}});
    let mixed = json!({"jobs": [good(), classify]});
    let post = |key, path: &str, body: &Value| {
        house.request(Method::POST, path).bearer_auth(key).json(body)
    };
    let get = |key| house.request(Method::GET, &format!("/jobs/{id}")).bearer_auth(key);

    answer(post(SENDER, "/jobs", &good()), 202).await;
    answer(get(READER), 200).await;
    for (request, scope) in [
        (post(READER, "/jobs", &good()), "send:write"),
        (post(SENDER, "/jobs", &classify), "classify:write"),
        (post(SENDER, "/jobs", &mixed), "classify:write"),
        (post(SENDER, "/jobs/classify", &json!({})), "classify:write"),
        (post(READER, "/jobs/email", &json!({})), "send:write"),
        (get(SENDER), "jobs:read"),
    ] {
        let response = sent(request).await;
        assert_eq!(response.status(), 403);
        assert!(header(&response, "www-authenticate").contains(&format!("scope=\"{scope}\"")));
        let problem: Value = response.json().await.unwrap();
        assert_eq!(problem["code"], "insufficient_scope");
        assert_eq!(problem["required_scope"], scope);
    }
    assert_eq!(house.queue.all().len(), 2);
}

#[tokio::test]
async fn another_tenants_job_is_as_unknown_as_none() {
    let house = House::open().await;
    let id = house.submitted().await;
    let get = |id: &str, wait: bool| {
        let request = house.request(Method::GET, &format!("/jobs/{id}")).bearer_auth(GLOBEX);
        if wait { request.header("prefer", "wait=60") } else { request }
    };

    let mut bodies = std::collections::BTreeSet::new();
    let mut names = std::collections::BTreeSet::new();
    for (id, wait) in [
        (id.as_str(), false),
        (id.as_str(), true),
        ("job_01ARZ3NDEKTSV4RRFFQ69G5FAV", false),
        ("job_01ARZ3NDEKTSV4RRFFQ69G5FAV", true),
        (&id.to_lowercase(), false),
        ("nonsense", false),
        ("%ff%00", false),
        ("..%2fjobs", false),
    ] {
        let response = sent(get(id, wait)).await;
        assert_eq!(response.status(), 404, "{id}");
        let headers: Vec<String> = response.headers().keys().map(ToString::to_string).collect();
        names.insert(headers.join(","));
        bodies.insert(without_request_id(response.json().await.unwrap()));
    }

    assert_eq!(bodies.len(), 1, "{bodies:?}");
    assert_eq!(names.len(), 1, "{names:?}");
    answer(house.get(&format!("/jobs/{id}")), 200).await;
}

#[tokio::test]
async fn tenants_share_no_idempotency_key() {
    let house = House::open().await;
    let post = |key| {
        let request = house.request(Method::POST, "/jobs").bearer_auth(key).json(&good());
        request.header("idempotency-key", "k")
    };
    let acme = answer(post(ACME), 202).await;
    let response = sent(post(GLOBEX)).await;
    assert!(response.headers().get("idempotent-replayed").is_none());
    let globex: Value = response.json().await.unwrap();
    assert_ne!(acme["data"]["id"], globex["data"]["id"]);
    assert_eq!(house.queue.all().len(), 2);
}

#[tokio::test]
async fn nobody_passes_while_keys_are_out_of_reach() {
    let house = House::open().await;
    house.keys.set_down();
    let response = sent(house.post("/jobs", &good())).await;
    assert_eq!(response.status(), 503);
    assert_eq!(header(&response, "retry-after"), "5");
    let text = response.text().await.unwrap();
    assert!(!text.contains("secret-host"), "{text}");
}
