//! Jobs on their way through a worker, and what operators do to them.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use jobs::contract::{Cursor, JobId, LaneName, Moment, TenantId, Verdict};

use super::{Seen, Status};

/// What a worker asks for.
#[derive(Debug, Clone)]
pub struct Ask {
    /// From which queue.
    pub queue: String,
    /// The worker's name, kept with the lease.
    pub worker: String,
    /// How many at most.
    pub max: u32,
    /// For how long, from now.
    pub lease: Duration,
}

impl Ask {
    /// How many jobs of a lane one turn gives at most, while there are others: who takes many jobs at once
    /// takes them in runs, who takes few takes them one by one.
    pub fn run(&self) -> u32 {
        if self.max < 32 { 1 } else { self.max / 8 }
    }
}

/// What a claim took.
#[derive(Debug, Clone)]
pub struct Claims {
    /// The jobs, in the order in which their turns came.
    pub jobs: Vec<Claimed>,
    /// When nothing more may run now: the moment at which something may, if that is known.
    pub next_at: Option<Moment>,
    /// The version that the claim saw, for [`Queue::wait`](crate::queue::Queue::wait).
    pub seen: Seen,
}

/// A job under a lease.
#[derive(Debug, Clone, PartialEq)]
pub struct Claimed {
    /// The job and the fence under which it is held.
    pub lease: LeaseRef,
    /// Whose job it is.
    pub tenant: TenantId,
    /// The wire name of its kind.
    pub kind: Arc<str>,
    /// The lane it came from.
    pub lane: LaneName,
    /// The payload, JSON.
    pub payload: Bytes,
    /// The number of this attempt, from 1.
    pub attempt: u32,
    /// Attempts it may have.
    pub max_attempts: u32,
    /// Workers that vanished under it.
    pub crashes: u32,
    /// When it was submitted.
    pub created_at: Moment,
    /// When it first was to run.
    pub due_at: Moment,
    /// When the lease ends, unless it is renewed.
    pub lease_until: Moment,
    /// Where an earlier run had got to.
    pub cursor: Option<Cursor>,
    /// The request that submitted it.
    pub request_id: Arc<str>,
    /// Whether somebody is to be told of its end.
    pub callback: bool,
}

/// A job and the fence under which somebody holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LeaseRef {
    /// The job.
    pub id: JobId,
    /// The number of its claim; it rises with each claim.
    pub fence: u64,
}

/// Whether a lease is still held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// It is, and was renewed.
    Held,
    /// It is, and was renewed, but the job is to be cancelled.
    CancelRequested,
    /// It is not: the job belongs to somebody else, or is gone.
    Lost,
    /// The part of the queue in which the job lies does not answer: nothing was renewed.
    Unknown,
}

/// A verdict to carry out.
#[derive(Debug, Clone, PartialEq)]
pub struct Settlement {
    /// The job and the fence.
    pub lease: LeaseRef,
    /// What becomes of it.
    pub verdict: Verdict,
    /// Gives back what the claim drew on the lane's limits: nothing outside was touched.
    pub refund: bool,
}

/// Whether a verdict was in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Carried out.
    Done,
    /// The job is cancelled: the verdict said so, or a cancel was asked for before it came.
    Cancelled,
    /// The fence was stale: nothing was written.
    Lost,
    /// The part of the queue in which the job lies does not answer: the same may be asked again.
    Unknown,
}

/// What became of a job whose worker vanished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rescued {
    /// The job.
    pub id: JobId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The worker that vanished.
    pub worker: String,
    /// The status it has now.
    pub status: Status,
}

/// What a cancel did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// The job waited and is cancelled now.
    AtOnce,
    /// The job runs; its worker is told.
    Requested,
    /// The job was finished already, in this status.
    TooLate(Status),
    /// The tenant has no such job.
    Unknown,
}

/// What an operator's verb did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// What was asked.
    Done,
    /// The thing is there, but not in a state in which that could be done (or it was done already).
    NotApplicable,
    /// There is no such thing.
    Unknown,
}
