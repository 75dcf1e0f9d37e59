//! `postrider jobs list`.

use clap::Args;
use jobs::contract::{JobId, LaneName, TenantId};

use super::view::{document, remark};
use crate::{
    cli::{Failure, Out, output::when},
    queue::{JobFilter, JobRecord, Queue, Status},
};

/// Which jobs to list.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Of this tenant; of all, when it is not given.
    #[arg(long)]
    pub tenant: Option<TenantId>,
    /// Of this queue.
    #[arg(long)]
    pub queue: Option<String>,
    /// Of this type.
    #[arg(long = "type", value_name = "TYPE")]
    pub kind: Option<String>,
    /// In this lane, such as mailbox:dev@example.com.
    #[arg(long)]
    pub lane: Option<String>,
    /// In this status: queued, scheduled, processing, completed, failed or cancelled.
    #[arg(long)]
    pub status: Option<Status>,
    /// With this tag.
    #[arg(long)]
    pub tag: Option<String>,
    /// Older than this job: the last one of the page before.
    #[arg(long, value_name = "JOB")]
    pub before: Option<JobId>,
    /// How many at most.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub limit: u32,
}

/// Lists jobs, newest first.
///
/// # Errors
///
/// When the queue is out of reach.
pub async fn list(args: ListArgs, queue: &dyn Queue, out: &mut Out<'_>) -> Result<(), Failure> {
    let filter = JobFilter {
        tenant: args.tenant,
        queue: args.queue,
        kind: args.kind,
        lane: args.lane.map(LaneName::from_text),
        status: args.status,
        tag: args.tag,
        before: args.before,
        limit: args.limit,
    };
    let jobs = queue.jobs(&filter).await?;
    if out.is_json() {
        return Ok(out.json(&jobs.iter().map(document).collect::<Vec<_>>())?);
    }
    if jobs.is_empty() {
        return Ok(out.line("No jobs.")?);
    }
    let rows: Vec<_> = jobs.iter().map(row).collect();
    out.table(
        ["JOB", "TENANT", "TYPE", "LANE", "STATUS", "ATTEMPT", "SUBMITTED", "REMARK"],
        &rows,
    )?;
    Ok(())
}

fn row(job: &JobRecord) -> [String; 8] {
    [
        job.id.to_string(),
        job.tenant.to_string(),
        job.kind.clone(),
        job.lane.to_string(),
        job.status.to_string(),
        format!("{}/{}", job.attempt, job.max_attempts),
        when(job.created_at),
        remark(job),
    ]
}
