//! The page for people.

use jobs::contract::{Cause, Cursor, Moment};
use postrider::queue::{AttemptRecord, JobRecord, Status, Waiting, WaitingFor};
use reqwest::Response;
use serde_json::json;

use super::house::{ACME, House, SENDER, answer, good, header, sent};

/// What would be obeyed if it were not a text.
pub(super) const HOSTILE: &str = "</title></style></pre><script>document.title='owned'</script>\
    <img src=x onerror=\"document.title='owned'\">\" onload='x' \u{202e}\u{0}&lt;";

async fn page(house: &House, id: &str) -> Response {
    let response = sent(house.get(&format!("/jobs/{id}")).header("accept", "text/html")).await;
    assert_eq!(response.status(), 200);
    assert_eq!(header(&response, "content-type"), "text/html; charset=utf-8");
    response
}

/// Jobs with hostile text in every field that a text can be in, as each sort of page shows them.
pub(super) const HOSTILE_JOBS: [fn(&mut JobRecord); 4] = [
    |job| waits(job, WaitingFor::Limit),
    |job| waits(job, WaitingFor::Snooze),
    |job| {
        job.status = Status::Completed;
        job.skipped = Some(HOSTILE.into());
        job.started_at = Some(job.created_at);
        job.completed_at = Some(job.created_at);
        hostile(job);
    },
    |job| {
        job.status = Status::Failed;
        job.skipped = None;
        job.error = Some(Cause { code: HOSTILE.into(), message: HOSTILE.into() });
        job.result = Some(json!({
            HOSTILE: HOSTILE,
        }));
        job.completed_at = Some(job.created_at);
        hostile(job);
    },
];

fn waits(job: &mut JobRecord, what: WaitingFor) {
    job.status = Status::Queued;
    job.waiting = Some(Waiting { what, reason: Some(HOSTILE.into()), until: None });
    hostile(job);
}

/// What every sort of page shows.
fn hostile(job: &mut JobRecord) {
    let at = Moment::from_millis(1_781_082_001_000);
    job.kind = HOSTILE.into();
    job.tags = vec![HOSTILE.into()];
    job.cursor = Cursor { processed: 3, failed: 2, total: 4, position: Some(HOSTILE.into()) };
    job.attempts = vec![AttemptRecord {
        number: 1,
        started_at: at,
        ended_at: Some(at),
        outcome: Some(HOSTILE.into()),
        error: Some(Cause { code: HOSTILE.into(), message: HOSTILE.into() }),
        worker: HOSTILE.into(),
    }];
    if job.status.is_final() {
        job.waiting = None;
    }
}

#[tokio::test]
async fn the_page_lets_nothing_in_but_itself() {
    let house = House::open().await;
    let id = house.submitted().await;
    let response = page(&house, &id).await;
    let policy = header(&response, "content-security-policy").to_owned();
    assert_eq!(header(&response, "x-content-type-options"), "nosniff");
    assert_eq!(header(&response, "cache-control"), "private, no-cache");
    let html = response.text().await.unwrap();

    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    let nonce = policy.split("script-src 'nonce-").nth(1).unwrap().split('\'').next().unwrap();
    assert_eq!(html.matches("<script").count(), 1);
    assert!(html.contains(&format!("<script nonce=\"{nonce}\">")));
    assert!(html.contains(&format!("<style nonce=\"{nonce}\">")));
    for outside in ["src=", "http://", "https://", "@import", "url(", "style=\""] {
        assert!(!html.contains(outside), "{outside}");
    }
    let other = page(&house, &id).await;
    assert_ne!(header(&other, "content-security-policy"), policy, "a nonce is used once");
}

#[tokio::test]
async fn hostile_text_is_text() {
    let house = House::open().await;
    let id = house.submitted().await;
    for change in HOSTILE_JOBS {
        house.queue.change(&id, change);

        let html = page(&house, &id).await.text().await.unwrap();
        let get = house.get(&format!("/jobs/{id}?page")).header("accept", "text/event-stream");
        let piece = next_piece(sent(get).await).await;

        for html in [html, piece] {
            // The kind (twice), the reason, the outcome, the code and words of its error, the tag.
            assert!(html.matches("&lt;script&gt;").count() >= 7, "every field is shown: {html}");
            assert!(!html.contains("<script>") && !html.contains("<img"), "{html}");
            assert!(!html.contains("onload='x'") && !html.contains("onerror=\""), "{html}");
            assert!(!html.contains('\u{202e}') && !html.contains('\u{0}'), "{html}");
        }
    }
}

