//! What is declared is compared before anything begins; and what runs beside what.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jobs::contract::{
    JobId, LaneName, TenantId,
    ports::{FollowUp, FollowUps},
};
use postrider::{
    app::{App, Embedded},
    follow_ups::Followers,
    intake::{JobRequest, Producer},
    queue::{Ask, JobFilter, Submission},
};
use serde_json::json;
use tempfile::TempDir;

use super::facade::{ended, product, submitted, up, up_with};
use crate::{
    cli::program::{command, finish, path},
    store::run,
    support::eventually_ok,
};

#[tokio::test]
async fn a_declaration_that_does_not_fit_keeps_the_program_from_starting_and_is_named() {
    let dir = product(1).await;
    let file = dir.path().join("data/resources.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("column = \"due_at\"", "column = \"due\"")).unwrap();
    let data = dir.path().join("data");
    finish(command(&["migrate", "--data", path(&data)])).await.with(0);
    let doctor = finish(command(&["doctor", "--data", path(&data)])).await.with(78);
    assert!(
        doctor.out.contains("problem  resources      resource \"tickets\": field"),
        "{doctor:?}"
    );
    for args in [&["check-config"][..], &["up", "--listen", "127.0.0.1:0"]] {
        let ended = finish(command(&[args, &["--data", path(&data)]].concat())).await;
        assert_eq!(ended.code, Some(78), "{ended:?}");
        let words =
            "resource \"tickets\": field \"due\": table tickets of database desk has no column";
        assert!(ended.err.contains(words), "{ended:?}");
    }
    // A database that is not there is told of by one who was asked, and keeps nobody else from work.
    std::fs::write(&file, text).unwrap();
    std::fs::rename(data.join("desk.sqlite"), data.join("gone.sqlite")).unwrap();
    let asked = finish(command(&["check-config", "--data", path(&data)])).await;
    assert_eq!(asked.code, Some(69), "{asked:?}");
    let words = "table tickets of database desk is out of reach: unable to open database file";
    assert!(asked.err.contains(words), "{asked:?}");
    let up = up(dir).await;
    let receipt = submitted(
        &up,
        &json!({"resource": "suppressions", "action": "suppress",
        "selection": {"mode": "ids", "ids": ["@example.net"]}}),
    )
    .await;
    assert_eq!(ended(&up, &receipt).await["status"], "completed");
    // What waits for it goes on when it is back.
    let receipt = submitted(
        &up,
        &json!({"resource": "tickets", "action": "suspend",
        "selection": {"mode": "ids", "ids": ["t0"]}}),
    )
    .await;
    let id = receipt["id"].as_str().unwrap();
    eventually_ok("it is tried again", || async {
        let job = up.json(&["jobs", "show", id]).await;
        let attempts = job["attempts"].as_array().unwrap().clone();
        let tried = attempts.iter().any(|a| a["error"]["code"] == "records_unavailable");
        if tried { Ok(()) } else { Err(job) }
    })
    .await;
    let data = up.dir.path().join("data");
    std::fs::rename(data.join("gone.sqlite"), data.join("desk.sqlite")).unwrap();
    let job = ended(&up, &receipt).await;
    assert_eq!((&job["status"], &job["failed_items"]), (&json!("completed"), &json!(0)));
}

