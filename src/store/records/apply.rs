//! Carrying out a chunk inside a transaction.

use std::collections::HashSet;

use jobs::contract::ports::{Changed, ItemError, Planned};
use sqlx::AssertSqlSafe;

use super::{
    batch::{Batch, Row},
    bound::{Cell, bind},
    trouble::{Refusal, Trouble},
};
use crate::store::db::{Tx, on_conn};

/// Rows of a statement that is worth being kept ready: those of a whole chunk.
pub(super) const USUAL: usize = 500;

/// What became of the records of a chunk.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) done: Vec<Changed>,
    pub(crate) errors: Vec<ItemError>,
}

impl Outcome {
    pub(super) fn extend(&mut self, more: Self) {
        self.done.extend(more.done);
        self.errors.extend(more.errors);
    }
}

/// With how much care a chunk is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Care {
    /// Every record is expected to be there and none to be refused: the database only counts. On SQLite
    /// each answer costs as much as a change, and mostly the number says all.
    Count,
    /// The database tells which records it changed; none is expected to be refused.
    Tell,
    /// What is refused is narrowed down by halves, each half undone by itself.
    Halves,
    /// The same, each half in a transaction of its own: SQLite looks at a deferred constraint only when a
    /// transaction ends, and by then nobody knows which record has broken it.
    Parts,
}

impl Care {
    /// What to try when something was refused; none when there is nothing more to try.
    pub(super) fn after_refusal(self, in_parts: bool) -> Option<Self> {
        match self {
            Self::Count | Self::Tell => Some(Self::Halves),
            Self::Halves if in_parts => Some(Self::Parts),
            Self::Halves | Self::Parts => None,
        }
    }
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
    /// Whether an event tells of what was changed.
    pub(super) tells: bool,
    pub(super) outcome: Outcome,
}

impl Applying<'_> {
    pub(super) async fn all(mut self, batches: &[Batch<'_>]) -> Result<Outcome, Trouble> {
        for batch in batches {
            for rows in batch.rows.chunks(batch.most()) {
                match self.care {
                    Care::Count => self.count(batch, rows).await?,
                    // Whose transaction it is was decided by whoever began it.
                    Care::Tell | Care::Parts => self.statement(batch, rows).await?,
                    Care::Halves => self.halves(batch, rows).await?,
                }
            }
        }
        Ok(self.outcome)
    }

    async fn halves(&mut self, batch: &Batch<'_>, rows: &[Row<'_>]) -> Result<(), Trouble> {
        let mut parts = vec![rows];
        while let Some(rows) = parts.pop() {
            self.control("SAVEPOINT part").await?;
            match self.statement(batch, rows).await {
                Ok(()) => self.control("RELEASE SAVEPOINT part").await?,
                Err(Trouble::Refused(refusal)) => {
                    self.control("ROLLBACK TO SAVEPOINT part").await?;
                    self.control("RELEASE SAVEPOINT part").await?;
                    narrow(rows, &refusal, &mut parts, &mut self.outcome.errors);
                }
                Err(trouble) => return Err(trouble),
            }
        }
        Ok(())
    }

    /// Fails when not every record was changed.
    async fn count(&mut self, batch: &Batch<'_>, rows: &[Row<'_>]) -> Result<(), Trouble> {
        let sql = AssertSqlSafe(batch.statement(rows.len()));
        let bound = batch.bind(self.tenant, rows);
        let usual = is_usual(self.tx, rows);
        let changed = on_conn!(Tx, &mut *self.tx, c => {
            bind!(sqlx::query(sql), bound)
                .persistent(usual)
                .execute(&mut **c)
                .await
                .map(|done| done.rows_affected())
        })?;
        if changed != rows.len() as u64 {
            return Err(Trouble::NotAll);
        }
        // Nobody reads what no event tells.
        if self.tells {
            self.outcome.done.extend(rows.iter().map(changed_by));
        }
        Ok(())
    }

    async fn control(&mut self, sql: &'static str) -> Result<(), Trouble> {
        on_conn!(Tx, &mut *self.tx, c => {
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut **c).await.map(|_| ())
        })?;
        Ok(())
    }

    pub(super) async fn statement(
        &mut self,
        batch: &Batch<'_>,
        rows: &[Row<'_>],
    ) -> Result<(), Trouble> {
        let bound = batch.bind(self.tenant, rows);
        let (sql, usual) = (batch.telling(rows.len()), is_usual(self.tx, rows));
        let done: HashSet<String> = texts(self.tx, sql, bound, usual).await?.into_iter().collect();
        for row in rows {
            let id = &row.change.id;
            let was_done = || self.planned.is_some_and(|planned| planned.ids.contains(id));
            if done.contains(id) || (self.forgets && was_done()) {
                if self.tells {
                    self.outcome.done.push(changed_by(row));
                }
            } else {
                self.outcome.errors.push(ItemError::not_found(row.change));
            }
        }
        Ok(())
    }
}

pub(super) fn changed_by(row: &Row<'_>) -> Changed {
    Changed { ordinal: row.change.ordinal, id: row.change.id.clone() }
}

/// Whether a statement over these rows will come again: on SQLite its text has their number.
fn is_usual(tx: &Tx, rows: &[Row<'_>]) -> bool {
    matches!(tx, Tx::Pg(_)) || rows.len() >= USUAL
}

/// The texts that a statement over rows answers; a usual one is kept ready.
pub(super) async fn texts(
    tx: &mut Tx,
    sql: String,
    bound: Vec<Cell<'_>>,
    usual: bool,
) -> Result<Vec<String>, sqlx::Error> {
    on_conn!(Tx, tx, c => {
        let asked: Vec<(String,)> = bind!(sqlx::query_as(AssertSqlSafe(sql)), bound)
            .persistent(usual)
            .fetch_all(&mut **c)
            .await?;
        Ok(asked.into_iter().map(|(text,)| text).collect())
    })
}

/// What is left of rows that were refused together: their halves; of one row its error.
pub(super) fn narrow<'r, 'c>(
    rows: &'r [Row<'c>],
    refusal: &Refusal,
    parts: &mut Vec<&'r [Row<'c>]>,
    errors: &mut Vec<ItemError>,
) {
    if let [row] = rows {
        errors.push(refused(row, refusal));
    } else {
        let (first, second) = rows.split_at(rows.len() / 2);
        parts.extend([second, first]);
    }
}

fn refused(row: &Row<'_>, refusal: &Refusal) -> ItemError {
    ItemError {
        ordinal: row.change.ordinal,
        item_id: row.change.given.clone(),
        code: refusal.code.to_owned(),
        message: refusal.words.clone(),
    }
}
