//! Postgres for tests: one server for the run, one schema for each test.

use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{AssertSqlSafe, Connection, PgConnection};

const VARIABLE: &str = "POSTRIDER_TEST_POSTGRES";

/// The URL of the run's server.
pub(crate) fn server() -> String {
    std::env::var(VARIABLE).unwrap_or_else(|_| {
        panic!(
            "{VARIABLE} is not set: run the tests with tests/run, or start a server of your own \
             with `tests/support/postgres.sh start DIR` and export what it prints"
        )
    })
}

/// The URL of a new, empty schema on the run's server.
pub(crate) async fn schema() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let (process, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let name = format!("test_{process}_{number}_{:08x}", rand::random::<u32>());
    let server = server();
    let mut connection = PgConnection::connect(&server).await.expect("the test server answers");
    sqlx::query(AssertSqlSafe(format!("CREATE SCHEMA {name}")))
        .execute(&mut connection)
        .await
        .expect("a schema can be made");
    connection.close().await.expect("the connection ends");
    let sign = if server.contains('?') { '&' } else { '?' };
    format!("{server}{sign}options=-csearch_path%3D{name}")
}
