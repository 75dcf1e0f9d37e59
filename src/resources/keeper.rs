//! The adapter of the port: each resource's records where they lie.

use std::sync::Arc;

use async_trait::async_trait;
use futures::{FutureExt, future::BoxFuture};
use jobs::contract::{
    Fault, RunInfo, TenantId,
    ports::{Account, Advance, Chunk, Clock, Records, Search},
    resource::Resource,
};
use tokio_util::task::AbortOnDropHandle;

use super::{Declarations, Place, dead_jobs::DeadJobs};
use crate::{
    clock::SystemClock,
    queue::Queue,
    store::records::{Before, Hosts, RecordStore, Table, Unfit},
};

/// The records of all resources. Cheap to clone.
#[derive(Clone)]
pub struct Keeper {
    declared: Arc<Declarations>,
    tables: RecordStore,
    dead_jobs: DeadJobs,
}

/// Where records lie, for a call.
enum Found<'a> {
    Table(&'a Table),
    DeadJobs,
}

impl Keeper {
    /// A keeper of what is declared.
    pub fn new(declared: Arc<Declarations>, tables: RecordStore, queue: Arc<dyn Queue>) -> Self {
        let dead_jobs = DeadJobs::new(queue, tables.store().clone());
        Self { declared, tables, dead_jobs }
    }

    fn find(&self, resource: &Resource) -> Result<Found<'_>, Fault> {
        match self.declared.place(&resource.name) {
            Some(Place::Table(table)) => Ok(Found::Table(table)),
            Some(Place::DeadJobs) => Ok(Found::DeadJobs),
            None => {
                let words = format!("there is no resource {:?}", resource.name);
                Err(Fault::permanent("unknown_resource", words))
            }
        }
    }

    async fn change_now(
        &self,
        run: &RunInfo,
        resource: &Resource,
        before: Before,
        chunk: &Chunk,
    ) -> Result<Advance, Fault> {
        match self.find(resource)? {
            Found::Table(table) => self.tables.change(run, table, before, chunk).await,
            Found::DeadJobs => self.dead_jobs.change(run, resource, before, chunk).await,
        }
    }
}

/// What comparing declarations with real tables gave; each text names its resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compared {
    /// In what tables are not what was declared.
    pub mismatches: Vec<String>,
    /// Tables that nobody could look at: they are compared when they are first used.
    pub away: Vec<String>,
}

/// Which tables are compared.
pub enum Tables<'a> {
    /// All.
    All(&'a RecordStore),
    /// Those of the product: Postrider's own may not be there yet.
    OfHosts(&'a Hosts),
}

impl Tables<'_> {
    async fn check(&self, table: &Table) -> Result<(), Unfit> {
        match self {
            Self::All(tables) => tables.check(table).await,
            Self::OfHosts(hosts) => hosts.check(table).await,
        }
    }
}

/// Compares declared tables with the real ones.
pub async fn compare(declared: &Declarations, tables: Tables<'_>) -> Compared {
    let mut compared = Compared::default();
    for (name, place) in declared.places() {
        let Place::Table(table) = place else { continue };
        match tables.check(table).await {
            Ok(()) => {}
            Err(Unfit::Mismatches(words)) => {
                let words = words.iter().map(|words| format!("resource {name:?}: {words}"));
                compared.mismatches.extend(words);
            }
            Err(Unfit::Away(words)) => compared.away.push(format!("resource {name:?}: {words}")),
        }
    }
    compared
}

#[async_trait]
impl Records for Keeper {
    fn resource(&self, name: &str) -> Option<Arc<Resource>> {
        self.declared.resources().find(name).cloned()
    }

    async fn open(
        &self,
        run: &RunInfo,
        resource: &Resource,
        total: Option<u64>,
    ) -> Result<Account, Fault> {
        self.tables.store().open_account(run, &resource.name, total, SystemClock.now()).await
    }

    async fn count(&self, tenant: &TenantId, search: &Search<'_>) -> Result<u64, Fault> {
        match self.find(search.resource)? {
            Found::Table(table) => self.tables.count(tenant, table, search).await,
            Found::DeadJobs => self.dead_jobs.count(tenant, search.filter).await,
        }
    }

    async fn page(
        &self,
        tenant: &TenantId,
        search: &Search<'_>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, Fault> {
        match self.find(search.resource)? {
            Found::Table(table) => self.tables.page(tenant, table, search, after, limit).await,
            Found::DeadJobs => self.dead_jobs.page(tenant, search.filter, after, limit).await,
        }
    }

    fn change(
        &self,
        run: &RunInfo,
        resource: &Arc<Resource>,
        before: Before,
        chunk: Chunk,
    ) -> BoxFuture<'static, Result<Advance, Fault>> {
        let (keeper, run, resource) = (self.clone(), run.clone(), Arc::clone(resource));
        let work = async move { keeper.change_now(&run, &resource, before, &chunk).await };
        // In a task of its own: the job makes its next chunk meanwhile.
        let work = AbortOnDropHandle::new(tokio::spawn(work));
        async move {
            work.await.unwrap_or_else(|ended| match ended.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(Fault::transient("stopped", "the process stops")),
            })
        }
        .boxed()
    }

    async fn keep(&self, run: &RunInfo, advance: &Advance) -> Result<(), Fault> {
        let Advance { account, unkept: Some(errors) } = advance else { return Ok(()) };
        self.tables.store().keep_account(run, account, errors, SystemClock.now()).await
    }
}
