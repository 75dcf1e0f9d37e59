//! Whose turn it is: tenants of a queue, lanes of a tenant, jobs of a lane.
//!
//! One turn gives a run of jobs of one lane ([`Ask::run`]). Whoever was served goes to the back, so that
//! a tenant or lane gets a second turn only when everybody else had the chance of a first. Rows are read in pages, on demand.

use std::collections::{HashMap, VecDeque};

use jobs::contract::{LaneName, TenantId};
use serde_json::{Map, Value, json};

use super::{
    error::corrupt,
    lanes::{self, Lane, LaneRow},
    limits,
    tx::Tx,
};
use crate::queue::{Ask, QueueError};

/// Ready lanes of a tenant that are read at once.
const LANES: i64 = 8;
/// Heads of a lane that are read at first; more when the lane is served again.
const HEADS: usize = 4;

pub(super) const READY_TENANTS: &str = "
SELECT tenant, turn FROM tenants
 WHERE queue = $1 AND ready_lanes > 0 AND turn > $2 ORDER BY turn LIMIT $3";

/// Due jobs of a lane in run order, each priority from its own index range.
pub(super) const DUE: &str = "
SELECT seq FROM (
    SELECT * FROM (SELECT priority, run_at, seq FROM jobs
     WHERE lane = $1 AND priority = 0 AND state = 'waiting' AND run_at <= $2
     ORDER BY run_at, seq LIMIT $3 + $4)
    UNION ALL
    SELECT * FROM (SELECT priority, run_at, seq FROM jobs
     WHERE lane = $1 AND priority = 1 AND state = 'waiting' AND run_at <= $2
     ORDER BY run_at, seq LIMIT $3 + $4)
    UNION ALL
    SELECT * FROM (SELECT priority, run_at, seq FROM jobs
     WHERE lane = $1 AND priority = 2 AND state = 'waiting' AND run_at <= $2
     ORDER BY run_at, seq LIMIT $3 + $4)
) ORDER BY priority, run_at, seq LIMIT $3 OFFSET $4";

pub(super) const TENANT_TURNS: &str = "
UPDATE tenants SET turn = e.value FROM json_each($2) AS e WHERE queue = $1 AND tenant = e.key";

pub(super) const LANE_TURNS: &str = "
UPDATE lanes SET turn = e.value FROM json_each($1) AS e WHERE lanes.id = CAST(e.key AS INTEGER)";

/// A job that was taken.
#[derive(Debug)]
pub(super) struct Take {
    pub(super) job: i64,
    pub(super) lane: i64,
    pub(super) name: LaneName,
    tenant: TenantId,
}

/// A walk over the turns of one queue.
pub(super) struct Turns<'q> {
    queue: &'q str,
    max: usize,
    run: usize,
    tenants: Ring<Tenant>,
    taken: Vec<Take>,
    /// What this walk drew.
    drawn: Permits,
}

/// Those whose turn comes, in order: first who was not served in this walk, then who was.
struct Ring<T> {
    fresh: VecDeque<T>,
    served: VecDeque<T>,
    /// The turn of the last that was read; none when all are.
    read_to: Option<i64>,
}

impl<T> Ring<T> {
    fn new() -> Self {
        Self { fresh: VecDeque::new(), served: VecDeque::new(), read_to: Some(i64::MIN) }
    }

    /// Where the next page begins, if one is to be read before anybody is served.
    fn page(&self) -> Option<i64> {
        self.read_to.filter(|_| self.fresh.is_empty())
    }

    fn add(&mut self, page: impl IntoIterator<Item = (i64, T)>) {
        self.read_to = None;
        for (turn, one) in page {
            self.read_to = Some(turn);
            self.fresh.push_back(one);
        }
    }

    fn next(&mut self) -> Option<T> {
        self.fresh.pop_front().or_else(|| self.served.pop_front())
    }
}

struct Tenant {
    id: TenantId,
    lanes: Ring<Bench>,
}

/// Permits by owner and bucket.
type Permits = HashMap<(String, String), u32>;

/// A lane with its first jobs.
struct Bench {
    lane: Lane,
    heads: VecDeque<i64>,
    /// Whether all due jobs of the lane were read.
    read: bool,
    taken: usize,
    /// How many permits each bucket had when the lane was read.
    room: Permits,
}

impl<'q> Turns<'q> {
    pub(super) fn new(ask: &'q Ask) -> Self {
        let [max, run] = [ask.max, ask.run()].map(|n| usize::try_from(n).unwrap_or(usize::MAX));
        Self {
            queue: &ask.queue,
            max,
            run,
            tenants: Ring::new(),
            taken: Vec::new(),
            drawn: Permits::new(),
        }
    }

    /// Gives turns until `max` jobs are taken or nobody has anything left.
    ///
    /// A lane that gave nothing is touched, so that it is not ready any more. A lane that gave
    /// something must be touched once that is written.
    pub(super) async fn walk(mut self, tx: &mut Tx<'_>) -> Result<Vec<Take>, QueueError> {
        while self.taken.len() < self.max {
            if let Some(after) = self.tenants.page() {
                let page = self.read_tenants(tx, after).await?;
                self.tenants.add(page);
            }
            let Some(mut tenant) = self.tenants.next() else { break };
            let left = self.max - self.taken.len();
            let run = tenant.serve(tx, self.queue, self.run.min(left), &mut self.drawn).await?;
            if !run.is_empty() {
                self.taken.extend(run);
                self.tenants.served.push_back(tenant);
            }
        }
        if !self.taken.is_empty() {
            self.write(tx).await?;
        }
        Ok(self.taken)
    }

