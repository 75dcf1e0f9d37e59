//! What every adapter asks of a submission.

use super::QueueError;

/// Jobs in one submission at most: so much is one transaction.
const MOST_JOBS: usize = 1_000;

/// Refuses a submission of this many jobs when that is too many, or none.
pub(super) fn check(jobs: usize) -> Result<(), QueueError> {
    if (1..=MOST_JOBS).contains(&jobs) {
        return Ok(());
    }
    let words = format!("a submission has 1 to {MOST_JOBS} jobs, this one has {jobs}");
    Err(QueueError::Unusable(words))
}
