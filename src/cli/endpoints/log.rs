//! `postrider endpoints log`.

use clap::Args;
use jobs::contract::ports::DeliveryState;

use super::{EndpointArgs, find};
use crate::{
    app::App,
    cli::{
        Failure, Out,
        output::{when, when_known},
    },
    store::{AttemptLine, DeliveryRecord},
};

/// What of the log.
#[derive(Debug, Args)]
pub struct LogArgs {
    /// Which endpoint.
    #[command(flatten)]
    pub endpoint: EndpointArgs,
    /// The attempts of this delivery.
    #[arg(long, value_name = "DELIVERY", conflicts_with_all = ["failed", "limit"])]
    pub delivery: Option<String>,
    /// Only deliveries that failed.
    #[arg(long)]
    pub failed: bool,
    /// How many at most.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
}

pub(super) async fn log(args: &LogArgs, app: &App, out: &mut Out<'_>) -> Result<(), Failure> {
    find(&args.endpoint, app).await?;
    let EndpointArgs { id, tenant } = &args.endpoint;
    if let Some(delivery) = &args.delivery {
        let attempts = app.store.attempts(tenant, id, delivery).await?;
        if attempts.is_empty() {
            let words =
                format!("the log has no attempt of delivery {delivery:?} to endpoint {id:?}");
            return Err(Failure::data(words));
        }
        return show(&attempts, out);
    }
    let state = args.failed.then_some(DeliveryState::Failed);
    let deliveries = app.store.deliveries(tenant, id, state, args.limit).await?;
    if out.is_json() {
        return Ok(out.json(&deliveries)?);
    }
    if deliveries.is_empty() {
        return Ok(out.line("No deliveries.")?);
    }
    let rows: Vec<_> = deliveries.iter().map(delivery_row).collect();
    Ok(out.table(["DELIVERY", "EVENT", "STATE", "ATTEMPTS", "FIRST", "LAST"], &rows)?)
}

fn delivery_row(delivery: &DeliveryRecord) -> [String; 6] {
    let state = match delivery.state {
        DeliveryState::Waiting => "waiting",
        DeliveryState::Delivered => "delivered",
        DeliveryState::Failed => "failed",
    };
    [
        delivery.id.clone(),
        delivery.event.clone(),
        state.to_owned(),
        delivery.attempts.to_string(),
        when(delivery.created_at),
        when(delivery.updated_at),
    ]
}

fn show(attempts: &[AttemptLine], out: &mut Out<'_>) -> Result<(), Failure> {
    if out.is_json() {
        return Ok(out.json(&attempts)?);
    }
    let rows: Vec<_> = attempts.iter().map(attempt_row).collect();
    let head = ["NUMBER", "TRIGGER", "AT", "MS", "TO", "ANSWER", "NEXT", "WORDS"];
    Ok(out.table(head, &rows)?)
}

fn attempt_row(attempt: &AttemptLine) -> [String; 8] {
    let answer = attempt.status.map(|status| status.to_string()).or_else(|| attempt.class.clone());
    [
        attempt.number.to_string(),
        attempt.trigger.clone(),
        when(attempt.at),
        attempt.total_ms.to_string(),
        attempt.remote.clone().unwrap_or_else(|| "-".to_owned()),
        answer.unwrap_or_default(),
        when_known(attempt.next_at),
        // In one line.
        attempt.words.chars().take(80).map(|c| if c == '\n' { ' ' } else { c }).collect(),
    ]
}
