//! Warm-up settings changed in bulk, as callers do it.

use reqwest::Method;
use serde_json::{Value, json};

use super::facade::{ask, ended, product, submitted, up};
use crate::cli::program::{Up, path};

const OURS: [&str; 3] = ["ada@example.com", "bob@example.com", "cleo@example.com"];

fn mailboxes(addresses: &[&str], warmup: &str) -> String {
    let one = |address: &&str| {
        format!("[[mailboxes]]\nemail_address = \"{address}\"\ntransport = \"file\"\n{warmup}")
    };
    addresses.iter().map(one).collect()
}

async fn apply(up: &Up, name: &str, text: &str, more: &[&str]) {
    let file = up.dir.path().join(name);
    std::fs::write(&file, text).unwrap();
    up.beside(&[&["apply", path(&file)], more].concat()).await.with(0);
}

fn job(action: &str, selection: &Value, update: &Value) -> Value {
    json!({"resource": "warmup-settings", "action": action, "selection": selection, "update": update})
}

/// What a job did: items, failures, and the codes of these.
async fn done(up: &Up, payload: &Value) -> (u64, u64, Vec<String>) {
    let job = ended(up, &submitted(up, payload).await).await;
    assert_eq!(job["status"], "completed", "{job}");
    let errors = job["errors"].as_array().cloned().unwrap_or_default();
    let codes = errors.iter().map(|error| error["code"].as_str().unwrap().to_owned()).collect();
    let number = |name: &str| job[name].as_u64().unwrap();
    (number("processed_items"), number("failed_items"), codes)
}

/// How many of our mailboxes a filter finds.
async fn count(up: &Up, filter: Value) -> u64 {
    let selection = json!({"mode": "filter", "filter": filter});
    done(up, &job("update", &selection, &json!({"reply_rate_percent": 30}))).await.0
}

#[tokio::test]
async fn settings_are_changed_by_ids_by_a_filter_and_for_mailboxes_that_are_there_only() {
    // given three mailboxes, two with settings, and one of another tenant
    let up = up(product(1).await).await;
    apply(&up, "ours.toml", &mailboxes(&OURS[..2], "[mailboxes.warmup]\nenabled = true\n"), &[])
        .await;
    apply(&up, "bare.toml", &mailboxes(&OURS[2..], ""), &[]).await;
    let theirs = mailboxes(&["theirs@example.com"], "[mailboxes.warmup]\nenabled = true\n");
    apply(&up, "theirs.toml", &theirs, &["--tenant", "acme", "--create-tenant"]).await;

    // when they are changed by ids, then what has none of its own settings is not found
    let ids = json!({"mode": "ids", "ids": ["Ada@example.com", OURS[2], "theirs@example.com"]});
    let update = json!({"warmup_type": "slow", "warmup_target_daily_volume": 20});
    let not_found = || vec!["not_found".to_owned(); 2];
    assert_eq!(done(&up, &job("update", &ids, &update)).await, (3, 2, not_found()));
    assert_eq!(count(&up, json!({"field": "warmup_type", "equals": "slow"})).await, 1);

    // when by a filter
    let slow =
        json!({"mode": "filter", "filter": {"field": "warmup_target_daily_volume", "to": 20}});
    assert_eq!(done(&up, &job("pause", &slow, &json!({}))).await, (1, 0, vec![]));
    assert_eq!(count(&up, json!({"field": "enabled", "equals": false})).await, 1);
    let paused = json!({"mode": "filter", "filter": {"field": "enabled", "equals": false}});
    assert_eq!(done(&up, &job("resume", &paused, &json!({}))).await, (1, 0, vec![]));
    assert_eq!(count(&up, json!({"field": "enabled", "equals": true})).await, 2);

    // when they are made, then only where there is a mailbox
    let ids = json!({"mode": "ids", "ids": [OURS[2], "theirs@example.com", "nobody@example.com"]});
    let refused = vec!["constraint".to_owned(); 2];
    assert_eq!(done(&up, &job("upsert", &ids, &json!({"enabled": true}))).await, (3, 2, refused));
    assert_eq!(count(&up, json!({"field": "enabled", "equals": true})).await, 3);

    // and what is out of range is refused before anything is written
    for update in [
        json!({"warmup_target_daily_volume": 201}),
        json!({"warmup_target_daily_volume": 0}),
        json!({"reply_rate_percent": 101}),
        json!({"warmup_type": "quick"}),
        json!({"time_zone": "Europe/Berlin"}),
    ] {
        let payload = job("update", &json!({"mode": "ids", "ids": [OURS[0]]}), &update);
        let (status, answer) =
            ask(&up, Method::POST, "/jobs/bulk-update", payload.to_string()).await;
        assert_eq!(status, 422, "{update}: {answer}");
    }
}
