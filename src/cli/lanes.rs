//! `postrider lanes`: list, pause, resume.

use clap::{Args, Subcommand};
use jobs::contract::{LaneName, TenantId};
use serde_json::{Value, json};

use super::{Failure, Out, output::when, queues::answer};
use crate::queue::{LaneFilter, LaneRecord, LaneRef, ParkReason, PauseTarget, Queue};

/// What to do with lanes.
#[derive(Debug, Subcommand)]
pub enum LanesCommand {
    /// List lanes: what waits in them, and what they wait for.
    List(LanesArgs),
    /// Stop claims from a lane; jobs that run go on.
    Pause(LaneArgs),
    /// Resume claims from a lane that is paused, or parked until a moment.
    Resume(LaneArgs),
}

/// Which lanes to list.
#[derive(Debug, Args)]
pub struct LanesArgs {
    /// Of this queue.
    #[arg(long)]
    pub queue: Option<String>,
    /// Of this tenant.
    #[arg(long)]
    pub tenant: Option<TenantId>,
    /// Only lanes that are paused or parked.
    #[arg(long)]
    pub held: bool,
    /// How many at most.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
}

/// Which lane.
#[derive(Debug, Args)]
pub struct LaneArgs {
    /// The queue it belongs to: send, …
    pub queue: String,
    /// Its name: mailbox:dev@example.com, tenant, …
    pub lane: String,
    /// The tenant it belongs to.
    #[arg(long, default_value = "dev")]
    pub tenant: TenantId,
}

/// Runs a command over lanes.
///
/// # Errors
///
/// What was not done, and why.
pub async fn run(
    command: LanesCommand,
    queue: &dyn Queue,
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    let (args, paused) = match command {
        LanesCommand::List(args) => return list(args, queue, out).await,
        LanesCommand::Pause(args) => (args, true),
        LanesCommand::Resume(args) => (args, false),
    };
    let LaneArgs { queue: of, lane, tenant } = args;
    let what = format!("lane {lane} of tenant {tenant} in queue {of}");
    let lane = LaneRef { queue: of, tenant, name: LaneName::from_text(lane) };
    let changed = queue.pause(&PauseTarget::Lane(lane), paused).await?;
    answer(&what, paused, changed, out)
}

async fn list(args: LanesArgs, queue: &dyn Queue, out: &mut Out<'_>) -> Result<(), Failure> {
    let LanesArgs { queue: of, tenant, held, limit } = args;
    let lanes = queue.lanes(&LaneFilter { queue: of, tenant, held, limit }).await?;
    if out.is_json() {
        return Ok(out.json(&lanes.iter().map(document).collect::<Vec<_>>())?);
    }
    if lanes.is_empty() {
        return Ok(out.line(if held { "No lane is held." } else { "No lanes." })?);
    }
    let rows: Vec<_> = lanes.iter().map(row).collect();
    Ok(out.table(["QUEUE", "TENANT", "LANE", "WAITING", "RUNNING", "LIMITS", "HELD BY"], &rows)?)
}

fn row(lane: &LaneRecord) -> [String; 7] {
    let limits: Vec<_> = lane.policy.limits.iter().map(|limit| limit.label.as_str()).collect();
    [
        lane.lane.queue.clone(),
        lane.lane.tenant.to_string(),
        lane.lane.name.to_string(),
        lane.waiting.to_string(),
        match lane.policy.in_flight {
            Some(most) => format!("{} of {most}", lane.in_flight),
            None => lane.in_flight.to_string(),
        },
        limits.join(", "),
        held_by(lane),
    ]
}

/// Why nothing is claimed from a lane, in words.
pub(super) fn held_by(lane: &LaneRecord) -> String {
    let parked = lane.parked.as_ref().map(|(until, reason)| {
        let (ParkReason::Limit(words) | ParkReason::Snooze(words)) = reason;
        format!("{words} until {}", when(*until))
    });
    match (lane.paused, parked) {
        (true, _) => "an operator".to_owned(),
        (false, parked) => parked.unwrap_or_default(),
    }
}

fn document(lane: &LaneRecord) -> Value {
    let parked = lane.parked.as_ref().map(|(until, reason)| {
        let (what, words) = match reason {
            ParkReason::Limit(label) => ("limit", label),
            ParkReason::Snooze(words) => ("snooze", words),
        };
        json!({"for": what, "reason": words, "until": until})
    });
    json!({
        "queue": lane.lane.queue,
        "tenant": lane.lane.tenant,
        "lane": lane.lane.name,
        "waiting": lane.waiting,
        "in_flight": lane.in_flight,
        "paused": lane.paused,
        "parked": parked,
        "policy": lane.policy,
    })
}