    async fn read_tenants(
        &self,
        tx: &mut Tx<'_>,
        after: i64,
    ) -> Result<Vec<(i64, Tenant)>, QueueError> {
        let rows: Vec<(String, i64)> = sqlx::query_as(READY_TENANTS)
            .bind(self.queue)
            .bind(after)
            .bind(i64::try_from(self.max - self.taken.len()).unwrap_or(i64::MAX))
            .fetch_all(&mut *tx.conn)
            .await?;
        rows.into_iter()
            .map(|(tenant, turn)| {
                let id = tenant.parse().map_err(|e| corrupt("a tenant", e))?;
                Ok((turn, Tenant { id, lanes: Ring::new() }))
            })
            .collect()
    }

    /// Sends who was served to the back, in the order in which they were.
    async fn write(&self, tx: &mut Tx<'_>) -> Result<(), QueueError> {
        let count = i64::try_from(self.taken.len()).unwrap_or(i64::MAX);
        let last = lanes::next_turns(tx, self.queue, count).await?;
        let (mut tenants, mut lanes) = (Map::new(), Map::new());
        for (turn, take) in (last - count + 1..).zip(&self.taken) {
            tenants.insert(take.tenant.to_string(), json!(turn));
            lanes.insert(take.lane.to_string(), json!(turn));
        }
        sqlx::query(TENANT_TURNS)
            .bind(self.queue)
            .bind(Value::Object(tenants).to_string())
            .execute(&mut *tx.conn)
            .await?;
        sqlx::query(LANE_TURNS)
            .bind(Value::Object(lanes).to_string())
            .execute(&mut *tx.conn)
            .await?;
        Ok(())
    }
}

impl Tenant {
    /// Takes up to `run` jobs from the first of its lanes, in turn, that has any to give.
    async fn serve(
        &mut self,
        tx: &mut Tx<'_>,
        queue: &str,
        run: usize,
        drawn: &mut Permits,
    ) -> Result<Vec<Take>, QueueError> {
        loop {
            if let Some(after) = self.lanes.page() {
                let page = self.read_lanes(tx, queue, after).await?;
                self.lanes.add(page);
            }
            let Some(mut bench) = self.lanes.next() else { return Ok(Vec::new()) };
            let mut takes = Vec::new();
            while takes.len() < run
                && let Some(job) = bench.give(tx, drawn, run).await?
            {
                let (lane, name) = (bench.lane.id, bench.lane.key.name.clone());
                takes.push(Take { job, lane, name, tenant: self.id.clone() });
            }
            if !takes.is_empty() {
                self.lanes.served.push_back(bench);
                return Ok(takes);
            }
            if bench.taken == 0 {
                tx.touch(bench.lane.id);
            }
        }
    }

    async fn read_lanes(
        &self,
        tx: &mut Tx<'_>,
        queue: &str,
        after: i64,
    ) -> Result<Vec<(i64, Bench)>, QueueError> {
        let rows: Vec<LaneRow> = sqlx::query_as(lanes::READY_IN_TURN)
            .bind(queue)
            .bind(self.id.as_str())
            .bind(after)
            .bind(LANES)
            .fetch_all(&mut *tx.conn)
            .await?;
        let mut page = Vec::with_capacity(rows.len());
        for row in rows {
            let bench = Bench::new(tx, row.try_into()?).await?;
            page.push((bench.lane.turn, bench));
        }
        Ok(page)
    }
}

impl Bench {
    async fn new(tx: &mut Tx<'_>, lane: Lane) -> Result<Self, QueueError> {
        let mut room = Permits::new();
        for limit in &lane.policy.limits {
            let free = limits::room(tx.conn, &lane.key.tenant, limit, tx.now).await?;
            let bucket = (limit.owner(&lane.key.tenant).to_owned(), limit.bucket.clone());
            let least = room.entry(bucket).or_insert(free);
            *least = free.min(*least);
        }
        Ok(Self { lane, heads: VecDeque::new(), read: false, taken: 0, room })
    }

    /// The lane's next job, if it has one and its limits admit it.
    async fn give(
        &mut self,
        tx: &mut Tx<'_>,
        drawn: &mut Permits,
        run: usize,
    ) -> Result<Option<i64>, QueueError> {
        let parked = self.lane.park.as_ref().is_some_and(|(until, _)| *until > tx.now);
        if self.lane.paused || parked {
            return Ok(None);
        }
        let seats = usize::try_from(self.lane.seats()).unwrap_or(usize::MAX);
        let has_room = |(bucket, room): (&(String, String), &u32)| {
            *room > drawn.get(bucket).copied().unwrap_or(0)
        };
        if self.taken >= seats || !self.room.iter().all(has_room) {
            return Ok(None);
        }
        if self.heads.is_empty() && !self.read {
            self.read_heads(tx, run).await?;
        }
        let Some(job) = self.heads.pop_front() else { return Ok(None) };
        self.taken += 1;
        for bucket in self.room.keys() {
            *drawn.entry(bucket.clone()).or_default() += 1;
        }
        Ok(Some(job))
    }

    async fn read_heads(&mut self, tx: &mut Tx<'_>, run: usize) -> Result<(), QueueError> {
        let want = HEADS.max(run).max(self.taken * 2);
        let heads: Vec<i64> = sqlx::query_scalar(DUE)
            .bind(self.lane.id)
            .bind(tx.now.millis())
            .bind(i64::try_from(want).unwrap_or(i64::MAX))
            .bind(i64::try_from(self.taken).unwrap_or(i64::MAX))
            .fetch_all(&mut *tx.conn)
            .await?;
        self.read = heads.len() < want;
        self.heads = heads.into();
        Ok(())
    }
}
