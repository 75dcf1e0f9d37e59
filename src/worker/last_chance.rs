//! Jobs on their last chance: one more worker that vanishes under them, and they are quarantined.
//!
//! Nobody knows which of a vanished worker's jobs took it down, so that all of them are charged with
//! the crash. A process therefore runs one job on its last chance at a time, and puts the others off
//! before that one begins: the culprit goes into quarantine alone, and those that only happened to be
//! near it end well.

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::queue::Claimed;

/// For how long a job is put off while another one has its last chance here.
pub(super) const PUT_OFF: Duration = Duration::from_secs(1);

/// The one place of a process for a job on its last chance.
pub(super) struct LastChance {
    max_crashes: u32,
    place: Arc<Semaphore>,
}

/// The place, while a job has it; free again when this is dropped.
pub(super) type Place = OwnedSemaphorePermit;

/// A job that may begin, with the place where that is needed.
pub(super) type Ready = (Box<Claimed>, Option<Place>);

impl LastChance {
    pub(super) fn new(max_crashes: u32) -> Self {
        Self { max_crashes, place: Arc::new(Semaphore::new(1)) }
    }

    /// Which of these jobs may begin, one of them with the place where that is needed, and which must
    /// be put off.
    pub(super) fn sort(&self, jobs: Vec<Claimed>) -> (Vec<Ready>, Vec<Claimed>) {
        let (mut now, mut later) = (Vec::with_capacity(jobs.len()), Vec::new());
        for job in jobs {
            if !self.concerns(&job) {
                now.push((Box::new(job), None));
            } else if let Ok(place) = Arc::clone(&self.place).try_acquire_owned() {
                now.push((Box::new(job), Some(place)));
            } else {
                later.push(job);
            }
        }
        (now, later)
    }

    /// A job that has seen no worker vanish is no suspect, even where the first crash is the last.
    fn concerns(&self, job: &Claimed) -> bool {
        job.crashes > 0 && job.crashes + 1 >= self.max_crashes
    }
}
