//! The program put together: configuration, queue, store, and the roles that a process plays.

use std::{net::SocketAddr, path::Path, sync::Arc};

use tokio_util::sync::CancellationToken;

use crate::{cli::Failure, config::Config, intake::Intake, queue::Queue};

/// Whether the embedded default may make what it needs: its directory, its schema, its secret key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Embedded {
    /// It may (`up`, `demo`).
    Yes,
    /// What is missing is an error.
    No,
}

/// The roles of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    /// The façade.
    pub serve: bool,
    /// A worker.
    pub worker: bool,
    /// A scheduler.
    pub scheduler: bool,
}

impl Roles {
    /// No role.
    pub const NONE: Self = Self { serve: false, worker: false, scheduler: false };
    /// Every role.
    pub const ALL: Self = Self { serve: true, worker: true, scheduler: true };
}

/// The program, opened.
pub struct App {
    /// What it was told.
    pub config: Arc<Config>,
    /// What is still to be done.
    pub queue: Arc<dyn Queue>,
    /// The door for new jobs.
    pub intake: Intake,
}

impl App {
    /// Opens queue and store.
    ///
    /// # Errors
    ///
    /// Why one of them cannot be opened.
    #[expect(clippy::unused_async, reason = "adapters are opened here")]
    pub async fn open(_config: Config, _embedded: Embedded) -> Result<Self, Failure> {
        Err(absent())
    }

    /// Brings the store to the schema of this program, and says what was done.
    ///
    /// # Errors
    ///
    /// Why it cannot.
    #[expect(clippy::unused_async, reason = "the store is migrated here")]
    pub async fn migrate(_config: &Config) -> Result<String, Failure> {
        Err(absent())
    }

    /// Plays roles until `shutdown`; `ready` is told the façade's address once it serves.
    ///
    /// # Errors
    ///
    /// Why a role could not be played.
    #[expect(clippy::unused_async, reason = "the roles are played here")]
    pub async fn run_roles(
        &self,
        _roles: Roles,
        _shutdown: CancellationToken,
        _ready: impl FnOnce(Option<SocketAddr>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        Err(absent())
    }

    /// Whether this is a key that the façade would take.
    ///
    /// # Errors
    ///
    /// When the store is out of reach.
    #[expect(clippy::unused_async, reason = "the store is asked here")]
    pub async fn knows_key(&self, _key: &str) -> Result<bool, Failure> {
        Err(absent())
    }

    /// Makes tenant `dev` and its mailbox `dev@example.com`, where they are missing, and a new key.
    ///
    /// # Errors
    ///
    /// When the store is out of reach.
    #[expect(clippy::unused_async, reason = "the store is written to here")]
    pub async fn make_dev(&self) -> Result<String, Failure> {
        Err(absent())
    }

    /// Loads a file of mailboxes or of people for tenant `dev`, as `postrider apply` does.
    ///
    /// # Errors
    ///
    /// What is wrong with the file.
    #[expect(clippy::unused_async, reason = "the store is written to here")]
    pub async fn apply(&self, _file: &Path) -> Result<(), Failure> {
        Err(absent())
    }
}

fn absent() -> Failure {
    Failure::unavailable("this build has no adapters of the queue and the store")
}
