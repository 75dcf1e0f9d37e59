//! A chunk that is one statement, and therefore a transaction by itself. SQLite works in a thread of its own:
//! the fewer words go there and back, the less it waits for them.

use sqlx::{AssertSqlSafe, Execute, Sqlite, SqlitePool, sqlite::SqliteArguments};

use super::{
    apply::USUAL,
    batch::Batch,
    bound::{Cell, bind},
    sql::Shape,
    trouble::Trouble,
};

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
        let cells = batch.bind(tenant, &batch.rows);
        let bound = bind!(sqlx::query::<Sqlite>(""), cells).take_arguments().ok()??;
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
