//! `postrider jobs show`.

use jobs::contract::{JobId, TenantId};

use super::{
    JobArgs,
    view::{document, fields},
};
use crate::{
    cli::{
        Failure, Out,
        output::{when, when_known},
    },
    queue::{AttemptRecord, JobRecord, Queue},
};

/// Shows all that is known of jobs.
///
/// # Errors
///
/// When the tenant has not all of them: nothing is shown then.
pub async fn show(args: &JobArgs, queue: &dyn Queue, out: &mut Out<'_>) -> Result<(), Failure> {
    let mut jobs = Vec::with_capacity(args.ids.len());
    for id in &args.ids {
        jobs.push(find(queue, &args.tenant, *id).await?);
    }
    if out.is_json() {
        match &jobs[..] {
            [job] => out.json(&document(job))?,
            _ => out.json(&jobs.iter().map(document).collect::<Vec<_>>())?,
        }
        return Ok(());
    }
    for (index, job) in jobs.iter().enumerate() {
        if index > 0 {
            out.line("")?;
        }
        out.fields(&fields(job))?;
        if !job.attempts.is_empty() {
            out.line("")?;
            let rows: Vec<_> = job.attempts.iter().map(attempt).collect();
            out.table(["ATTEMPT", "STARTED", "ENDED", "OUTCOME", "ERROR"], &rows)?;
        }
    }
    Ok(())
}

fn attempt(attempt: &AttemptRecord) -> [String; 5] {
    [
        attempt.number.to_string(),
        when(attempt.started_at),
        when_known(attempt.ended_at),
        attempt.outcome.clone().unwrap_or_else(|| "runs".to_owned()),
        attempt.error.as_ref().map(ToString::to_string).unwrap_or_default(),
    ]
}

/// The job, or a sentence that says that there is none.
pub(super) async fn find(
    queue: &dyn Queue,
    tenant: &TenantId,
    id: JobId,
) -> Result<JobRecord, Failure> {
    queue.job(tenant, id).await?.ok_or_else(|| unknown(tenant, id))
}

pub(super) fn unknown(tenant: &TenantId, id: JobId) -> Failure {
    Failure::data(format!("tenant {tenant} has no job {id}"))
}
