//! The settler: stores verdicts in batches, and does not give up while they may still count.

use std::{sync::Arc, time::Duration};

use jobs::contract::Verdict;
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{held::Share, last_chance::Place, leases::Kept};
use crate::{
    callback::Teller,
    queue::{Claimed, Queue, Settled, Settlement},
    telemetry::metrics,
};

/// Verdicts after which no more are taken for one call.
const BATCH: usize = 200;
/// The pause after a first failure, and the longest one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A run that is over, and what it holds until its verdict is stored.
pub(super) struct Ended {
    /// The job.
    pub(super) job: Box<Claimed>,
    /// What becomes of it.
    pub(super) verdict: Verdict,
    /// Whether what its claim drew is given back.
    pub(super) refund: bool,
    /// Its lease, unless the job is put off before it began.
    pub(super) kept: Option<Kept>,
    /// Its share of what its pool holds.
    pub(super) share: Share,
    /// The place of a job on its last chance.
    pub(super) place: Option<Place>,
    /// How long it ran; none when it did not begin.
    pub(super) took: Option<Duration>,
}

impl Ended {
    /// The run, as it is counted.
    pub(super) fn counted(&self, outcome: &'static str) -> Option<metrics::Settled> {
        self.took.map(|took| metrics::Settled { kind: Arc::clone(&self.job.kind), outcome, took })
    }

    fn settlement(&self) -> Settlement {
        let Self { job, verdict, refund, .. } = self;
        Settlement { lease: job.lease, verdict: verdict.clone(), refund: *refund }
    }
}

/// Where runs hand in their verdicts.
#[derive(Clone)]
pub(super) struct Settler {
    inbox: mpsc::UnboundedSender<Vec<Ended>>,
}

impl Settler {
    /// Starts the task that stores verdicts; it ends when all is drained.
    pub(super) fn start(
        queue: Arc<dyn Queue>,
        teller: Teller,
        tasks: &TaskTracker,
        drained: CancellationToken,
    ) -> Self {
        // Not bounded by itself: there are never more verdicts than a pool may hold jobs.
        let (inbox, ended) = mpsc::unbounded_channel();
        let books = Books { queue, teller, drained };
        tasks.spawn(books.store(ended, tasks.clone()));
        Self { inbox }
    }

    /// Hands verdicts in. Leases are renewed and jobs held until the queue has answered; a run does not
    /// wait for that, so that one which only computed for a moment costs no second wake-up.
    pub(super) fn hand_in(&self, ended: Vec<Ended>) {
        // Nobody takes verdicts any more when the drain was given up: leases run out then.
        let _ = self.inbox.send(ended);
    }
}

/// Where verdicts are stored, and who has to know.
#[derive(Clone)]
struct Books {
    queue: Arc<dyn Queue>,
    teller: Teller,
    drained: CancellationToken,
}

impl Books {
    /// Stores what comes, until all is drained.
    async fn store(self, mut inbox: mpsc::UnboundedReceiver<Vec<Ended>>, tasks: TaskTracker) {
        let mut batch: Vec<Ended> = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                Some(ended) = inbox.recv() => batch.extend(ended),
                () = self.drained.cancelled() => return,
            }
            while batch.len() < BATCH
                && let Ok(ended) = inbox.try_recv()
            {
                batch.extend(ended);
            }
            let answers = insist(&*self.queue, &batch, &self.drained).await;
            let left = self.close(&mut batch, answers);
            if !left.is_empty() {
                // A part of the queue does not answer: the verdicts of the others do not wait for it.
                tasks.spawn(self.clone().store_later(left));
            }
        }
    }

    /// Stores verdicts for which their part of the queue did not answer, once it does.
    async fn store_later(self, mut left: Vec<Ended>) {
        let mut pause = FIRST_PAUSE;
        while !left.is_empty() {
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
                () = self.drained.cancelled() => return,
            }
            let answers = insist(&*self.queue, &left, &self.drained).await;
            left = self.close(&mut left, answers);
        }
    }

    /// Takes note of what became of verdicts, and gives back those of which nobody can say yet.
    fn close(&self, batch: &mut Vec<Ended>, answers: Vec<Settled>) -> Vec<Ended> {
        let (mut left, mut shares) = (Vec::new(), Vec::with_capacity(batch.len()));
        let (mut answers, mut is_to_be_told) = (answers.into_iter(), false);
        let mut counted = Vec::with_capacity(batch.len());
        for ended in batch.drain(..) {
            match answers.next() {
                Some(Settled::Unknown) => {
                    left.push(ended);
                    continue;
                }
                Some(answer) => {
                    log(&ended, answer);
                    counted.extend(ended.counted(outcome(&ended.verdict, answer)));
                }
                // All is drained, and leases run out.
                None => {}
            }
            is_to_be_told |= ended.job.callback;
            let Ended { kept, share, place, .. } = ended;
            // Its lease is renewed no longer.
            drop((kept, place));
            shares.push(share);
        }
        metrics::settled(&counted);
        if is_to_be_told {
            self.teller.wake();
        }
        // Only now are they held no more: what may be claimed ahead is bounded by that.
        Share::give_back(shares);
        left
    }
}

