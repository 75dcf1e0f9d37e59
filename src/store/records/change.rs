//! Changing the records of a chunk, with the account of the job where they lie together.

use async_trait::async_trait;
use jobs::contract::{
    Fault, RunInfo,
    ports::{Account, Chunk, ItemError, Planned},
    resource::Resource,
};

use super::{
    Apart, Outcome, RecordStore,
    alone::Alone,
    apply::{self, Applying, Care},
    batch::{self, Batch},
    deeds::Deed,
    select,
    sql::Shape,
    trouble::Trouble,
    within,
};
use crate::store::{Db, bulk, db::Tx};

/// How often a chunk is tried again at once: two jobs may have locked each other's records.
const TRIES: u32 = 3;

/// The account after a chunk, and the errors of its items.
pub(super) fn changed(
    before: Account,
    resource: &Resource,
    chunk: &Chunk,
    outcome: Outcome,
) -> (Account, Vec<ItemError>) {
    let mut errors = chunk.refused.clone();
    errors.extend(outcome.errors);
    let after = Account {
        total: before.total,
        processed: before.processed + chunk.items(),
        failed: before.failed + errors.len() as u64,
        chunk: before.chunk + 1,
        position: chunk.position.clone().or(before.position),
        planned: None,
        changed: if resource.event.is_some() { outcome.done } else { Vec::new() },
    };
    (after, errors)
}

/// A change to records of one table.
pub(super) struct TableChange<'a> {
    pub(super) records: &'a RecordStore,
    pub(super) run: &'a RunInfo,
    pub(super) shape: &'a Shape<'a>,
    pub(super) deed: &'static dyn Deed,
    pub(super) batches: &'a [Batch<'a>],
    /// The chunk as one statement, where it can be one.
    pub(super) alone: Option<Alone>,
}

impl TableChange<'_> {
    /// Tries again what two jobs that lock each other's records, or a record that the database refuses,
    /// have spoiled. With an account it is written in the same transaction.
    pub(super) async fn insist(
        &self,
        chunk: &Chunk,
        planned: Option<&Planned>,
        account: Option<&Account>,
    ) -> Result<(Outcome, Option<Account>), Trouble> {
        // What an earlier run may have done, and what Postgres says at no cost, is not counted.
        let counted = self.shape.columns.lite && planned.is_none();
        let mut care = if counted { Care::Count } else { Care::Tell };
        let mut clashes = 0;
        loop {
            match within(self.once(chunk, planned, account, care)).await {
                Err(Trouble::Refused(_)) if care != Care::Halves => care = Care::Halves,
                Err(Trouble::NotAll) if care == Care::Count => care = Care::Tell,
                Err(Trouble::Clash(words)) if clashes + 1 < TRIES => {
                    clashes += 1;
                    tracing::debug!(error = words, "a chunk is tried again");
                }
                ended => return ended,
            }
        }
    }

    /// The same for records that lie elsewhere. Mostly one statement is all of it: one that did not change
    /// all that it was to change is repeated with more care, and changes nothing more.
    async fn insist_apart(
        &mut self,
        chunk: &Chunk,
        planned: Option<&Planned>,
    ) -> Result<Outcome, Trouble> {
        let pool = self.records.writer(self.shape.table);
        if let (Some(alone), None, Db::Lite(pool)) = (self.alone.take(), planned, pool) {
            match within(alone.carry_out(pool)).await {
                Err(Trouble::Refused(_) | Trouble::NotAll) => {}
                ended => return ended.map(|()| self.all_done()),
            }
        }
        Ok(self.insist(chunk, planned, None).await?.0)
    }

    /// What is told of a chunk of which every record was changed.
    fn all_done(&self) -> Outcome {
        let tells = self.shape.table.resource.event.is_some();
        let rows = self.batches.iter().flat_map(|batch| &batch.rows).filter(|_| tells);
        Outcome { done: rows.map(apply::changed_by).collect(), errors: Vec::new() }
    }

    async fn once(
        &self,
        chunk: &Chunk,
        planned: Option<&Planned>,
        account: Option<&Account>,
        care: Care,
    ) -> Result<(Outcome, Option<Account>), Trouble> {
        let mut tx = begin(self.records.writer(self.shape.table)).await?;
        if let Some(account) = account
            && !bulk::hold(&mut tx, self.run, account.chunk, chunk.at).await?
        {
            return Err(Trouble::Lost);
        }
        let applying = Applying {
            tx: &mut tx,
            tenant: self.run.tenant.as_str(),
            planned,
            forgets: self.forgets(),
            care,
            tells: self.shape.table.resource.event.is_some(),
            outcome: Outcome::default(),
        };
        let outcome = applying.all(self.batches).await?;
        let Some(account) = account else {
            commit(tx).await?;
            return Ok((outcome, None));
        };
        let resource = &self.shape.table.resource;
        let (after, errors) = changed(account.clone(), resource, chunk, outcome);
        if !bulk::advance(&mut tx, self.run, &after, &errors, chunk.at).await? {
            return Err(Trouble::Lost);
        }
        commit(tx).await?;
        Ok((Outcome::default(), Some(after)))
    }
}

/// Each record is found by its key, whatever Postgres knows of the table: of one that was filled a moment
/// ago it knows nothing.
const BEGIN: &str = "BEGIN; SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; \
     SET LOCAL enable_mergejoin = off";

async fn begin(db: &Db) -> Result<Tx, sqlx::Error> {
    Ok(match db {
        Db::Lite(pool) => Tx::Lite(pool.begin_with("BEGIN IMMEDIATE").await?),
        Db::Pg(pool) => Tx::Pg(pool.begin_with(BEGIN).await?),
    })
}

async fn commit(tx: Tx) -> Result<(), sqlx::Error> {
    match tx {
        Tx::Lite(tx) => tx.commit().await,
        Tx::Pg(tx) => tx.commit().await,
    }
}

#[async_trait]
impl Apart for TableChange<'_> {
    async fn there(&self, chunk: &Chunk) -> Result<Vec<String>, Fault> {
        let (table, shape) = (self.shape.table, self.shape);
        let asking = within(async {
            let mut tx = begin(self.records.writer(table)).await?;
            let mut there = Vec::new();
            for rows in batch::ids(shape, &chunk.changes) {
                let sql = select::there(shape, rows.len());
                let bound = batch::bind(shape, self.run.tenant.as_str(), &[], &rows);
                there.append(&mut apply::texts(&mut tx, sql, bound, false).await?);
            }
            Ok(there)
        });
        match asking.await {
            Ok(ids) => Ok(ids),
            Err(trouble) => Err(self.records.fault(self.shape.table, trouble).await),
        }
    }

    async fn apply(&mut self, chunk: &Chunk, planned: Option<&Planned>) -> Result<Outcome, Fault> {
        match self.insist_apart(chunk, planned).await {
            Ok(outcome) => Ok(outcome),
            Err(trouble) => Err(self.records.fault(self.shape.table, trouble).await),
        }
    }

    fn forgets(&self) -> bool {
        self.deed.forgets(self.shape.table)
    }
}
