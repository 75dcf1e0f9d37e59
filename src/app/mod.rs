//! The program put together: configuration, queue, store, and the roles that a process plays.

mod dev;
mod files;
mod roles;

use std::{fs, path::Path, sync::Arc};

use jobs::contract::{
    Ports,
    ports::{Ledger, Mailboxes, Suppressions},
};

pub(crate) use self::files::room_for;
pub use self::roles::Roles;
use crate::{
    cli::Failure,
    config::Config,
    intake::Intake,
    limits::{Limits, MailboxRates},
    mail::{Accounts, Mailer},
    queue::{Queue, redis::RedisQueue, sqlite::SqliteQueue},
    secrets::{Secrets, SecretsError},
    store::{Migrated, OnOldSchema, Store, StoreError},
    telemetry,
    worker::QueueClock,
};

/// The file of the embedded queue, inside the data directory.
const QUEUE_FILE: &str = "queue.sqlite";

/// Whether the embedded default may make what it needs: its directory, its schema, its secret key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Embedded {
    /// It may (`up`, `demo`).
    Yes,
    /// What is missing is an error.
    No,
}

/// The program, opened.
pub struct App {
    /// What it was told.
    pub config: Arc<Config>,
    /// What is still to be done.
    pub queue: Arc<dyn Queue>,
    /// What has happened.
    pub store: Store,
    /// What lanes may draw on.
    pub limits: Limits,
    /// The door for new jobs.
    pub intake: Intake,
    ports: Arc<Ports>,
}

impl App {
    /// Opens queue and store.
    ///
    /// # Errors
    ///
    /// Why one of them cannot be opened.
    pub async fn open(config: Config, embedded: Embedded) -> Result<Self, Failure> {
        // Only the first in a process sets logs up; there is no second but in tests.
        match telemetry::init(&config.log) {
            Ok(()) | Err(telemetry::LogError::Twice) => {}
            Err(error) => return Err(Failure::config(error.to_string())),
        }
        if embedded == Embedded::Yes {
            make(&config.data_dir)?;
        }
        let store = open_store(&config, embedded).await?;
        let queue = open_queue(&config).await?;
        let rates: Arc<dyn MailboxRates> = Arc::new(store.clone());
        let limits = Limits::new(config.limits.clone(), rates);
        let ports = Arc::new(ports(&config, &store, &queue)?);
        let intake = Intake::new(jobs::catalogue(), limits.clone());
        Ok(Self { config: Arc::new(config), queue, store, limits, intake, ports })
    }

    /// Brings the store to the schema of this program, and says what was done.
    ///
    /// # Errors
    ///
    /// Why it cannot.
    pub async fn migrate(config: &Config) -> Result<String, Failure> {
        // The embedded queue needs the directory, wherever the store is.
        if config.redis.url.is_empty() || config.store.url.is_empty() {
            make(&config.data_dir)?;
        }
        let Migrated { from, to } = Store::migrate(&config.store, &config.data_dir).await?;
        Ok(if from == to {
            format!("the store has schema version {to} already")
        } else {
            format!("the store went from schema version {from} to {to}")
        })
    }
}

fn make(dir: &Path) -> Result<(), Failure> {
    fs::create_dir_all(dir).map_err(|e| {
        Failure::cannot_create(format!("cannot make the data directory {}: {e}", dir.display()))
    })
}

pub(crate) async fn open_store(config: &Config, embedded: Embedded) -> Result<Store, Failure> {
    let (secrets, on_old) = match embedded {
        Embedded::Yes => (Secrets::load_or_create(config)?, OnOldSchema::Migrate),
        Embedded::No => (Secrets::load_beside(config)?, OnOldSchema::Refuse),
    };
    Ok(Store::open(&config.store, &config.data_dir, secrets, on_old).await?)
}

pub(crate) async fn open_queue(config: &Config) -> Result<Arc<dyn Queue>, Failure> {
    if !config.redis.url.is_empty() {
        return Ok(Arc::new(RedisQueue::open(&config.redis).await?));
    }
    let queue = SqliteQueue::open(&config.data_dir.join(QUEUE_FILE), &config.queue).await?;
    Ok(Arc::new(queue))
}

fn ports(config: &Config, store: &Store, queue: &Arc<dyn Queue>) -> Result<Ports, Failure> {
    let accounts: Arc<dyn Accounts> = Arc::new(store.clone());
    let mailer = Mailer::new(&config.mail, accounts, &config.data_dir).map_err(Failure::config)?;
    Ok(Ports {
        clock: Arc::new(QueueClock(Arc::clone(queue))),
        ledger: Arc::new(store.clone()) as Arc<dyn Ledger>,
        mail: Arc::new(mailer),
        mailboxes: Arc::new(store.clone()) as Arc<dyn Mailboxes>,
        suppressions: Arc::new(store.clone()) as Arc<dyn Suppressions>,
    })
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let sentence = error.to_string();
        match error {
            StoreError::Unavailable(_) => Self::unavailable(sentence),
            StoreError::CannotCreate(_) => Self::cannot_create(sentence),
            StoreError::NoTenant(_) => Self::data(sentence),
            StoreError::Url(_)
            | StoreError::Older { .. }
            | StoreError::Newer { .. }
            | StoreError::Unusable(_) => Self::config(sentence),
        }
    }
}

impl From<SecretsError> for Failure {
    fn from(error: SecretsError) -> Self {
        match error {
            SecretsError::File { verb: "create", .. } => Self::cannot_create(error.to_string()),
            _ => Self::config(error.to_string()),
        }
    }
}
