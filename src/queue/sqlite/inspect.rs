//! Reading, on connections that cannot write.

use std::collections::{BTreeMap, HashMap, hash_map::Entry};

use jobs::contract::{JobId, Moment, TenantId};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::{
    error::corrupt,
    lanes::{self, Hold, Lane, LaneRow, hold},
    record::{JobRow, Surroundings, attempts},
};
use crate::queue::{JobFilter, JobRecord, LaneFilter, LaneRecord, QueueError, QueueRecord, Status};

/// Lanes that are read at once.
const PAGE: i64 = 200;

const JOBS: &str = "
SELECT j.seq, j.lane, j.id, j.tenant, j.kind, j.queue, l.name AS lane_name, j.state, j.priority,
       j.run_at, j.wait, j.wait_reason, j.attempt, j.max_attempts, j.crashes, j.items, j.cursor,
       j.result, j.skipped, j.error, j.cancelled_by, j.cancel_requested, j.retryable, j.tags,
       j.request_id, j.created_at, j.started_at, j.completed_at, j.callback, j.version
  FROM jobs AS j JOIN lanes AS l ON l.id = j.lane WHERE ";

/// As the index `jobs_untold` has them.
const UNTOLD: &str = "j.callback IS NOT NULL AND j.told = 0 AND j.completed_at IS NOT NULL
 ORDER BY j.completed_at LIMIT ";

const QUEUES: &str = "
SELECT q.name, q.paused,
       (SELECT min(run_at) FROM jobs WHERE queue = q.name AND state = 'waiting' AND run_at <= $1),
       (SELECT count(*) FROM jobs WHERE queue = q.name AND state = 'waiting' AND run_at > $1)
  FROM queues AS q ORDER BY q.name";

/// One job of a tenant.
pub(super) async fn job(
    conn: &mut SqliteConnection,
    tenant: &TenantId,
    id: JobId,
    now: Moment,
) -> Result<Option<JobRecord>, QueueError> {
    let mut query = QueryBuilder::<Sqlite>::new(JOBS);
    query.push("j.id = ").push_bind(id.to_string());
    query.push(" AND j.tenant = ").push_bind(tenant.as_str());
    let row: Option<JobRow> = query.build_query_as().fetch_optional(&mut *conn).await?;
    let Some(row) = row else { return Ok(None) };
    records(conn, vec![row], now).await.map(|mut records| records.pop())
}

/// Jobs that match, newest first.
pub(super) async fn jobs(
    conn: &mut SqliteConnection,
    filter: &JobFilter,
    now: Moment,
) -> Result<Vec<JobRecord>, QueueError> {
    let mut query = QueryBuilder::<Sqlite>::new(JOBS);
    query.push("true");
    // Jobs that run, and the dead, are few and have indexes of their own; walking the backlog by id
    // would find them last. A plus keeps SQLite from it.
    let (id, tenant) = match filter.status {
        Some(Status::Processing) => ("+j.id", " AND +j.tenant = "),
        Some(Status::Failed) => ("+j.id", " AND j.tenant = "),
        _ => ("j.id", " AND j.tenant = "),
    };
    let equal = [
        (tenant, filter.tenant.as_ref().map(TenantId::as_str)),
        (" AND j.queue = ", filter.queue.as_deref()),
        (" AND j.kind = ", filter.kind.as_deref()),
        (" AND l.name = ", filter.lane.as_ref().map(|lane| lane.as_str())),
    ];
    for (column, value) in equal {
        if let Some(value) = value {
            query.push(column).push_bind(value);
        }
    }
    if let Some(status) = filter.status {
        query.push(match status {
            Status::Queued | Status::Scheduled => " AND j.state = 'waiting'",
            Status::Processing => " AND j.state = 'processing'",
            Status::Completed => " AND j.state = 'completed'",
            Status::Failed => " AND j.state = 'failed'",
            Status::Cancelled => " AND j.state = 'cancelled'",
        });
        match status {
            Status::Queued => query.push(" AND j.run_at <= ").push_bind(now.millis()),
            Status::Scheduled => query.push(" AND j.run_at > ").push_bind(now.millis()),
            _ => &mut query,
        };
    }
    if let Some(tag) = &filter.tag {
        query.push(" AND EXISTS (SELECT 1 FROM json_each(j.tags) WHERE value = ");
        query.push_bind(tag).push(")");
    }
    if let Some(before) = filter.before {
        query.push(" AND ").push(id).push(" < ").push_bind(before.to_string());
    }
    query.push(" ORDER BY ").push(id).push(" DESC LIMIT ").push_bind(filter.limit);
    let rows: Vec<JobRow> = query.build_query_as().fetch_all(&mut *conn).await?;
    records(conn, rows, now).await
}

