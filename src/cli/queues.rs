//! `postrider queues`: list, pause, resume.

use clap::Subcommand;
use serde_json::json;

use super::{Failure, Out, output::when_known};
use crate::queue::{Changed, PauseTarget, Queue, QueueRecord, Status};

/// What to do with queues.
#[derive(Debug, Subcommand)]
pub enum QueuesCommand {
    /// List queues: how many jobs are in which status, and whether it is paused.
    List,
    /// Stop claims from a queue; jobs that run go on.
    Pause {
        /// The queue.
        queue: String,
    },
    /// Resume claims from a queue.
    Resume {
        /// The queue.
        queue: String,
    },
}

/// Runs a command over queues.
///
/// # Errors
///
/// What was not done, and why.
pub async fn run(
    command: QueuesCommand,
    queue: &dyn Queue,
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    let (name, paused) = match command {
        QueuesCommand::List => return list(queue, out).await,
        QueuesCommand::Pause { queue } => (queue, true),
        QueuesCommand::Resume { queue } => (queue, false),
    };
    let changed = queue.pause(&PauseTarget::Queue(name.clone()), paused).await?;
    answer(&format!("queue {name}"), paused, changed, out)
}

/// Says what became of a pause or a resume. To ask for what is so already is no mistake.
pub(super) fn answer(
    what: &str,
    paused: bool,
    changed: Changed,
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    if changed == Changed::Unknown {
        return Err(Failure::data(format!("there is no {what}")));
    }
    if out.is_json() {
        let changed = changed == Changed::Done;
        return Ok(out.json(&json!({"paused": paused, "changed": changed}))?);
    }
    let state = if paused { "paused" } else { "resumed" };
    let words = match changed {
        Changed::Done => format!("{what} is {state}"),
        _ if paused => format!("{what} was paused already"),
        _ => format!("{what} was not held"),
    };
    Ok(out.line(words)?)
}

async fn list(queue: &dyn Queue, out: &mut Out<'_>) -> Result<(), Failure> {
    let queues = queue.queues().await?;
    if out.is_json() {
        return Ok(out.json(&queues)?);
    }
    if queues.is_empty() {
        return Ok(out.line("No queues: nothing was ever submitted.")?);
    }
    let rows: Vec<_> = queues.iter().map(row).collect();
    let head = [
        "QUEUE",
        "QUEUED",
        "SCHEDULED",
        "PROCESSING",
        "COMPLETED",
        "FAILED",
        "CANCELLED",
        "OLDEST",
        "PAUSED",
    ];
    Ok(out.table(head, &rows)?)
}

fn row(queue: &QueueRecord) -> [String; 9] {
    let count = |status| queue.counts.get(&status).copied().unwrap_or(0).to_string();
    [
        queue.name.clone(),
        count(Status::Queued),
        count(Status::Scheduled),
        count(Status::Processing),
        count(Status::Completed),
        count(Status::Failed),
        count(Status::Cancelled),
        when_known(queue.oldest_due_at),
        if queue.paused { "yes" } else { "no" }.to_owned(),
    ]
}
