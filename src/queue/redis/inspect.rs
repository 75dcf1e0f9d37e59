//! Reading, in bounded pages.

use std::collections::BTreeMap;

use jobs::contract::{JobId, Moment, TenantId};

use super::{
    keys::{SEPARATOR, short},
    record::{self, LaneView},
    reply::{Fields, parsed},
    rounds::Rounds,
    scripts::{JOB, JOBS, LANES_PAGE, QUEUES, UNTOLD},
    server::{Patience, Server},
};
use crate::queue::{JobFilter, JobRecord, LaneFilter, LaneRecord, QueueError, QueueRecord, Status};

/// Jobs or lanes that one script call reads at most.
const PAGE: usize = 100;

/// One job of a tenant.
pub(super) async fn job(
    server: &Server,
    tenant: &TenantId,
    id: JobId,
) -> Result<Option<JobRecord>, QueueError> {
    let shard = server.shards.of(tenant);
    let answer = server.call(&JOB, shard, Patience::Caller, &[short(id)]).await?;
    let mut fields = Fields::of(answer)?;
    let now = fields.moment()?;
    server.observe(now);
    let Some(row) = fields.rows().next() else { return Ok(None) };
    Ok(Some(record::job(row?, now)?).filter(|job| job.tenant == *tenant))
}

/// Jobs that match, newest first.
pub(super) async fn jobs(
    server: &Server,
    filter: &JobFilter,
) -> Result<Vec<JobRecord>, QueueError> {
    let limit = usize::try_from(filter.limit).unwrap_or(usize::MAX);
    let mut found = Vec::new();
    for shard in shards_of(server, filter.tenant.as_ref()) {
        found.extend(jobs_of(server, shard, filter, limit).await?);
    }
    found.sort_by_key(|job| std::cmp::Reverse(job.id));
    found.truncate(limit);
    Ok(found)
}

fn shards_of(server: &Server, tenant: Option<&TenantId>) -> std::ops::Range<usize> {
    match tenant.map(|tenant| server.shards.of(tenant)) {
        Some(shard) => shard..shard + 1,
        None => server.shards.all(),
    }
}

async fn jobs_of(
    server: &Server,
    shard: usize,
    filter: &JobFilter,
    limit: usize,
) -> Result<Vec<JobRecord>, QueueError> {
    let mut found = Vec::new();
    let mut before = filter.before;
    while found.len() < limit {
        let arguments = [before.map(short).unwrap_or_default(), PAGE.to_string()];
        let answer = server.call(&JOBS, shard, Patience::Caller, &arguments).await?;
        let mut fields = Fields::of(answer)?;
        let now = fields.moment()?;
        let page = fields.rows().map(|row| record::job(row?, now));
        let page = page.collect::<Result<Vec<JobRecord>, _>>()?;
        let last = page.len() < PAGE;
        before = page.last().map(|job| job.id);
        found.extend(page.into_iter().filter(|job| matches(job, filter)));
        if last {
            break;
        }
    }
    Ok(found)
}

/// Finished jobs whose end is still to be told.
pub(super) async fn untold(
    server: &Server,
    rounds: &Rounds,
    max: u32,
) -> Result<Vec<JobRecord>, QueueError> {
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    let most = [max.min(PAGE).to_string()];
    let pages = rounds.all(server, |shard| untold_of(server, shard, &most)).await?;
    let mut found: Vec<_> = pages.into_iter().flat_map(|(_, page)| page).collect();
    found.truncate(max);
    Ok(found)
}

async fn untold_of(
    server: &Server,
    shard: usize,
    most: &[String],
) -> Result<Vec<JobRecord>, QueueError> {
    let answer = server.call(&UNTOLD, shard, Patience::Worker, most).await?;
    let mut fields = Fields::of(answer)?;
    let now = fields.moment()?;
    fields.rows().map(|row| record::job(row?, now)).collect()
}

