//! `postrider endpoints replay`.

use clap::{ArgGroup, Args};
use jobs::contract::{Job, JobId, Moment, TenantId};
use serde_json::json;

use super::{EndpointArgs, find};
use crate::{
    app::App,
    cli::{Failure, Out},
    intake::{JobRequest, Producer, Rejection},
    queue::{Enqueued, Submission},
};

/// Deliveries that one command delivers again at most, and those of one submission.
const MOST: usize = 10_000;
const BATCH: u32 = 1_000;

/// What to deliver again.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).args(["delivery", "since"]))]
pub struct ReplayArgs {
    /// Which endpoint.
    #[command(flatten)]
    pub endpoint: EndpointArgs,
    /// One delivery, whatever became of it.
    #[arg(long, value_name = "DELIVERY")]
    pub delivery: Option<String>,
    /// All that failed since then (2026-06-10T09:00:00Z), at most 10,000.
    #[arg(long, value_name = "MOMENT", value_parser = str::parse::<Moment>)]
    pub since: Option<Moment>,
}

pub(super) async fn replay(args: &ReplayArgs, app: &App, out: &mut Out<'_>) -> Result<(), Failure> {
    find(&args.endpoint, app).await?;
    let EndpointArgs { id, tenant } = &args.endpoint;
    let count = match (&args.delivery, args.since) {
        (Some(delivery), _) => one(tenant, id, delivery, app).await?,
        (None, since) => failed(tenant, id, since.unwrap_or_default(), app).await?,
    };
    if out.is_json() {
        return Ok(out.json(&json!({"replayed": count}))?);
    }
    let more =
        if count == MOST { "; there may be more: run it again when they are done" } else { "" };
    Ok(out.line(format!("{count} deliveries are queued again{more}"))?)
}

async fn one(tenant: &TenantId, endpoint: &str, id: &str, app: &App) -> Result<usize, Failure> {
    let found = jobs::contract::ports::Deliveries::find(&app.store, tenant, id).await;
    let found = found.map_err(|fault| Failure::unavailable(fault.to_string()))?;
    if found.is_none_or(|delivery| delivery.endpoint != endpoint) {
        let words = format!("the log has no delivery {id:?} to endpoint {endpoint:?}");
        return Err(Failure::data(words));
    }
    submit(tenant, vec![request(endpoint, id)], app).await.map(|ids| ids.len())
}

async fn failed(
    tenant: &TenantId,
    endpoint: &str,
    since: Moment,
    app: &App,
) -> Result<usize, Failure> {
    let (mut count, mut after) = (0, String::new());
    while count < MOST {
        let ids = app.store.failed_deliveries(tenant, endpoint, since, &after, BATCH).await?;
        let Some(last) = ids.last() else { break };
        after.clone_from(last);
        let requests = ids.iter().map(|id| request(endpoint, id)).collect();
        count += submit(tenant, requests, app).await?.len();
    }
    Ok(count)
}

fn request(endpoint: &str, delivery: &str) -> JobRequest {
    let payload = json!({"endpoint_id": endpoint, "replay": delivery});
    JobRequest::new(jobs::WebhookDelivery::KIND, payload)
}

/// Takes deliveries in; the ids of their jobs.
pub(super) async fn submit(
    tenant: &TenantId,
    requests: Vec<JobRequest>,
    app: &App,
) -> Result<Vec<JobId>, Failure> {
    let now = app.queue.now();
    let prepared = app.intake.prepare(tenant, Producer::Engine, requests, "cli", now).await;
    let jobs = prepared.map_err(|rejection| match rejection {
        Rejection::Invalid(problems) => {
            let words = problems.iter().map(|p| format!("{}: {}", p.pointer, p.message));
            Failure::data(words.collect::<Vec<_>>().join("\n"))
        }
        Rejection::Unavailable(fault) => Failure::unavailable(fault.to_string()),
    })?;
    let submission = Submission { tenant: tenant.clone(), jobs, idempotency: None };
    match app.queue.enqueue(submission).await? {
        Enqueued::Fresh(ids) => Ok(ids),
        // Without a key nothing is remembered.
        Enqueued::Replayed(_) | Enqueued::KeyReused => Ok(Vec::new()),
    }
}
