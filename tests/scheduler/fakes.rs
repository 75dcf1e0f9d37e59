//! A queue that only takes jobs in, a clock that is set, and a memory of ticks that can be cut off.

use std::{
    collections::{BTreeMap, HashMap},
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicU32, Ordering},
    },
    task::Poll,
    time::Duration,
};

use async_trait::async_trait;
use jobs::contract::{
    Catalogue, Context, Cursor, Done, Fault, Job, JobId, Moment, Outcome, Retry, TenantId, fakes,
    ports::Clock,
};
use postrider::{
    config::{Config, Rate},
    intake::Intake,
    limits::{EndpointPace, Limits, Rates},
    queue::{
        Ask, Cancelled, Changed, Claims, Drawn, Enqueued, Hold, Inspect, JobFilter, JobRecord,
        Lack, LaneFilter, LanePolicy, LaneRecord, LaneRef, LeaseRef, Limit, ParkReason,
        PauseTarget, Queue, QueueError, QueueRecord, Rescued, Retention, Seen, Settled, Settlement,
        Submission,
    },
    scheduler::{Crontab, Scheduler, SchedulerConfig, SchedulerDeps, Ticks},
};
use serde::{Deserialize, Serialize};

/// A kind that does nothing.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Noop {
    #[serde(default)]
    pub(crate) number: u32,
}

impl Job for Noop {
    const KIND: &'static str = "noop";
    const RETRY: Retry = Retry { max_attempts: 1, waits: &[], jitter: 0.0 };
    const TIMEOUT: Duration = Duration::from_secs(1);
    const PATIENCE: Duration = Duration::from_secs(60);

    async fn perform(self, _: &Context) -> Outcome {
        Ok(Done::Skipped("nothing to do".into()))
    }
}

pub(crate) fn catalogue() -> Catalogue {
    Catalogue::empty().with::<Noop>()
}

struct Nothing;

#[async_trait]
impl Rates for Nothing {
    async fn mailbox_rates(&self, _: &TenantId, _: &str) -> Result<Option<Vec<Rate>>, Fault> {
        Ok(None)
    }

    async fn endpoint_pace(&self, _: &TenantId, _: &str) -> Result<Option<EndpointPace>, Fault> {
        Ok(None)
    }
}

pub(crate) fn intake() -> Intake {
    let config = Config::load(None, []).unwrap();
    Intake::new(catalogue(), Limits::new(config.limits, Arc::new(Nothing)))
}

/// A clock that shows what it was set to.
#[derive(Debug, Default)]
pub(crate) struct SetClock(AtomicI64);

impl SetClock {
    pub(crate) fn at(moment: &str) -> Arc<Self> {
        let clock = Self::default();
        clock.set(moment.parse().unwrap());
        Arc::new(clock)
    }

    pub(crate) fn set(&self, moment: Moment) {
        self.0.store(moment.millis(), Ordering::SeqCst);
    }

