//! A job that takes its worker with it, and the jobs that happen to run beside it.
//!
//! No kind of ours does so; the worker here is this test program itself, run once more as a process
//! with kinds of its own.

use std::{
    collections::HashMap,
    io::Write,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use jobs::contract::{
    Catalogue, Context, Done, Job, JobId, Outcome, Ports, Retry, TenantId, fakes::Fakes,
};
use postrider::{
    queue::{
        JobRecord, LanePolicy, NewJob, Priority, Queue, Status, Submission,
        redis::{RedisConfig, RedisQueue},
    },
    worker::{QueueClock, Workers},
};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::rig::Fleet;
use crate::{processes::rig::all_final, support::defaults};

/// Says to this program that it is a worker, and where its queue is.
const WORKER_OF: &str = "POSTRIDER_TEST_FLEET_WORKER_OF";
/// Jobs that run beside the poison; with it they take all slots.
const NEIGHBOURS: usize = 7;
const CRASHES: u32 = 3;

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_kills_its_worker_is_dead_after_three_runs_and_its_neighbours_are_done() {
    // given a scheduler, and a job that aborts its worker among others that run at the same time
    let mut fleet = Fleet::found(&[("WORKER__MAX_CRASHES", "3")]).await;
    fleet.schedulers.push(fleet.house.scheduler());
    let effects = fleet.house.data().with_extension("effects");
    let queue: Arc<dyn Queue> = Arc::new(fleet.queue().await);
    let mut jobs = vec![job(Poison::KIND, "poison", &effects)];
    jobs.extend((0..NEIGHBOURS).map(|n| job(Neighbour::KIND, &format!("neighbour-{n}"), &effects)));
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    let submission = Submission { tenant: tenant(), jobs, idempotency: None };
    queue.enqueue(submission).await.unwrap();
    // when a worker is started again whenever it dies
    let redis = fleet.redis.config();
    let supervising = tokio::spawn(async move { supervise(&redis).await });
    let ended = all_final(&queue, &ids).await;
    supervising.abort();
    // then the poison ran three times and is dead
    let copies = counted(&effects);
    let dead = &ended[0];
    assert_eq!((dead.status, dead.crashes), (Status::Failed, CRASHES), "{dead:?}");
    assert_eq!(dead.error.as_ref().unwrap().code, "quarantined");
    assert_eq!(copies["poison"], 3);
    // and its neighbours are done, each at most once more than workers died under it
    for (number, job) in ended[1..].iter().enumerate() {
        assert_eq!(job.status, Status::Completed, "{}", told(job));
        let copies = copies[&format!("neighbour-{number}")];
        assert!((1..=1 + job.crashes as usize).contains(&copies), "{copies}: {}", told(job));
    }
    fleet.stop().await;
}

/// What became of a job, in a line.
fn told(job: &JobRecord) -> String {
    let code = job.error.as_ref().map(|error| error.code.to_string());
    format!("{} after {} crashes, {code:?}", job.status, job.crashes)
}

/// Starts a worker again and again.
async fn supervise(redis: &RedisConfig) {
    loop {
        let mut command = tokio::process::Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "--ignored", "processes::fleet::poison::the_worker_of_these_tests"])
            .env(WORKER_OF, &redis.url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        command.status().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a process of its neighbours: it does nothing by itself"]
async fn the_worker_of_these_tests() {
    let Ok(url) = std::env::var(WORKER_OF) else { return };
    let config = RedisConfig { url, ..defaults().redis };
    let queue: Arc<dyn Queue> = Arc::new(RedisQueue::open(&config).await.unwrap());
    let mut worker = defaults().worker;
    worker.concurrency = u32::try_from(NEIGHBOURS + 1).unwrap();
    worker.lease = Duration::from_secs(1);
    let clock = Arc::new(QueueClock(Arc::clone(&queue)));
    let ports = Arc::new(Ports { clock, ..(*Fakes::default().ports()).clone() });
    let catalogue = Catalogue::empty().with::<Neighbour>().with::<Poison>();
    let name = format!("worker-{}", std::process::id());
    Workers::new(worker, name, queue, catalogue, ports).run(CancellationToken::new()).await;
}

/// Runs of neighbours in this process now.
static BESIDE: AtomicUsize = AtomicUsize::new(0);
/// The run that may come to an end.
const LAST: u32 = CRASHES;

/// Kills its worker; at first when all its neighbours are there.
#[derive(Serialize, Deserialize)]
struct Poison {
    key: String,
    effects: PathBuf,
}

impl Job for Poison {
    const KIND: &'static str = "poison";
    const RETRY: Retry = Retry { max_attempts: 25, waits: &[], jitter: 0.0 };
    const TIMEOUT: Duration = Duration::from_secs(60);
    const PATIENCE: Duration = Duration::from_secs(3_600);

    async fn perform(self, ctx: &Context) -> Outcome {
        note(&self.effects, &self.key);
        while ctx.info().attempt < LAST && BESIDE.load(SeqCst) < NEIGHBOURS {
            tokio::task::yield_now().await;
        }
        std::process::abort()
    }
}

/// Has its effect at once, and ends when it has lost enough workers.
#[derive(Serialize, Deserialize)]
struct Neighbour {
    key: String,
    effects: PathBuf,
}

impl Job for Neighbour {
    const KIND: &'static str = "neighbour";
    const QUEUE: &'static str = Poison::KIND;
    const RETRY: Retry = Poison::RETRY;
    const TIMEOUT: Duration = Poison::TIMEOUT;
    const PATIENCE: Duration = Poison::PATIENCE;

    async fn perform(self, ctx: &Context) -> Outcome {
        note(&self.effects, &self.key);
        BESIDE.fetch_add(1, SeqCst);
        if ctx.info().attempt < LAST {
            std::future::pending::<()>().await;
        }
        BESIDE.fetch_sub(1, SeqCst);
        Ok(Done::Finished(serde_json::Value::Null))
    }
}

fn note(effects: &Path, key: &str) {
    let file = std::fs::OpenOptions::new().create(true).append(true).open(effects);
    file.unwrap().write_all(format!("{key}\n").as_bytes()).unwrap();
}

fn counted(effects: &Path) -> HashMap<String, usize> {
    let mut copies = HashMap::new();
    for key in std::fs::read_to_string(effects).unwrap().lines() {
        *copies.entry(key.to_owned()).or_default() += 1;
    }
    copies
}

fn tenant() -> TenantId {
    "dev".parse().unwrap()
}

fn job(kind: &str, key: &str, effects: &Path) -> NewJob {
    NewJob {
        id: JobId::generate(),
        kind: kind.into(),
        queue: Poison::QUEUE.into(),
        lane: jobs::contract::LaneName::tenant(),
        policy: Arc::new(LanePolicy::default()),
        payload: serde_json::json!({"key": key, "effects": effects}).to_string().into(),
        priority: Priority::Normal,
        run_at: None,
        max_attempts: Poison::RETRY.max_attempts,
        unique: None,
        total_items: 1,
        tags: Vec::new(),
        request_id: "test".into(),
        callback: Vec::new(),
    }
}
