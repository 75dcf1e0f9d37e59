//! A pool: the slots of one queue in this process, and the task that fills them.
//!
//! While runs end fast, a few jobs are claimed ahead, as many as will begin within a moment: a claim of
//! many costs little more than one of a single job, and no slot waits for it. While they do not, a job is
//! claimed when a slot is free for it, and what was claimed ahead of a pool that came to a halt goes back
//! to whoever has a slot.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use super::{
    WorkerConfig,
    buffer::Buffer,
    held::Held,
    pace::Pace,
    perform::Performer,
    run::{Group, Run},
};
use crate::queue::{Ask, Claimed, Claims, QueueError};

/// Jobs claimed in one call, and runs that begin together at most.
const BATCH: usize = 100;
/// Jobs claimed ahead at most, and within how long they must be expected to begin.
const AHEAD: usize = 64;
const SOON: Duration = Duration::from_millis(20);
/// What was claimed ahead goes back when no run has ended for so long.
const HALT: Duration = Duration::from_millis(500);
/// The pause after a first failure, and the longest one: work goes on within 5 s after an outage, of
/// which a new connection may need some as well.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The slots of one queue.
pub(super) struct Pool {
    /// The worker's name, as kept with each lease.
    worker: String,
    /// The queue it claims from.
    queue: String,
    size: usize,
    held: Arc<Held>,
    pace: Pace,
    performer: Arc<Performer>,
    /// Claimed and not begun; it hands on what has a slot.
    buffer: Buffer<Run>,
}

/// Slots that runs have; free again when this is dropped.
pub(super) struct Slots {
    pool: Arc<Pool>,
    count: usize,
}

impl Slots {
    /// One of them, for a run that goes on by itself.
    pub(super) fn one(&mut self) -> Self {
        self.count -= 1;
        Self { pool: Arc::clone(&self.pool), count: 1 }
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        if self.count > 0 {
            self.pool.pace.ended(self.count, Instant::now());
            self.pool.buffer.free_slots(self.count);
        }
    }
}

impl Pool {
    pub(super) fn new(
        worker: &str,
        queue: &str,
        config: &WorkerConfig,
        performer: Arc<Performer>,
    ) -> Self {
        let size = config.slots(queue) as usize;
        Self {
            worker: worker.to_owned(),
            queue: queue.to_owned(),
            size,
            held: Arc::default(),
            pace: Pace::new(Instant::now()),
            performer,
            buffer: Buffer::new(size),
        }
    }

    /// A name for its apalis worker.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.worker, self.queue)
    }

    /// The next runs that can begin.
    pub(super) fn poll_begin(self: &Arc<Self>, cx: &Context<'_>) -> Poll<Group> {
        self.buffer.poll_take(BATCH, cx).map(|runs| {
            // There may be room for others in the buffer now.
            self.held.look();
            let slots = Slots { pool: Arc::clone(self), count: runs.len() };
            Group { runs, slots }
        })
    }

    /// Fills free slots until `shutdown`, then gives back what has not begun.
    pub(super) async fn fetch(self: Arc<Self>, shutdown: CancellationToken) {
        let mut pause = FIRST_PAUSE;
        while !shutdown.is_cancelled() {
            let Some(room) = self.room(&shutdown).await else { break };
            match self.claim(room).await {
                Ok(claims) => {
                    pause = FIRST_PAUSE;
                    self.fill(claims, &shutdown).await;
                }
                Err(error) => {
                    tracing::warn!(queue = self.queue, %error, "jobs could not be claimed");
                    let _ = shutdown.run_until_cancelled(tokio::time::sleep(pause)).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
        self.give_back(self.buffer.close());
        // When nothing is held, nothing is left to write.
        self.held.none().await;
    }

    /// Waits until jobs are to be claimed; how many.
    async fn room(&self, shutdown: &CancellationToken) -> Option<usize> {
        loop {
            let waiting = self.buffer.len();
            let ahead = self.pace.within(SOON, Instant::now()).min(AHEAD);
            let room = (self.size + ahead).saturating_sub(self.held.count());
            // Not each job by itself: half of what is claimed ahead is enough until the next ones come.
            if room > 0 && waiting <= ahead / 2 {
                return Some(room.min(BATCH));
            }
            tokio::select! {
                () = self.held.changed() => {}
                () = tokio::time::sleep(HALT), if waiting > 0 => self.give_back_if_halted(),
                () = shutdown.cancelled() => return None,
            }
        }
    }

    /// Others may have slots for what this pool does not get to.
    fn give_back_if_halted(&self) {
        if self.pace.silent(Instant::now()) >= HALT {
            self.give_back(self.buffer.take_all());
        }
    }

    fn give_back(&self, runs: impl IntoIterator<Item = Run>) {
        self.performer.give_back(runs);
    }

    async fn claim(&self, room: usize) -> Result<Claims, QueueError> {
        let ask = Ask {
            queue: self.queue.clone(),
            worker: self.worker.clone(),
            max: u32::try_from(room).unwrap_or(1),
            lease: self.performer.leases.length(),
        };
        self.performer.queue.claim(&ask).await
    }

    /// Hands claimed jobs on; when there were none, waits until there may be.
    async fn fill(&self, claims: Claims, shutdown: &CancellationToken) {
        if claims.jobs.is_empty() {
            let arrival = self.performer.queue.wait(&self.queue, claims.seen, claims.next_at);
            let _ = shutdown.run_until_cancelled(arrival).await;
            return;
        }
        let (now, later) = self.performer.last_chance.sort(claims.jobs);
        let kept = self.performer.leases.watch(now.iter().map(|(job, _)| job.lease));
        if !later.is_empty() {
            self.put_off(later).await;
        }
        let taken = self.held.shares(now.len()).into_iter().zip(kept);
        let runs = now.into_iter().zip(taken);
        let run = |((job, place), (share, kept))| Run { job, kept, share, place };
        if let Err(runs) = self.buffer.push(runs.map(run).collect()) {
            self.give_back(runs);
        }
    }

    /// Puts jobs off, and returns when that is stored: what begins next may take this process with it.
    async fn put_off(&self, jobs: Vec<Claimed>) {
        let unstored: Arc<Held> = Arc::default();
        let shares = unstored.shares(jobs.len());
        self.performer.put_off(jobs.into_iter().zip(shares));
        unstored.none().await;
    }
}
