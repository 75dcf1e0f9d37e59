//! Performing a job: decode, run, judge, settle.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::{FutureExt, future::BoxFuture};
use jobs::contract::{
    Catalogue, Context, Cursor, End, Facts, Fault, Kind, Moment, Outcome, Ports, Retry, RunInfo,
    Runnable, Verdict, judge,
    ports::{Clock, Progress},
};
use tokio::sync::oneshot;

use super::{
    held::Share,
    last_chance::{LastChance, PUT_OFF},
    leases::Leases,
    panics,
    run::{Interrupt, Run},
    settle::{Ended, Settler},
};
use crate::queue::{Claimed, LeaseRef, Queue};

/// What a job whose kind nobody here knows is judged by.
const UNKNOWN_KIND: Facing =
    Facing { retry: Retry { max_attempts: 1, waits: &[], jitter: 0.0 }, patience: Duration::ZERO };

/// Performs the jobs of all pools.
pub(super) struct Performer {
    pub(super) queue: Arc<dyn Queue>,
    pub(super) catalogue: Catalogue,
    pub(super) ports: Arc<Ports>,
    pub(super) leases: Leases,
    pub(super) settler: Settler,
    pub(super) last_chance: LastChance,
    pub(super) max_crashes: u32,
}

/// The parts of a kind that its judge wants to know.
#[derive(Clone, Copy)]
struct Facing {
    retry: Retry,
    patience: Duration,
}

impl Performer {
    /// Takes a run from its claim to its verdict, and hands that in.
    pub(super) async fn perform(self: Arc<Self>, run: Run) {
        let Run { job, interrupt, share, place, slot } = run;
        let kind = self.catalogue.find(&job.kind);
        let facing = kind.map_or(UNKNOWN_KIND, |k| Facing { retry: k.retry, patience: k.patience });
        // A panic that left this future would take every other run of the pool with it, so the net
        // is around all of the kind's code: decoding, running inline, and being dropped.
        let begun = panics::hushed(self.begin(kind, &job, interrupt));
        let ended = AssertUnwindSafe(begun).catch_unwind().await;
        let (end, untouched) = ended.unwrap_or_else(|_| (End::Panicked(panics::words()), false));
        drop(slot);
        let verdict = judge(end, &self.facts(&job, facing));
        let refund = untouched || gives_back(&verdict);
        self.end(Ended { job, verdict, refund, share, place });
    }

    /// Gives a job back that was claimed and never begun.
    pub(super) fn give_back(&self, run: Run) {
        let Run { job, share, place, .. } = run;
        self.end(Ended { job, verdict: Verdict::Release, refund: true, share, place });
    }

    /// Puts a job off that was claimed while another one has its last chance; `share` is given back when
    /// that is stored.
    pub(super) fn put_off(&self, job: Claimed, share: Share) {
        let until = self.queue.now().plus(PUT_OFF);
        let why = "another job that may have ended its workers runs first".to_owned();
        let verdict = Verdict::SnoozeJob { until, why };
        self.end(Ended { job, verdict, refund: true, share, place: None });
    }

    /// Decodes and runs the job, in a task of its own if it waits, and says how that ended and whether
    /// the run touched nothing outside.
    async fn begin(
        &self,
        kind: Option<&Kind>,
        job: &Claimed,
        interrupt: oneshot::Receiver<Interrupt>,
    ) -> (End, bool) {
        let (kind, runnable) = match decode(kind, job) {
            Ok(decoded) => decoded,
            Err(words) => return (End::Undecodable(words), true),
        };
        let progress = Arc::new(QueueProgress { queue: Arc::clone(&self.queue), lease: job.lease });
        let ctx = Arc::new(Context::new(run_info(job), Arc::clone(&self.ports), progress));
        let work = runnable.perform(Arc::clone(&ctx));
        let guarded = guard(work, kind.timeout, interrupt);
        let end = if kind.waits {
            let running = AssertUnwindSafe(panics::hushed(guarded)).catch_unwind();
            // Its words are with the thread on which it panicked.
            let caught = async { running.await.unwrap_or_else(|_| End::Panicked(panics::words())) };
            tokio::spawn(caught).await.unwrap_or_else(|_| End::Panicked(panics::words()))
        } else {
            guarded.await
        };
        (end, ctx.has_touched_nothing())
    }

