//! A claimed job on its way through the worker.

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::last_chance::Place;
use crate::queue::Claimed;

/// A claimed job, the slot it takes, and the line by which it can be called off.
pub(super) struct Run {
    /// The job.
    pub(super) job: Claimed,
    /// Says that the run must end early, and why.
    pub(super) interrupt: oneshot::Receiver<Interrupt>,
    /// The slot; given back by dropping it, once the verdict is stored.
    pub(super) slot: OwnedSemaphorePermit,
    /// The place of a job on its last chance, which it keeps for as long as its slot.
    pub(super) place: Option<Place>,
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
