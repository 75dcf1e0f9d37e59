//! `postrider apply FILE…`: loads mailboxes, endpoints and suppressions (TOML) and people (CSV) into the store.
//!
//! Each file is applied whole or not at all; applying it again changes nothing.

mod endpoint;
mod entry;
mod error;
mod people;
mod report;
mod rows;
mod settings;
mod warmup;

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use indicatif::{ProgressBar, ProgressStyle};
use jobs::contract::{Job, LaneName, TenantId, ports::Clock};
use secrecy::ExposeSecret;
use tokio::{sync::mpsc, task::spawn_blocking};

pub use self::{
    error::ApplyError,
    report::{Counts, FileReport, PeopleReport},
};
use self::{rows::Unusable, settings::Declared};
use crate::{
    limits::Limits,
    queue::{LanePolicy, LaneRef, Queue, QueueError},
    store::{EndpointSettings, Loaded, Prospect, Store, StoreError},
    webhooks::Guard,
};

/// How many problems of a file are shown.
pub const SHOWN: usize = 20;
/// Batches of people between who reads and who stages.
const AHEAD: usize = 4;
/// The queues in which mail and deliveries wait.
const SEND: &str = <jobs::Send as Job>::QUEUE;
const DELIVERY: &str = <jobs::WebhookDelivery as Job>::QUEUE;

/// The arguments of `postrider apply`.
#[derive(Debug, Clone, clap::Args)]
pub struct ApplyArgs {
    /// Files to load, in this order: .toml with mailboxes, endpoints and suppressions, or .csv with people
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The tenant they are for
    #[arg(long, default_value = "dev")]
    pub tenant: TenantId,
    /// Make the tenant if it is not there
    #[arg(long)]
    pub create_tenant: bool,
    /// Load the people of a CSV that are right even if other rows are wrong
    #[arg(long)]
    pub skip_invalid: bool,
}

/// All that `apply` asks of the queue.
#[async_trait]
pub trait SetPolicy: Send + Sync {
    /// As [`Queue::set_policy`].
    async fn set_policy(&self, lane: &LaneRef, policy: &LanePolicy) -> Result<(), QueueError>;
}

#[async_trait]
impl SetPolicy for std::sync::Arc<dyn Queue> {
    async fn set_policy(&self, lane: &LaneRef, policy: &LanePolicy) -> Result<(), QueueError> {
        self.as_ref().set_policy(lane, policy).await
    }
}

/// What `apply` works with.
pub struct ApplyDeps<'a> {
    /// Where everything goes.
    pub store: &'a Store,
    /// Whose lanes get new limits.
    pub lanes: &'a dyn SetPolicy,
    /// What lanes may draw on.
    pub limits: &'a Limits,
    /// Where webhooks may go.
    pub guard: &'a Guard,
    /// The time.
    pub clock: &'a dyn Clock,
    /// The environment, for `password_env`.
    pub env: &'a (dyn Fn(&str) -> Option<String> + Send + Sync),
}

/// Applies the files in their order, and says of each what it changed: in words, or as one JSON
/// object a line. Files before one that fails stay applied.
///
/// # Errors
///
/// Everything that is wrong with the first file that is not right, or that the store or the queue
/// could not take it.
pub async fn run(
    args: &ApplyArgs,
    deps: &ApplyDeps<'_>,
    json: bool,
    out: &mut (dyn Write + Send),
) -> Result<(), ApplyError> {
    if args.create_tenant {
        deps.store.create_tenant(&args.tenant, deps.clock.now()).await?;
    }
    for file in &args.files {
        let report = apply(args, deps, file).await?;
        report.write(json, out)?;
    }
    Ok(())
}

async fn apply(
    args: &ApplyArgs,
    deps: &ApplyDeps<'_>,
    file: &Path,
) -> Result<FileReport, ApplyError> {
    let extension = file.extension().map(|extension| extension.to_ascii_lowercase());
    match extension.as_ref().and_then(|extension| extension.to_str()) {
        Some("toml") => apply_settings(args, deps, file).await,
        Some("csv") => apply_people(args, deps, file).await,
        _ => Err(one_problem(file, "expected a file that ends in .toml or .csv".into())),
    }
}

fn one_problem(file: &Path, problem: String) -> ApplyError {
    ApplyError::Data { file: file.to_owned(), problems: vec![problem], total: 1 }
}

fn unreadable(file: &Path) -> impl Fn(std::io::Error) -> ApplyError {
    |source| match source.kind() {
        std::io::ErrorKind::InvalidData => one_problem(file, "expected UTF-8".into()),
        _ => ApplyError::Unreadable { file: file.to_owned(), source },
    }
}

