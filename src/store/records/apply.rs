//! Carrying out a chunk inside a transaction.

use std::{collections::HashSet, sync::Arc};

use jobs::contract::ports::{Changed, ItemError, Planned};
use sqlx::AssertSqlSafe;

use super::{
    batch::{self, Batch, Row},
    trouble::{Refusal, Trouble},
};
use crate::store::db::{Tx, on_conn};

/// What became of the records of a chunk.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) done: Vec<Changed>,
    pub(crate) errors: Vec<ItemError>,
}

/// Whether a record that the database refuses spoils the transaction, or only itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Care {
    /// Nothing is expected to be refused: no step costs more than its statement.
    None,
    /// What is refused is narrowed down by halves, each half undone by itself.
    Halves,
}

/// What a chunk is carried out by.
pub(super) struct Applying<'a> {
    pub(super) tx: &'a mut Tx,
    pub(super) tenant: &'a str,
    /// Records of the chunk that an earlier run found, and may have done this to.
    pub(super) planned: Option<&'a Planned>,
    /// Whether a record is not found again once this was done to it.
    pub(super) forgets: bool,
    pub(super) care: Care,
    pub(super) outcome: Outcome,
}

impl Applying<'_> {
    pub(super) async fn all(mut self, batches: &[Batch<'_>]) -> Result<Outcome, Trouble> {
        for batch in batches {
            match self.care {
                Care::None => self.statement(batch, &batch.rows).await?,
                Care::Halves => self.halves(batch).await?,
            }
        }
        Ok(self.outcome)
    }

    async fn halves(&mut self, batch: &Batch<'_>) -> Result<(), Trouble> {
        let mut parts = vec![&batch.rows[..]];
        while let Some(rows) = parts.pop() {
            self.control("SAVEPOINT part").await?;
            match self.statement(batch, rows).await {
                Ok(()) => self.control("RELEASE SAVEPOINT part").await?,
                Err(Trouble::Refused(refusal)) => {
                    self.control("ROLLBACK TO SAVEPOINT part").await?;
                    self.control("RELEASE SAVEPOINT part").await?;
                    if let [row] = rows {
                        self.outcome.errors.push(refused(row, &refusal));
                    } else {
                        let (first, second) = rows.split_at(rows.len() / 2);
                        parts.extend([second, first]);
                    }
                }
                Err(trouble) => return Err(trouble),
            }
        }
        Ok(())
    }

    /// Whether the statement changed every record, on SQLite: there each answer costs as much as a change,
    /// and mostly the number says all. Where it does not, nothing was done.
    async fn changes_all(
        &mut self,
        batch: &Batch<'_>,
        rows: &[Row<'_>],
        bound: &str,
    ) -> Result<bool, Trouble> {
        if !matches!(self.tx, Tx::Lite(_)) || self.planned.is_some() || rows.len() < 2 {
            return Ok(false);
        }
        self.control("SAVEPOINT counted").await?;
        let changed = count(self.tx, &batch.counting, bound, self.tenant).await;
        let all = matches!(changed, Ok(changed) if changed == rows.len() as u64);
        if !all {
            self.control("ROLLBACK TO SAVEPOINT counted").await?;
        }
        self.control("RELEASE SAVEPOINT counted").await?;
        changed?;
        Ok(all)
    }

    async fn control(&mut self, sql: &'static str) -> Result<(), Trouble> {
        on_conn!(Tx, &mut *self.tx, c => {
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut **c).await.map(|_| ())
        })?;
        Ok(())
    }

    async fn statement(&mut self, batch: &Batch<'_>, rows: &[Row<'_>]) -> Result<(), Trouble> {
        let bound = batch::bind(rows);
        let all = self.changes_all(batch, rows, &bound).await?;
        let done: HashSet<String> = if all {
            HashSet::new()
        } else {
            texts(self.tx, &batch.telling, &bound, self.tenant).await?.into_iter().collect()
        };
        for row in rows {
            let id = &row.change.id;
            let was_done = || self.planned.is_some_and(|planned| planned.ids.contains(id));
            if all || done.contains(id) || (self.forgets && was_done()) {
                self.outcome.done.push(Changed { ordinal: row.change.ordinal, id: id.clone() });
            } else {
                self.outcome.errors.push(ItemError::not_found(row.change));
            }
        }
        Ok(())
    }
}

/// How many records a statement over rows changed.
async fn count(tx: &mut Tx, sql: &Arc<str>, rows: &str, tenant: &str) -> Result<u64, sqlx::Error> {
    on_conn!(Tx, tx, c => {
        let done = sqlx::query(AssertSqlSafe(Arc::clone(sql))).bind(rows).bind(tenant);
        done.execute(&mut **c).await.map(|done| done.rows_affected())
    })
}

/// The texts that a statement over rows answers.
pub(super) async fn texts(
    tx: &mut Tx,
    sql: &Arc<str>,
    rows: &str,
    tenant: &str,
) -> Result<Vec<String>, sqlx::Error> {
    on_conn!(Tx, tx, c => {
        sqlx::query_scalar(AssertSqlSafe(Arc::clone(sql)))
            .bind(rows)
            .bind(tenant)
            .fetch_all(&mut **c)
            .await
    })
}

fn refused(row: &Row<'_>, refusal: &Refusal) -> ItemError {
    ItemError {
        ordinal: row.change.ordinal,
        item_id: row.change.given.clone(),
        code: refusal.code.to_owned(),
        message: refusal.words.clone(),
    }
}
