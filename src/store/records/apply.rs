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
                Care::None => self.statement(&batch.sql, &batch.rows).await?,
                Care::Halves => self.halves(batch).await?,
            }
        }
        Ok(self.outcome)
    }

    async fn halves(&mut self, batch: &Batch<'_>) -> Result<(), Trouble> {
        let mut parts = vec![&batch.rows[..]];
        while let Some(rows) = parts.pop() {
            self.control("SAVEPOINT part").await?;
            match self.statement(&batch.sql, rows).await {
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

    async fn control(&mut self, sql: &'static str) -> Result<(), Trouble> {
        on_conn!(Tx, &mut *self.tx, c => {
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut **c).await.map(|_| ())
        })?;
        Ok(())
    }

    async fn statement(&mut self, sql: &Arc<str>, rows: &[Row<'_>]) -> Result<(), Trouble> {
        let done: HashSet<String> =
            texts(self.tx, sql, &batch::bind(rows), self.tenant).await?.into_iter().collect();
        for row in rows {
            let id = &row.change.id;
            let was_done = || self.planned.is_some_and(|planned| planned.ids.contains(id));
            if done.contains(id) || (self.forgets && was_done()) {
                self.outcome.done.push(Changed { ordinal: row.change.ordinal, id: id.clone() });
            } else {
                self.outcome.errors.push(ItemError::not_found(row.change));
            }
        }
        Ok(())
    }
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