fn matches(job: &JobRecord, filter: &JobFilter) -> bool {
    filter.tenant.as_ref().is_none_or(|tenant| *tenant == job.tenant)
        && filter.queue.as_ref().is_none_or(|queue| *queue == job.queue)
        && filter.kind.as_ref().is_none_or(|kind| *kind == job.kind)
        && filter.lane.as_ref().is_none_or(|lane| *lane == job.lane)
        && filter.status.is_none_or(|status| status == job.status)
        && filter.tag.as_ref().is_none_or(|tag| job.tags.contains(tag))
}

/// Every queue, counted over all shards, in the order of their names.
pub(super) async fn queues(server: &Server) -> Result<Vec<QueueRecord>, QueueError> {
    let mut counted: BTreeMap<String, QueueRecord> = BTreeMap::new();
    for shard in server.shards.all() {
        let none: [&str; 0] = [];
        let answer = server.call(&QUEUES, shard, Patience::Caller, &none).await?;
        for row in Fields::of(answer)?.rows() {
            let here = queue(row?)?;
            match counted.get_mut(&here.name) {
                Some(known) => add(known, &here),
                None => drop(counted.insert(here.name.clone(), here)),
            }
        }
    }
    Ok(counted.into_values().collect())
}

fn queue(mut row: Fields) -> Result<QueueRecord, QueueError> {
    let name = row.text()?;
    let paused = row.number::<i64>()? == 1;
    let oldest_due_at = row.some_moment()?;
    let (scheduled, waiting): (u64, u64) = (row.number()?, row.number()?);
    let counts = BTreeMap::from([
        (Status::Queued, waiting.saturating_sub(scheduled)),
        (Status::Scheduled, scheduled),
        (Status::Processing, row.number()?),
        (Status::Completed, row.number()?),
        (Status::Failed, row.number()?),
        (Status::Cancelled, row.number()?),
    ]);
    Ok(QueueRecord { name, paused, counts, oldest_due_at })
}

fn add(known: &mut QueueRecord, here: &QueueRecord) {
    known.paused |= here.paused;
    known.oldest_due_at = [known.oldest_due_at, here.oldest_due_at].into_iter().flatten().min();
    for (status, jobs) in &here.counts {
        *known.counts.entry(*status).or_default() += jobs;
    }
}

/// Lanes that match, in the order of queue, tenant and name.
pub(super) async fn lanes(
    server: &Server,
    filter: &LaneFilter,
    now: Moment,
) -> Result<Vec<LaneRecord>, QueueError> {
    let limit = usize::try_from(filter.limit).unwrap_or(usize::MAX);
    let mut found = Vec::new();
    for shard in shards_of(server, filter.tenant.as_ref()) {
        found.extend(lanes_of(server, shard, filter, limit, now).await?);
    }
    found.sort_by(|a: &LaneRecord, b| a.lane.cmp(&b.lane));
    found.truncate(limit);
    Ok(found)
}

async fn lanes_of(
    server: &Server,
    shard: usize,
    filter: &LaneFilter,
    limit: usize,
    now: Moment,
) -> Result<Vec<LaneRecord>, QueueError> {
    let begin = match (&filter.queue, &filter.tenant) {
        (Some(queue), Some(tenant)) => format!("{queue}{SEPARATOR}{tenant}{SEPARATOR}"),
        (Some(queue), None) => format!("{queue}{SEPARATOR}"),
        (None, _) => String::new(),
    };
    let of_tenant =
        |lane: &LaneRecord| filter.tenant.as_ref().is_none_or(|of| *of == lane.lane.tenant);
    let (mut found, mut after) = (Vec::new(), String::new());
    while found.len() < limit {
        let arguments = [begin.clone(), after, PAGE.to_string()];
        let answer = server.call(&LANES_PAGE, shard, Patience::Caller, &arguments).await?;
        let page = Fields::of(answer)?.texts().map(|text| parsed("a lane", &text?));
        let page = page.collect::<Result<Vec<LaneView>, _>>()?;
        let last = page.len() < PAGE;
        after = page.last().map_or_else(String::new, |lane| lane.id.clone());
        for lane in page {
            found.extend(lane.record(filter.held, now)?.filter(of_tenant));
        }
        if last {
            break;
        }
    }
    Ok(found)
}
