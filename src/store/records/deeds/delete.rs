//! Records that are there no longer: gone, or marked as deleted where the table says so.

use super::{Deed, Fill, Rows, Shape, Table, name};

pub(super) struct Delete;

impl Deed for Delete {
    fn name(&self) -> &'static str {
        "delete"
    }

    fn fills(&self, table: &Table) -> Vec<(String, Fill)> {
        table.soft_delete.iter().map(|column| (column.clone(), Fill::Now)).collect()
    }

    fn needs(&self, table: &Table) -> &'static [&'static str] {
        if table.soft_delete.is_some() { &["SELECT", "UPDATE"] } else { &["SELECT", "DELETE"] }
    }

    fn statement(&self, shape: &Shape<'_>, rows: &Rows<'_>) -> String {
        match &shape.table.soft_delete {
            // When it was first deleted stays.
            Some(soft) => format!(
                "UPDATE {} SET {soft} = coalesce(t.{soft}, v.pr_0) FROM {} \
                 WHERE {}",
                shape.target(),
                shape.rows(rows),
                shape.in_rows(),
                soft = name(soft)
            ),
            None if shape.columns.lite => format!(
                "DELETE FROM {} WHERE t.{} IN (SELECT v.pr_id FROM {}) AND {}{}",
                shape.target(),
                name(&shape.table.id),
                shape.rows(rows),
                // An index of the tenant must not be preferred to the one of the id.
                if shape.is_found_by_id() { "+" } else { "" },
                shape.of_tenant("?")
            ),
            None => format!(
                "DELETE FROM {} USING {} WHERE {}",
                shape.target(),
                shape.rows(rows),
                shape.in_rows()
            ),
        }
    }

    fn forgets(&self, table: &Table) -> bool {
        table.soft_delete.is_none()
    }
}
