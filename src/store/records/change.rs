//! Changing the records of a chunk, with the account of the job where they lie together.

use async_trait::async_trait;
use jobs::contract::{
    Fault, RunInfo,
    ports::{Account, Chunk, ItemError, Planned},
    resource::Resource,
};
use sqlx::AssertSqlSafe;

use super::{
    Apart, Outcome, RecordStore,
    alone::Alone,
    apply::{self, Applying, Care},
    batch::{self, Batch, Row},
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
        mut care: Care,
    ) -> Result<(Outcome, Option<Account>), Trouble> {
        let lite = self.shape.columns.lite;
        // What lies together with its account is changed with it or not at all.
        let in_parts = lite && account.is_none();
        let mut clashes = 0;
        loop {
            match within(self.once(chunk, planned, account, care)).await {
                Err(Trouble::Refused(refusal)) => match care.after_refusal(in_parts) {
                    Some(more) => care = more,
                    None => return Err(Trouble::Refused(refusal)),
                },
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
        let mut care = self.first_care(planned);
        if let (Some(alone), None, Db::Lite(pool)) = (self.alone.take(), planned, pool) {
            match within(alone.carry_out(pool)).await {
                Err(Trouble::Refused(_)) => care = Care::Halves,
                Err(Trouble::NotAll) => care = Care::Tell,
                ended => return ended.map(|()| self.all_done()),
            }
        }
        Ok(self.insist(chunk, planned, None, care).await?.0)
    }

    /// What an earlier run may have done, and what Postgres says at no cost, is not counted.
    pub(super) fn first_care(&self, planned: Option<&Planned>) -> Care {
        if self.shape.columns.lite && planned.is_none() { Care::Count } else { Care::Tell }
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
        if care == Care::Parts {
            return Ok((self.parts(planned).await?, None));
        }
        let mut tx = begin(self.records.writer(self.shape.table), care).await?;
        if let Some(account) = account
            && !bulk::hold(&mut tx, self.run, account.chunk, chunk.at).await?
        {
            return Err(Trouble::Lost);
        }
        let outcome = self.applying(&mut tx, planned, care).all(self.batches).await?;
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

    fn applying<'t>(
        &'t self,
        tx: &'t mut Tx,
        planned: Option<&'t Planned>,
        care: Care,
    ) -> Applying<'t> {
        Applying {
            tx,
            tenant: self.run.tenant.as_str(),
            planned,
            forgets: self.forgets(),
            care,
            tells: self.shape.table.resource.event.is_some(),
            outcome: Outcome::default(),
        }
    }

    /// Carries a chunk out in transactions of its parts. Who ends in between leaves some of them done, as
    /// one who ends before the account is written leaves all of them.
    async fn parts(&self, planned: Option<&Planned>) -> Result<Outcome, Trouble> {
        let mut all = Outcome::default();
        for batch in self.batches {
            let mut parts: Vec<_> = batch.rows.chunks(batch.most()).rev().collect();
            while let Some(rows) = parts.pop() {
                match self.part(batch, rows, planned).await {
                    Ok(outcome) => all.extend(outcome),
                    Err(Trouble::Refused(refusal)) => {
                        apply::narrow(rows, &refusal, &mut parts, &mut all.errors);
                    }
                    Err(trouble) => return Err(trouble),
                }
            }
        }
        Ok(all)
    }

    async fn part(
        &self,
        batch: &Batch<'_>,
        rows: &[Row<'_>],
        planned: Option<&Planned>,
    ) -> Result<Outcome, Trouble> {
        let mut tx = begin(self.records.writer(self.shape.table), Care::Parts).await?;
        let mut applying = self.applying(&mut tx, planned, Care::Parts);
        applying.statement(batch, rows).await?;
        let outcome = applying.outcome;
        commit(tx).await?;
        Ok(outcome)
    }
}

/// Each record is found by its key, whatever Postgres knows of the table: of one that was filled a moment
/// ago it knows nothing.
const BEGIN: &str = "BEGIN; SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; \
     SET LOCAL enable_mergejoin = off";

/// What is deferred to the end of the transaction would be refused where nobody knows any more which record
/// it was. Only where something was refused: what is right at the end may be wrong in between.
const AT_ONCE: &str = "; SET CONSTRAINTS ALL IMMEDIATE";

async fn begin(db: &Db, care: Care) -> Result<Tx, sqlx::Error> {
    Ok(match db {
        Db::Lite(pool) => Tx::Lite(pool.begin_with("BEGIN IMMEDIATE").await?),
        Db::Pg(pool) if care == Care::Halves => {
            Tx::Pg(pool.begin_with(AssertSqlSafe(format!("{BEGIN}{AT_ONCE}"))).await?)
        }
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
            let mut tx = begin(self.records.writer(table), Care::Tell).await?;
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
            Err(trouble) => Err(self.records.fault(self.shape, trouble).await),
        }
    }

    async fn apply(&mut self, chunk: &Chunk, planned: Option<&Planned>) -> Result<Outcome, Fault> {
        match self.insist_apart(chunk, planned).await {
            Ok(outcome) => Ok(outcome),
            Err(trouble) => Err(self.records.fault(self.shape, trouble).await),
        }
    }

    fn forgets(&self) -> bool {
        self.deed.forgets(self.shape.table)
    }
}
