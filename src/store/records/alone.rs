//! A chunk that is one statement, and therefore a transaction by itself. SQLite works in a thread of its own:
//! the fewer words go there and back, the less it waits for them.

use sqlx::{Arguments, AssertSqlSafe, SqlitePool, error::BoxDynError, sqlite::SqliteArguments};

use super::{apply::USUAL, batch::Batch, bound::Cell, sql::Shape, trouble::Trouble};

/// The statement with all that is bound to it, made before its turn comes.
pub(super) struct Alone {
    sql: String,
    bound: SqliteArguments,
    rows: usize,
}

impl Alone {
    /// None where a chunk needs several statements, or lies elsewhere than in SQLite.
    pub(super) fn of(shape: &Shape<'_>, batches: &[Batch<'_>], tenant: &str) -> Option<Self> {
        let [batch] = batches else { return None };
        let rows = batch.rows.len();
        if !shape.columns.lite || rows > batch.most() {
            return None;
        }
        let bound = bound(&batch.bind(tenant, &batch.rows)).ok()?;
        Some(Self { sql: batch.statement(rows), bound, rows })
    }

    /// Changes the records; [`Trouble::NotAll`] when some are not there.
    pub(super) async fn carry_out(self, pool: &SqlitePool) -> Result<(), Trouble> {
        let Self { sql, bound, rows } = self;
        let query = sqlx::query_with(AssertSqlSafe(sql), bound).persistent(rows >= USUAL);
        let changed = query.execute(pool).await?.rows_affected();
        if changed == rows as u64 { Ok(()) } else { Err(Trouble::NotAll) }
    }
}

fn bound(cells: &[Cell<'_>]) -> Result<SqliteArguments, BoxDynError> {
    let mut bound = SqliteArguments::default();
    bound.reserve(cells.len(), 0);
    for cell in cells {
        match cell {
            Cell::Null => bound.add(None::<&str>)?,
            Cell::Text(text) => bound.add(&**text)?,
            Cell::Integer(number) => bound.add(*number)?,
            Cell::Real(number) => bound.add(*number)?,
        }
    }
    Ok(bound)
}
