//! Jobs to measure with, and bringing them in.

use std::{
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use jobs::contract::{Job, JobId, LaneName, Moment, TenantId};

use super::{
    Failure,
    noop::{Noop, payload},
};
use crate::queue::{Enqueued, LanePolicy, Limit, NewJob, Priority, Queue, Submission};

/// Jobs of a submission where the size is not what is measured.
pub(super) const BATCH: u32 = 1_000;
/// Submissions of a backlog that are under way at once.
const AT_ONCE: usize = 2;

/// Jobs of one lane.
#[derive(Debug, Clone)]
pub(super) struct Lot {
    tenant: TenantId,
    lane: LaneName,
    policy: Arc<LanePolicy>,
    payload: Bytes,
    run_at: Option<Moment>,
}

impl Lot {
    /// Jobs of a lane with a limit that is counted for each of them and never reached.
    pub(super) fn limited() -> Self {
        static LIMITED: LazyLock<Arc<LanePolicy>> = LazyLock::new(|| Arc::new(limited("bench")));
        Self { policy: Arc::clone(&LIMITED), ..Self::unlimited() }
    }

    /// Jobs of a lane without any limit.
    pub(super) fn unlimited() -> Self {
        Self {
            tenant: tenant(0),
            lane: LaneName::tenant(),
            policy: Arc::default(),
            payload: payload(None),
            run_at: None,
        }
    }

    /// The same in another lane, with a limit of its own.
    pub(super) fn in_lane(mut self, number: u32) -> Self {
        let name = format!("lane-{number}");
        self.policy = Arc::new(limited(&name));
        self.lane = LaneName::custom(&name);
        self
    }

    /// The same of another tenant.
    pub(super) fn of_tenant(mut self, number: u32) -> Self {
        self.tenant = tenant(number);
        self
    }

    /// The same, each measuring how long it waited since then.
    pub(super) fn since(mut self, ms: f64) -> Self {
        self.payload = payload(Some(ms));
        self
    }

    /// The same, not before a moment.
    pub(super) fn not_before(mut self, at: Moment) -> Self {
        self.run_at = Some(at);
        self
    }

    /// So many of it.
    pub(super) fn submission(&self, jobs: u32) -> Submission {
        together(&self.tenant, (0..jobs).map(|_| self.job()).collect())
    }

    /// Whose they are.
    pub(super) fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// A job of it.
    pub(super) fn job(&self) -> NewJob {
        NewJob {
            id: JobId::generate(),
            kind: Noop::KIND.to_owned(),
            queue: Noop::QUEUE.to_owned(),
            lane: self.lane.clone(),
            policy: Arc::clone(&self.policy),
            payload: self.payload.clone(),
            priority: Priority::Normal,
            run_at: self.run_at,
            max_attempts: Noop::RETRY.max_attempts,
            unique: None,
            total_items: 1,
            tags: Vec::new(),
            request_id: "bench".to_owned(),
            callback: Vec::new(),
        }
    }
}

/// A submission as the intake would make it.
fn together(tenant: &TenantId, mut jobs: Vec<NewJob>) -> Submission {
    NewJob::name_together(&mut jobs);
    Submission { tenant: tenant.clone(), jobs, idempotency: None }
}

fn tenant(number: u32) -> TenantId {
    format!("tenant-{number}").parse().expect("a tenant name by the rules of TenantId")
}

fn limited(bucket: &str) -> LanePolicy {
    let limit = Limit {
        bucket: bucket.to_owned(),
        label: "bench 1000000000/min".to_owned(),
        count: 1_000_000_000,
        window_ms: 60_000,
        shared: false,
    };
    LanePolicy { limits: vec![limit], in_flight: None }
}

/// Brings `count` jobs of lots of one tenant in, in turns, `batch` in a submission, so many submissions
/// at once; how long it took.
pub(super) async fn bring(
    queue: &dyn Queue,
    lots: &[Lot],
    count: u32,
    batch: u32,
    at_once: usize,
) -> Result<Duration, Failure> {
    let submission = |from: u32| {
        let numbers = from..count.min(from.saturating_add(batch));
        let jobs = numbers.map(|n| lots[n as usize % lots.len()].job());
        together(&lots[0].tenant, jobs.collect())
    };
    let since = Instant::now();
    stream::iter((0..count).step_by(batch as usize))
        .map(|from| submit(queue, submission(from)))
        .buffer_unordered(at_once)
        .try_for_each(|_| async { Ok(()) })
        .await?;
    Ok(since.elapsed())
}

/// Brings a backlog in, as fast as it goes.
pub(super) async fn backlog(queue: &dyn Queue, lots: &[Lot], count: u32) -> Result<(), Failure> {
    bring(queue, lots, count, BATCH, AT_ONCE).await.map(drop)
}

/// Brings jobs of one tenant in together; their ids.
pub(super) async fn submit(
    queue: &dyn Queue,
    submission: Submission,
) -> Result<Vec<JobId>, Failure> {
    match queue.enqueue(submission).await? {
        Enqueued::Fresh(ids) => Ok(ids),
        other => Err(Failure::unavailable(format!("a new job was answered with {other:?}"))),
    }
}
