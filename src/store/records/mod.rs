//! Records of declared tables: in this store, or in a database of the host product.
//!
//! A chunk is a few statements, one for each set of columns that it changes. On Postgres their rows are one
//! bound JSON text, of which it makes columns, refusing what it cannot make a value of; SQLite takes
//! values of any type, and each is bound by itself.

mod alone;
mod apart;
mod apply;
mod batch;
mod bound;
mod change;
mod columns;
mod deeds;
mod encode;
mod fit;
mod hosts;
mod select;
mod sql;
mod table;
mod trouble;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jobs::contract::{
    Fault, RunInfo, TenantId,
    ports::{Advance, Chunk, Search},
};
use sqlx::AssertSqlSafe;

use self::{
    alone::Alone, change::TableChange, columns::Columns, select::Question, sql::Shape,
    trouble::Trouble,
};
pub(crate) use self::{
    apart::{Apart, Before, change as change_apart},
    apply::Outcome,
};
pub use self::{
    deeds::names as deeds,
    hosts::Hosts,
    table::{Fill, Table},
};
use super::{Db, Store, bulk, db::on};

/// How long a chunk, a page or a count may take.
const WITHIN: Duration = Duration::from_secs(60);

/// Why a declared table is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is not what was declared; each mismatch in words.
    #[error("{}", .0.join("\n"))]
    Mismatches(Vec<String>),
    /// Nobody can say: why, for whoever runs this. Not for a job's owner: it may name hosts.
    #[error("{0}")]
    Away(String),
}

/// The records of declared tables. Cheap to clone.
#[derive(Clone)]
pub struct RecordStore {
    store: Store,
    hosts: Hosts,
    /// What each table really is, once somebody has asked.
    known: Arc<Mutex<HashMap<String, Arc<Columns>>>>,
}

