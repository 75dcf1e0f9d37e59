//! Firing the crontab: each tick once, however many schedulers see it and whatever their clocks do.
//!
//! A tick is submitted under the key `cron:<name>:<tick>`, so that the queue takes it in once. Only
//! then is the entry moved on: a scheduler that dies in between leaves a tick that is submitted
//! again, and found to be there. The mark in the store is thus no lock, only a memory of what need
//! not be looked at again; what makes a tick single is its key.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use jobs::contract::{Moment, ports::Clock};
use sha2::{Digest, Sha256};
use tracing::{error, info, warn};

use super::{Crontab, Entry, Missed, SchedulerConfig, SchedulerDeps, Ticks};
use crate::{
    intake::{Intake, JobRequest, Producer, Rejection},
    queue::{Enqueued, Idempotency, Queue, Submission},
};

/// How long the queue remembers a tick; longer than ticks are made up for.
const KEEP: Duration = Duration::from_secs(8 * 86_400);
/// By how much the clocks of one fleet may differ. A mark further ahead than that was made by a
/// clock that was wrong then, or is wrong now.
const SKEW: Duration = Duration::from_secs(60);
/// Ticks of one entry that fire in one turn at most, so that none starves the others.
const BURST: usize = 100;

/// The crontab at work.
pub(super) struct Cron {
    entries: Vec<(Entry, Mutex<Option<Rest>>)>,
    grace: Duration,
    catch_up: Duration,
    queue: Arc<dyn Queue>,
    intake: Intake,
    ticks: Arc<dyn Ticks>,
    clock: Arc<dyn Clock>,
}

/// An entry need not be looked at from `since` until `until`.
#[derive(Clone, Copy)]
struct Rest {
    since: Moment,
    until: Moment,
}

impl Cron {
    pub(super) fn new(config: &SchedulerConfig, crontab: Crontab, deps: SchedulerDeps) -> Self {
        let entries = crontab.into_entries().into_iter().map(|e| (e, Mutex::new(None))).collect();
        let SchedulerDeps { queue, intake, ticks, clock, .. } = deps;
        let (grace, catch_up) = (config.grace, config.catch_up);
        Self { entries, grace, catch_up, queue, intake, ticks, clock }
    }

    /// Fires what is due. The words of the first failure; the other entries have had their turn.
    pub(super) async fn turn(&self) -> Result<(), String> {
        let mut outcome = Ok(());
        for (entry, rest) in &self.entries {
            let now = self.clock.now();
            let resting = *rest.lock().unwrap_or_else(PoisonError::into_inner);
            // A clock that was set back ends the rest as well.
            if resting.is_some_and(|rest| rest.since <= now && now < rest.until) {
                continue;
            }
            let next = match self.entry(entry, now).await {
                Ok(until) => until.map(|until| Rest { since: now, until }),
                Err(words) => {
                    outcome = outcome.and(Err(words));
                    None
                }
            };
            *rest.lock().unwrap_or_else(PoisonError::into_inner) = next;
        }
        outcome
    }

    /// Deals with the ticks of one entry up to `now`, and answers when there is something to do next.
    async fn entry(&self, entry: &Entry, now: Moment) -> Result<Option<Moment>, String> {
        let last = self.ticks.last(&entry.tenant, &entry.name).await.map_err(|e| e.to_string())?;
        let Some(mark) = last else {
            // A new entry begins now: it has missed nothing.
            self.advance(entry, None, now).await?;
            return Ok(entry.timetable.next(now));
        };
        if mark > now.plus(SKEW) {
            warn!(cron.name = %entry.name, cron.mark = %mark, "the clock was set back; the crontab follows it");
            self.advance(entry, Some(mark), now).await?;
            return Ok(entry.timetable.next(now));
        }
        let due = self.due(entry, mark, now);
        let mut mark = mark;
        for tick in due.fire {
            self.fire(entry, tick, now).await?;
            // Marked one by one: a scheduler that dies in a long backlog leaves less to look at.
            if !self.advance(entry, Some(mark), tick).await? {
                return Ok(Some(now)); // another scheduler is at it; look again
            }
            mark = tick;
        }
        if let Some(until) = due.until.filter(|until| *until > mark) {
            self.advance(entry, Some(mark), until).await?;
            mark = until;
        }
        Ok(entry.timetable.next(mark))
    }

