//! A façade that is killed while callers submit: each submission is taken in whole or not at all, and its
//! repetition says which.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    cli::program::{Up, command, path},
    support,
};

const SUBMISSIONS: usize = 60;
const JOBS: usize = 3;

/// A process over a directory, with its queue there or in Redis.
async fn up(dir: TempDir, env: &[(&str, String)]) -> Up {
    let data = dir.path().join("data");
    let mut command = command(&["up", "--data", path(&data), "--listen", "127.0.0.1:0"]);
    command.env("POSTRIDER_HTTP__RATE_LIMIT", "100000/min");
    command.envs(env.iter().map(|(name, value)| (name, value)));
    Up::spawn(command, dir).await
}

/// One of the submissions; the answer, if it came.
async fn submit(up: &Up, number: usize, run_at: &str) -> Option<(u16, String)> {
    let job = |n: usize| {
        json!({"type": "send", "run_at": run_at, "tags": [format!("s{number}")], "payload": {"channel": "email", "account": "dev@example.com", "dry_run": true,
                           "to": {"email": format!("p{n}@example.org")},
                           "content": {"subject": "Hello", "text": "Hello."}}})
    };
    let jobs: Vec<Value> = (0..JOBS).map(job).collect();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.post(format!("{}/jobs", up.told("url"))).bearer_auth(up.told("key"));
    let request = request.header("idempotency-key", format!("submission-{number}"));
    let response = request.json(&json!({"jobs": jobs})).send().await.ok()?;
    let status = response.status().as_u16();
    Some((status, response.text().await.ok()?))
}

async fn a_killed_façade_leaves_nothing_or_a_replayable_answer(env: &[(&str, String)]) {
    // given a façade that is killed while many callers submit, at another moment each time
    let mut process = up(TempDir::new().unwrap(), env).await;
    // Nobody works on the jobs: they are counted.
    let run_at = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24)).to_string();
    let mut acknowledged = BTreeMap::new();
    for round in 0..4_usize {
        let answers = join_all((0..SUBMISSIONS).map(|number| {
            let (process, run_at) = (&process, &run_at);
            async move {
                let answer = submit(process, number, run_at).await;
                if number == round * 7 {
                    process.signal("KILL").await;
                }
                (number, answer)
            }
        }));
        for (number, answer) in answers.await {
            if let Some((202, body)) = answer {
                let first = acknowledged.entry(number).or_insert_with(|| body.clone());
                assert_eq!(*first, body, "an acknowledged submission has one answer");
            }
        }
        let (_, _, dir) = process.end().await;
        process = up(dir, env).await;
    }
    assert!(!acknowledged.is_empty());

    // when all is submitted again
    let mut ids = BTreeSet::new();
    for number in 0..SUBMISSIONS {
        let (status, body) = submit(&process, number, &run_at).await.unwrap();
        assert_eq!(status, 202, "{body}");
        if let Some(first) = acknowledged.get(&number) {
            assert_eq!(*first, body, "an acknowledged submission has one answer");
        }
        let answer: Value = serde_json::from_str(&body).unwrap();
        let jobs = answer["data"].as_array().unwrap();
        ids.extend(jobs.iter().map(|job| job["id"].as_str().unwrap().to_owned()));
    }

    // then there is what was answered and nothing else
    let mut list = command(&["jobs", "list", "--limit", "1000", "--json"]);
    list.args(["--data", &process.data()]);
    list.envs(env.iter().map(|(name, value)| (name, value)));
    let listed = crate::cli::program::finish(list).await.with(0).json();
    let kept: BTreeSet<String> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|job| job["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(kept.len(), SUBMISSIONS * JOBS);
    assert_eq!(kept, ids);
    process.signal("TERM").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_the_embedded_queue() {
    a_killed_façade_leaves_nothing_or_a_replayable_answer(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_redis() {
    let place = support::redis::place();
    let env = [("POSTRIDER_REDIS__URL", place.url), ("POSTRIDER_REDIS__PREFIX", place.prefix)];
    a_killed_façade_leaves_nothing_or_a_replayable_answer(&env).await;
}
