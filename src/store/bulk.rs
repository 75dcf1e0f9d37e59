//! The accounts of bulk jobs: how far each has got, and what was wrong with single items.
//!
//! An account is one run's at a time: the one with the highest fence. Whoever wakes up after that
//! writes nothing, and where the records lie in this store, changes nothing.

use async_trait::async_trait;
use jobs::contract::{
    Fault, JobId, Moment, RunInfo, TenantId,
    ports::{Account, ItemError, ItemErrors, Planned},
};
use serde::de::DeserializeOwned;
use serde_json::json;
use sqlx::QueryBuilder;

use super::{
    Store, StoreError,
    db::{Tx, on, on_conn},
};

const OPEN: &str = include_str!("queries/bulk_open.sql");
const ADVANCE: &str = include_str!("queries/bulk_advance.sql");
/// Accounts of which one waits for the disk.
const UNWAITED: u64 = 16;

/// On Postgres this locks the account for the rest of the transaction.
const HOLD: &str = "UPDATE bulk_runs SET updated_at = $5 \
     WHERE tenant = $1 AND job = $2 AND fence = $3 AND chunk = $4";
const IS_MINE: &str =
    "SELECT count(*) FROM bulk_runs WHERE tenant = $1 AND job = $2 AND fence = $3";
const PLAN: &str = "UPDATE bulk_runs SET planned = $6, updated_at = $5 \
     WHERE tenant = $1 AND job = $2 AND fence = $3 AND chunk = $4";
const ADD_ERRORS: &str = "INSERT INTO bulk_errors (tenant, job, ordinal, item_id, code, message) ";
const LAST_WINS: &str = " ON CONFLICT (tenant, job, ordinal) DO UPDATE SET \
     item_id = excluded.item_id, code = excluded.code, message = excluded.message";
const ERRORS: &str = "SELECT ordinal, item_id, code, message FROM bulk_errors \
     WHERE tenant = $1 AND job = $2 AND ordinal > $3 ORDER BY ordinal LIMIT $4";
const PRUNE_ERRORS: &str = "DELETE FROM bulk_errors WHERE (tenant, job) IN \
     (SELECT tenant, job FROM bulk_runs WHERE updated_at < $1 ORDER BY updated_at LIMIT $2)";
const PRUNE: &str = "DELETE FROM bulk_runs WHERE (tenant, job) IN \
     (SELECT tenant, job FROM bulk_runs WHERE updated_at < $1 ORDER BY updated_at LIMIT $2)";

#[derive(sqlx::FromRow)]
struct Row {
    total: Option<i64>,
    processed: i64,
    failed: i64,
    chunk: i64,
    position: Option<String>,
    planned: Option<String>,
    changed: Option<String>,
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn read<T: DeserializeOwned>(text: Option<String>) -> Result<Option<T>, StoreError> {
    let read = text.map(|text| serde_json::from_str(&text)).transpose();
    read.map_err(|error| StoreError::Unusable(format!("the account of a bulk job: {error}")))
}

/// The account is a later run's.
pub(crate) fn lost() -> Fault {
    Fault::transient("lease_lost", "the job belongs to another worker")
}

impl Store {
    /// Takes a job's account over for a run; `total` is written down if nothing is yet.
    pub(crate) async fn open_account(
        &self,
        run: &RunInfo,
        resource: &str,
        total: Option<u64>,
        now: Moment,
    ) -> Result<Account, Fault> {
        let row: Option<Row> = on!(&self.writer, p => sqlx::query_as(OPEN)
            .bind(run.tenant.as_str())
            .bind(run.job.to_string())
            .bind(resource)
            .bind(number(run.fence))
            .bind(total.map(number))
            .bind(now.millis())
            .fetch_optional(p)
            .await)
        .map_err(StoreError::from)?;
        let row = row.ok_or_else(lost)?;
        Ok(Account {
            total: row.total.map(i64::unsigned_abs),
            processed: row.processed.unsigned_abs(),
            failed: row.failed.unsigned_abs(),
            chunk: row.chunk.unsigned_abs(),
            position: row.position,
            planned: read(row.planned)?,
            changed: read(row.changed)?.unwrap_or_default(),
        })
    }

    /// Proves that a job's account is this run's.
    pub(crate) async fn is_mine(&self, run: &RunInfo) -> Result<(), Fault> {
        let mine: i64 = on!(&self.reader, p => sqlx::query_scalar(IS_MINE)
            .bind(run.tenant.as_str())
            .bind(run.job.to_string())
            .bind(number(run.fence))
            .fetch_one(p)
            .await)
        .map_err(StoreError::from)?;
        if mine == 1 { Ok(()) } else { Err(lost()) }
    }

    /// Writes down what the next chunk is about to do.
    pub(crate) async fn plan(
        &self,
        run: &RunInfo,
        account: &Account,
        planned: &Planned,
    ) -> Result<(), Fault> {
        let planned_text = json!(planned).to_string();
        let done = on!(&self.writer, p => sqlx::query(PLAN)
            .bind(run.tenant.as_str())
            .bind(run.job.to_string())
            .bind(number(run.fence))
            .bind(number(account.chunk))
            .bind(planned.at.millis())
            .bind(planned_text)
            .execute(p)
            .await
            .map(|done| done.rows_affected()))
        .map_err(StoreError::from)?;
        if done == 1 { Ok(()) } else { Err(lost()) }
    }