    /// Which ticks after `mark` fire now, and up to where the entry has then been dealt with.
    fn due(&self, entry: &Entry, mark: Moment, now: Moment) -> Due {
        let from = mark.max(now.minus(self.catch_up));
        let mut ticks = entry.timetable.between(from, now);
        match entry.missed {
            Missed::All => {
                let fire: Vec<_> = ticks.take(BURST).collect();
                Due { until: fire.last().copied(), fire }
            }
            Missed::Once => {
                let newest = ticks.last();
                Due { until: newest, fire: newest.into_iter().collect() }
            }
            Missed::Skip => {
                let Some(first) = ticks.next() else {
                    return Due { until: None, fire: Vec::new() };
                };
                let in_time = now.minus(self.grace);
                let all: Vec<_> = std::iter::once(first).chain(ticks).collect();
                let fire: Vec<_> = all.iter().copied().filter(|tick| *tick >= in_time).collect();
                let skipped = all.len() - fire.len();
                if skipped > 0 {
                    warn!(cron.name = %entry.name, cron.skipped = skipped, "ticks were missed and are skipped");
                }
                Due { until: all.last().copied(), fire }
            }
        }
    }

    /// Submits the job of one tick, unless that was done before.
    async fn fire(&self, entry: &Entry, tick: Moment, now: Moment) -> Result<(), String> {
        let request = JobRequest::new(entry.kind.as_str(), entry.payload.clone());
        let request_id = format!("cron:{}", entry.name);
        let made = self
            .intake
            .prepare(&entry.tenant, Producer::Engine, vec![request], &request_id, now)
            .await;
        let jobs = match made {
            Ok(jobs) => jobs,
            Err(Rejection::Unavailable(fault)) => return Err(fault.to_string()),
            Err(Rejection::Invalid(problems)) => {
                let words = problems.first().map(|p| p.message.as_str()).unwrap_or_default();
                error!(cron.name = %entry.name, cron.tick = %tick, error = words, "the job of a crontab entry was refused; this tick is lost");
                return Ok(());
            }
        };
        let id = jobs.first().map(|job| job.id.to_string()).unwrap_or_default();
        let idempotency = Some(remembered(entry, tick, &id));
        let submission = Submission { tenant: entry.tenant.clone(), jobs, idempotency };
        let taken = self.queue.enqueue(submission).await.map_err(|e| e.to_string())?;
        if let Enqueued::Fresh(ids) = taken {
            let id = ids.first().map(ToString::to_string).unwrap_or_default();
            info!(cron.name = %entry.name, cron.tick = %tick, job.id = %id, tenant = %entry.tenant, "a crontab entry fired");
        }
        Ok(())
    }

    /// Moves an entry on; `false` when another scheduler did so meanwhile.
    async fn advance(
        &self,
        entry: &Entry,
        from: Option<Moment>,
        to: Moment,
    ) -> Result<bool, String> {
        let moved = self.ticks.advance(&entry.tenant, &entry.name, from, to).await;
        moved.map_err(|e| e.to_string())
    }
}

struct Due {
    fire: Vec<Moment>,
    until: Option<Moment>,
}

/// A tick is the same tick whatever its entry submits by now: the fingerprint is that of its key.
fn remembered(entry: &Entry, tick: Moment, answer: &str) -> Idempotency {
    let key = format!("cron:{}:{tick}", entry.name);
    let fingerprint = Sha256::digest(key.as_bytes()).into();
    Idempotency { key, fingerprint, answer: Bytes::from(answer.to_owned()), keep: KEEP }
}
