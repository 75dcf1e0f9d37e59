//! Fields of records that are there.

use super::{Deed, Fill, Rows, Shape, Table, assignments, touched};

pub(super) struct Update;

impl Deed for Update {
    fn name(&self) -> &'static str {
        "update"
    }

    fn fills(&self, table: &Table) -> Vec<(String, Fill)> {
        touched(table).collect()
    }

    /// What says itself when a record was deleted may restore it.
    fn reaches_deleted(&self, table: &Table, given: &[String]) -> bool {
        table.soft_delete.as_ref().is_some_and(|soft| given.contains(soft))
    }

    fn needs(&self, _table: &Table) -> &'static [&'static str] {
        &["SELECT", "UPDATE"]
    }

    fn statement(&self, shape: &Shape<'_>, rows: &Rows<'_>) -> String {
        let deleted = self.reaches_deleted(shape.table, &rows.columns[..rows.given]);
        let alive = if deleted { String::new() } else { shape.alive() };
        format!(
            "UPDATE {} SET {} FROM {} WHERE {}{alive}",
            shape.target(),
            assignments(rows.columns),
            shape.rows(rows),
            shape.in_rows()
        )
    }
}
