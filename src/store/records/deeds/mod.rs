//! What can be done to the records of a table: a file each, and a line in [`ALL`].

mod delete;
mod ensure;
mod update;
mod upsert;

use super::{
    Fill, Table,
    sql::{Rows, Shape, name, value},
};

/// Something that can be done to records with one statement.
pub(super) trait Deed: Sync {
    /// What a declaration calls it.
    fn name(&self) -> &'static str;

    /// Columns that a row has beside those that were given, and what they are filled with.
    fn fills(&self, table: &Table) -> Vec<(String, Fill)>;

    /// The statement for these rows, of which it speaks once. `RETURNING` can be put behind it, for the ids
    /// of the records that it was done to.
    fn statement(&self, shape: &Shape<'_>, rows: &Rows<'_>) -> String;

    /// What a role must be allowed to do for it.
    fn needs(&self, table: &Table) -> &'static [&'static str];

    /// Whether it is done to deleted records, too, when these columns are given.
    fn reaches_deleted(&self, _table: &Table, _given: &[String]) -> bool {
        false
    }

    /// Whether a record is not found again once it was done.
    fn forgets(&self, _table: &Table) -> bool {
        false
    }
}

/// Every deed, in alphabetical order.
const ALL: [&dyn Deed; 4] = [&delete::Delete, &ensure::Ensure, &update::Update, &upsert::Upsert];

/// The deed of this name.
pub(super) fn find(name: &str) -> Option<&'static dyn Deed> {
    ALL.into_iter().find(|deed| deed.name() == name)
}

/// The names of all deeds.
pub fn names() -> Vec<&'static str> {
    ALL.iter().map(|deed| deed.name()).collect()
}

fn touched(table: &Table) -> impl Iterator<Item = (String, Fill)> + '_ {
    table.touch.iter().map(|column| (column.clone(), Fill::Now))
}

/// `"a" = v.pr_0, "b" = v.pr_1`.
fn assignments(columns: &[String]) -> String {
    let assign = |(n, column): (usize, &String)| format!("{} = v.{}", name(column), value(n));
    columns.iter().enumerate().map(assign).collect::<Vec<_>>().join(", ")
}

/// An `INSERT` of the rows, up to what becomes of records that are there.
fn insert(shape: &Shape<'_>, rows: &Rows<'_>) -> String {
    let table = shape.table;
    let mut names = vec![name(&table.tenant), name(&table.id)];
    names.extend(rows.columns.iter().map(|column| name(column)));
    let mut values = vec!["v.pr_tenant".to_owned(), "v.pr_id".to_owned()];
    values.extend((0..rows.columns.len()).map(|n| format!("v.{}", value(n))));
    format!(
        "INSERT INTO {} ({}) SELECT {} FROM {} WHERE true ON CONFLICT ({})",
        shape.target(),
        names.join(", "),
        values.join(", "),
        shape.rows(rows),
        shape.key()
    )
}

/// That a record that is there is the tenant's: its id alone may be the key.
fn is_the_tenants(shape: &Shape<'_>) -> String {
    let tenant = name(&shape.table.tenant);
    format!("t.{tenant} = excluded.{tenant}{}", shape.alive())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use jobs::contract::resource::{IdForm, Resource};
    use sqlx::{AssertSqlSafe, SqlitePool, sqlite::SqlitePoolOptions};

    use super::{super::columns::Columns, *};
    use crate::store::Db;

    const TABLES: &str = "CREATE TABLE by_both (org TEXT NOT NULL, id TEXT NOT NULL, a TEXT, \
           gone BIGINT, PRIMARY KEY (org, id)); \
         CREATE TABLE by_id (id TEXT NOT NULL PRIMARY KEY, org TEXT NOT NULL, a TEXT, gone BIGINT); \
         CREATE INDEX by_org ON by_id (org)";

    fn table(name: &str, soft_delete: Option<&str>) -> Table {
        let resource = Resource {
            name: name.to_owned(),
            id: IdForm::Text,
            fields: BTreeMap::new(),
            actions: BTreeMap::new(),
            event: None,
        };
        Table {
            resource: Arc::new(resource),
            database: None,
            path: vec![name.to_owned()],
            id: "id".to_owned(),
            tenant: "org".to_owned(),
            columns: BTreeMap::new(),
            soft_delete: soft_delete.map(str::to_owned),
            touch: Vec::new(),
            insert: BTreeMap::new(),
        }
    }

    async fn plan(pool: &SqlitePool, sql: String) -> Vec<String> {
        let plan: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")))
                .fetch_all(pool)
                .await
                .unwrap();
        plan.into_iter().map(|(.., words)| words).collect()
    }

    /// A walk over a table for each of 500 rows takes a minute at 100,000 records.
    #[tokio::test]
    async fn sqlite_finds_each_record_by_its_key() {
        let pool = SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await;
        let pool = pool.unwrap();
        sqlx::raw_sql(TABLES).execute(&pool).await.unwrap();
        let columns = vec!["a".to_owned()];
        for (name, key) in [("by_both", "(org=? AND id=?)"), ("by_id", "(id=?)")] {
            for (deed, soft) in [("update", None), ("delete", None), ("delete", Some("gone"))] {
                let table = table(name, soft);
                let known = Columns::ask(&Db::Lite(pool.clone()), &table).await.unwrap();
                let shape = Shape { table: &table, columns: &known };
                let same = usize::from(soft.is_some());
                let rows = Rows { columns: &columns, given: 1 - same, same, count: 500 };
                let sql = find(deed).unwrap().statement(&shape, &rows);
                let plan = plan(&pool, sql).await;
                let finds =
                    |words: &&String| words.starts_with("SEARCH t ") && words.ends_with(key);
                assert!(plan.iter().any(|words| finds(&words)), "{name} {deed}: {plan:?}");
                assert!(!plan.iter().any(|words| words == "SCAN t"), "{name} {deed}: {plan:?}");
            }
        }
    }
}
