//! `postrider demo`: it ends by itself, and what it says is so.

use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
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
    assert_eq!(jobs.len(), 16);
    assert!(jobs.iter().all(|job| job["status"] == "completed"), "{told:#}");
    assert_eq!(mails(&data.join("mail")) + mails(&data.join("rehearsal")), 16);
    assert_eq!(told["over_smtp"], 6);
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
    let answers = |event: &str| -> Vec<u64> {
        let heard = heard.iter().filter(|heard| heard["event"] == event);
        heard.map(|heard| heard["answered"].as_u64().unwrap()).collect()
    };
    assert_eq!(answers("job.completed"), [503, 500, 200]);
    assert!(heard.iter().all(|heard| heard["verified"] == true), "{told:#}");
    // Each ticket that was changed was told of, once.
    assert_eq!(answers("ticket.updated"), [200, 200, 200]);
    assert_eq!(heard.len(), 6);
    assert!(told["took_ms"].as_u64().unwrap() < 50_000);
}

#[tokio::test]
async fn four_bulk_jobs_change_the_records_of_its_product() {
    // Given nothing but the program, when the demo runs for programs
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("demo");
    let told = run(&["demo", "--json", "--data", path(&data)]).await.with(0).json();
    // Then each of its bulk jobs is about the records that it should be about,
    let jobs = told["bulk"].as_array().unwrap();
    let of = |what: &str| &jobs.iter().find(|ended| ended["what"] == what).unwrap()["job"];
    let counts = |what| {
        ["status", "total_items", "failed_items"].map(|name| of(what)[name].to_string()).join(" ")
    };
    assert_eq!(jobs.len(), 4);
    assert_eq!(counts("close tickets"), "\"completed\" 4 1");
    assert_eq!(counts("set a segment"), "\"completed\" 4 0");
    assert_eq!(counts("suspend organisations"), "\"completed\" 2 0");
    assert_eq!(counts("retry failed mails"), "\"completed\" 2 0");
    // another tenant's ticket is none,
    let error = &of("close tickets")["errors"][0];
    assert_eq!([&error["item_id"], &error["code"]], ["t-901", "not_found"]);
    // the product's database has what was asked for, and the rest of it is as it was,
    let options = SqliteConnectOptions::new().filename(data.join("desk.sqlite"));
    let mut desk = SqliteConnection::connect_with(&options).await.unwrap();
    let changed = "SELECT id FROM tickets WHERE status = 'closed' AND updated_at IS NOT NULL \
        UNION ALL SELECT id FROM contacts WHERE segment = 'champions' AND updated_at IS NOT NULL \
        UNION ALL SELECT id FROM organisations WHERE status = 'suspended' AND note IS NOT NULL \
        ORDER BY 1";
    let changed: Vec<String> = sqlx::query_scalar(changed).fetch_all(&mut desk).await.unwrap();
    let expected = "c-ada c-edsger c-katherine c-margaret o-lisp o-paths t-101 t-102 t-103";
    assert_eq!(changed.join(" "), expected);
    let others = "SELECT count(*) FROM tickets WHERE updated_at IS NULL AND status <> 'closed'";
    assert_eq!(sqlx::query_scalar::<_, i64>(others).fetch_one(&mut desk).await.unwrap(), 3);
    // and the mails that were tried once only, and failed, have been sent after all.
    let retried = told["jobs"].as_array().unwrap().iter().filter(|job| {
        let attempts = job["attempts"].as_array().unwrap();
        attempts.iter().any(|attempt| attempt["error"]["code"] == "greylisted")
            && job["max_attempts"] == 1
            && job["status"] == "completed"
    });
    assert_eq!(retried.count(), 2, "{told:#}");
}

#[tokio::test]
async fn the_declarations_of_another_product_keep_it_from_a_directory() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("resources.toml");
    std::fs::write(&file, "# ours").unwrap();
    let refused = run(&["demo", "--data", path(dir.path())]).await.with(65);
    assert!(refused.err.contains("give the demo a directory of its own"), "{refused:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "# ours");
}

#[tokio::test]
async fn it_tells_people_in_plain_words_without_colours_where_nobody_sees_them() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("demo");
    let told = run(&["demo", "--data", path(&data)]).await.with(0);
    assert!(!told.out.contains('\u{1b}') && !told.err.contains('\u{1b}'), "{told:?}");
    for expected in [
        "16 of 16 mails were sent, each of them once",
        "Greylisted",
        "its limit (mailbox 5/5s) is used up",
        "421 4.7.28",
        "the webhook job.completed: its signature is good, the receiver answers 503",
        "refused 2 times, then taken",
        "the webhook ticket.updated: its signature is good, the receiver answers 200",
        "close tickets: 3 of 4 records changed; t-901: not_found",
        "retry failed mails: 2 records changed",
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
