//! `postrider demo`: it ends by itself, and what it says is so.

use tempfile::TempDir;

use super::program::{Up, mails, path, run};

#[tokio::test]
async fn it_sends_the_campaign_and_shows_what_a_lane_is() {
    // Given nothing but the program, when the demo runs for programs
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("demo");
    let told = run(&["demo", "--json", "--data", path(&data)]).await.with(0).json();
    // Then everybody got one mail,
    let jobs = told["jobs"].as_array().unwrap();
    assert_eq!(jobs.len(), 14);
    assert!(jobs.iter().all(|job| job["status"] == "completed"), "{told:#}");
    assert_eq!(mails(&data.join("mail")) + mails(&data.join("rehearsal")), 14);
    assert_eq!(told["over_smtp"], 4);
    // one was tried twice, because its server greylisted it,
    let twice: Vec<_> = jobs.iter().filter(|job| job["attempt"] == 2).collect();
    assert_eq!(twice.len(), 1, "{told:#}");
    assert_eq!(told["retries"], 1);
    // one was snoozed without spending an attempt,
    let snoozed = |job: &&serde_json::Value| {
        let attempts = job["attempts"].as_array().unwrap();
        attempts.iter().any(|attempt| attempt["outcome"] == "snoozed") && job["attempt"] == 1
    };
    assert_eq!(jobs.iter().filter(snoozed).count(), 1, "{told:#}");
    // two lanes were parked, one by its limit and one by its server, and one job was refused.
    let parked = ["news@postrider.example", "sales@postrider.example"];
    assert_eq!(told["parked_lanes"], serde_json::json!(parked));
    assert!(told["refused"].as_str().unwrap().starts_with("/payload/to/name"), "{told:#}");
    // The end of a mail was told by a webhook: refused twice, then taken, each signature good.
    let heard = told["webhooks"].as_array().unwrap();
    let answers: Vec<_> = heard.iter().map(|heard| heard["answered"].as_u64().unwrap()).collect();
    assert_eq!(answers, [503, 500, 200]);
    assert!(heard.iter().all(|heard| heard["verified"] == true), "{told:#}");
    assert!(heard.iter().all(|heard| heard["event"] == "job.completed"), "{told:#}");
    assert!(told["took_ms"].as_u64().unwrap() < 50_000);
}

#[tokio::test]
async fn it_tells_people_in_plain_words_without_colours_where_nobody_sees_them() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("demo");
    let told = run(&["demo", "--data", path(&data)]).await.with(0);
    assert!(!told.out.contains('\u{1b}') && !told.err.contains('\u{1b}'), "{told:?}");
    for expected in [
        "14 of 14 mails were sent, each of them once",
        "Greylisted",
        "its limit (mailbox 5/5s) is used up",
        "421 4.7.28",
        "the webhook job.completed: its signature is good, the receiver answers 503",
        "refused 2 times, then taken",
        "422",
        path(&data.join("mail")),
    ] {
        assert!(told.out.contains(expected), "{expected:?} is not in\n{}", told.out);
    }
}

#[tokio::test]
async fn kept_it_goes_on_serving_until_a_signal() {
    // Given a demo that is to be kept
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("demo");
    let mut demo = Up::start(&["demo", "--keep", "--data", path(&data)], dir).await;
    // When its campaign is over, then it serves on,
    let line = demo.said("ready url=").await;
    let url = line.split(' ').find_map(|word| word.strip_prefix("url=")).unwrap().to_owned();
    assert_eq!(reqwest::get(format!("{url}/jobs/none")).await.unwrap().status(), 401);
    // until it is told to stop.
    demo.signal("TERM").await;
    assert_eq!(demo.end().await.0, Some(0));
}

#[tokio::test]
async fn stopped_in_the_middle_it_says_so() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("demo");
    let mut demo = Up::start(&["demo", "--data", path(&data)], dir).await;
    demo.said("parked").await;
    demo.signal("INT").await;
    assert_eq!(demo.end().await.0, Some(1));
}
