//! A lane's row, and the one place that works out whether something in it may be claimed.

use jobs::contract::{LaneName, Moment};
use serde_json::json;
use sqlx::SqliteConnection;

use super::{error::corrupt, limits, tx::Tx};
use crate::queue::{LanePolicy, LaneRef, ParkReason, QueueError};

/// Lanes (JSON: their numbers), each with the moment at which its first job runs; the head of each
/// priority is one index look-up.
pub(super) const OUTLOOK: &str = "
SELECT id, queue, tenant, name, policy, paused, parked_until, park_reason, turn, state, next_at,
       waiting, running,
       nullif(min(
           coalesce((SELECT min(run_at) FROM jobs
                      WHERE lane = lanes.id AND priority = 0 AND state = 'waiting'), $2),
           coalesce((SELECT min(run_at) FROM jobs
                      WHERE lane = lanes.id AND priority = 1 AND state = 'waiting'), $2),
           coalesce((SELECT min(run_at) FROM jobs
                      WHERE lane = lanes.id AND priority = 2 AND state = 'waiting'), $2)
       ), $2) AS first_run
  FROM lanes WHERE id IN (SELECT value FROM json_each($1))";

pub(super) const LOAD: &str = "
SELECT id, queue, tenant, name, policy, paused, parked_until, park_reason, turn, state, next_at,
       waiting, running
  FROM lanes WHERE id = $1";

pub(super) const FIND: &str = "SELECT id FROM lanes WHERE queue = $1 AND tenant = $2 AND name = $3";

/// A lane as it is stored.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) id: i64,
    pub(super) key: LaneRef,
    pub(super) policy: LanePolicy,
    pub(super) paused: bool,
    pub(super) park: Option<(Moment, ParkReason)>,
    pub(super) turn: i64,
    pub(super) waiting: u64,
    pub(super) running: u64,
    state: (State, Option<Moment>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Later,
    Ready,
}

impl State {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Later => "later",
            Self::Ready => "ready",
        }
    }
}

/// The columns of [`Lane`].
#[derive(Debug, sqlx::FromRow)]
pub(super) struct LaneRow {
    id: i64,
    queue: String,
    tenant: String,
    name: String,
    policy: Option<String>,
    paused: bool,
    parked_until: Option<i64>,
    park_reason: Option<String>,
    turn: i64,
    state: String,
    next_at: Option<i64>,
    waiting: i64,
    running: i64,
    /// Only where it was asked for.
    #[sqlx(default)]
    first_run: Option<i64>,
}

impl TryFrom<LaneRow> for Lane {
    type Error = QueueError;

    fn try_from(row: LaneRow) -> Result<Self, QueueError> {
        let policy = row.policy.map(|text| serde_json::from_str(&text)).transpose();
        let reason = row.park_reason.map(|text| serde_json::from_str(&text)).transpose();
        let reason = reason.map_err(|e| corrupt("a reason for parking", e))?;
        let state = match row.state.as_str() {
            "ready" => State::Ready,
            "later" => State::Later,
            _ => State::Idle,
        };
        Ok(Self {
            id: row.id,
            key: LaneRef {
                queue: row.queue,
                tenant: row.tenant.parse().map_err(|e| corrupt("a tenant", e))?,
                name: LaneName::from_text(row.name),
            },
            policy: policy.map_err(|e| corrupt("a lane's policy", e))?.unwrap_or_default(),
            paused: row.paused,
            park: row.parked_until.map(Moment::from_millis).zip(reason),
            turn: row.turn,
            waiting: u64::try_from(row.waiting).unwrap_or_default(),
            running: u64::try_from(row.running).unwrap_or_default(),
            state: (state, row.next_at.map(Moment::from_millis)),
        })
    }
}

impl Lane {
    pub(super) async fn load(
        conn: &mut SqliteConnection,
        id: i64,
    ) -> Result<Option<Self>, QueueError> {
        let row: Option<LaneRow> = sqlx::query_as(LOAD).bind(id).fetch_optional(conn).await?;
        row.map(Self::try_from).transpose()
    }

