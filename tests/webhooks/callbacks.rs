//! Callbacks: an end is told once it is stored, whatever stops in between, and whoever ended the job.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use jobs::contract::{JobId, Verdict};
use postrider::{
    app::{App, Embedded},
    clock::SystemClock,
    follow_ups::Followers,
    intake::{JobRequest, Producer},
    queue::{Ask, Claimed, Enqueued, JobFilter, JobRecord, Queue, Settlement, Submission},
    scheduler::{Crontab, Scheduler, SchedulerDeps},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::house::{config, dev};
use crate::support::{Faults, Faulty, eventually_ok};

/// A queue and a store, and nobody at work.
struct Site {
    app: App,
    faults: Arc<Faults>,
    queue: Arc<dyn Queue>,
    dir: TempDir,
}

impl Site {
    async fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let app = App::open(config(dir.path(), ""), Embedded::Yes).await.unwrap();
        app.make_dev().await.unwrap();
        let file = dir.path().join("endpoints.toml");
        let endpoint = |id: &str| {
            format!(
                "[[endpoints]]\nid = \"{id}\"\nurl = \"http://127.0.0.1:9/\"\nevents = [\"x\"]\n"
            )
        };
        std::fs::write(&file, endpoint("crm") + &endpoint("log")).unwrap();
        app.apply(&file).await.unwrap();
        let faults = Arc::new(Faults::default());
        let queue = Arc::new(Faulty::new(Arc::clone(&app.queue), Arc::clone(&faults)));
        Self { app, faults, queue, dir }
    }

    /// A mail whose end is told to both endpoints.
    async fn submit(&self) -> JobId {
        let mut payload = (jobs::catalogue().find("send").unwrap().example)();
        let callback = vec!["crm".to_owned(), "log".to_owned()];
        payload["account"] = json!("dev@example.com");
        let request = JobRequest { callback, ..JobRequest::new("send", payload) };
        let (tenant, now) = (dev(), self.queue.now());
        let jobs = self.app.intake.prepare(&tenant, Producer::Caller, vec![request], "test", now);
        let submission = Submission { tenant: dev(), jobs: jobs.await.unwrap(), idempotency: None };
        match self.queue.enqueue(submission).await.unwrap() {
            Enqueued::Fresh(ids) => ids[0],
            other => panic!("{other:?}"),
        }
    }

    /// Claims as a worker that holds its lease so long.
    async fn claim(&self, lease: Duration) -> Option<Claimed> {
        let ask = Ask { queue: "send".into(), worker: "w".into(), max: 1, lease };
        self.queue.claim(&ask).await.unwrap().jobs.pop()
    }

    async fn end(&self, verdict: Verdict) -> JobId {
        let id = self.submit().await;
        let job = self.claim(Duration::from_secs(60)).await.unwrap();
        let settlement = Settlement { lease: job.lease, verdict, refund: false };
        self.queue.settle(vec![settlement]).await.unwrap();
        id
    }

    /// As an operator would who edits the store.
    async fn remove_endpoint(&self, id: &str) {
        let file = self.dir.path().join("store.sqlite");
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
        let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
        let done = sqlx::query("DELETE FROM endpoints WHERE id = $1").bind(id).execute(&pool);
        assert_eq!(done.await.unwrap().rows_affected(), 1);
        pool.close().await;
    }

    fn scheduler(&self) -> Scheduler {
        let (queue, intake) = (Arc::clone(&self.queue), self.app.intake.clone());
        let crontab = Crontab::parse("none", "", intake.catalogue(), &Default::default()).unwrap();
        let deps = SchedulerDeps {
            follow_ups: Arc::new(Followers::new(Arc::clone(&queue), intake.clone())),
            ticks: Arc::new(self.app.store.clone()),
            max_crashes: 3,
            clock: Arc::new(SystemClock),
            queue,
            intake,
        };
        Scheduler::new(self.app.config.scheduler.clone(), crontab, deps)
    }

    /// The deliveries that were taken in, oldest first.
    async fn deliveries(&self) -> Vec<JobRecord> {
        let kind = Some("webhook-delivery".to_owned());
        let filter = JobFilter { kind, limit: 1_000, ..JobFilter::default() };
        let mut jobs = self.queue.jobs(&filter).await.unwrap();
        jobs.reverse();
        jobs
    }

    /// What the deliveries say, by endpoint.
    async fn told(&self) -> Vec<Value> {
        let ask = Ask {
            queue: "webhook-delivery".into(),
            worker: "w".into(),
            max: 100,
            lease: Duration::from_secs(60),
        };
        let jobs = self.queue.claim(&ask).await.unwrap().jobs;
        let mut told: Vec<Value> =
            jobs.iter().map(|job| serde_json::from_slice(&job.payload).unwrap()).collect();
        told.sort_by_key(|payload| payload["endpoint_id"].as_str().unwrap().to_owned());
        told
    }
}

fn completed() -> Verdict {
    Verdict::Complete { result: json!({"message_id": "<1@x>"}), skipped: None }
}

