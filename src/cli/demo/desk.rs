//! The demo's product: a support desk with a database of its own, some of whose tables are declared.

use std::{fs, path::Path};

use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::cli::Failure;

/// Its tables and records.
const DATABASE: &str = include_str!("../../../config/samples/desk.sql");
/// What is declared of them.
const RESOURCES: &str = include_str!("../../../config/samples/resources.toml");
/// Where the declarations expect the URL of the database.
const URL: &str = "\"env:DESK_DATABASE_URL\"";

/// Makes the database in `dir`, and declares it there for every process over that directory.
pub(super) async fn make(dir: &Path) -> Result<(), Failure> {
    let file = std::path::absolute(dir.join("desk.sqlite"))
        .map_err(|e| Failure::cannot_create(format!("cannot find {}: {e}", dir.display())))?;
    declare(dir, &file)?;
    fill(&file)
        .await
        .map_err(|e| Failure::cannot_create(format!("cannot make {}: {e}", file.display())))
}

/// Writes the declarations; those of somebody else's product are left alone.
fn declare(dir: &Path, database: &Path) -> Result<(), Failure> {
    let url = toml::Value::from(format!("sqlite://{}", database.display()));
    let text = RESOURCES.replace(URL, &url.to_string());
    let file = dir.join("resources.toml");
    if fs::read_to_string(&file).is_ok_and(|there| there != text) {
        return Err(Failure::data(format!(
            "{} declares the records of another product: give the demo a directory of its own",
            file.display()
        )));
    }
    fs::write(&file, text)
        .map_err(|e| Failure::cannot_create(format!("cannot write {}: {e}", file.display())))
}

/// All of it or nothing; a database that an earlier demo made stays as it is.
async fn fill(file: &Path) -> Result<(), sqlx::Error> {
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
    let mut desk = SqliteConnection::connect_with(&options).await?;
    let mut tx = desk.begin().await?;
    let there: bool =
        sqlx::query_scalar("SELECT count(*) > 0 FROM sqlite_schema").fetch_one(&mut *tx).await?;
    if !there {
        sqlx::raw_sql(DATABASE).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    desk.close().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_declarations_of_another_product_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (file, database) = (dir.path().join("resources.toml"), dir.path().join("desk.sqlite"));
        for _ in 0..2 {
            declare(dir.path(), &database).unwrap();
        }
        let written = fs::read_to_string(&file).unwrap();
        assert!(!written.contains("DESK_DATABASE_URL") && written.contains("desk.sqlite"));
        fs::write(&file, "# ours").unwrap();
        assert_eq!(declare(dir.path(), &database).unwrap_err().code, 65);
        assert_eq!(fs::read_to_string(&file).unwrap(), "# ours");
    }
}