    /// How many more of its jobs may run at once.
    pub(super) fn seats(&self) -> u32 {
        let seats = u64::from(self.policy.in_flight.unwrap_or(u32::MAX));
        u32::try_from(seats.saturating_sub(self.running)).unwrap_or(u32::MAX)
    }
}

/// What holds a lane's due jobs back, beside an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hold {
    /// Until when it is parked, by a limit or by somebody, and why.
    pub(super) parked: Option<(Moment, ParkReason)>,
    /// Whether as many of its jobs run as may.
    pub(super) full: bool,
}

/// Works out what holds the lane back at `now`.
pub(super) async fn hold(
    conn: &mut SqliteConnection,
    lane: &Lane,
    now: Moment,
) -> Result<Hold, QueueError> {
    let limits = &lane.policy.limits;
    let limit = limits::blocked_until(conn, &lane.key.tenant, limits, now).await?;
    let limit = limit.map(|(until, limit)| (until, ParkReason::Limit(limit.label.clone())));
    let park = lane.park.clone().filter(|(until, _)| *until > now);
    let parked = match (park, limit) {
        (Some(park), Some(limit)) => Some(if limit.0 > park.0 { limit } else { park }),
        (park, limit) => park.or(limit),
    };
    Ok(Hold { parked, full: lane.seats() == 0 })
}

/// The lane's number, if it is known.
pub(super) async fn find(
    conn: &mut SqliteConnection,
    lane: &LaneRef,
) -> Result<Option<i64>, QueueError> {
    Ok(sqlx::query_scalar(FIND)
        .bind(&lane.queue)
        .bind(lane.tenant.as_str())
        .bind(lane.name.as_str())
        .fetch_optional(conn)
        .await?)
}

/// The lane's number; a new lane, tenant or queue is made, at the end of the line. `policy` holds for
/// a lane that has none yet.
pub(super) async fn ensure(
    tx: &mut Tx<'_>,
    lane: &LaneRef,
    policy: Option<&LanePolicy>,
) -> Result<i64, QueueError> {
    let id = match find(tx.conn, lane).await? {
        Some(id) => id,
        None => make(tx, lane).await?,
    };
    if let Some(policy) = policy {
        let sql = "UPDATE lanes SET policy = $2 WHERE id = $1 AND policy IS NULL";
        if write_policy(tx, sql, id, policy).await? {
            limits::bind(tx, id, &lane.tenant, policy).await?;
        }
    }
    Ok(id)
}

/// Writes the policy by this statement, and says whether a lane took it.
pub(super) async fn write_policy(
    tx: &mut Tx<'_>,
    sql: &'static str,
    id: i64,
    policy: &LanePolicy,
) -> Result<bool, QueueError> {
    let text = serde_json::to_string(policy).map_err(|e| corrupt("a lane's policy", e))?;
    let done = sqlx::query(sql).bind(id).bind(text).execute(&mut *tx.conn).await?;
    Ok(done.rows_affected() > 0)
}

async fn make(tx: &mut Tx<'_>, lane: &LaneRef) -> Result<i64, QueueError> {
    let turn = next_turns(tx, &lane.queue, 1).await?;
    let sql = "INSERT OR IGNORE INTO tenants (queue, tenant, turn) VALUES ($1, $2, $3)";
    sqlx::query(sql)
        .bind(&lane.queue)
        .bind(lane.tenant.as_str())
        .bind(turn)
        .execute(&mut *tx.conn)
        .await?;
    let sql = "INSERT INTO lanes (queue, tenant, turn, name) VALUES ($1, $2, $3, $4) RETURNING id";
    Ok(sqlx::query_scalar(sql)
        .bind(&lane.queue)
        .bind(lane.tenant.as_str())
        .bind(turn)
        .bind(lane.name.as_str())
        .fetch_one(&mut *tx.conn)
        .await?)
}

