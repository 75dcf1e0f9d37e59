//! Jobs on their way in.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use jobs::contract::{JobId, LaneName, Moment, TenantId};
use serde::{Deserialize, Serialize};

use super::LanePolicy;

/// High before normal before low, inside a lane.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Before everything else in the lane.
    High,
    /// In the order of arrival.
    #[default]
    Normal,
    /// When nothing else waits in the lane.
    Low,
}

/// A job to take in.
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    /// Its id, made by the submitter.
    pub id: JobId,
    /// The wire name of its kind.
    pub kind: String,
    /// The queue it waits in.
    pub queue: String,
    /// The lane it waits in.
    pub lane: LaneName,
    /// What the lane may draw on; used when the lane is new.
    pub policy: Arc<LanePolicy>,
    /// The payload, JSON.
    pub payload: Bytes,
    /// Its priority in the lane.
    pub priority: Priority,
    /// Not before this moment; now, when it is none or past.
    pub run_at: Option<Moment>,
    /// Attempts it may have.
    pub max_attempts: u32,
    /// While an unfinished job of this tenant and kind has this key, that job is answered instead.
    pub unique: Option<String>,
    /// How many items it is about.
    pub total_items: u64,
    /// The submitter's own words, for finding it again.
    pub tags: Vec<String>,
    /// The request that submitted it: `req_…`, `cron:<name>`, `cli`.
    pub request_id: String,
    /// Endpoints to which its end is told.
    pub callback: Vec<String>,
}

impl NewJob {
    /// The longest payload of a job that may be kept together with others, in bytes.
    pub const LONGEST_TOGETHER: usize = 4_096;

    /// Whether it may be kept together with others: nothing sets it apart.
    pub fn is_plain(&self) -> bool {
        self.run_at.is_none()
            && self.unique.is_none()
            && self.callback.is_empty()
            && self.payload.len() <= Self::LONGEST_TOGETHER
    }

    /// Gives jobs that are submitted together ids that belong together: those of one lane and priority
    /// behind each other. A queue may keep such jobs as one, and move them many at a time. Any other ids do
    /// as well.
    pub fn name_together(jobs: &mut [Self]) {
        let places = places_by_line(jobs);
        let alike = places.into_iter().filter(|line| line.iter().all(|at| jobs[*at].is_plain()));
        let together: Vec<usize> = alike.flatten().collect();
        if together.len() < 2 {
            return;
        }
        for some in together.chunks(JobId::MOST_TOGETHER) {
            some.iter().zip(JobId::together(some.len())).for_each(|(at, id)| jobs[*at].id = id);
        }
    }
}

/// The places of jobs that wait in one lane with one priority, in the order in which these lines come up.
pub fn places_by_line(jobs: &[NewJob]) -> Vec<Vec<usize>> {
    let mut lines: Vec<Vec<usize>> = Vec::new();
    let mut known: HashMap<(&str, &LaneName, Priority), usize> = HashMap::new();
    for (place, job) in jobs.iter().enumerate() {
        let line = *known.entry((&job.queue, &job.lane, job.priority)).or_insert(lines.len());
        if line == lines.len() {
            lines.push(Vec::new());
        }
        lines[line].push(place);
    }
    lines
}

/// Jobs to take in together.
#[derive(Debug, Clone)]
pub struct Submission {
    /// Whose jobs they are.
    pub tenant: TenantId,
    /// The jobs, at least one; taken in all or none.
    pub jobs: Vec<NewJob>,
    /// Remembers the submission, so that the same one again changes nothing.
    pub idempotency: Option<Idempotency>,
}

/// Remembers a submission by its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The key within the tenant; `http:…` for callers' keys, `cron:…` for ticks.
    pub key: String,
    /// SHA-256 of the request, to tell a repetition from another request under the same key.
    pub fingerprint: [u8; 32],
    /// What to answer to a repetition, byte for byte.
    pub answer: Bytes,
    /// How long it is remembered from its first use.
    pub keep: Duration,
}

/// What became of a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Enqueued {
    /// Taken in. The ids in the order given: the job's own, or that of the unfinished job with the
    /// same uniqueness key.
    Fresh(Vec<JobId>),
    /// Taken in earlier under the same key: the answer of then.
    Replayed(Bytes),
    /// The key was used for another request.
    KeyReused,
}