    pub(crate) fn step(&self, millis: i64) {
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for SetClock {
    fn now(&self) -> Moment {
        Moment::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// The marks of entries; every verb can be cut off before and after it takes effect.
#[derive(Debug, Default)]
pub(crate) struct MemoryTicks {
    marks: Mutex<HashMap<(TenantId, String), Moment>>,
    failing: AtomicU32,
}

impl MemoryTicks {
    /// The next `times` advances fail, and change nothing.
    pub(crate) fn fail(&self, times: u32) {
        self.failing.store(times, Ordering::SeqCst);
    }

    pub(crate) fn mark(&self, tenant: &str, name: &str) -> Option<Moment> {
        let key = (tenant.parse().unwrap(), name.to_owned());
        self.marks.lock().unwrap().get(&key).copied()
    }
}

#[async_trait]
impl Ticks for MemoryTicks {
    async fn last(&self, tenant: &TenantId, name: &str) -> Result<Option<Moment>, Fault> {
        tokio::task::yield_now().await;
        Ok(self.marks.lock().unwrap().get(&(tenant.clone(), name.to_owned())).copied())
    }

    async fn advance(
        &self,
        tenant: &TenantId,
        name: &str,
        from: Option<Moment>,
        to: Moment,
    ) -> Result<bool, Fault> {
        tokio::task::yield_now().await;
        let failing = |left: u32| left.checked_sub(1);
        if self.failing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, failing).is_ok() {
            return Err(Fault::transient("store_unavailable", "the store is away"));
        }
        let moved = {
            let mut marks = self.marks.lock().unwrap();
            let key = (tenant.clone(), name.to_owned());
            let here = marks.get(&key).copied() == from;
            if here {
                marks.insert(key, to);
            }
            here
        };
        tokio::task::yield_now().await;
        Ok(moved)
    }
}

/// What the queue remembers of submissions, and what its steps answer.
#[derive(Default)]
pub(crate) struct IntakeQueue {
    taken: Mutex<Vec<(String, JobId)>>,
    keys: Mutex<BTreeMap<(TenantId, String), bytes::Bytes>>,
    /// How many the next steps move, rescue or prune; 0 when the list is at its end.
    pub(crate) promotions: Mutex<Vec<u32>>,
    pub(crate) rescues: Mutex<Vec<Vec<Rescued>>>,
    pub(crate) prunes: Mutex<Vec<u32>>,
    pub(crate) calls: Mutex<Vec<&'static str>>,
    pub(crate) away: Mutex<bool>,
    /// The steps that fail, while submissions are taken in.
    pub(crate) failing: Mutex<Vec<&'static str>>,
}

impl IntakeQueue {
    /// The idempotency keys of the jobs taken in, in their order.
    pub(crate) fn fired(&self) -> Vec<String> {
        self.taken.lock().unwrap().iter().map(|(key, _)| key.clone()).collect()
    }

    fn reach(&self) -> Result<(), QueueError> {
        match *self.away.lock().unwrap() {
            true => Err(QueueError::Unavailable("it is away".into())),
            false => Ok(()),
        }
    }

    fn call(&self, name: &'static str) -> Result<(), QueueError> {
        self.reach()?;
        self.calls.lock().unwrap().push(name);
        match self.failing.lock().unwrap().contains(&name) {
            true => Err(QueueError::Unavailable("a step fails".into())),
            false => Ok(()),
        }
    }

    fn step(&self, name: &'static str, answers: &Mutex<Vec<u32>>) -> Result<u32, QueueError> {
        self.call(name)?;
        let mut answers = answers.lock().unwrap();
        Ok(if answers.is_empty() { 0 } else { answers.remove(0) })
    }
}

#[async_trait]
impl Queue for IntakeQueue {
    async fn enqueue(&self, submission: Submission) -> Result<Enqueued, QueueError> {
        self.reach()?;
        tokio::task::yield_now().await;
        let answer = {
            let mut keys = self.keys.lock().unwrap();
            let ids: Vec<_> = submission.jobs.iter().map(|job| job.id).collect();
            // Without a key there is nothing to tell a repetition by: it is taken in again.
            let key = submission.idempotency.as_ref().map(|i| i.key.clone()).unwrap_or_default();
            let scoped = (submission.tenant, key.clone());
            match keys.get(&scoped) {
                Some(answer) if submission.idempotency.is_some() => {
                    Enqueued::Replayed(answer.clone())
                }
                _ => {
                    let answer = submission.idempotency.map(|i| i.answer).unwrap_or_default();
                    keys.insert(scoped, answer);
                    self.taken.lock().unwrap().extend(ids.iter().map(|id| (key.clone(), *id)));
                    Enqueued::Fresh(ids)
                }
            }
        };
        tokio::task::yield_now().await;
        Ok(answer)
    }

    async fn promote(&self, _: u32) -> Result<u32, QueueError> {
        self.step("promote", &self.promotions)
    }

    async fn rescue(&self, _: u32, _: u32) -> Result<Vec<Rescued>, QueueError> {
        self.call("rescue")?;
        let mut answers = self.rescues.lock().unwrap();
        Ok(if answers.is_empty() { Vec::new() } else { answers.remove(0) })
    }

    async fn prune(&self, _: u32, _: &Retention) -> Result<u32, QueueError> {
        self.step("prune", &self.prunes)
    }

    async fn claim(&self, _: &Ask) -> Result<Claims, QueueError> {
        unreachable!("a scheduler claims nothing")
    }

    async fn extend(&self, _: &[LeaseRef], _: Duration) -> Result<Vec<Hold>, QueueError> {
        unreachable!("a scheduler holds nothing")
    }

    async fn settle(&self, _: Vec<Settlement>) -> Result<Vec<Settled>, QueueError> {
        unreachable!("a scheduler settles nothing")
    }

    async fn checkpoint(&self, _: &LeaseRef, _: &Cursor) -> Result<bool, QueueError> {
        unreachable!("a scheduler runs nothing")
    }

    async fn cancel(&self, _: &TenantId, _: JobId, _: &str) -> Result<Cancelled, QueueError> {
        unreachable!("a scheduler cancels nothing")
    }

    async fn retry(&self, _: &TenantId, _: JobId) -> Result<Changed, QueueError> {
        unreachable!("a scheduler retries nothing")
    }

    async fn discard(&self, _: &TenantId, _: JobId) -> Result<Changed, QueueError> {
        unreachable!("a scheduler discards nothing")
    }

    async fn park(&self, _: &LaneRef, _: Moment, _: &ParkReason) -> Result<(), QueueError> {
        unreachable!("a scheduler parks nothing")
    }

    async fn pause(&self, _: &PauseTarget, _: bool) -> Result<Changed, QueueError> {
        unreachable!("a scheduler pauses nothing")
    }

    async fn set_policy(&self, _: &LaneRef, _: &LanePolicy) -> Result<(), QueueError> {
        unreachable!("a scheduler changes no policy")
    }

    async fn told(&self, _: &TenantId, _: JobId, _: u64) -> Result<(), QueueError> {
        unreachable!("there is nothing to tell")
    }

    async fn draw(&self, _: &TenantId, _: &Limit) -> Result<Drawn, QueueError> {
        unreachable!("a scheduler draws nothing")
    }

    async fn wait(&self, _: &str, _: Seen, _: Option<Moment>) {
        unreachable!("a scheduler waits for its own tick")
    }

    fn now(&self) -> Moment {
        unreachable!("the crontab follows the clock that it was handed")
    }
}

#[async_trait]
impl Inspect for IntakeQueue {
    async fn job(&self, _: &TenantId, _: JobId) -> Result<Option<JobRecord>, QueueError> {
        Ok(None)
    }

    async fn jobs(&self, _: &JobFilter) -> Result<Vec<JobRecord>, QueueError> {
        Ok(Vec::new())
    }

    async fn untold(&self, _: u32) -> Result<Vec<JobRecord>, QueueError> {
        self.call("untold")?;
        Ok(Vec::new())
    }

    async fn queues(&self) -> Result<Vec<QueueRecord>, QueueError> {
        Ok(Vec::new())
    }

    async fn lanes(&self, _: &LaneFilter) -> Result<Vec<LaneRecord>, QueueError> {
        Ok(Vec::new())
    }

    async fn changed(&self, seen: Seen, _: Duration) -> Seen {
        seen
    }

    async fn ready(&self) -> Result<Vec<Lack>, QueueError> {
        self.reach().map(|()| Vec::new())
    }
}

/// All that schedulers of one fleet share.
#[derive(Default, Clone)]
pub(crate) struct Fleet {
    pub(crate) queue: Arc<IntakeQueue>,
    pub(crate) ticks: Arc<MemoryTicks>,
}

impl Fleet {
    /// A scheduler of this fleet, as it is just after its start.
    pub(crate) fn scheduler(&self, crontab: &str, clock: &Arc<SetClock>) -> Scheduler {
        self.scheduler_with(config(), crontab, clock)
    }

    pub(crate) fn scheduler_with(
        &self,
        config: SchedulerConfig,
        crontab: &str,
        clock: &Arc<SetClock>,
    ) -> Scheduler {
        let crontab =
            Crontab::parse("crontab.toml", crontab, &catalogue(), &Default::default()).unwrap();
        let deps = SchedulerDeps {
            queue: Arc::clone(&self.queue) as Arc<dyn Queue>,
            intake: intake(),
            follow_ups: Arc::clone(&fakes::Fakes::default().ports().follow_ups),
            ticks: Arc::clone(&self.ticks) as Arc<dyn Ticks>,
            max_crashes: 3,
            clock: Arc::clone(clock) as Arc<dyn Clock>,
        };
        Scheduler::new(config, crontab, deps)
    }

    /// The moments of the ticks of an entry that have fired, in the order in which they did.
    pub(crate) fn ticks_of(&self, name: &str) -> Vec<Moment> {
        let prefix = format!("cron:{name}:");
        let fired = self.queue.fired();
        fired
            .iter()
            .filter_map(|key| key.strip_prefix(&prefix))
            .map(|at| at.parse().unwrap())
            .collect()
    }
}

pub(crate) fn config() -> SchedulerConfig {
    Config::load(None, []).unwrap().scheduler
}

/// An entry called `name` for tenant `dev`.
pub(crate) fn entry(name: &str, cron: &str, missed: &str) -> String {
    format!(
        "[[entries]]\nname = \"{name}\"\ncron = \"{cron}\"\ntenant = \"dev\"\ntype = \"noop\"\npayload = {{}}\nmissed = \"{missed}\"\n"
    )
}

/// Polls a future so many times and then drops it, as a kill would; whether it came to its end.
pub(crate) async fn cut(future: impl Future<Output = ()>, polls: usize) -> bool {
    let mut future = pin!(future);
    let mut left = polls;
    std::future::poll_fn(move |cx| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        future.as_mut().poll(cx).map(|()| true)
    })
    .await
}