    fn facts(&self, job: &Claimed, facing: Facing) -> Facts {
        Facts {
            attempt: job.attempt,
            max_attempts: job.max_attempts,
            crashes: job.crashes,
            max_crashes: self.max_crashes,
            now: self.queue.now(),
            due_at: job.due_at,
            patience: facing.patience,
            retry: facing.retry,
            chance: rand::random(),
            // The queue knows of a cancel that this process has not heard of, and holds to it.
            cancel_requested: false,
        }
    }

    fn end(&self, ended: Ended) {
        if ended.verdict == Verdict::Nothing {
            let lease = ended.job.lease;
            self.leases.forget([lease]);
            tracing::warn!(job.id = %lease.id, "the lease was lost; nothing is written");
            return;
        }
        self.settler.hand_in(ended);
    }
}

fn decode<'a>(
    kind: Option<&'a Kind>,
    job: &Claimed,
) -> Result<(&'a Kind, Box<dyn Runnable>), String> {
    let kind = kind.ok_or_else(|| format!("this worker knows no kind {:?}", job.kind))?;
    Ok((kind, kind.decode(&job.payload)?))
}

/// Runs `work` until it ends, panics, takes too long or is called off; then it is dropped.
async fn guard(
    work: BoxFuture<'static, Outcome>,
    timeout: Duration,
    interrupt: oneshot::Receiver<Interrupt>,
) -> End {
    let caught = AssertUnwindSafe(work).catch_unwind();
    // Made when it is first waited for: a run that does not wait needs no timer.
    let too_long = async { tokio::time::sleep(timeout).await };
    tokio::select! {
        // In this order: what was called off before it began does not begin, and what has ended has
        // ended, however late it is looked at.
        biased;
        Ok(why) = interrupt => match why {
            Interrupt::Cancel => End::CancelRequested,
            Interrupt::Lost => End::LeaseLost,
            Interrupt::Stop => End::Stopped,
        },
        ended = caught => match ended {
            Ok(outcome) => End::Said(outcome),
            Err(_) => End::Panicked(panics::words()),
        },
        () = too_long => End::TimedOut(timeout),
    }
}

fn run_info(job: &Claimed) -> RunInfo {
    RunInfo {
        job: job.lease.id,
        tenant: job.tenant.clone(),
        attempt: job.attempt,
        max_attempts: job.max_attempts,
        fence: job.lease.fence,
        created_at: job.created_at,
        cursor: job.cursor.clone(),
    }
}

/// Whether a verdict by itself says that nothing outside was touched.
fn gives_back(verdict: &Verdict) -> bool {
    matches!(
        verdict,
        Verdict::SnoozeJob { .. }
            | Verdict::SnoozeLane { .. }
            | Verdict::Release
            | Verdict::Complete { skipped: Some(_), .. }
    )
}

/// A job's progress, stored with the job.
struct QueueProgress {
    queue: Arc<dyn Queue>,
    lease: LeaseRef,
}

#[async_trait]
impl Progress for QueueProgress {
    async fn checkpoint(&self, _run: &RunInfo, cursor: &Cursor) -> Result<(), Fault> {
        match self.queue.checkpoint(&self.lease, cursor).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Fault::transient("lease_lost", "the job belongs to another worker")),
            Err(error) => Err(Fault::transient("queue_unavailable", error.to_string())),
        }
    }
}

/// The queue's time, for jobs: lanes, limits and jobs all live by one clock.
pub struct QueueClock(pub Arc<dyn Queue>);

#[async_trait]
impl Clock for QueueClock {
    fn now(&self) -> Moment {
        self.0.now()
    }

    async fn sleep(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }
}
