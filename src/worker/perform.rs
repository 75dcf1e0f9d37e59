//! Performing a job: decode, run, judge, settle.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::Arc,
    task::{self, Poll, Waker},
    time::{Duration, Instant},
};

use futures::{FutureExt, future::BoxFuture};
use jobs::contract::{
    Catalogue, Context, End, Facts, Kind, Outcome, Ports, Retry, RunInfo, Verdict, judge,
    ports::Progress,
};

use super::{
    held::Share,
    last_chance::{LastChance, PUT_OFF},
    leases::{Kept, Leases},
    panics,
    pool::Slots,
    run::{Group, Interrupt, Run},
    settle::{Ended, LOST, Settler},
};
use crate::{
    queue::{Claimed, Queue},
    telemetry::metrics,
};

/// What a job whose kind nobody here knows is judged by.
const UNKNOWN_KIND: Facing =
    Facing { retry: Retry { max_attempts: 1, waits: &[], jitter: 0.0 }, patience: Duration::ZERO };

/// Performs the jobs of all pools.
pub(super) struct Performer {
    pub(super) queue: Arc<dyn Queue>,
    pub(super) progress: Arc<dyn Progress>,
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

/// A job's code at work.
struct Work {
    outcome: BoxFuture<'static, Outcome>,
    ctx: Arc<Context>,
    timeout: Duration,
}

/// How far a run came that did not wait.
enum Step {
    /// To its end; whether it touched nothing outside.
    Over(End, bool),
    /// It waits.
    Waits(Work),
}

impl Performer {
    /// Takes runs from their claims to their verdicts, and hands these in.
    ///
    /// A run of a kind that waits has a task of its own, and so has one that waits although its kind
    /// does not. The others are over before this waits for the first time.
    pub(super) async fn perform(self: Arc<Self>, group: Group) {
        let Group { runs, mut slots } = group;
        let (mut over, mut apart) = (Vec::with_capacity(runs.len()), Vec::new());
        for run in runs {
            let began = Instant::now();
            match self.at_once(run, began) {
                Ok(ended) => over.push(ended),
                Err((run, work)) => {
                    let going_on = Arc::clone(&self).go_on(run, work, slots.one(), began);
                    apart.push(tokio::spawn(going_on));
                }
            }
        }
        drop(slots);
        self.end(over);
        for run in apart {
            // It has handed its verdict in by itself; there is none when the process ends around it.
            let _ = run.await;
        }
    }

    /// Gives jobs back that were claimed and never begun.
    pub(super) fn give_back(&self, runs: impl IntoIterator<Item = Run>) {
        let given_back = |run| {
            let Run { job, kept, share, place } = run;
            let (verdict, kept) = (Verdict::Release, Some(kept));
            Ended { job, verdict, refund: true, kept, share, place, took: None }
        };
        self.end(runs.into_iter().map(given_back).collect());
    }

    /// Puts jobs off that were claimed while another one has its last chance; their shares are given back
    /// when that is stored.
    pub(super) fn put_off(&self, jobs: impl IntoIterator<Item = (Claimed, Share)>) {
        let until = self.queue.now().plus(PUT_OFF);
        let put_off = |(job, share)| {
            let why = "another job that may have ended its workers runs first".to_owned();
            let verdict = Verdict::SnoozeJob { until, why };
            let (job, took) = (Box::new(job), None);
            Ended { job, verdict, refund: true, kept: None, share, place: None, took }
        };
        self.end(jobs.into_iter().map(put_off).collect());
    }

    /// Performs a run as far as that is possible without waiting; not at all when its kind waits.
    fn at_once(&self, run: Run, began: Instant) -> Result<Ended, (Run, Option<Work>)> {
        let kind = self.catalogue.find(&run.job.kind);
        if kind.is_some_and(|kind| kind.waits) {
            return Err((run, None));
        }
        // A panic that left this would take every other run of the pool with it, so the net is around
        // all of the kind's code: decoding, running, and being dropped.
        let step = || panics::hush_step(|| self.first_step(kind, &run));
        match panic::catch_unwind(AssertUnwindSafe(step)) {
            Ok(Step::Over(end, untouched)) => Ok(self.judged(run, kind, end, untouched, began)),
            Ok(Step::Waits(work)) => Err((run, Some(work))),
            Err(payload) => {
                // Its drop is the job's code as well, and nobody would catch what that does.
                std::mem::forget(payload);
                Ok(self.judged(run, kind, End::Panicked(panics::words()), false, began))
            }
        }
    }

