//! Opening a store: from nothing, of another version, where there is none.

use std::fs;

use postrider::store::{OnOldSchema, Store, StoreError};
use sqlx::{Connection, PgConnection, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{Given, config, dev, on_both, secrets};
use crate::support::postgres;

/// Runs a statement behind the store's back.
async fn execute(given: &Given, sql: &'static str) {
    if given.url.is_empty() {
        let options = SqliteConnectOptions::new().filename(given.dir.path().join("store.sqlite"));
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::query(sql).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    } else {
        let mut connection = PgConnection::connect(&given.url).await.unwrap();
        sqlx::query(sql).execute(&mut connection).await.unwrap();
    }
}

async fn reopen(given: &Given, on_old: OnOldSchema) -> Result<Store, StoreError> {
    Store::open(&config(&given.url), given.dir.path(), secrets(1), on_old).await
}

on_both! {
    async fn what_was_written_is_there_when_it_is_opened_again(given) {
        given.store.shut().await;
        let again = reopen(&given, OnOldSchema::Refuse).await.unwrap();
        assert!(again.tenants().await.unwrap().contains(&dev()));
        again.ready().await.unwrap();
    }

    async fn a_newer_store_is_refused_and_both_versions_are_named(given) {
        // given
        execute(&given, "INSERT INTO postrider_migrations
            (version, description, success, checksum, execution_time)
            SELECT 900, 'from the future', success, checksum, 0 FROM postrider_migrations
            WHERE version = 1").await;
        // when
        let error = reopen(&given, OnOldSchema::Migrate).await.unwrap_err();
        // then
        assert!(matches!(error, StoreError::Newer { .. }));
        let words = error.to_string();
        assert!(words.contains("schema version 900") && words.contains("postrider migrate"), "{words}");
    }

    async fn an_older_store_is_refused_or_migrated(given) {
        // given: a store that has not heard of the last migration
        execute(&given, "DROP TABLE endpoints").await;
        execute(&given, "DROP TABLE deliveries").await;
        execute(&given, "DROP TABLE delivery_attempts").await;
        execute(&given, "DROP TABLE vault").await;
        execute(&given, "DROP TABLE bulk_runs").await;
        execute(&given, "DROP TABLE bulk_errors").await;
        execute(&given, "DROP TABLE warmup_settings").await;
        execute(&given, "DELETE FROM postrider_migrations WHERE version BETWEEN 40 AND 70").await;
        // when
        let error = reopen(&given, OnOldSchema::Refuse).await.unwrap_err();
        // then
        assert!(matches!(error, StoreError::Older { .. }));
        let words = error.to_string();
        assert!(words.contains("schema version 20") && words.contains("postrider migrate"), "{words}");

        // when
        let migrated = Store::migrate(&config(&given.url), given.dir.path()).await.unwrap();
        // then
        assert!(migrated.from.to_string().starts_with("20"));
        let again = Store::migrate(&config(&given.url), given.dir.path()).await.unwrap();
        assert_eq!(again.from, migrated.to);
        reopen(&given, OnOldSchema::Refuse).await.unwrap();
    }

    async fn an_edited_migration_is_noticed(given) {
        execute(&given, "UPDATE postrider_migrations
            SET checksum = (SELECT checksum FROM postrider_migrations WHERE version = 2)
            WHERE version = 1").await;
        let error = reopen(&given, OnOldSchema::Migrate).await.unwrap_err();
        assert!(error.to_string().contains("its migration 1 is not the one"), "{error}");
    }
}

/// Several processes that start at once find one of them migrating, and then the work done.
async fn starts_at_once(url: String) {
    let dir = tempfile::tempdir().unwrap();
    let (config, path) = (config(&url), dir.path().join("new"));
    let starts = (0..8).map(|_| Store::open(&config, &path, secrets(1), OnOldSchema::Migrate));
    for store in futures::future::join_all(starts).await {
        assert_eq!(store.unwrap().tenants().await.unwrap(), []);
    }
}

#[tokio::test]
async fn many_start_at_once_on_nothing_sqlite() {
    starts_at_once(String::new()).await;
}

#[tokio::test]
async fn many_start_at_once_on_nothing_postgres() {
    starts_at_once(postgres::schema().await).await;
}

#[tokio::test]
async fn an_empty_store_is_refused_where_nobody_said_to_make_it() {
    let url = postgres::schema().await;
    let dir = tempfile::tempdir().unwrap();
    let opened = Store::open(&config(&url), dir.path(), secrets(1), OnOldSchema::Refuse).await;
    assert!(matches!(opened.unwrap_err(), StoreError::Older { .. }));
    // Refusing has left nothing behind.
    let migrated = Store::migrate(&config(&url), dir.path()).await.unwrap();
    assert_eq!(migrated.from.to_string(), "0");
}

#[tokio::test]
async fn places_that_cannot_be_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(
        &file,
        "this is no database, and it is longer than a header of SQLite would be ".repeat(9),
    )
    .unwrap();
    let open = async |url: String, data: &std::path::Path| {
        let config = config(&url);
        Store::open(&config, data, secrets(1), OnOldSchema::Migrate).await.unwrap_err()
    };

    // A directory below a file.
    let error = open(String::new(), &file.join("data")).await;
    assert!(matches!(error, StoreError::CannotCreate(_)), "{error}");
    assert!(error.to_string().contains("file/data"), "{error}");
    // A file that is a directory.
    let error = open(format!("sqlite://{}", dir.path().display()), dir.path()).await;
    assert!(matches!(error, StoreError::CannotCreate(_)), "{error}");
    // A file that is no database.
    let error = open(format!("sqlite://{}", file.display()), dir.path()).await;
    assert!(matches!(error, StoreError::Unusable(_)), "{error}");
    // A server that is not there, with a password in its URL.
    let error = open("postgres://ada:hunter2@127.0.0.1:1/postrider".into(), dir.path()).await;
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    let words = error.to_string();
    assert!(words.contains("Postgres at 127.0.0.1:1") && !words.contains("hunter2"), "{words}");
}