impl RecordStore {
    /// The tables of a store, and of these databases of the host product.
    pub fn new(store: Store, hosts: Hosts) -> Self {
        Self { store, hosts, known: Arc::default() }
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Compares a table with its declaration.
    ///
    /// # Errors
    ///
    /// In what they differ, or that nobody can say.
    pub async fn check(&self, table: &Table) -> Result<(), Unfit> {
        self.ask(table).await.map(|_| ())
    }

    async fn ask(&self, table: &Table) -> Result<Arc<Columns>, Unfit> {
        let columns = Arc::new(ask(self.reader(table), table).await?);
        self.lock().insert(table.resource.name.clone(), Arc::clone(&columns));
        Ok(columns)
    }

    async fn columns(&self, table: &Table) -> Result<Arc<Columns>, Fault> {
        let known = self.lock().get(&table.resource.name).cloned();
        if let Some(columns) = known {
            return Ok(columns);
        }
        self.ask(table).await.map_err(|unfit| match unfit {
            Unfit::Mismatches(words) => Fault::permanent("table_changed", words.join("; ")),
            Unfit::Away(words) => {
                tracing::warn!(error = words, "a resource cannot be looked at yet");
                let words = format!("{} is out of reach", table.spoken());
                Fault::transient("records_unavailable", words)
            }
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Columns>>> {
        // No code that can panic runs under this lock, so a poisoned one is whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reader(&self, table: &Table) -> &Db {
        self.hosts.of(table).map_or(&self.store.reader, |host| &host.reader)
    }

    fn writer(&self, table: &Table) -> &Db {
        self.hosts.of(table).map_or(&self.store.writer, |host| &host.writer)
    }

    /// What a job hears of trouble. A table that is not what it was is looked at again: either the words
    /// name in what it is not what was declared, or it is so in another way, and the next try knows that.
    async fn fault(&self, Shape { table, columns }: &Shape<'_>, trouble: Trouble) -> Fault {
        if matches!(trouble, Trouble::NotAsDeclared(_) | Trouble::Denied(_)) {
            self.lock().remove(&table.resource.name);
            match self.ask(table).await {
                Err(Unfit::Mismatches(words)) => {
                    return Fault::permanent("table_changed", words.join("; "));
                }
                Ok(now) if *now != **columns => {
                    let words = format!("{} has changed, and is as declared", table.spoken());
                    return Fault::transient("table_changed", words);
                }
                Ok(_) | Err(Unfit::Away(_)) => {}
            }
        }
        trouble.fault(&table.spoken())
    }

    /// How many records of the tenant a filter holds for.
    ///
    /// # Errors
    ///
    /// As `Records::count` of the contract.
    pub async fn count(
        &self,
        tenant: &TenantId,
        table: &Table,
        search: &Search<'_>,
    ) -> Result<u64, Fault> {
        let columns = self.columns(table).await?;
        let shape = Shape { table, columns: &columns };
        let question = select::count(&shape, tenant.as_str(), search);
        let counted: Vec<i64> = self.answers(&shape, question).await?;
        Ok(counted.first().copied().unwrap_or_default().unsigned_abs())
    }

    /// The ids of the next records that a filter holds for.
    ///
    /// # Errors
    ///
    /// As `Records::page` of the contract.
    pub async fn page(
        &self,
        tenant: &TenantId,
        table: &Table,
        search: &Search<'_>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, Fault> {
        let columns = self.columns(table).await?;
        let shape = Shape { table, columns: &columns };
        let question = select::page(&shape, tenant.as_str(), search, after, limit);
        self.answers(&shape, question).await
    }

    async fn answers<T>(&self, shape: &Shape<'_>, question: Question) -> Result<Vec<T>, Fault>
    where
        T: Send
            + Unpin
            + for<'r> sqlx::Decode<'r, sqlx::Sqlite>
            + sqlx::Type<sqlx::Sqlite>
            + for<'r> sqlx::Decode<'r, sqlx::Postgres>
            + sqlx::Type<sqlx::Postgres>
            + 'static,
    {
        let Question { sql, bound } = question;
        let asking = async {
            on!(self.reader(shape.table), p => {
                let mut query = sqlx::query_scalar(AssertSqlSafe(sql));
                for text in bound {
                    query = query.bind(text);
                }
                query.fetch_all(p).await
            })
        };
        let answered = within(async { asking.await.map_err(Trouble::from) }).await;
        match answered {
            Ok(answers) => Ok(answers),
            Err(trouble) => Err(self.fault(shape, trouble).await),
        }
    }

    /// Changes the records of a chunk and writes the account of the job.
    ///
    /// # Errors
    ///
    /// As `Records::change` of the contract.
    pub async fn change(
        &self,
        run: &RunInfo,
        table: &Table,
        before: Before,
        chunk: &Chunk,
    ) -> Result<Advance, Fault> {
        let columns = self.columns(table).await?;
        let Some(deed) = deeds::find(&chunk.action.deed) else {
            let words = format!("nothing is known of {:?}", chunk.action.deed);
            return Err(Fault::permanent("unknown_action", words));
        };
        let shape = Shape { table, columns: &columns };
        let batches = batch::batches(&shape, deed, &chunk.changes, chunk.at);
        let alone = match table.database {
            Some(_) if !deed.forgets(table) => Alone::of(&shape, &batches, run.tenant.as_str()),
            _ => None,
        };
        let mut change =
            TableChange { records: self, run, shape: &shape, deed, batches: &batches, alone };
        if table.database.is_some() {
            let resource = &table.resource;
            return change_apart(&self.store, run, resource, before, chunk, &mut change).await;
        }
        let before = before.await?;
        let care = change.first_care(None);
        let done = change.insist(chunk, None, Some(&before), care).await;
        match done {
            Ok((_, Some(account))) => Ok(Advance { account, unkept: None }),
            Ok((_, None)) => Err(bulk::lost()),
            Err(trouble) => Err(self.fault(&shape, trouble).await),
        }
    }
}

/// The columns of a table, if they are what was declared.
async fn ask(db: &Db, table: &Table) -> Result<Columns, Unfit> {
    let asking = async { Columns::ask(db, table).await.map_err(Trouble::from) };
    let columns =
        within(asking).await.map_err(|trouble| Unfit::Away(trouble.words(&table.spoken())))?;
    let words = fit::mismatches(table, &columns);
    if words.is_empty() { Ok(columns) } else { Err(Unfit::Mismatches(words)) }
}

async fn within<T>(what: impl Future<Output = Result<T, Trouble>> + Send) -> Result<T, Trouble> {
    tokio::time::timeout(WITHIN, what)
        .await
        .unwrap_or_else(|_| Err(Trouble::Away(format!("no answer within {} s", WITHIN.as_secs()))))
}
