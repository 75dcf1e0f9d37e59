//! Commands beside a running `up`, over the same files.

use serde_json::{Value, json};

use super::program::Up;

fn mail(to: &str) -> String {
    json!({
        "channel": "email", "account": "dev@example.com", "to": {"email": to},
        "content": {"subject": "Hello", "text": "Hello."},
    })
    .to_string()
}

/// Submits a mail that waits for an hour that no test reaches.
async fn later(up: &Up) -> String {
    let payload = mail("later@example.org");
    let at = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24)).to_string();
    let job = up.json(&["jobs", "submit", "send", "--payload", &payload, "--run-at", &at]).await;
    assert_eq!(job["status"], "scheduled");
    job["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_job_is_submitted_waited_for_shown_and_discarded() {
    let up = Up::new().await;
    // When a mail is submitted and waited for
    let payload = mail("ada@example.org");
    let submit = ["jobs", "submit", "send", "--payload", &payload, "--wait", "--tag", "mine"];
    let finished = up.beside(&submit).await.with(0);
    let id = finished.out.split(' ').next().unwrap().to_owned();
    assert!(finished.out.contains(" completed"), "{finished:?}");
    assert!(finished.out.contains("message_id"), "{finished:?}");
    // Then it is in the list, and shows its attempt.
    let list = up.json(&["jobs", "list", "--tag", "mine"]).await;
    assert_eq!(list.as_array().map(Vec::len), Some(1), "{list}");
    assert_eq!(list[0]["id"], *id);
    let shown = up.json(&["jobs", "show", &id]).await;
    assert_eq!(shown["status"], "completed");
    assert_eq!(shown["attempts"][0]["outcome"], "completed");
    assert!(!shown.to_string().contains("ada@example.org"), "the payload is nobody's business");
    let words = up.beside(&["jobs", "show", &id]).await.with(0).out;
    assert!(words.contains("completed") && words.contains("OUTCOME"), "{words}");
    // When it is discarded, then it is gone.
    up.beside(&["jobs", "discard", &id]).await.with(0);
    let gone = up.beside(&["jobs", "show", &id]).await.with(65);
    assert!(gone.err.contains(&format!("tenant dev has no job {id}")), "{gone:?}");
}

#[tokio::test]
async fn a_job_that_waits_is_cancelled_retried_and_refused_when_it_is_too_late() {
    let up = Up::new().await;
    let id = later(&up).await;
    // A job that waits can be neither retried nor discarded.
    for (verb, words) in [("retry", "only failed and cancelled"), ("discard", "finished")] {
        let refused = up.beside(&["jobs", verb, &id]).await.with(65);
        assert!(refused.err.contains(words) && refused.err.contains("scheduled"), "{refused:?}");
    }
    // It is cancelled once; again is no mistake.
    let done = up.beside(&["jobs", "cancel", &id]).await.with(0);
    assert_eq!(done.out, format!("{id} cancelled\n"));
    let again = up.beside(&["jobs", "cancel", &id]).await.with(0);
    assert!(again.out.contains("was cancelled already"), "{again:?}");
    assert_eq!(up.json(&["jobs", "show", &id]).await["cancelled_by"], "operator");
    // Retried, it runs.
    let retried = up.json(&["jobs", "retry", &id]).await;
    assert_eq!(retried, json!([{"id": id, "outcome": "retried"}]));
    // What is not there is named, and the others are done all the same.
    let other = later(&up).await;
    let unknown = "job_01ARZ3NDEKTSV4RRFFQ69G5FAV";
    let mixed = up.beside(&["jobs", "cancel", unknown, &other]).await.with(65);
    assert_eq!(mixed.out, format!("{other} cancelled\n"));
    assert!(mixed.err.contains(unknown), "{mixed:?}");
}

#[tokio::test]
async fn a_job_that_does_not_complete_while_it_is_waited_for_ends_with_1() {
    let up = Up::new().await;
    // Given somebody who waits for a job of tomorrow
    let at = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24)).to_string();
    let payload = mail("later@example.org");
    let wait = [
        "jobs",
        "submit",
        "send",
        "--payload",
        &payload,
        "--run-at",
        &at,
        "--tag",
        "waited",
        "--wait",
    ];
    let waiting = up.beside(&wait);
    // When somebody else cancels it
    let cancel = async {
        loop {
            let list = up.json(&["jobs", "list", "--tag", "waited"]).await;
            if let Some(id) = list[0]["id"].as_str() {
                up.beside(&["jobs", "cancel", id]).await.with(0);
                return;
            }
        }
    };
    let (waited, ()) = tokio::join!(waiting, cancel);
    // Then the exit code says that it was not done.
    let waited = waited.with(1);
    assert!(waited.err.contains("is cancelled"), "{waited:?}");
}