async fn apply_settings(
    args: &ApplyArgs,
    deps: &ApplyDeps<'_>,
    file: &Path,
) -> Result<FileReport, ApplyError> {
    let text = std::fs::read_to_string(file).map_err(unreadable(file))?;
    let declared = settings::read(&text, deps.env).map_err(|mut problems| {
        let total = problems.len() as u64;
        problems.truncate(SHOWN);
        ApplyError::Data { file: file.to_owned(), problems, total }
    })?;
    let Declared { mailboxes, suppressions, endpoints } = &declared;
    admitted(deps.guard, file, endpoints).await?;
    let now = deps.clock.now();
    let applied = deps.store.apply(&args.tenant, mailboxes, suppressions, endpoints, now).await?;
    // All of them, not only those that changed: an earlier run may have got to the store only.
    for mailbox in mailboxes {
        let name = LaneName::mailbox(&mailbox.address);
        set_policy(&args.tenant, deps, SEND, name).await?;
    }
    for endpoint in endpoints {
        let name = LaneName::endpoint(&endpoint.id);
        set_policy(&args.tenant, deps, DELIVERY, name).await?;
    }
    Ok(FileReport::settings(file, &declared, applied))
}

/// Checks where endpoints are, as it is checked again at every delivery.
async fn admitted(
    guard: &Guard,
    file: &Path,
    endpoints: &[EndpointSettings],
) -> Result<(), ApplyError> {
    let mut problems = Vec::new();
    for endpoint in endpoints {
        if let Err(words) = guard.register(endpoint.url.expose_secret()).await {
            problems.push(format!("the url of endpoint {:?}: {words}", endpoint.id));
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    let total = problems.len() as u64;
    problems.truncate(SHOWN);
    Err(ApplyError::Data { file: file.to_owned(), problems, total })
}

async fn set_policy(
    tenant: &TenantId,
    deps: &ApplyDeps<'_>,
    queue: &str,
    name: LaneName,
) -> Result<(), ApplyError> {
    let resolved = deps.limits.resolve(tenant, &name).await;
    let resolved = resolved.map_err(|fault| StoreError::Unavailable(fault.to_string()))?;
    // What somebody else removed meanwhile has no lane to set.
    let Ok(policy) = resolved else { return Ok(()) };
    let lane = LaneRef { queue: queue.to_owned(), tenant: tenant.clone(), name };
    deps.lanes.set_policy(&lane, &policy).await.map_err(ApplyError::Queue)
}

async fn apply_people(
    args: &ApplyArgs,
    deps: &ApplyDeps<'_>,
    file: &Path,
) -> Result<FileReport, ApplyError> {
    let source = File::open(file).map_err(unreadable(file))?;
    let bar = progress(file, source.metadata().map_or(0, |data| data.len()));
    let mut staging = deps.store.stage(&args.tenant).await?;
    let (send, mut batches) = mpsc::channel::<Vec<Prospect>>(AHEAD);
    let skip = args.skip_invalid;
    let from = bar.wrap_read(source);
    let reading =
        spawn_blocking(move || people::read(from, skip, |batch| send.blocking_send(batch).is_ok()));
    let mut staged = Ok(());
    while let Some(batch) = batches.recv().await {
        staged = staging.add(&batch).await;
        if staged.is_err() {
            break;
        }
    }
    drop(batches);
    let seen = reading.await.expect("reading does not panic and is not aborted");
    bar.finish_and_clear();
    staged?;
    let seen = seen.map_err(|unusable| match unusable {
        Unusable::Problem(words) => one_problem(file, words),
        Unusable::Unreadable(source) => unreadable(file)(source),
        Unusable::NobodyListens => {
            StoreError::Unavailable("it stopped taking people".into()).into()
        }
    })?;
    if seen.bad > 0 && !skip {
        let problems = seen.problems;
        return Err(ApplyError::Data { file: file.to_owned(), problems, total: seen.bad });
    }
    let loaded: Loaded = staging.commit(deps.clock.now()).await?;
    Ok(FileReport::people(file, loaded, seen))
}

/// A bar on stderr, when that is a terminal; nothing otherwise.
fn progress(file: &Path, bytes: u64) -> ProgressBar {
    let bar = ProgressBar::new(bytes);
    let style = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {eta}")
        .expect("the template has known keys only");
    bar.set_style(style);
    bar.set_message(file.display().to_string());
    bar
}
