//! A queue in memory: what the façade asks of a queue, with hands for the tests to move it by.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use jobs::contract::{Cursor, JobId, Moment, TenantId};
use postrider::queue::{
    Ask, Cancelled, Changed, Claims, Drawn, Enqueued, Hold, Idempotency, Inspect, JobFilter,
    JobRecord, Lack, LaneFilter, LanePolicy, LaneRecord, LaneRef, LeaseRef, Limit, NewJob,
    ParkReason, PauseTarget, Queue, QueueError, QueueRecord, Rescued, Retention, Seen, Settled,
    Settlement, Status, Submission, Waiting, with_ids,
};
use tokio::sync::watch;

/// A queue whose clock stands still until a test moves it.
pub(super) struct Memory {
    state: Mutex<State>,
    version: watch::Sender<u64>,
}

struct State {
    now: Moment,
    down: bool,
    full: bool,
    above_mark: bool,
    reads: usize,
    jobs: BTreeMap<JobId, JobRecord>,
    unique: HashMap<(TenantId, String), JobId>,
    remembered: HashMap<(TenantId, String), ([u8; 32], Bytes)>,
    permits: HashMap<(TenantId, String), Vec<Moment>>,
}

impl Memory {
    pub(super) fn new() -> Self {
        let state = State {
            now: Moment::from_millis(1_781_082_000_250),
            down: false,
            full: false,
            above_mark: false,
            reads: 0,
            jobs: BTreeMap::new(),
            unique: HashMap::new(),
            remembered: HashMap::new(),
            permits: HashMap::new(),
        };
        Self { state: Mutex::new(state), version: watch::Sender::new(1) }
    }

    /// Puts the queue out of reach, or back.
    pub(super) fn set_down(&self, down: bool) {
        self.lock().down = down;
    }

    /// Refuses everything that writes, as a full disk does.
    pub(super) fn set_full(&self) {
        self.lock().full = true;
    }

    /// Takes no new jobs in, as a server whose memory is above its mark; all else goes on.
    pub(super) fn set_above_mark(&self, above: bool) {
        self.lock().above_mark = above;
    }

    /// Moves the clock.
    pub(super) fn pass(&self, time: Duration) {
        let mut state = self.lock();
        state.now = state.now.plus(time);
    }

    /// Changes a job, as a worker or an operator would.
    pub(super) fn change(&self, id: &str, how: impl FnOnce(&mut JobRecord)) {
        let mut state = self.lock();
        let job = state.jobs.get_mut(&id.parse().unwrap()).expect("the job is there");
        how(job);
        job.version += 1;
        drop(state);
        self.version.send_modify(|version| *version += 1);
    }

    /// Changes why a job waits, which is around its record and not in it.
    pub(super) fn surround(&self, id: &str, waiting: Waiting) {
        let mut state = self.lock();
        state.jobs.get_mut(&id.parse().unwrap()).expect("the job is there").waiting = Some(waiting);
        drop(state);
        self.stir();
    }

    /// Deletes a job.
    pub(super) fn forget(&self, id: &str) {
        self.lock().jobs.remove(&id.parse().unwrap());
        self.version.send_modify(|version| *version += 1);
    }

    /// Lets something happen that concerns no watched job.
    pub(super) fn stir(&self) {
        self.version.send_modify(|version| *version += 1);
    }

    /// Every job, oldest id first.
    pub(super) fn all(&self) -> Vec<JobRecord> {
        self.lock().jobs.values().cloned().collect()
    }

    /// How many times a job was read.
    pub(super) fn reads(&self) -> usize {
        self.lock().reads
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn reach(&self) -> Result<MutexGuard<'_, State>, QueueError> {
        let state = self.lock();
        // The words stand for whatever an adapter says: none of it may reach a caller.
        let error = || QueueError::Unavailable("redis://secret-host:6379 refused".into());
        if state.down { Err(error()) } else { Ok(state) }
    }

