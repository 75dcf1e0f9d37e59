//! A whole house: queue, store, workers, and a receiver that they may reach.

use std::{path::Path, sync::Arc, time::Duration};

use jobs::contract::{Job, JobId, TenantId};
use postrider::{
    app::{App, Embedded, Roles},
    cli::{Cli, Out},
    config::{Config, Layers},
    intake::{JobRequest, Producer},
    queue::{Enqueued, JobRecord, LaneFilter, LaneRecord, Seen, Status, Submission},
    webhooks::SigningSecret,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::receiver::{Got, Receiver};

/// How long a job may take before its test fails.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn dev() -> TenantId {
    "dev".parse().unwrap()
}

/// A house at work.
pub(super) struct House {
    pub(super) app: Arc<App>,
    pub(super) receiver: Receiver,
    pub(super) dir: TempDir,
    stop: CancellationToken,
    running: Option<JoinHandle<()>>,
}

impl House {
    pub(super) async fn open() -> Self {
        Self::with("").await
    }

    /// With further options.
    pub(super) async fn with(options: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let app = Arc::new(App::open(config(dir.path(), options), Embedded::Yes).await.unwrap());
        app.make_dev().await.unwrap();
        let receiver = Receiver::start().await;
        let stop = CancellationToken::new();
        let mut house = Self { app, receiver, dir, stop, running: None };
        house.work();
        house
    }

    fn work(&mut self) {
        let (app, stop) = (Arc::clone(&self.app), self.stop.clone());
        let roles = Roles { worker: true, ..Roles::NONE };
        self.running = Some(tokio::spawn(async move {
            app.run_roles(roles, stop, |_| Ok(())).await.unwrap();
        }));
    }

    /// Applies TOML, in which `{receiver}` stands for the receiver's URL.
    pub(super) async fn apply(&self, toml: &str) {
        let file = self.dir.path().join("endpoints.toml");
        std::fs::write(&file, toml.replace("{receiver}", &self.receiver.url(""))).unwrap();
        self.app.apply(&file).await.unwrap();
    }

    pub(super) async fn submit(&self, payload: Value) -> JobId {
        self.submit_all(vec![payload]).await[0]
    }

    pub(super) async fn submit_all(&self, payloads: Vec<Value>) -> Vec<JobId> {
        let request = |payload| JobRequest::new(jobs::WebhookDelivery::KIND, payload);
        self.take_in(payloads.into_iter().map(request).collect()).await
    }

    pub(super) async fn take_in(&self, requests: Vec<JobRequest>) -> Vec<JobId> {
        let (queue, tenant) = (&self.app.queue, dev());
        let prepared =
            self.app.intake.prepare(&tenant, Producer::Caller, requests, "test", queue.now());
        let submission =
            Submission { tenant: dev(), jobs: prepared.await.unwrap(), idempotency: None };
        match queue.enqueue(submission).await.unwrap() {
            Enqueued::Fresh(ids) => ids,
            other => panic!("{other:?}"),
        }
    }

    /// The job, as soon as it is as wished.
    pub(super) async fn until(&self, id: JobId, wished: impl Fn(&JobRecord) -> bool) -> JobRecord {
        let mut seen = Seen::default();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            seen = self.app.queue.changed(seen, Duration::from_secs(1)).await;
            let job = self.app.queue.job(&dev(), id).await.unwrap().unwrap();
            if wished(&job) {
                return job;
            }
            assert!(tokio::time::Instant::now() < deadline, "the job does not get there: {job:?}");
        }
    }

    pub(super) async fn ended(&self, id: JobId) -> JobRecord {
        self.until(id, |job| job.status.is_final()).await
    }

    pub(super) async fn completed(&self, id: JobId) -> Value {
        let job = self.ended(id).await;
        assert_eq!(job.status, Status::Completed, "{job:?}");
        job.result.unwrap_or_default()
    }

    pub(super) async fn lane(&self, endpoint: &str) -> LaneRecord {
        let filter = LaneFilter { limit: 100, ..LaneFilter::default() };
        let lanes = self.app.queue.lanes(&filter).await.unwrap();
        let name = format!("endpoint:{endpoint}");
        lanes.into_iter().find(|lane| lane.lane.name.as_str() == name).expect("the lane is there")
    }

    /// Runs a command in this house, and gives what it wrote as JSON.
    pub(super) async fn command(&self, args: &[&str]) -> Value {
        use clap::Parser;
        let cli = Cli::parse_from([&["postrider", "endpoints"], args].concat());
        let postrider::cli::Command::Endpoints(command) = cli.command else { panic!("{args:?}") };
        let mut bytes = Vec::new();
        let mut out = Out::new(&mut bytes, true);
        postrider::cli::endpoints::run(command, &self.app, &mut out).await.unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    pub(super) async fn secret(&self, endpoint: &str) -> SigningSecret {
        let row = self.app.store.endpoint_row(&dev(), endpoint).await.unwrap().unwrap();
        row.settings.secret.unwrap()
    }

    /// Stops everything; what it wrote is still there.
    pub(super) async fn close(mut self) -> TempDir {
        self.stop.cancel();
        if let Some(running) = self.running.take() {
            running.await.unwrap();
        }
        self.dir
    }
}

pub(super) fn config(data_dir: &Path, options: &str) -> Config {
    let mut layers = Layers::defaults();
    let own = "[http]\nadmin_listen = \"\"\n[webhooks.egress]\nallow_http = true\n\
               allow_cidrs = [\"127.0.0.1/32\"]\n";
    layers.text("the house", own).unwrap();
    layers.text("the test", options).unwrap();
    layers.option("the house", "data_dir", &data_dir.to_string_lossy()).unwrap();
    layers.read().unwrap()
}

/// Whether an independent implementation takes the request for the endpoint's, and for a fresh one.
pub(super) fn verifies(secret: &str, got: &Got) -> bool {
    let mut headers = hyper::HeaderMap::new();
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        headers.insert(name, got.header(name).parse().unwrap());
    }
    let webhook = standardwebhooks::Webhook::new(secret).unwrap();
    webhook.verify(&got.body, &headers).is_ok()
}

/// An event with this data.
pub(super) fn event(name: &str, data: impl Into<Value>) -> Value {
    json!({"event": name, "data": data.into()})
}
