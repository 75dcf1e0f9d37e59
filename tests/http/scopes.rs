//! Every kind and every scope.

use jobs::contract::Catalogue;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    house::{House, answer, key, sent},
    kinds,
};

/// Every scope that there is for some kinds, and some that there are not.
fn scopes(catalogue: &Catalogue) -> Vec<String> {
    let writes = catalogue.public_names().into_iter().map(|kind| format!("{kind}:write"));
    let odd = ["jobs:read", "jobs:write", "*", "send", "SEND:WRITE", "inbox-sync:write", ""];
    writes.chain(odd.map(str::to_owned)).collect()
}

async fn matrix(catalogue: Catalogue) {
    let house = House::of(catalogue.clone(), |_| {}).await;
    let scopes = scopes(&catalogue);
    for kind in catalogue.public_names() {
        let needed = format!("{kind}:write");
        let payload = (catalogue.find(kind).unwrap().example)();
        let payload = if payload.is_null() { json!({}) } else { payload };
        let single = json!({"type": kind, "payload": payload});
        for scope in &scopes {
            for (path, body) in [
                ("/jobs".to_owned(), single.clone()),
                ("/jobs".to_owned(), json!({"jobs": [single]})),
                (format!("/jobs/{kind}"), payload.clone()),
            ] {
                let post = house.request(Method::POST, &path).bearer_auth(key("acme", &[scope]));
                let response = sent(post.json(&body)).await;
                let status = response.status().as_u16();
                let problem: Value = response.json().await.unwrap();
                if *scope == needed {
                    // Whether the payload is good is asked after this.
                    assert!([202, 422].contains(&status), "{kind} with {scope:?}: {problem}");
                } else {
                    assert_eq!(status, 403, "{kind} with {scope:?}: {problem}");
                    assert_eq!(problem["required_scope"], *needed);
                }
            }
        }
        // All but the one that is needed are not enough, either.
        let others: Vec<&str> =
            scopes.iter().map(String::as_str).filter(|scope| *scope != needed).collect();
        let post = house.request(Method::POST, "/jobs").bearer_auth(key("acme", &others));
        answer(post.json(&single), 403).await;
    }
}

#[tokio::test]
async fn a_kind_is_open_to_its_own_scope_alone() {
    matrix(jobs::catalogue()).await;
    matrix(kinds::catalogue()).await;
}

#[tokio::test]
async fn a_job_is_shown_to_whom_may_read_alone() {
    let house = House::open().await;
    let id = house.submitted().await;
    for scope in scopes(&kinds::catalogue()) {
        for accept in ["application/json", "text/html", "text/event-stream"] {
            let get = house.request(Method::GET, &format!("/jobs/{id}"));
            let get = get.bearer_auth(key("acme", &[&scope])).header("accept", accept);
            let expected = if scope == "jobs:read" { 200 } else { 403 };
            assert_eq!(sent(get).await.status(), expected, "{scope} {accept}");
        }
    }
}
