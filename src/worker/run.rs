//! A claimed job on its way through the worker.

use super::{held::Share, last_chance::Place, leases::Kept, pool::Slots};
use crate::queue::Claimed;

/// A claimed job, and what it takes of its pool.
pub(super) struct Run {
    /// The job.
    pub(super) job: Box<Claimed>,
    /// Its lease, and the line by which it can be called off.
    pub(super) kept: Kept,
    /// Its share of what is held; given back by dropping it, once the verdict is stored.
    pub(super) share: Share,
    /// The place of a job on its last chance, which it keeps for as long as its share.
    pub(super) place: Option<Place>,
}

/// Runs that begin together, and the slots that they have until they are over.
pub(super) struct Group {
    pub(super) runs: Vec<Run>,
    pub(super) slots: Slots,
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

impl Interrupt {
    /// Its number, from 1.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Cancel => 1,
            Self::Lost => 2,
            Self::Stop => 3,
        }
    }

    /// The one with this number.
    pub(super) fn of_number(number: u8) -> Option<Self> {
        [Self::Cancel, Self::Lost, Self::Stop].into_iter().find(|why| why.number() == number)
    }
}
