//! What is done is forgotten in its time: a fleet that works for long needs no more than at first.

use std::{
    fs,
    time::{Duration, Instant},
};

use postrider::queue::{Inspect, JobFilter};
use serde_json::{Value, json};

use super::{in_time, rig::Fleet, say, size};
use crate::{processes::rig::mail, support::eventually_ok};

/// Retentions over which a soak goes, after those in which it warms up.
const RETENTIONS: u32 = 10;
const WARM_UP: u32 = 3;
/// Jobs a second.
const PACE: u32 = 40;
/// How far the last retention may be from the first, in percent.
const FLAT: f64 = 5.0;

#[tokio::test(flavor = "multi_thread")]
async fn finished_jobs_leave_no_key_behind() {
    // given a fleet that keeps what is done for a second
    let mut fleet = Fleet::found(&retention(Duration::from_secs(1))).await;
    let mailbox = &fleet.mailboxes(1).await[0];
    fleet.man().await;
    let mut at_rest = None;
    for round in 0..5 {
        // when jobs come, and are done
        submit(&fleet, mailbox, 40).await;
        fleet.sink.until((round + 1) * 40).await;
        // then there are in the end as many keys as ever
        let keys = at_rest.unwrap_or(usize::MAX);
        at_rest = Some(forgotten(&fleet, keys).await);
    }
    assert!(at_rest.is_some_and(|keys| keys < 40), "{at_rest:?}");
    fleet.stop().await;
}

/// Waits until nothing is known of any job, and there are no more keys than that; how many.
async fn forgotten(fleet: &Fleet, most: usize) -> usize {
    let queue = fleet.queue().await;
    eventually_ok("what is done is forgotten", || async {
        let filter = JobFilter { limit: 1, ..JobFilter::default() };
        let known = queue.jobs(&filter).await.map_err(|error| error.to_string())?.len();
        let keys = fleet.redis.keys().await;
        if known == 0 && keys.len() <= most {
            Ok(keys.len())
        } else {
            Err(format!("{known} jobs or more are known; more than {most} keys: {keys:?}"))
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the long form: tests/fleet soak"]
async fn long() {
    let minutes = size("MINUTES", 30);
    // The load alone takes so long; then everybody has to start and to stop.
    in_time(minutes + 10, soak(u32::try_from(minutes).unwrap())).await;
}

async fn soak(minutes: u32) {
    let retention_for = Duration::from_secs(60) * minutes / (RETENTIONS + WARM_UP);
    // given a fleet under a steady load
    let mut fleet = Fleet::found(&retention(retention_for)).await;
    let mailbox = &fleet.mailboxes(1).await[0];
    fleet.man().await;
    let began = Instant::now();
    let mut beat = tokio::time::interval(Duration::from_secs(1));
    let mut samples = Vec::new();
    say("   s   keys  Redis KB  façades KB  workers KB  schedulers KB");
    while samples.len() < (WARM_UP + RETENTIONS) as usize {
        beat.tick().await;
        submit(&fleet, mailbox, PACE as usize).await;
        let past = u32::try_from(samples.len() + 1).unwrap();
        if began.elapsed() >= retention_for * past {
            let sample = sample(&fleet).await;
            say(format_args!("{:4} {sample}", began.elapsed().as_secs()));
            samples.push(sample);
        }
    }
    // then what it needs is the same at the end as after its beginning
    let (first, last) = (&samples[WARM_UP as usize - 1], samples.last().unwrap());
    for ((what, first), (_, last)) in first.figures().into_iter().zip(last.figures()) {
        let grown = 100.0 * (last - first) / first;
        say(format_args!("{what}: {grown:+.1} % over {RETENTIONS} retentions"));
        assert!(grown <= FLAT, "{what} grew by {grown:.1} %");
    }
    fleet.stop().await;
}

fn retention(keep: Duration) -> [(&'static str, &'static str); 2] {
    // Options live as long as the processes do.
    let keep: &'static str = format!("{}ms", keep.as_millis()).leak();
    [("SCHEDULER__KEEP__COMPLETED", keep), ("SCHEDULER__PRUNE_EVERY", "1s")]
}

/// Without an Idempotency-Key, which is remembered for longer than anybody wants to wait here.
async fn submit(fleet: &Fleet, mailbox: &str, count: usize) {
    let jobs: Vec<Value> = (0..count).map(|_| mail(mailbox, "ada@example.org")).collect();
    let (status, _, answer) = fleet.submitter().once(None, &json!({"jobs": jobs})).await.unwrap();
    assert_eq!(status, 202, "{answer}");
}

/// What the fleet needs at a moment.
struct Sample {
    keys: usize,
    redis: u64,
    fronts: u64,
    workers: u64,
    schedulers: u64,
}

impl Sample {
    fn figures(&self) -> [(&'static str, f64); 5] {
        [
            ("keys in Redis", self.keys as f64),
            ("memory of Redis", self.redis as f64),
            ("memory of façades", self.fronts as f64),
            ("memory of workers", self.workers as f64),
            ("memory of schedulers", self.schedulers as f64),
        ]
    }
}

impl std::fmt::Display for Sample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { keys, redis, fronts, workers, schedulers } = self;
        write!(f, "{keys:6} {redis:9} {fronts:11} {workers:11} {schedulers:14}")
    }
}

async fn sample(fleet: &Fleet) -> Sample {
    Sample {
        keys: fleet.redis.keys().await.len(),
        redis: fleet.redis.info("memory", "used_memory").await.trim().parse::<u64>().unwrap() >> 10,
        fronts: fleet.fronts.iter().map(|front| resident(front.process.id())).sum(),
        workers: fleet.workers.iter().map(|worker| resident(worker.id())).sum(),
        schedulers: fleet.schedulers.iter().map(|scheduler| resident(scheduler.id())).sum(),
    }
}

/// The memory of a process in KB.
fn resident(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
