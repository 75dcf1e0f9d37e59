//! Taking jobs in.

use jobs::contract::{JobId, TenantId};
use serde::{Deserialize, Serialize};

use super::{
    error::corrupt,
    keys::{SEPARATOR, job_of, lane_id, short},
    moment_arg,
    reply::Fields,
    scripts::ENQUEUE,
    server::{Patience, Server},
};
use crate::queue::{Enqueued, NewJob, Priority, QueueError, Submission, bounds};

/// What of a job never changes and no script reads.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Fixed {
    pub(super) kind: String,
    pub(super) items: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) tags: Vec<String>,
    pub(super) request_id: String,
}

/// Takes jobs in: all of the submission or nothing.
pub(super) async fn enqueue(
    server: &Server,
    submission: Submission,
) -> Result<Enqueued, QueueError> {
    let Submission { tenant, jobs, idempotency } = submission;
    bounds::check(jobs.len())?;
    let mut arguments: Vec<Vec<u8>> = Vec::with_capacity(5 + jobs.len() * 9);
    arguments.push(tenant.as_str().into());
    match idempotency {
        Some(known) => arguments.extend([
            known.key.into_bytes(),
            known.fingerprint.to_vec(),
            known.answer.to_vec(),
            known.keep.as_millis().to_string().into_bytes(),
        ]),
        None => arguments.resize(5, Vec::new()),
    }
    for job in &jobs {
        arguments.extend(arguments_of(&tenant, job)?);
    }
    let shard = server.shards.of(&tenant);
    let answer = server.call(&ENQUEUE, shard, Patience::Caller, &arguments).await?;
    let mut fields = Fields::of(answer)?;
    match fields.text()?.as_str() {
        "fresh" => {
            let ids = fields.texts().map(|id| job_of(&id?)).collect::<Result<Vec<JobId>, _>>();
            Ok(Enqueued::Fresh(ids?))
        }
        "replayed" => Ok(Enqueued::Replayed(fields.bytes()?.into())),
        "reused" => Ok(Enqueued::KeyReused),
        "taken" => {
            let id = job_of(&fields.text()?)?;
            Err(QueueError::Unusable(format!("there is a job {id} already")))
        }
        other => Err(corrupt("an answer", other)),
    }
}

fn arguments_of(tenant: &TenantId, job: &NewJob) -> Result<[Vec<u8>; 9], QueueError> {
    let fixed = Fixed {
        kind: job.kind.clone(),
        items: job.total_items,
        tags: job.tags.clone(),
        request_id: job.request_id.clone(),
    };
    let unique = job.unique.as_ref().map(|unique| format!("{}{SEPARATOR}{unique}", job.kind));
    Ok([
        short(job.id).into_bytes(),
        lane_id(&job.queue, tenant, &job.lane).into_bytes(),
        serde_json::to_vec(&*job.policy).map_err(|e| corrupt("a lane's policy", e))?,
        rank(job.priority).into(),
        job.run_at.map_or_else(Vec::new, |at| moment_arg(at).into_bytes()),
        job.max_attempts.to_string().into_bytes(),
        unique.unwrap_or_default().into_bytes(),
        serde_json::to_vec(&fixed).map_err(|e| corrupt("a job", e))?,
        job.payload.to_vec(),
    ])
}

/// The place of a priority in the run order.
fn rank(priority: Priority) -> &'static str {
    match priority {
        Priority::High => "0",
        Priority::Normal => "1",
        Priority::Low => "2",
    }
}
