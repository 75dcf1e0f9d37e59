//! The words of the queue port.

mod lane;
mod lease;
mod record;
mod status;
mod submission;

use std::{fmt, time::Duration};

pub use self::{
    lane::{Drawn, LaneFilter, LanePolicy, LaneRecord, LaneRef, Limit, ParkReason, PauseTarget},
    lease::{
        Ask, Cancelled, Changed, Claimed, Claims, Hold, LeaseRef, Rescued, Settled, Settlement,
    },
    record::{AttemptRecord, JobFilter, JobRecord, QueueRecord, Waiting, WaitingFor},
    status::Status,
    submission::{Enqueued, Idempotency, NewJob, Priority, Submission, places_by_line},
};

/// Why a verb of the queue could not be carried out. Nothing was changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum QueueError {
    /// The queue cannot be reached, or is busy or full; the same call may work later.
    #[error("the queue is not available: {0}")]
    Unavailable(String),
    /// The queue's data or schema is not what this program expects; trying again does not help.
    #[error("the queue cannot be used: {0}")]
    Unusable(String),
    /// The queue's server does not let this process in, or not do this: a wrong password, a right that is
    /// missing. A mistake in the configuration at the start; later the server was changed, and the same
    /// call may work once that is mended.
    #[error("the queue cannot be used, its server refuses this process: {0}")]
    Denied(String),
}

/// What a queue that can be used lacks all the same, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lack {
    /// Parts of it do not answer.
    Parts(String),
    /// It has no room, or not everywhere: no more jobs are taken in there.
    Room(String),
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Parts(words) | Self::Room(words)) = self;
        f.write_str(words)
    }
}

/// A version of the queue, as of some read: anything newer is a change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen(pub u64);

/// How long things are kept after their end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// Completed jobs.
    pub completed: Duration,
    /// Cancelled jobs.
    pub cancelled: Duration,
    /// Failed jobs: the dead set.
    pub failed: Duration,
    /// How many failed jobs of a tenant are kept at most; the oldest go first.
    pub failed_max: u32,
}
