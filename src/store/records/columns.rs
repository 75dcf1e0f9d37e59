//! The columns that a table really has.

use std::collections::{BTreeSet, HashMap};

use sqlx::{PgPool, SqlitePool};

use super::Table;
use crate::store::Db;

/// The names in `pg_catalog` do not change; `information_schema` hides what one may not read.
const PG_COLUMNS: &str = "SELECT a.attname::text, format_type(a.atttypid, NULL), \
       coalesce(b.typname, t.typname)::text, a.atttypmod, a.attnotnull, \
       a.atthasdef OR a.attidentity <> '', a.attgenerated <> '', \
       coalesce((SELECT array_agg(e.enumlabel::text) FROM pg_enum e \
                 WHERE e.enumtypid = a.atttypid), '{}') \
     FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
     LEFT JOIN pg_type b ON b.oid = t.typbasetype \
     WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped";
const PG_UNIQUE: &str = "SELECT array_agg(a.attname::text) FROM pg_index i \
     JOIN pg_attribute a ON a.attrelid = i.indrelid \
       AND a.attnum = ANY((i.indkey::int2[])[0:i.indnkeyatts - 1]) \
     WHERE i.indrelid = to_regclass($1) AND i.indisunique AND i.indisvalid \
       AND i.indpred IS NULL AND i.indexprs IS NULL GROUP BY i.indexrelid";
/// No row at all when there is no such table. A right to some columns is one: which ones shows in time.
const PG_DENIED: &str = "SELECT r.name FROM (VALUES ('SELECT'), ('INSERT'), ('UPDATE')) AS r (name) \
     WHERE NOT has_any_column_privilege(to_regclass($1), r.name) \
     UNION ALL SELECT 'DELETE' WHERE NOT has_table_privilege(to_regclass($1), 'DELETE')";
const LITE_COLUMNS: &str = "SELECT name, type, \"notnull\", dflt_value IS NOT NULL, pk, hidden \
     FROM pragma_table_xinfo($1)";
const LITE_UNIQUE: &str = "SELECT l.name, i.name FROM pragma_index_list($1) AS l, \
       pragma_index_info(l.name) AS i \
     WHERE l.\"unique\" = 1 AND l.partial = 0 AND i.name IS NOT NULL ORDER BY l.name";

/// What a column holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Class {
    /// Texts of at most so many characters.
    Text(Option<u64>),
    Integer,
    Real,
    Numeric,
    Boolean,
    /// Moments, as the database knows them.
    Timestamp,
    Json,
    Uuid,
    /// One of these texts.
    Enum(Vec<String>),
    Other,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) class: Class,
    /// The name of its type, for people and for casts.
    pub(super) type_name: String,
    pub(super) not_null: bool,
    /// Whether a new record need not say it.
    pub(super) fills_itself: bool,
    /// Whether the database computes it.
    pub(super) generated: bool,
}

/// The columns of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Columns {
    pub(super) by_name: HashMap<String, Column>,
    /// Sets of columns of which no two records have the same values.
    pub(super) unique: Vec<BTreeSet<String>>,
    /// What the database does not let us do to its records: `UPDATE` …
    pub(super) denied: BTreeSet<String>,
    /// Whether this is SQLite.
    pub(super) lite: bool,
}

impl Columns {
    /// Asks the database; no columns at all when there is no such table.
    pub(super) async fn ask(db: &Db, table: &Table) -> Result<Self, sqlx::Error> {
        match db {
            Db::Lite(pool) => lite(pool, table).await,
            Db::Pg(pool) => postgres(pool, table).await,
        }
    }

    pub(super) fn class(&self, column: &str) -> Class {
        self.by_name.get(column).map_or(Class::Other, |column| column.class.clone())
    }
}

type PgColumn = (String, String, String, i32, bool, bool, bool, Vec<String>);

