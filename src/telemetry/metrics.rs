//! Numbers: what this process counts, and what it reads from the queue when it is asked.
//!
//! Counting costs next to nothing until [`install`] is called. Labels come from fixed sets (kinds,
//! routes, statuses), so that a caller cannot make series without end.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use jobs::contract::Moment;
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::queue::{QueueRecord, Status};

/// Requests answered, by `method`, `route` and `status`.
pub const HTTP_REQUESTS: &str = "postrider_http_requests_total";
/// How long answers took in seconds, by `route`; answers that were held on wish are left out.
pub const HTTP_SECONDS: &str = "postrider_http_request_duration_seconds";
/// Jobs taken in by this process, by `kind`.
pub const JOBS_SUBMITTED: &str = "postrider_jobs_submitted_total";
/// Runs settled by this process, by `kind` and `outcome`.
pub const JOBS_SETTLED: &str = "postrider_jobs_settled_total";
/// How long runs took in seconds, by `kind`.
pub const JOB_SECONDS: &str = "postrider_job_duration_seconds";
/// Jobs of the whole fleet, by `queue` and `status`.
pub const JOBS: &str = "postrider_jobs";
/// How long the oldest job of a queue has been due, in seconds.
pub const OLDEST_DUE_SECONDS: &str = "postrider_queue_oldest_due_seconds";
/// Whether a queue is paused: 1 or 0.
pub const QUEUE_PAUSED: &str = "postrider_queue_paused";

/// Upper bounds of the buckets, in seconds: a request takes milliseconds, a job up to minutes.
const HTTP_BUCKETS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];
const JOB_BUCKETS: [f64; 10] = [0.001, 0.01, 0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0, 1_800.0];
/// How often samples are folded into buckets; they pile up until then.
const UPKEEP: Duration = Duration::from_secs(5);

/// What this process has counted.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

/// Begins to count in this process; later calls answer with the same numbers.
pub fn install() -> Metrics {
    static INSTALLED: OnceLock<PrometheusHandle> = OnceLock::new();
    let handle = INSTALLED.get_or_init(|| {
        let recorder = builder().build_recorder();
        let handle = recorder.handle();
        // Somebody else's recorder, if there is one, stays; then this one has nothing to tell.
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("metrics are counted elsewhere in this process");
        }
        describe();
        handle
    });
    Metrics(handle.clone())
}

impl Metrics {
    /// The numbers in Prometheus' text format.
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Keeps memory bounded while nobody asks for the numbers; never ends by itself.
    pub async fn upkeep(&self) {
        let mut ticks = tokio::time::interval(UPKEEP);
        loop {
            ticks.tick().await;
            self.0.run_upkeep();
        }
    }
}

fn builder() -> PrometheusBuilder {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full(HTTP_SECONDS.to_owned()), &HTTP_BUCKETS)
        .and_then(|b| b.set_buckets_for_metric(Matcher::Full(JOB_SECONDS.to_owned()), &JOB_BUCKETS))
        .expect("the lists of buckets are not empty")
}

fn describe() {
    describe_counter!(HTTP_REQUESTS, "Requests answered.");
    describe_histogram!(HTTP_SECONDS, "How long answers took, those held on wish left out.");
    describe_counter!(JOBS_SUBMITTED, "Jobs taken in by this process.");
    describe_counter!(JOBS_SETTLED, "Runs settled by this process.");
    describe_histogram!(JOB_SECONDS, "How long runs took.");
}

/// Counts an answer. `method` and `route` are from fixed sets; a `held` answer took as long as its
/// caller wished.
pub fn answered(
    method: &'static str,
    route: &'static str,
    status: u16,
    took: Duration,
    held: bool,
) {
    counter!(HTTP_REQUESTS, "method" => method, "route" => route, "status" => status.to_string())
        .increment(1);
    if !held {
        histogram!(HTTP_SECONDS, "route" => route).record(took.as_secs_f64());
    }
}

/// Counts a job that was taken in.
pub fn submitted(kind: &str) {
    counter!(JOBS_SUBMITTED, "kind" => kind.to_owned()).increment(1);
}

/// A run that was settled.
#[derive(Debug, Clone)]
pub struct Settled {
    /// The wire name of the job's kind.
    pub kind: Arc<str>,
    /// `completed`, `skipped`, `retried`, `snoozed`, `failed`, `cancelled`, `released` or `lost`.
    pub outcome: &'static str,
    /// From when it could begin to its end.
    pub took: Duration,
}

/// Counts runs; those one behind the other that are alike share one look for where they are counted.
pub fn settled(runs: &[Settled]) {
    for alike in runs.chunk_by(|a, b| a.outcome == b.outcome && a.kind == b.kind) {
        let Settled { kind, outcome, .. } = &alike[0];
        counter!(JOBS_SETTLED, "kind" => Arc::clone(kind), "outcome" => *outcome)
            .increment(alike.len() as u64);
        let seconds = histogram!(JOB_SECONDS, "kind" => Arc::clone(kind));
        alike.iter().for_each(|run| seconds.record(run.took.as_secs_f64()));
    }
}

/// What the queue counts, in Prometheus' text format.
///
/// A recorder of its own for each scrape: a queue that is gone leaves no number behind.
pub fn of_queues(queues: &[QueueRecord], now: Moment) -> String {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, || {
        describe_gauge!(JOBS, "Jobs of the whole fleet.");
        describe_gauge!(OLDEST_DUE_SECONDS, "How long the oldest job of a queue has been due.");
        describe_gauge!(QUEUE_PAUSED, "Whether a queue is paused.");
        for queue in queues {
            for status in Status::ALL {
                let count = queue.counts.get(&status).copied().unwrap_or(0);
                gauge!(JOBS, "queue" => queue.name.clone(), "status" => status.as_str())
                    .set(to_float(count));
            }
            let due = queue.oldest_due_at.map_or(Duration::ZERO, |at| now.since(at));
            gauge!(OLDEST_DUE_SECONDS, "queue" => queue.name.clone()).set(due.as_secs_f64());
            let paused = f64::from(u8::from(queue.paused));
            gauge!(QUEUE_PAUSED, "queue" => queue.name.clone()).set(paused);
        }
    });
    handle.render()
}

/// Exact below 2^53, and nobody has as many jobs.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
fn to_float(count: u64) -> f64 {
    count as f64
}
