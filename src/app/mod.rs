//! The program put together: configuration, queue, store, and the roles that a process plays.

mod dev;
mod files;
mod prune;
mod roles;
mod strays;

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use jobs::contract::{
    Ports,
    ports::{Endpoints, Ledger, Mailboxes, Records, Suppressions},
};
use tokio_util::sync::CancellationToken;

pub(crate) use self::files::room_for;
pub use self::roles::Roles;
use crate::{
    cli::Failure,
    config::Config,
    follow_ups::Followers,
    intake::Intake,
    limits::{Limits, Rates},
    mail::{Accounts, Mailer},
    queue::{Queue, redis::RedisQueue, sqlite::SqliteQueue},
    resources::{Compared, Declarations, Keeper, Tables, compare},
    secrets::{Secrets, SecretsError},
    store::{
        DeliveryWriter, Migrated, OnOldSchema, Store, StoreError,
        records::{Hosts, RecordStore},
    },
    telemetry,
    webhooks::{Addresses, Client, Deliverer, Guard, SystemResolver},
    worker::QueueClock,
};

/// The file of the embedded queue, inside the data directory.
const QUEUE_FILE: &str = "queue.sqlite";

/// How long a role waits for its queue and store to be there, and how often it looks.
const START_PATIENCE: Duration = Duration::from_secs(60);
const START_PAUSE: Duration = Duration::from_secs(1);

/// Whether the embedded default may make what it needs: its directory, its schema, its secret key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Embedded {
    /// It may (`up`, `demo`).
    Yes,
    /// What is missing is an error.
    No,
}

/// What a process does with the product's databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hosted {
    Used,
    LeftAlone,
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
    /// Where webhooks may go.
    pub guard: Guard,
    ports: Arc<Ports>,
}

impl App {
    /// Opens queue and store, and compares the product's tables with what is declared of them.
    ///
    /// # Errors
    ///
    /// Why one of them cannot be opened, or in what a table differs.
    pub async fn open(config: Config, embedded: Embedded) -> Result<Self, Failure> {
        Self::put_together(config, embedded, Hosted::Used).await
    }

    /// The same for a command that works beside running processes: it touches no database of the product,
    /// and need not know where they are.
    ///
    /// # Errors
    ///
    /// Why queue or store cannot be opened.
    pub async fn open_beside(config: Config) -> Result<Self, Failure> {
        Self::put_together(config, Embedded::No, Hosted::LeftAlone).await
    }

    async fn put_together(
        config: Config,
        embedded: Embedded,
        hosted: Hosted,
    ) -> Result<Self, Failure> {
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
        let rates: Arc<dyn Rates> = Arc::new(store.clone());
        let limits = Limits::new(config.limits.clone(), rates);
        let declared = match hosted {
            Hosted::Used => Declarations::configured(&config),
            Hosted::LeftAlone => Declarations::configured_beside(&config),
        };
        let declared = Arc::new(declared.map_err(|error| Failure::config(error.to_string()))?);
        let intake = Intake::new(jobs::catalogue(), limits.clone())
            .declaring(Arc::clone(declared.resources()));
        let records = keeper(&declared, &store, &queue, hosted).await?;
        let guard = Guard::new(&config.webhooks, Arc::new(SystemResolver));
        let ports = Arc::new(ports(&config, &store, &queue, &intake, &guard, records)?);
        Ok(Self { config: Arc::new(config), queue, store, limits, intake, guard, ports })
    }

    /// The same for a role, which waits for a while for what is out of reach: after a power cut a Redis
    /// that reads its file takes longer to start than those who need it. Nothing when it was told to stop
    /// meanwhile.
    ///
    /// # Errors
    ///
    /// Why one of them cannot be opened, or still not.
    pub async fn open_patiently(
        config: Config,
        shutdown: &CancellationToken,
    ) -> Result<Option<Self>, Failure> {
        let opening = async {
            let began = Instant::now();
            loop {
                match Self::open(config.clone(), Embedded::No).await {
                    Err(failure) if failure.passes() && began.elapsed() < START_PATIENCE => {
                        tracing::warn!(error = %failure, "cannot start yet; trying again");
                        tokio::time::sleep(START_PAUSE).await;
                    }
                    opened => return opened,
                }
            }
        };
        shutdown.run_until_cancelled(Box::pin(opening)).await.transpose()
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

/// The keeper of what is declared, which was compared with the real tables by who is going to use them.
async fn keeper(
    declared: &Arc<Declarations>,
    store: &Store,
    queue: &Arc<dyn Queue>,
    hosted: Hosted,
) -> Result<Keeper, Failure> {
    let hosts = Hosts::new(declared.databases()).map_err(Failure::config)?;
    let tables = RecordStore::new(store.clone(), hosts);
    if hosted == Hosted::LeftAlone {
        return Ok(Keeper::new(Arc::clone(declared), tables, Arc::clone(queue)));
    }
    let Compared { mismatches, away } = compare(declared, Tables::All(&tables)).await;
    if !mismatches.is_empty() {
        return Err(Failure::config(mismatches.join("\n")));
    }
    // One of the product's databases that is away keeps nobody else's work from its turn.
    for words in away {
        tracing::warn!(error = words, "a resource cannot be looked at yet");
    }
    Ok(Keeper::new(Arc::clone(declared), tables, Arc::clone(queue)))
}

fn ports(
    config: &Config,
    store: &Store,
    queue: &Arc<dyn Queue>,
    intake: &Intake,
    guard: &Guard,
    records: Keeper,
) -> Result<Ports, Failure> {
    let accounts: Arc<dyn Accounts> = Arc::new(store.clone());
    let mailer = Mailer::new(&config.mail, accounts, &config.data_dir).map_err(Failure::config)?;
    let client = Client::new(&config.webhooks, guard.clone()).map_err(Failure::config)?;
    let addresses: Arc<dyn Addresses> = Arc::new(store.clone());
    Ok(Ports {
        clock: Arc::new(QueueClock(Arc::clone(queue))),
        deliveries: Arc::new(DeliveryWriter::start(store.clone())),
        endpoints: Arc::new(store.clone()) as Arc<dyn Endpoints>,
        follow_ups: Arc::new(Followers::new(Arc::clone(queue), intake.clone())),
        ledger: Arc::new(store.clone()) as Arc<dyn Ledger>,
        mail: Arc::new(mailer),
        mailboxes: Arc::new(store.clone()) as Arc<dyn Mailboxes>,
        records: Arc::new(records) as Arc<dyn Records>,
        suppressions: Arc::new(store.clone()) as Arc<dyn Suppressions>,
        webhooks: Arc::new(Deliverer::new(addresses, client)),
    })
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let sentence = error.to_string();
        match error {
            StoreError::Unavailable(_) => Self::unavailable(sentence),
            StoreError::CannotCreate(_) => Self::cannot_create(sentence),
            StoreError::NoTenant(_) | StoreError::TooMany(_) => Self::data(sentence),
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