    /// Writes a job's account down after a chunk whose records lie elsewhere.
    pub(crate) async fn advance(
        &self,
        run: &RunInfo,
        after: &Account,
        errors: &[ItemError],
        now: Moment,
    ) -> Result<(), Fault> {
        self.advance_in(self.writer.begin().await?, run, after, errors, now).await
    }

    /// The same after a chunk that may be changed again: most accounts do not wait for the disk, where
    /// the records' own database waits at the same time. After a power cut the last chunks are repeated,
    /// [`UNWAITED`] at most; after the end of a process no more than those that were not written.
    pub(crate) async fn keep_account(
        &self,
        run: &RunInfo,
        after: &Account,
        errors: &[ItemError],
        now: Moment,
    ) -> Result<(), Fault> {
        // The last one says how the job ended, and is not written again.
        let is_last = after.total.is_some_and(|total| after.processed >= total);
        if !errors.is_empty() || is_last || after.chunk.is_multiple_of(UNWAITED) {
            return self.advance(run, after, errors, now).await;
        }
        let _turn = self.writer.turn().await?;
        self.advance_in(self.log.begin_unwaited().await?, run, after, errors, now).await
    }

    async fn advance_in(
        &self,
        mut tx: Tx,
        run: &RunInfo,
        after: &Account,
        errors: &[ItemError],
        now: Moment,
    ) -> Result<(), Fault> {
        let mine = advance(&mut tx, run, after, errors, now).await.map_err(StoreError::from)?;
        if !mine {
            return Err(lost());
        }
        Ok(tx.commit().await?)
    }

    /// Removes at most `max` accounts that nobody has touched since a moment, with their errors, and
    /// answers how many.
    ///
    /// # Errors
    ///
    /// When the store is out of reach.
    pub async fn prune_accounts(&self, before: Moment, max: u32) -> Result<u64, StoreError> {
        self.prune_with([PRUNE_ERRORS, PRUNE], before, max).await
    }
}

/// Whether the account is this run's, before chunk number `chunk`; on Postgres it stays so until the
/// transaction ends.
pub(super) async fn hold(
    tx: &mut Tx,
    run: &RunInfo,
    chunk: u64,
    now: Moment,
) -> Result<bool, sqlx::Error> {
    let held = on_conn!(Tx, tx, c => sqlx::query(HOLD)
        .bind(run.tenant.as_str())
        .bind(run.job.to_string())
        .bind(number(run.fence))
        .bind(number(chunk))
        .bind(now.millis())
        .execute(&mut **c)
        .await
        .map(|done| done.rows_affected()))?;
    Ok(held == 1)
}

/// Writes an account down after a chunk; `false` when it is not this run's any more.
pub(super) async fn advance(
    tx: &mut Tx,
    run: &RunInfo,
    after: &Account,
    errors: &[ItemError],
    now: Moment,
) -> Result<bool, sqlx::Error> {
    let changed = (!after.changed.is_empty()).then(|| json!(after.changed).to_string());
    let advanced = on_conn!(Tx, tx, c => sqlx::query(ADVANCE)
        .bind(run.tenant.as_str())
        .bind(run.job.to_string())
        .bind(number(run.fence))
        .bind(number(after.chunk.saturating_sub(1)))
        .bind(number(after.processed))
        .bind(number(after.failed))
        .bind(&after.position)
        .bind(changed)
        .bind(now.millis())
        .execute(&mut **c)
        .await
        .map(|done| done.rows_affected()))?;
    if advanced == 1 && !errors.is_empty() {
        add_errors(tx, run, errors).await?;
    }
    Ok(advanced == 1)
}

async fn add_errors(tx: &mut Tx, run: &RunInfo, errors: &[ItemError]) -> Result<(), sqlx::Error> {
    let job = run.job.to_string();
    on_conn!(Tx, tx, c => {
        let mut insert = QueryBuilder::new(ADD_ERRORS);
        insert.push_values(errors, |mut row, error| {
            row.push_bind(run.tenant.as_str())
                .push_bind(&job)
                .push_bind(number(error.ordinal))
                .push_bind(&error.item_id)
                .push_bind(&error.code)
                .push_bind(&error.message);
        });
        insert.push(LAST_WINS);
        insert.build().execute(&mut **c).await.map(|_| ())
    })
}

#[async_trait]
impl ItemErrors for Store {
    async fn item_errors(
        &self,
        tenant: &TenantId,
        job: JobId,
        after: Option<u64>,
        limit: u32,
    ) -> Result<Vec<ItemError>, Fault> {
        let rows: Vec<(i64, String, String, String)> = on!(&self.reader, p => {
            sqlx::query_as(ERRORS)
                .bind(tenant.as_str())
                .bind(job.to_string())
                .bind(after.map_or(-1, number))
                .bind(i64::from(limit))
                .fetch_all(p)
                .await
        })
        .map_err(StoreError::from)?;
        let read = |(ordinal, item_id, code, message): (i64, String, String, String)| ItemError {
            ordinal: ordinal.unsigned_abs(),
            item_id,
            code,
            message,
        };
        Ok(rows.into_iter().map(read).collect())
    }
}