#[tokio::test]
async fn who_touches_no_database_of_the_product_need_not_know_where_it_is() {
    // given a URL that only the environment of `up` has
    let dir = product(1).await;
    let data = dir.path().join("data");
    let file = data.join("resources.toml");
    let url = format!("sqlite://{}", data.join("desk.sqlite").display());
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace(&url, "env:DESK_OF_A_TEST")).unwrap();
    let up = up_with(dir, &[("DESK_OF_A_TEST", &url)]).await;
    let payload = json!({"resource": "tickets", "action": "suspend",
        "selection": {"mode": "ids", "ids": ["t0", "t1"]}});
    // when jobs are submitted and looked at beside it, by a shell that does not have it
    let submit = ["jobs", "submit", "bulk-update", "--payload", &payload.to_string(), "--wait"]
        .map(str::to_owned);
    let submit: Vec<&str> = submit.iter().map(String::as_str).collect();
    let id = up.json(&submit).await["id"].as_str().unwrap().to_owned();
    // then that is done
    let errors = up.beside(&["jobs", "errors", &id, "--csv"]).await.with(0);
    assert_eq!(errors.out.lines().count(), 2, "{errors:?}");
    up.beside(&["jobs", "list"]).await.with(0);
    up.beside(&["keys", "list", "--tenant", "dev"]).await.with(0);
    // and who needs it hears that once
    for asks in ["check-config", "doctor"] {
        let asked = up.beside(&[asks]).await.with(78);
        let said = asked.out.clone() + &asked.err;
        assert!(said.contains("no variable \"DESK_OF_A_TEST\""), "{asked:?}");
        assert!(!said.contains("there is no [databases"), "{asked:?}");
    }
}

#[tokio::test]
async fn two_jobs_of_a_resource_run_at_once_and_the_tenant_s_other_work_beside_them() {
    // given
    let dir = TempDir::new().unwrap();
    let mut config = crate::support::defaults();
    config.data_dir = dir.path().join("data");
    let app = App::open(config, Embedded::Yes).await.unwrap();
    app.make_dev().await.unwrap();
    let tenant: TenantId = "dev".parse().unwrap();
    let payload = |resource: &str| {
        json!({"resource": resource, "action": "delete",
            "selection": {"mode": "ids", "ids": ["ada@example.org"]}})
    };
    let mut requests = vec![JobRequest::new("bulk-update", payload("prospects")); 5];
    let restore = json!({"resource": "suppressions", "action": "restore",
        "selection": {"mode": "ids", "ids": ["ada@example.org"]}});
    requests.push(JobRequest::new("bulk-update", restore));
    let now = app.queue.now();
    let jobs = app.intake.prepare(&tenant, Producer::Caller, requests, "test", now).await.unwrap();
    assert_eq!(jobs[0].lane, LaneName::resource("prospects"));
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    let submission = Submission { tenant, jobs, idempotency: None };
    app.queue.enqueue(submission).await.unwrap();
    // when
    let ask = Ask {
        queue: "bulk-update".into(),
        worker: "test".into(),
        max: 32,
        lease: Duration::from_secs(60),
    };
    let claimed = app.queue.claim(&ask).await.unwrap().jobs;
    // then
    let claimed: BTreeSet<JobId> = claimed.iter().map(|job| job.lease.id).collect();
    assert_eq!(claimed, BTreeSet::from([ids[0], ids[1], ids[5]]));
}

#[tokio::test]
async fn what_follows_under_one_key_is_taken_in_once_and_all_of_it() {
    // given
    let dir = TempDir::new().unwrap();
    let mut config = crate::support::defaults();
    config.data_dir = dir.path().join("data");
    let app = App::open(config, Embedded::Yes).await.unwrap();
    let followers = Followers::new(Arc::clone(&app.queue), app.intake.clone());
    let jobs = |count: usize| -> Vec<FollowUp> {
        let payload = |n| json!({"event": "ticket.updated", "data": {"n": n}});
        (0..count).map(|n| FollowUp { kind: "webhook-delivery", payload: payload(n) }).collect()
    };
    // when it is said again by another run of the same job
    for fence in [1, 2] {
        followers.submit_all(&run(1, fence), "bulk:1:1", jobs(500)).await.unwrap();
    }
    followers.submit_all(&run(1, 2), "bulk:1:2", jobs(2)).await.unwrap();
    // then
    let filter = JobFilter { limit: 1_000, ..JobFilter::default() };
    assert_eq!(app.queue.jobs(&filter).await.unwrap().len(), 502);
    // and of what is refused nothing is taken in
    let mut wrong = jobs(3);
    wrong[2].payload = json!({"event": "no event"});
    assert!(followers.submit_all(&run(1, 2), "bulk:1:3", wrong).await.is_err());
    assert_eq!(app.queue.jobs(&filter).await.unwrap().len(), 502);
}