fn log(ended: &Ended, answer: Settled) {
    let Ended { job, verdict, .. } = ended;
    match answer {
        Settled::Done | Settled::Cancelled => tracing::debug!(
            job.id = %job.lease.id,
            job.kind = &*job.kind,
            job.attempt = job.attempt,
            tenant = %job.tenant,
            request.id = &*job.request_id,
            outcome = outcome(verdict, answer),
            "a run ended"
        ),
        Settled::Lost => tracing::warn!(
            job.id = %job.lease.id,
            outcome = word(verdict),
            "the lease was lost before the verdict was stored"
        ),
        // It is not over: the same is asked again.
        Settled::Unknown => {}
    }
}

/// What a run is called whose verdict counts for nothing.
pub(super) const LOST: &str = "lost";

/// One word for what became of a run, in logs and metrics.
fn outcome(verdict: &Verdict, answer: Settled) -> &'static str {
    match answer {
        Settled::Lost => LOST,
        // A cancel may have been asked for before the verdict came.
        Settled::Cancelled => word(&Verdict::Cancel),
        Settled::Done | Settled::Unknown => word(verdict),
    }
}

/// One word for a verdict.
fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Complete { skipped: None, .. } => "completed",
        Verdict::Complete { skipped: Some(_), .. } => "skipped",
        Verdict::Retry { .. } => "retried",
        Verdict::SnoozeJob { .. } | Verdict::SnoozeLane { .. } => "snoozed",
        Verdict::Fail { .. } => "failed",
        Verdict::Cancel => "cancelled",
        Verdict::Release => "released",
        Verdict::Rescue { .. } => "vanished",
        Verdict::Nothing => LOST,
    }
}

/// Asks until the queue answers. A lease that ran out meanwhile is answered `Lost` by its fence.
async fn insist(queue: &dyn Queue, batch: &[Ended], drained: &CancellationToken) -> Vec<Settled> {
    let mut pause = FIRST_PAUSE;
    loop {
        let settlements = batch.iter().map(Ended::settlement).collect();
        match drained.run_until_cancelled(queue.settle(settlements)).await {
            None => return Vec::new(),
            Some(Ok(answers)) => return answers,
            Some(Err(error)) => {
                tracing::warn!(%error, settlements = batch.len(), "verdicts could not be stored yet");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
            () = drained.cancelled() => return Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use jobs::contract::{Cause, Moment};

    use super::*;

    #[test]
    fn a_run_is_called_after_what_became_of_it() {
        let retry = Verdict::Retry { at: Moment::from_millis(0), error: Cause::new("timeout", "") };
        let rows = [
            (&retry, Settled::Done, "retried"),
            (&retry, Settled::Cancelled, "cancelled"),
            (&retry, Settled::Lost, "lost"),
            (&Verdict::Cancel, Settled::Cancelled, "cancelled"),
            (&Verdict::Release, Settled::Done, "released"),
        ];
        for (verdict, answer, expected) in rows {
            assert_eq!(outcome(verdict, answer), expected, "{verdict:?}, {answer:?}");
        }
    }
}