    fn first_step(&self, kind: Option<&Kind>, run: &Run) -> Step {
        let mut work = match self.work(kind, &run.job) {
            Ok(work) => work,
            Err(words) => return Step::Over(End::Undecodable(words), true),
        };
        // What was called off before it began does not begin.
        let end = if let Some(why) = run.kept.called_off() {
            called_off(why)
        } else {
            // Whoever polls it again is woken: nobody has to be for this step.
            let mut cx = task::Context::from_waker(Waker::noop());
            let step = || work.outcome.as_mut().poll(&mut cx);
            match panic::catch_unwind(AssertUnwindSafe(step)) {
                Ok(Poll::Ready(outcome)) => End::Said(outcome),
                Ok(Poll::Pending) => return Step::Waits(work),
                Err(_) => End::Panicked(panics::words()),
            }
        };
        Step::Over(end, work.ctx.has_touched_nothing())
    }

    /// Performs a run in a task of its own, from its first or second step on.
    async fn go_on(self: Arc<Self>, run: Run, work: Option<Work>, slot: Slots, began: Instant) {
        let kind = self.catalogue.find(&run.job.kind);
        let going_on = panics::hushed(self.to_its_end(kind, &run, work));
        let ended = AssertUnwindSafe(going_on).catch_unwind().await;
        // Its words are with the thread on which it panicked.
        let (end, untouched) = ended.unwrap_or_else(|payload| {
            std::mem::forget(payload);
            (End::Panicked(panics::words()), false)
        });
        drop(slot);
        let ended = self.judged(run, kind, end, untouched, began);
        self.end(vec![ended]);
    }

    /// How a run ended, and whether it touched nothing outside.
    async fn to_its_end(&self, kind: Option<&Kind>, run: &Run, work: Option<Work>) -> (End, bool) {
        let work = match work.map_or_else(|| self.work(kind, &run.job), Ok) {
            Ok(work) => work,
            Err(words) => return (End::Undecodable(words), true),
        };
        let Work { outcome, ctx, timeout } = work;
        let guarded = AssertUnwindSafe(guard(outcome, timeout, &run.kept)).catch_unwind();
        let end = guarded.await.unwrap_or_else(|_| End::Panicked(panics::words()));
        (end, ctx.has_touched_nothing())
    }

    /// Decodes a job and makes it ready to run.
    fn work(&self, kind: Option<&Kind>, job: &Claimed) -> Result<Work, String> {
        let kind = kind.ok_or_else(|| format!("this worker knows no kind {:?}", job.kind))?;
        let runnable = kind.decode(&job.payload)?;
        let (ports, progress) = (Arc::clone(&self.ports), Arc::clone(&self.progress));
        let ctx = Arc::new(Context::new(run_info(job), ports, progress));
        Ok(Work { outcome: runnable.perform(Arc::clone(&ctx)), ctx, timeout: kind.timeout })
    }

    /// Judges how a run ended that began then.
    fn judged(
        &self,
        run: Run,
        kind: Option<&Kind>,
        end: End,
        untouched: bool,
        began: Instant,
    ) -> Ended {
        let Run { job, kept, share, place } = run;
        let verdict = match end {
            // Most runs, and all that is to be known of them.
            End::Said(Ok(done)) => done.into(),
            end => judge(end, &self.facts(&job, kind)),
        };
        let refund = untouched || gives_back(&verdict);
        let took = Some(began.elapsed());
        Ended { job, verdict, refund, kept: Some(kept), share, place, took }
    }

    fn facts(&self, job: &Claimed, kind: Option<&Kind>) -> Facts {
        let facing = kind.map_or(UNKNOWN_KIND, |k| Facing { retry: k.retry, patience: k.patience });
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

    fn end(&self, mut ended: Vec<Ended>) {
        ended.retain(|run| {
            let is_lost = run.verdict == Verdict::Nothing;
            if is_lost {
                let id = run.job.lease.id;
                tracing::warn!(job.id = %id, "the lease was lost; nothing is written");
                metrics::settled(run.counted(LOST).as_slice());
            }
            !is_lost
        });
        if !ended.is_empty() {
            self.settler.hand_in(ended);
        }
    }
}

/// Runs `work` until it ends, panics, takes too long or is called off; then it is dropped.
async fn guard(work: BoxFuture<'static, Outcome>, timeout: Duration, kept: &Kept) -> End {
    let caught = AssertUnwindSafe(work).catch_unwind();
    // Made when it is first waited for: a run that does not wait needs no timer.
    let too_long = async { tokio::time::sleep(timeout).await };
    tokio::select! {
        // In this order: what was called off before it began does not begin, and what has ended has
        // ended, however late it is looked at.
        biased;
        why = kept.until_called_off() => called_off(why),
        ended = caught => match ended {
            Ok(outcome) => End::Said(outcome),
            Err(_) => End::Panicked(panics::words()),
        },
        () = too_long => End::TimedOut(timeout),
    }
}

fn called_off(why: Interrupt) -> End {
    match why {
        Interrupt::Cancel => End::CancelRequested,
        Interrupt::Lost => End::LeaseLost,
        Interrupt::Stop => End::Stopped,
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