    fn room(&self) -> Result<MutexGuard<'_, State>, QueueError> {
        let state = self.reach()?;
        let error = || QueueError::Unavailable("the disk is full".into());
        if state.full { Err(error()) } else { Ok(state) }
    }
}

fn record(tenant: &TenantId, job: NewJob, now: Moment) -> JobRecord {
    let later = job.run_at.is_some_and(|at| at > now);
    JobRecord {
        id: job.id,
        tenant: tenant.clone(),
        kind: job.kind,
        queue: job.queue,
        lane: job.lane,
        status: if later { Status::Scheduled } else { Status::Queued },
        priority: job.priority,
        attempt: 0,
        max_attempts: job.max_attempts,
        crashes: 0,
        cursor: Cursor { total: job.total_items, ..Cursor::default() },
        result: None,
        skipped: None,
        error: None,
        attempts: Vec::new(),
        waiting: None,
        cancelled_by: None,
        cancel_requested: false,
        retryable: false,
        run_at: job.run_at.unwrap_or(now),
        created_at: now,
        started_at: None,
        completed_at: None,
        tags: job.tags,
        request_id: job.request_id,
        callback: job.callback,
        version: 1,
    }
}

#[async_trait]
impl Queue for Memory {
    async fn enqueue(&self, submission: Submission) -> Result<Enqueued, QueueError> {
        let mut state = self.room()?;
        let Submission { tenant, jobs, idempotency } = submission;
        let key = |new: &Idempotency| (tenant.clone(), new.key.clone());
        if let Some(new) = &idempotency {
            match state.remembered.get(&key(new)) {
                Some((same, answer)) if *same == new.fingerprint => {
                    return Ok(Enqueued::Replayed(answer.clone()));
                }
                Some(_) => return Ok(Enqueued::KeyReused),
                None => {}
            }
        }
        if state.above_mark {
            return Err(QueueError::Unavailable("redis uses 81 % of its memory".into()));
        }
        let asked: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
        let now = state.now;
        let mut ids = Vec::new();
        for job in jobs {
            let twin = job.unique.clone().map(|key| (tenant.clone(), key));
            if let Some(known) = twin.as_ref().and_then(|key| state.unique.get(key)) {
                ids.push(*known);
                continue;
            }
            ids.push(job.id);
            state.unique.extend(twin.map(|key| (key, job.id)));
            state.jobs.insert(job.id, record(&tenant, job, now));
        }
        if let Some(new) = idempotency {
            let answer = with_ids(&new.answer, &asked, &ids);
            state.remembered.insert(key(&new), (new.fingerprint, answer));
        }
        drop(state);
        self.version.send_modify(|version| *version += 1);
        Ok(Enqueued::Fresh(ids))
    }

    async fn draw(&self, tenant: &TenantId, limit: &Limit) -> Result<Drawn, QueueError> {
        let mut state = self.room()?;
        let now = state.now;
        let window = Duration::from_millis(limit.window_ms);
        let log = state.permits.entry((tenant.clone(), limit.bucket.clone())).or_default();
        log.retain(|at| at.plus(window) > now);
        let granted = log.len() < limit.count as usize;
        if granted {
            log.push(now);
        }
        let reset = if granted { log.last() } else { log.first() };
        Ok(Drawn {
            granted,
            remaining: limit.count - u32::try_from(log.len()).unwrap(),
            reset_at: reset.expect("there is a permit in it").plus(window),
        })
    }

    fn now(&self) -> Moment {
        self.lock().now
    }

    async fn claim(&self, _: &Ask) -> Result<Claims, QueueError> {
        unreachable!("the façade claims nothing")
    }

    async fn extend(&self, _: &[LeaseRef], _: Duration) -> Result<Vec<Hold>, QueueError> {
        unreachable!("the façade holds nothing")
    }