/// Finished jobs whose end is still to be told.
pub(super) async fn untold(
    conn: &mut SqliteConnection,
    max: u32,
    now: Moment,
) -> Result<Vec<JobRecord>, QueueError> {
    let mut query = QueryBuilder::<Sqlite>::new(JOBS);
    query.push(UNTOLD).push_bind(max);
    let rows: Vec<JobRow> = query.build_query_as().fetch_all(&mut *conn).await?;
    records(conn, rows, now).await
}

async fn records(
    conn: &mut SqliteConnection,
    rows: Vec<JobRow>,
    now: Moment,
) -> Result<Vec<JobRecord>, QueueError> {
    let mut around: HashMap<i64, Surroundings> = HashMap::new();
    let mut records = Vec::with_capacity(rows.len());
    for row in rows {
        let status = row.status(now);
        let mut waiting = None;
        if matches!(status, Status::Queued | Status::Scheduled) {
            let around = match around.entry(row.lane) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(surroundings(conn, row.lane, now).await?),
            };
            waiting = row.waiting(around, now);
        }
        let attempts = attempts(conn, row.seq).await?;
        records.push(row.record(status, attempts, waiting)?);
    }
    Ok(records)
}

async fn surroundings(
    conn: &mut SqliteConnection,
    lane: i64,
    now: Moment,
) -> Result<Surroundings, QueueError> {
    let lane = Lane::load(conn, lane).await?.ok_or_else(|| corrupt("a job", "without lane"))?;
    let sql = "SELECT paused FROM queues WHERE name = $1";
    let queue_paused = sqlx::query_scalar(sql).bind(&lane.key.queue).fetch_one(&mut *conn).await?;
    let hold = hold(conn, &lane, now).await?;
    Ok(Surroundings { queue_paused, lane, hold })
}

/// Every queue, counted.
pub(super) async fn queues(
    conn: &mut SqliteConnection,
    now: Moment,
) -> Result<Vec<QueueRecord>, QueueError> {
    let queues: Vec<(String, bool, Option<i64>, i64)> =
        sqlx::query_as(QUEUES).bind(now.millis()).fetch_all(&mut *conn).await?;
    let tallies: Vec<(String, String, i64)> =
        sqlx::query_as("SELECT queue, state, jobs FROM tallies").fetch_all(conn).await?;
    let records = queues.into_iter().map(|(name, paused, oldest, later)| {
        let of = |state: &str| {
            let tally = tallies.iter().find(|(q, s, _)| *q == name && s == state);
            tally.map_or(0, |(_, _, jobs)| *jobs)
        };
        let counts = Status::ALL.map(|status| {
            let jobs = match status {
                Status::Queued => of("waiting") - later,
                Status::Scheduled => later,
                other => of(other.as_str()),
            };
            (status, u64::try_from(jobs).unwrap_or_default())
        });
        QueueRecord {
            paused,
            counts: BTreeMap::from(counts),
            oldest_due_at: oldest.map(Moment::from_millis),
            name,
        }
    });
    Ok(records.collect())
}

/// Lanes that match, in the order of queue, tenant and name.
pub(super) async fn lanes(
    conn: &mut SqliteConnection,
    filter: &LaneFilter,
    now: Moment,
) -> Result<Vec<LaneRecord>, QueueError> {
    let limit = usize::try_from(filter.limit).unwrap_or(usize::MAX);
    let mut after = (String::new(), String::new(), String::new());
    let mut records = Vec::new();
    loop {
        let rows: Vec<LaneRow> = sqlx::query_as(lanes::PAGE)
            .bind(&filter.queue)
            .bind(filter.tenant.as_ref().map(TenantId::as_str))
            .bind(filter.held)
            .bind(after.0)
            .bind(after.1)
            .bind(after.2)
            .bind(PAGE)
            .fetch_all(&mut *conn)
            .await?;
        let last = i64::try_from(rows.len()).is_ok_and(|read| read < PAGE);
        let page = rows.into_iter().map(Lane::try_from).collect::<Result<Vec<_>, _>>()?;
        after = page.last().map_or_else(Default::default, |lane| {
            let key = &lane.key;
            (key.queue.clone(), key.tenant.to_string(), key.name.as_str().to_owned())
        });
        for lane in page {
            if records.len() >= limit {
                return Ok(records);
            }
            records.extend(record(conn, lane, filter.held, now).await?);
        }
        if last {
            return Ok(records);
        }
    }
}

async fn record(
    conn: &mut SqliteConnection,
    lane: Lane,
    only_held: bool,
    now: Moment,
) -> Result<Option<LaneRecord>, QueueError> {
    let Hold { mut parked, full } = hold(conn, &lane, now).await?;
    if lane.waiting == 0 {
        // A limit parks nobody where nobody waits.
        parked = lane.park.clone().filter(|(until, _)| *until > now);
    }
    let held = lane.paused || parked.is_some() || (full && lane.waiting > 0);
    if only_held && !held {
        return Ok(None);
    }
    Ok(Some(LaneRecord {
        waiting: lane.waiting,
        in_flight: lane.running,
        paused: lane.paused,
        parked,
        policy: lane.policy,
        lane: lane.key,
    }))
}
