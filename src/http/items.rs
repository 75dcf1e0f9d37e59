//! What was wrong with single items of a job.

use std::sync::Arc;

use jobs::{
    bulk_update::MOST_ERRORS,
    contract::{
        Fault,
        ports::{ItemError, ItemErrors},
    },
};

use crate::queue::JobRecord;

/// Where the errors of items are asked for.
#[derive(Clone)]
pub(super) struct Items(pub(super) Arc<dyn ItemErrors>);

impl Items {
    /// The first errors of a job's items; nobody is asked while none has failed.
    pub(super) async fn of(&self, job: &JobRecord) -> Result<Vec<ItemError>, Fault> {
        if job.cursor.failed == 0 {
            return Ok(Vec::new());
        }
        self.0.item_errors(&job.tenant, job.id, None, MOST_ERRORS).await
    }
}