    async fn settle(&self, _: Vec<Settlement>) -> Result<Vec<Settled>, QueueError> {
        unreachable!("the façade settles nothing")
    }

    async fn checkpoint(&self, _: &LeaseRef, _: &Cursor) -> Result<bool, QueueError> {
        unreachable!("the façade runs nothing")
    }

    async fn promote(&self, _: u32) -> Result<u32, QueueError> {
        unreachable!("the façade promotes nothing")
    }

    async fn rescue(&self, _: u32, _: u32) -> Result<Vec<Rescued>, QueueError> {
        unreachable!("the façade rescues nothing")
    }

    async fn prune(&self, _: u32, _: &Retention) -> Result<u32, QueueError> {
        unreachable!("the façade prunes nothing")
    }

    async fn cancel(&self, _: &TenantId, _: JobId, _: &str) -> Result<Cancelled, QueueError> {
        unreachable!("the façade cancels nothing")
    }

    async fn retry(&self, _: &TenantId, _: JobId) -> Result<Changed, QueueError> {
        unreachable!("the façade retries nothing")
    }

    async fn discard(&self, _: &TenantId, _: JobId) -> Result<Changed, QueueError> {
        unreachable!("the façade discards nothing")
    }

    async fn park(&self, _: &LaneRef, _: Moment, _: &ParkReason) -> Result<(), QueueError> {
        unreachable!("the façade parks nothing")
    }

    async fn pause(&self, _: &PauseTarget, _: bool) -> Result<Changed, QueueError> {
        unreachable!("the façade pauses nothing")
    }

    async fn set_policy(&self, _: &LaneRef, _: &LanePolicy) -> Result<(), QueueError> {
        unreachable!("the façade sets no policy")
    }

    async fn told(&self, _: &TenantId, _: JobId, _: u64) -> Result<(), QueueError> {
        unreachable!("the façade tells nothing")
    }

    async fn wait(&self, _: &str, _: Seen, _: Option<Moment>) {
        unreachable!("the façade waits for changes of jobs")
    }
}

#[async_trait]
impl Inspect for Memory {
    async fn job(&self, tenant: &TenantId, id: JobId) -> Result<Option<JobRecord>, QueueError> {
        let mut state = self.reach()?;
        state.reads += 1;
        Ok(state.jobs.get(&id).filter(|job| job.tenant == *tenant).cloned())
    }

    async fn jobs(&self, _: &JobFilter) -> Result<Vec<JobRecord>, QueueError> {
        unreachable!("the façade lists nothing")
    }

    async fn untold(&self, _: u32) -> Result<Vec<JobRecord>, QueueError> {
        unreachable!("the façade tells nothing")
    }

    async fn queues(&self) -> Result<Vec<QueueRecord>, QueueError> {
        let state = self.reach()?;
        let mut queues = BTreeMap::new();
        for job in state.jobs.values() {
            let queue = queues.entry(job.queue.clone()).or_insert_with(|| QueueRecord {
                name: job.queue.clone(),
                paused: false,
                counts: BTreeMap::new(),
                oldest_due_at: None,
            });
            *queue.counts.entry(job.status).or_default() += 1;
            queue.oldest_due_at.get_or_insert(job.run_at);
        }
        Ok(queues.into_values().collect())
    }

    async fn lanes(&self, _: &LaneFilter) -> Result<Vec<LaneRecord>, QueueError> {
        unreachable!("the façade lists nothing")
    }

    async fn changed(&self, seen: Seen, at_most: Duration) -> Seen {
        let mut version = self.version.subscribe();
        let newer = version.wait_for(|version| *version > seen.0);
        let _ = tokio::time::timeout(at_most, newer).await;
        Seen(*self.version.borrow())
    }

    async fn ready(&self) -> Result<Vec<Lack>, QueueError> {
        let full = self.reach()?.above_mark;
        Ok(full.then(|| Lack::Room("it takes no more jobs".into())).into_iter().collect())
    }
}