#[tokio::test]
async fn an_end_that_its_worker_stored_and_did_not_tell_is_told() {
    // Given a job whose worker vanished just after it stored the end
    let site = Site::open().await;
    let id = site.end(completed()).await;
    assert_eq!(site.deliveries().await.len(), 0);
    // When a scheduler takes its turn, and another one does
    site.scheduler().turn().await;
    site.scheduler().turn().await;
    // Then each endpoint gets one delivery.
    let told = site.told().await;
    assert_eq!(told.iter().map(|p| &p["endpoint_id"]).collect::<Vec<_>>(), ["crm", "log"]);
    for payload in told {
        assert_eq!(payload["event"], "job.completed");
        let data = &payload["data"];
        assert_eq!((&data["job_id"], &data["status"]), (&json!(id), &json!("completed")));
        assert_eq!(data["result"], json!({"message_id": "<1@x>"}));
    }
}

#[tokio::test]
async fn a_crash_between_the_deliveries_and_the_note_of_them_tells_nothing_twice() {
    // Given a queue that takes the deliveries in, and then no note of it, for some turns
    let site = Site::open().await;
    site.end(completed()).await;
    site.faults.tellings.store(3, Ordering::SeqCst);
    // When
    for _ in 0..3 {
        site.scheduler().turn().await;
        assert_eq!(site.queue.untold(10).await.unwrap().len(), 1);
    }
    site.scheduler().turn().await;
    // Then
    assert_eq!(site.queue.untold(10).await.unwrap().len(), 0);
    assert_eq!(site.deliveries().await.len(), 2);
}

#[tokio::test]
async fn many_that_tell_at_once_tell_it_once() {
    let site = Site::open().await;
    for _ in 0..20 {
        let id = site.submit().await;
        site.queue.cancel(&dev(), id, "ada").await.unwrap();
    }
    let schedulers = [site.scheduler(), site.scheduler(), site.scheduler()];
    futures::future::join_all(schedulers.iter().map(Scheduler::turn)).await;
    assert_eq!(site.deliveries().await.len(), 40);
}

#[tokio::test]
async fn a_job_whose_workers_vanished_and_one_that_was_cancelled_are_told() {
    // Given a job under which three workers vanish, of which nobody ever hears
    let site = Site::open().await;
    let quarantined = site.submit().await;
    let scheduler = site.scheduler();
    for _ in 0..3 {
        eventually_ok("it can be claimed", || async {
            scheduler.turn().await;
            let claimed = site.claim(Duration::from_millis(1)).await;
            let taken = site.deliveries().await.len();
            if claimed.is_some() || taken > 0 { Ok(()) } else { Err(taken) }
        })
        .await;
    }
    // When
    eventually_ok("its end is told", || async {
        scheduler.turn().await;
        let told = site.deliveries().await.len();
        if told == 2 { Ok(()) } else { Err(told) }
    })
    .await;
    // Then
    let told = site.told().await;
    assert_eq!(told[0]["event"], "job.failed");
    assert_eq!(told[0]["data"]["job_id"], json!(quarantined));
    assert_eq!(told[0]["data"]["error"]["code"], "quarantined");
    // When one is cancelled that waits
    let cancelled = site.submit().await;
    site.queue.cancel(&dev(), cancelled, "ada").await.unwrap();
    scheduler.turn().await;
    // Then
    let told = site.told().await;
    assert_eq!(told.len(), 2);
    assert_eq!(told[0]["event"], "job.cancelled");
    assert_eq!(told[0]["data"]["job_id"], json!(cancelled));
}

#[tokio::test]
async fn a_job_that_is_retried_has_another_end_to_tell() {
    // Given a job that failed, which was told
    let site = Site::open().await;
    let error = jobs::contract::Cause::new("smtp_later", "later");
    let id = site.end(Verdict::Fail { error, spent: true, retryable: true }).await;
    site.scheduler().turn().await;
    assert_eq!(site.told().await[0]["event"], "job.failed");
    // When
    site.queue.retry(&dev(), id).await.unwrap();
    let job = site.claim(Duration::from_secs(60)).await.unwrap();
    let settlement = Settlement { lease: job.lease, verdict: completed(), refund: false };
    site.queue.settle(vec![settlement]).await.unwrap();
    site.scheduler().turn().await;
    // Then
    let told = site.told().await;
    assert_eq!((told.len(), &told[0]["event"]), (2, &json!("job.completed")));
}

#[tokio::test]
async fn the_others_are_told_where_an_endpoint_is_gone() {
    // Given a job that names two endpoints, of which one is gone when it ends
    let site = Site::open().await;
    site.end(completed()).await;
    site.remove_endpoint("crm").await;
    // When
    site.scheduler().turn().await;
    // Then
    let told = site.told().await;
    assert_eq!(told.iter().map(|p| &p["endpoint_id"]).collect::<Vec<_>>(), ["log"]);
    assert_eq!(site.queue.untold(10).await.unwrap().len(), 0);
}