#[tokio::test]
async fn a_repetition_under_one_key_is_one_job() {
    let up = Up::new().await;
    let payload = mail("once@example.org");
    let submit = ["jobs", "submit", "send", "--payload", &payload, "--idempotency-key", "monday"];
    let (first, second) = (up.json(&submit).await, up.json(&submit).await);
    assert_eq!(first["id"], second["id"]);
    let other = mail("other@example.org");
    let reused = ["jobs", "submit", "send", "--payload", &other, "--idempotency-key", "monday"];
    let refused = up.beside(&reused).await.with(65);
    assert!(refused.err.contains("was used for another job"), "{refused:?}");
}

#[tokio::test]
async fn what_cannot_be_submitted_ends_with_65_and_a_pointer() {
    let up = Up::new().await;
    let file = up.dir.path().join("payload.json");
    std::fs::write(&file, "{\"channel\":").unwrap();
    let at_file = format!("@{}", file.display());
    let cases = [
        ("send", "{", "--payload is not JSON"),
        ("send", at_file.as_str(), "is not JSON"),
        ("send", "{\"to\":1,\"to\":2}", "--payload is not JSON: the name \"to\" occurs twice"),
        ("send", "{\"n\":99999999999999999999}", "a whole number of more than 64 bits at byte 6"),
        ("send", "@/nowhere.json", "cannot read /nowhere.json"),
        ("send", "@/dev/zero", "has more than 256 KiB"),
        ("dance", "{}", "/type: there is no kind \"dance\""),
        ("send", "{}", "/payload"),
        ("send", "{\"colour\": 1}", "/payload"),
    ];
    for (kind, payload, expected) in cases {
        let refused = up.beside(&["jobs", "submit", kind, "--payload", payload]).await.with(65);
        assert!(refused.err.contains(expected), "{payload}: {}", refused.err);
        assert_eq!(refused.out, "");
    }
    let stranger = mail("a@example.org").replace("dev@example.com", "stranger@example.com");
    let refused = up.beside(&["jobs", "submit", "send", "--payload", &stranger]).await.with(65);
    assert!(refused.err.contains("/payload/account"), "{refused:?}");
    assert_eq!(up.json(&["jobs", "list"]).await, json!([]), "nothing was taken in");
}

#[tokio::test]
async fn a_paused_queue_holds_its_jobs() {
    holds_its_jobs(&["queues", "pause", "send"], &["queues", "resume", "send"]).await;
}

#[tokio::test]
async fn a_paused_lane_holds_its_jobs() {
    let lane = "mailbox:dev@example.com";
    holds_its_jobs(&["lanes", "pause", "send", lane], &["lanes", "resume", "send", lane]).await;
}

async fn holds_its_jobs(pause: &[&str], resume: &[&str]) {
    let up = Up::new().await;
    let payload = mail("ada@example.org");
    let submit = ["jobs", "submit", "send", "--payload", &payload];
    // Given a job that has run, so that queue and lane are there
    up.beside(&[&submit[..], &["--wait"]].concat()).await.with(0);
    // When it is paused, twice
    assert_eq!(up.json(pause).await, json!({"paused": true, "changed": true}));
    assert_eq!(up.json(pause).await, json!({"paused": true, "changed": false}));
    // Then a job waits, and says for whom.
    let id = up.json(&submit).await["id"].as_str().unwrap().to_owned();
    let shown = up.json(&["jobs", "show", &id]).await;
    assert_eq!(shown["waiting"]["for"], "paused", "{shown}");
    // When it is resumed, then the job runs.
    assert_eq!(up.json(resume).await, json!({"paused": false, "changed": true}));
    wait_for(&up, &id, "completed").await;
}

#[tokio::test]
async fn queues_and_lanes_are_listed() {
    let up = Up::new().await;
    assert!(up.beside(&["lanes", "list"]).await.with(0).out.starts_with("No lanes"));
    let payload = mail("ada@example.org");
    up.beside(&["jobs", "submit", "send", "--payload", &payload, "--wait"]).await.with(0);
    let queues = up.json(&["queues", "list"]).await;
    let send = queues.as_array().unwrap().iter().find(|queue| queue["name"] == "send").unwrap();
    assert_eq!(send["counts"]["completed"], 1, "{queues}");
    let lanes = up.json(&["lanes", "list", "--tenant", "dev"]).await;
    assert_eq!(lanes[0]["lane"], "mailbox:dev@example.com");
    assert_eq!(lanes[0]["policy"]["limits"].as_array().map(Vec::len), Some(3), "{lanes}");
    let words = up.beside(&["lanes", "list"]).await.with(0).out;
    assert!(words.starts_with("QUEUE") && words.contains("mailbox 40/h"), "{words}");
    for unknown in [&["queues", "pause", "nowhere"][..], &["lanes", "pause", "send", "nowhere"]] {
        let finished = up.beside(unknown).await;
        assert_eq!(finished.code, Some(65), "{finished:?}");
    }
}

/// Asks until a job has a status; each question is a process of its own, which is pause enough.
async fn wait_for(up: &Up, id: &str, status: &str) -> Value {
    for _ in 0..500 {
        let job = up.json(&["jobs", "show", id]).await;
        if job["status"] == status {
            return job;
        }
    }
    panic!("{id} did not become {status}");
}