async fn postgres(pool: &PgPool, table: &Table) -> Result<Columns, sqlx::Error> {
    let name = super::sql::path(&table.path);
    let rows: Vec<PgColumn> = sqlx::query_as(PG_COLUMNS).bind(&name).fetch_all(pool).await?;
    let unique: Vec<(Vec<String>,)> = sqlx::query_as(PG_UNIQUE).bind(&name).fetch_all(pool).await?;
    let denied: Vec<String> = sqlx::query_scalar(PG_DENIED).bind(&name).fetch_all(pool).await?;
    let column = |row: PgColumn| {
        let (name, type_name, base, modifier, not_null, fills_itself, generated, labels) = row;
        let class = if labels.is_empty() { pg_class(&base, modifier) } else { Class::Enum(labels) };
        (name, Column { class, type_name, not_null, fills_itself, generated })
    };
    Ok(Columns {
        by_name: rows.into_iter().map(column).collect(),
        unique: sets(unique.into_iter().map(|(names,)| names.into_iter().collect())),
        denied: denied.into_iter().collect(),
        lite: false,
    })
}

/// In an order that is the same each time: what was known is compared with what is there.
fn sets(sets: impl Iterator<Item = BTreeSet<String>>) -> Vec<BTreeSet<String>> {
    sets.collect::<BTreeSet<_>>().into_iter().collect()
}

fn pg_class(name: &str, modifier: i32) -> Class {
    match name {
        "text" | "citext" => Class::Text(None),
        // The modifier counts its own four bytes.
        "varchar" => Class::Text(u64::try_from(modifier - 4).ok().filter(|_| modifier > 4)),
        "int2" | "int4" | "int8" => Class::Integer,
        "float4" | "float8" => Class::Real,
        "numeric" => Class::Numeric,
        "bool" => Class::Boolean,
        "timestamptz" | "timestamp" => Class::Timestamp,
        "json" | "jsonb" => Class::Json,
        "uuid" => Class::Uuid,
        _ => Class::Other,
    }
}

type LiteColumn = (String, String, i64, bool, i64, i64);

async fn lite(pool: &SqlitePool, table: &Table) -> Result<Columns, sqlx::Error> {
    let name = table.path.last().map_or("", String::as_str);
    let rows: Vec<LiteColumn> = sqlx::query_as(LITE_COLUMNS).bind(name).fetch_all(pool).await?;
    let parts: Vec<(String, String)> =
        sqlx::query_as(LITE_UNIQUE).bind(name).fetch_all(pool).await?;
    let mut unique: HashMap<String, BTreeSet<String>> = HashMap::new();
    for (index, column) in parts {
        unique.entry(index).or_default().insert(column);
    }
    // An INTEGER PRIMARY KEY has no index of its own.
    let key: BTreeSet<_> =
        rows.iter().filter(|row| row.4 > 0).map(|(name, ..)| name.clone()).collect();
    let key = (!key.is_empty()).then_some(key);
    let unique = sets(unique.into_values().chain(key));
    let column = |row: LiteColumn| {
        let (name, type_name, not_null, default, key, hidden) = row;
        let class = lite_class(&type_name);
        let counts = key > 0 && class == Class::Integer;
        let column = Column {
            class,
            type_name,
            not_null: not_null != 0 || key > 0,
            fills_itself: default || counts,
            generated: hidden > 1,
        };
        (name, column)
    };
    let by_name = rows.into_iter().map(column).collect();
    Ok(Columns { by_name, unique, denied: BTreeSet::new(), lite: true })
}

/// SQLite's own rules for the affinity of a column, and what people write for what it has no type for.
fn lite_class(type_name: &str) -> Class {
    let name = type_name.to_uppercase();
    let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
    if has(&["BOOL"]) {
        Class::Boolean
    } else if has(&["INT"]) {
        Class::Integer
    } else if has(&["CHAR", "CLOB", "TEXT", "JSON", "UUID", "DATE", "TIME"]) {
        Class::Text(None)
    } else if has(&["REAL", "FLOA", "DOUB"]) {
        Class::Real
    } else if has(&["NUMERIC", "DECIMAL"]) {
        Class::Numeric
    } else {
        Class::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_known_by_their_names() {
        assert_eq!(pg_class("varchar", 24), Class::Text(Some(20)));
        assert_eq!(pg_class("varchar", -1), Class::Text(None));
        assert_eq!(pg_class("bytea", -1), Class::Other);
        let cases = [
            ("BIGINT", Class::Integer),
            ("varchar(20)", Class::Text(None)),
            ("BOOLEAN", Class::Boolean),
            ("datetime", Class::Text(None)),
            ("DOUBLE PRECISION", Class::Real),
            ("decimal(10,2)", Class::Numeric),
            ("BLOB", Class::Other),
        ];
        for (name, class) in cases {
            assert_eq!(lite_class(name), class, "{name}");
        }
    }
}