/// The first event of a stream.
async fn next_piece(mut response: Response) -> String {
    let mut text = String::new();
    while !text.contains("\n\n") {
        text.push_str(std::str::from_utf8(&response.chunk().await.unwrap().unwrap()).unwrap());
    }
    text
}

#[tokio::test]
async fn the_page_says_where_a_job_stands() {
    let house = House::open().await;
    let mut job = good();
    job["payload"]["text"] = json!("CANARY");
    let id = answer(house.post("/jobs", &job), 202).await["data"]["id"].clone();
    let id = id.as_str().unwrap();
    let shows = async |parts: &[&str]| {
        let html = page(&house, id).await.text().await.unwrap();
        for part in parts {
            assert!(html.contains(part), "{part}: {html}");
        }
        assert!(!html.contains("CANARY"), "{html}");
    };

    house.queue.change(id, |job| {
        job.waiting = Some(Waiting {
            what: WaitingFor::Limit,
            reason: Some("mailbox 40/h".into()),
            until: Some("2026-06-10T09:30:00Z".parse().unwrap()),
        });
    });
    shows(&[
        "Queued",
        "Waits for a limit: <b><bdi>mailbox 40/h</bdi></b>, until <time \
             datetime=\"2026-06-10T09:30:00.000Z\" data-until>2026-06-10 09:30:00 UTC",
    ])
    .await;

    house.queue.change(id, |job| {
        job.status = Status::Processing;
        job.waiting = None;
        job.cursor = Cursor { processed: 300, failed: 2, total: 1_000, position: None };
        job.attempt = 1;
        job.attempts = vec![AttemptRecord {
            number: 1,
            started_at: "2026-06-10T09:00:01Z".parse().unwrap(),
            ended_at: None,
            outcome: None,
            error: None,
            worker: "CANARY".into(),
        }];
    });
    shows(&[
        "<title>30 % processing",
        "value=\"300\" max=\"1000\"",
        "300 of 1000 items · 30 %",
        "2 failed",
        "Attempt 1 · <span class=\"processing\">runs",
    ])
    .await;

    house.errors.add("t_7", "not_found", "There is no such item.");
    house.queue.change(id, |job| {
        job.status = Status::Completed;
        job.started_at = Some("2026-06-10T09:00:01Z".parse().unwrap());
        job.completed_at = Some("2026-06-10T09:01:03.5Z".parse().unwrap());
        job.result = Some(json!({"changed": 998}));
    });
    shows(&[
        "Completed",
        "Done in 1 min 2 s",
        "<bdi>t_7</bdi>",
        "<code>not_found</code>",
        "There is no such item.",
        "data-live=\"no\"",
    ])
    .await;
}

#[tokio::test]
async fn a_browser_may_ask_its_user_for_a_key() {
    let house = House::open().await;
    let id = house.submitted().await;
    let path = format!("/jobs/{id}");
    let get = || house.request(reqwest::Method::GET, &path).header("accept", "text/html");

    let response = sent(get()).await;
    assert_eq!(response.status(), 401);
    let challenges: Vec<_> = response.headers().get_all("www-authenticate").iter().collect();
    assert_eq!(challenges[0], "Bearer realm=\"postrider\"");
    assert!(challenges[1].to_str().unwrap().starts_with("Basic realm="), "{challenges:?}");

    assert_eq!(sent(get().basic_auth("", Some(ACME))).await.status(), 200);
    assert_eq!(sent(get().basic_auth(ACME, None::<&str>)).await.status(), 200);
    assert_eq!(sent(get().basic_auth("", Some(SENDER))).await.status(), 403);
    // Programs are not invited, and a browser's key must not write for another site.
    let response = sent(get().header("accept", "application/json")).await;
    assert_eq!(response.headers().get_all("www-authenticate").iter().count(), 1);
    let post = house.request(reqwest::Method::POST, "/jobs").basic_auth("", Some(ACME));
    answer(post.json(&good()), 401).await;
}
