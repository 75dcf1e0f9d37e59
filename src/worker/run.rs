//! A claimed job on its way through the worker.

use tokio::sync::oneshot;

use super::{held::Share, last_chance::Place, pool::Slot};
use crate::queue::Claimed;

/// A claimed job, what it takes of its pool, and the line by which it can be called off.
pub(super) struct Run {
    /// The job.
    pub(super) job: Claimed,
    /// Says that the run must end early, and why.
    pub(super) interrupt: oneshot::Receiver<Interrupt>,
    /// Its share of what is held; given back by dropping it, once the verdict is stored.
    pub(super) share: Share,
    /// The place of a job on its last chance, which it keeps for as long as its share.
    pub(super) place: Option<Place>,
    /// The slot, as soon as it has one, until the run is over.
    pub(super) slot: Option<Slot>,
}

/// Why a run must end early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interrupt {
    /// Somebody asked for the job to be cancelled.
    Cancel,
    /// The lease is lost: somebody else holds the job.
    Lost,
    /// The process stops, and the grace is over.
    Stop,
}
