//! A product's database that changes under a running process.

use jobs::contract::Stop;
use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{
    desk::{DECLARED, Desk},
    host::by_ids,
};
use crate::store::run;

fn by_status(status: &str) -> Value {
    json!({"resource": "tickets", "action": "update", "update": {"priority": 9},
        "selection": {"mode": "filter", "filter": {"field": "status", "equals": status}}})
}

#[tokio::test]
async fn a_file_that_another_one_takes_the_place_of_is_used_no_longer() {
    // given a product's file that was read from and written to
    let desk = Desk::lite().await;
    desk.tickets("dev", 2).await;
    assert_eq!(desk.done(1, &by_status("open")).await, (1, 0, 1));
    // when a backup with a ticket more is put into its place
    let [there, backup] = ["desk.sqlite", "backup.sqlite"].map(|name| desk.dir.path().join(name));
    desk.host.execute(&format!("VACUUM INTO '{}'", backup.display())).await;
    let open = |file| async move {
        let options = SqliteConnectOptions::new().filename(file);
        SqliteConnection::connect_with(&options).await.unwrap()
    };
    let mut restored = open(&backup).await;
    let ticket =
        "INSERT INTO tickets (organisation, id, status) VALUES ('dev', 'new', 'suspended')";
    sqlx::raw_sql(ticket).execute(&mut restored).await.unwrap();
    restored.close().await.unwrap();
    std::fs::rename(&backup, &there).unwrap();
    // then what is in it is found and changed, at the first try
    assert_eq!(desk.done(2, &by_status("suspended")).await, (1, 0, 1));
    let ids = by_ids(&["t0000", "new"], "update", json!({"subject": "restored"}));
    assert_eq!(desk.done(3, &ids).await, (2, 0, 2));
    let sql = "SELECT count(*) FROM tickets WHERE subject = 'restored' OR priority = 9";
    let mut restored = open(&there).await;
    let changed: i64 = sqlx::query_scalar(sql).fetch_one(&mut restored).await.unwrap();
    assert_eq!(changed, 2);
    assert_eq!(desk.host.count("subject = 'restored'").await, 0, "the file before is left alone");
}

#[tokio::test]
async fn a_column_that_is_as_declared_in_another_way_is_used_at_the_next_try() {
    // given
    let desk = Desk::pg().await;
    desk.tickets("dev", 3).await;
    assert_eq!(desk.done(1, &by_ids(&["t0000"], "suspend", json!({}))).await, (1, 0, 1));
    // when a text becomes a type of its own with the same values
    desk.host.execute("CREATE TYPE status AS ENUM ('open', 'closed', 'suspended')").await;
    desk.host.execute("ALTER TABLE tickets ALTER COLUMN status DROP DEFAULT").await;
    let retyped = "ALTER TABLE tickets ALTER COLUMN status TYPE status USING status::status";
    desk.host.execute(retyped).await;
    let payload = by_ids(&["t0001"], "suspend", json!({}));
    let outcome = desk.run_as(run(2, 1), &payload).await;
    // then that is no reason to give up
    let told = matches!(&outcome, Err(Stop::Retry { cause, .. }) if cause.code == "table_changed");
    assert!(told, "{outcome:?}");
    desk.run_as(run(2, 2), &payload).await.unwrap();
    assert_eq!(desk.host.count("status = 'suspended'").await, 2);
}

#[tokio::test]
async fn a_right_that_is_missing_is_named_before_and_in_the_job_that_needs_it() {
    // given a role that may read and change tickets, and read notes
    let mut desk = Desk::pg().await;
    desk.tickets("dev", 1).await;
    let role = format!("reader_{:08x}", rand::random::<u32>());
    desk.host.execute(&format!("CREATE ROLE {role}")).await;
    let schema = desk.host.text("SELECT current_schema()::text").await;
    desk.host.execute(&format!("GRANT USAGE ON SCHEMA {schema} TO {role}")).await;
    desk.host.execute(&format!("GRANT SELECT, INSERT, UPDATE ON tickets TO {role}")).await;
    desk.host.execute(&format!("GRANT SELECT ON notes TO {role}")).await;
    desk.url = format!("{}%20-crole%3D{role}", desk.url);
    desk.declaring(DECLARED);
    // then what it may not is named
    let notes = "resource \"notes\": actions";
    let table = "table notes of database desk";
    let expected = [
        format!("{notes}.delete: it needs the right to DELETE {table}"),
        format!("{notes}.ensure: it needs the right to INSERT and UPDATE {table}"),
        format!("{notes}.update: it needs the right to UPDATE {table}"),
        format!("{notes}.upsert: it needs the right to INSERT and UPDATE {table}"),
    ];
    assert_eq!(desk.compared().await.mismatches, expected);
    // when a right is taken away later, then the job says which
    let payload = by_ids(&["t0000"], "suspend", json!({}));
    assert_eq!(desk.done(1, &payload).await, (1, 0, 1));
    desk.host.execute(&format!("REVOKE UPDATE ON tickets FROM {role}")).await;
    let Err(Stop::Cancel { cause }) = desk.run_as(run(2, 1), &payload).await else { panic!() };
    let words = "actions.suspend: it needs the right to UPDATE table tickets of database desk";
    assert!(cause.message.contains(words), "{}", cause.message);
}
