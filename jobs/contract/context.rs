//! What a job is handed when it runs.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use serde::{Deserialize, Serialize};

use super::{Fault, JobId, Moment, Ports, TenantId, ports::Progress};

/// What the engine knows about the run, for the job to use.
#[derive(Debug, Clone)]
pub struct RunInfo {
    /// The job's id.
    pub job: JobId,
    /// The tenant whose job it is; every port takes it as its first argument.
    pub tenant: TenantId,
    /// The number of this attempt, from 1.
    pub attempt: u32,
    /// Attempts the job may have.
    pub max_attempts: u32,
    /// The fence of this run's claim; it rises with each claim of the job.
    pub fence: u64,
    /// When the job was submitted.
    pub created_at: Moment,
    /// Where an earlier run had got to, if it said so.
    pub cursor: Option<Cursor>,
}

impl RunInfo {
    /// A name for this run that no other run shares.
    pub fn run_id(&self) -> String {
        format!("{}/{}", self.job, self.fence)
    }
}

/// How far a long job has got, and where to go on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Items done, well or badly.
    pub processed: u64,
    /// Items of these that failed.
    pub failed: u64,
    /// Items in all.
    pub total: u64,
    /// Where to go on; only the job knows what it means.
    pub position: Option<String>,
}

/// What a job is handed when it runs.
pub struct Context {
    info: RunInfo,
    ports: Arc<Ports>,
    progress: Arc<dyn Progress>,
    untouched: AtomicBool,
}

impl Context {
    /// A context for one run.
    pub fn new(info: RunInfo, ports: Arc<Ports>, progress: Arc<dyn Progress>) -> Self {
        Self { info, ports, progress, untouched: AtomicBool::new(false) }
    }

    /// What is known about this run.
    pub fn info(&self) -> &RunInfo {
        &self.info
    }

    /// The tenant whose job this is.
    pub fn tenant(&self) -> &TenantId {
        &self.info.tenant
    }

    /// The world, as far as a job may touch it.
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// The time.
    pub fn now(&self) -> Moment {
        self.ports.clock.now()
    }

    /// Says that this run touched nothing outside, so that what it drew on its lane's limits is given
    /// back.
    pub fn touched_nothing(&self) {
        self.untouched.store(true, Ordering::Relaxed);
    }

    /// Whether the run said that it touched nothing.
    pub fn has_touched_nothing(&self) -> bool {
        self.untouched.load(Ordering::Relaxed)
    }

    /// Stores how far the job has got; to be called *after* the effect that it reports.
    ///
    /// # Errors
    ///
    /// A fault when the job is not this run's any more, or when the queue cannot be reached.
    pub async fn checkpoint(&self, cursor: &Cursor) -> Result<(), Fault> {
        self.progress.checkpoint(&self.info, cursor).await
    }
}
