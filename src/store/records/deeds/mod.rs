//! What can be done to the records of a table: a file each, and a line in [`ALL`].

mod delete;
mod ensure;
mod update;
mod upsert;

use super::{
    Fill, Table,
    sql::{Shape, name, value},
};

/// Something that can be done to records with one statement.
pub(super) trait Deed: Sync {
    /// What a declaration calls it.
    fn name(&self) -> &'static str;

    /// Columns that a row has beside those that were given, and what they are filled with.
    fn fills(&self, table: &Table) -> Vec<(String, Fill)>;

    /// The statement for rows with these columns, of which the first `given` were given. It answers the
    /// ids of the records that it was done to.
    fn statement(&self, shape: &Shape<'_>, columns: &[String], given: usize) -> String;

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
fn insert(shape: &Shape<'_>, columns: &[String]) -> String {
    let table = shape.table;
    let mut names = vec![name(&table.tenant), name(&table.id)];
    names.extend(columns.iter().map(|column| name(column)));
    let mut values = vec![shape.cast("$2", &table.tenant), "v.pr_id".to_owned()];
    values.extend((0..columns.len()).map(|n| format!("v.{}", value(n))));
    format!(
        "INSERT INTO {} ({}) SELECT {} FROM {} WHERE true ON CONFLICT ({})",
        shape.target(),
        names.join(", "),
        values.join(", "),
        shape.rows(columns),
        shape.key()
    )
}

/// That a record that is there is the tenant's: its id alone may be the key.
fn is_the_tenants(shape: &Shape<'_>) -> String {
    let tenant = name(&shape.table.tenant);
    format!("t.{tenant} = excluded.{tenant}{}", shape.alive())
}