/// Draws `count` turn numbers of the queue, which is made if it is new, and answers the last.
pub(super) async fn next_turns(
    tx: &mut Tx<'_>,
    queue: &str,
    count: i64,
) -> Result<i64, QueueError> {
    let sql = "INSERT INTO queues (name, turn) VALUES ($1, $2)
               ON CONFLICT (name) DO UPDATE SET turn = turn + excluded.turn RETURNING turn";
    Ok(sqlx::query_scalar(sql).bind(queue).bind(count).fetch_one(&mut *tx.conn).await?)
}

/// Works the states of lanes out anew, and wakes their queues if something may be claimed, now or at
/// an earlier moment than was known. Answers the first such moment, if there is one.
pub(super) async fn refresh(
    tx: &mut Tx<'_>,
    ids: impl IntoIterator<Item = i64>,
) -> Result<Option<Moment>, QueueError> {
    let ids: Vec<i64> = ids.into_iter().collect();
    if ids.is_empty() {
        return Ok(None);
    }
    let rows: Vec<LaneRow> = sqlx::query_as(OUTLOOK)
        .bind(json!(ids).to_string())
        .bind(i64::MAX)
        .fetch_all(&mut *tx.conn)
        .await?;
    let mut first = None;
    for row in rows {
        let first_run = row.first_run.map(Moment::from_millis);
        let at = refresh_one(tx, &row.try_into()?, first_run).await?;
        first = [first, at].into_iter().flatten().min();
    }
    Ok(first)
}

async fn refresh_one(
    tx: &mut Tx<'_>,
    lane: &Lane,
    first_run: Option<Moment>,
) -> Result<Option<Moment>, QueueError> {
    let (state, next_at) = outlook(tx.conn, lane, first_run, tx.now).await?;
    let earlier = next_at.is_some_and(|at| lane.state.1.is_none_or(|known| at < known));
    if state == State::Ready || (earlier && lane.state.0 != State::Ready) {
        tx.wake(&lane.key.queue);
    }
    if (state, next_at) != lane.state {
        sqlx::query("UPDATE lanes SET state = $2, next_at = $3 WHERE id = $1")
            .bind(lane.id)
            .bind(state.as_str())
            .bind(next_at.map(Moment::millis))
            .execute(&mut *tx.conn)
            .await?;
    }
    Ok(if state == State::Ready { Some(tx.now) } else { next_at })
}

async fn outlook(
    conn: &mut SqliteConnection,
    lane: &Lane,
    first_run: Option<Moment>,
    now: Moment,
) -> Result<(State, Option<Moment>), QueueError> {
    let first_run = first_run.filter(|_| !lane.paused && lane.seats() > 0);
    let Some(first_run) = first_run else { return Ok((State::Idle, None)) };
    let parked = hold(conn, lane, now).await?.parked;
    let at = parked.map_or(first_run, |(until, _)| until.max(first_run));
    Ok(if at <= now { (State::Ready, None) } else { (State::Later, Some(at)) })
}

/// Lanes that match, in the order of queue, tenant and name, from after the last of the page before.
pub(super) const PAGE: &str = "
SELECT id, queue, tenant, name, policy, paused, parked_until, park_reason, turn, state, next_at,
       waiting, running
  FROM lanes
 WHERE ($1 IS NULL OR queue = $1) AND ($2 IS NULL OR tenant = $2)
   AND ($3 = 0 OR paused = 1 OR parked_until IS NOT NULL OR waiting > 0)
   AND (queue, tenant, name) > ($4, $5, $6)
 ORDER BY queue, tenant, name LIMIT $7";

/// Ready lanes of a tenant in turn, from after the last of the page before.
pub(super) const READY_IN_TURN: &str = "
SELECT id, queue, tenant, name, policy, paused, parked_until, park_reason, turn, state, next_at,
       waiting, running
  FROM lanes
 WHERE queue = $1 AND tenant = $2 AND state = 'ready' AND turn > $3
 ORDER BY turn LIMIT $4";
