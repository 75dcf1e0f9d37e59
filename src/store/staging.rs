//! Loading prospects in bulk: staged out of sight, then taken over in one step.
//!
//! Rows go to a temporary table of a connection of its own. Nobody else sees them or waits for them,
//! and when the process ends, however it ends, they are gone. Only [`Staging::commit`] touches the
//! tenant's prospects, with one transaction of one statement.

use std::collections::HashMap;

use jobs::contract::{Moment, TenantId};
use sqlx::{AssertSqlSafe, Connection, QueryBuilder};

use super::{
    Prospect, Store, StoreError,
    db::{OwnConnection, on_conn},
    name_of,
};

/// How many rows are staged with one statement: 7 values each, where SQLite takes 32,766.
pub const BATCH: usize = 1_000;

const PREPARE: [&str; 2] = [
    // Made like the real table, so that texts compare alike in both.
    "CREATE TEMP TABLE staged AS SELECT name, email, first_name, last_name, company, time_zone, \
     fields FROM prospects WHERE 1 = 0",
    "CREATE UNIQUE INDEX staged_name ON staged (name)",
];
const INSERT: &str = "INSERT INTO staged (name, email, first_name, last_name, company, time_zone, \
     fields) ";
const LAST_WINS: &str = " ON CONFLICT (name) DO UPDATE SET email = excluded.email, \
     first_name = excluded.first_name, last_name = excluded.last_name, \
     company = excluded.company, time_zone = excluded.time_zone, fields = excluded.fields";
const STAGED: &str = "SELECT count(*) FROM staged";
const KNOWN: &str = "SELECT count(*) FROM staged \
     JOIN prospects ON prospects.tenant = $1 AND prospects.name = staged.name";
const FLIP: &str = include_str!("queries/staging_flip.sql");

/// Prospects on their way into the store.
pub struct Staging {
    conn: OwnConnection,
    tenant: TenantId,
    added: u64,
}

/// What loading prospects did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Loaded {
    /// Prospects that were not there.
    pub created: u64,
    /// Prospects that were there, and different.
    pub updated: u64,
    /// Prospects that were there, and the same.
    pub unchanged: u64,
    /// Rows that another row with the same address, after them, replaced.
    pub duplicates: u64,
}

impl Store {
    /// Begins to load prospects of a tenant.
    ///
    /// # Errors
    ///
    /// When the tenant is not there, or the store is out of reach.
    pub async fn stage(&self, tenant: &TenantId) -> Result<Staging, StoreError> {
        self.require_tenant(tenant).await?;
        let mut conn = self.address.connect().await?;
        for sql in PREPARE {
            on_conn!(OwnConnection, &mut conn, c => {
                sqlx::query(sql).execute(&mut *c).await.map(|_| ())
            })?;
        }
        Ok(Staging { conn, tenant: tenant.clone(), added: 0 })
    }
}

impl Staging {
    /// Stages rows; of those with one address the last wins.
    ///
    /// # Errors
    ///
    /// When the store is out of reach.
    pub async fn add(&mut self, rows: &[Prospect]) -> Result<(), StoreError> {
        for batch in rows.chunks(BATCH) {
            self.added += batch.len() as u64;
            let rows = last_of_each(batch);
            on_conn!(OwnConnection, &mut self.conn, c => {
                let mut insert = QueryBuilder::new(INSERT);
                insert.push_values(rows, |mut row, (name, prospect, fields)| {
                    row.push_bind(name)
                        .push_bind(&prospect.email)
                        .push_bind(&prospect.first_name)
                        .push_bind(&prospect.last_name)
                        .push_bind(&prospect.company)
                        .push_bind(&prospect.time_zone)
                        .push_bind(fields);
                });
                insert.push(LAST_WINS);
                insert.build().execute(&mut *c).await.map(|_| ())
            })?;
        }
        Ok(())
    }

    /// Makes everything staged the tenant's prospects: all of it or, after an error, nothing.
    ///
    /// # Errors
    ///
    /// When the store is out of reach.
    pub async fn commit(mut self, now: Moment) -> Result<Loaded, StoreError> {
        let staged = self.count(STAGED).await?;
        // The write lock is taken first: the count must hold until the end.
        let begin = match self.conn {
            OwnConnection::Lite(_) => "BEGIN IMMEDIATE",
            OwnConnection::Pg(_) => "BEGIN",
        };
        self.execute(begin).await?;
        let known = on_conn!(OwnConnection, &mut self.conn, c => {
            sqlx::query_scalar::<_, i64>(KNOWN)
                .bind(self.tenant.as_str())
                .fetch_one(&mut *c)
                .await
        })?
        .unsigned_abs();
        let written = on_conn!(OwnConnection, &mut self.conn, c => sqlx::query(FLIP)
            .bind(self.tenant.as_str())
            .bind(now.millis())
            .execute(&mut *c)
            .await
            .map(|done| done.rows_affected()))?;
        self.execute("COMMIT").await?;
        match self.conn {
            OwnConnection::Lite(conn) => conn.close().await?,
            OwnConnection::Pg(conn) => conn.close().await?,
        }
        let created = staged.saturating_sub(known);
        let updated = written.saturating_sub(created);
        Ok(Loaded {
            created,
            updated,
            unchanged: known.saturating_sub(updated),
            duplicates: self.added - staged,
        })
    }

    async fn execute(&mut self, sql: &'static str) -> Result<(), StoreError> {
        on_conn!(OwnConnection, &mut self.conn, c => {
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *c).await.map(|_| ())
        })?;
        Ok(())
    }

    async fn count(&mut self, sql: &'static str) -> Result<u64, StoreError> {
        let count: i64 = on_conn!(OwnConnection, &mut self.conn, c => {
            sqlx::query_scalar(sql).fetch_one(&mut *c).await
        })?;
        Ok(count.unsigned_abs())
    }
}

/// One row an address, the last: Postgres does not let one statement touch a row twice.
fn last_of_each(batch: &[Prospect]) -> Vec<(String, &Prospect, String)> {
    let mut at: HashMap<String, usize> = HashMap::with_capacity(batch.len());
    let mut rows: Vec<(String, &Prospect, String)> = Vec::with_capacity(batch.len());
    for prospect in batch {
        let name = name_of(&prospect.email);
        let fields = serde_json::json!(prospect.fields).to_string();
        match at.get(&name) {
            Some(&index) => rows[index] = (name, prospect, fields),
            None => {
                at.insert(name.clone(), rows.len());
                rows.push((name, prospect, fields));
            }
        }
    }
    rows
}
