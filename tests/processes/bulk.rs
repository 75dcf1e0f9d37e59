//! Bulk jobs, and processes that are killed in the middle of them.

use jobs::contract::JobId;
use postrider::queue::Status;
use serde_json::{Value, json};
use sqlx::{
    AssertSqlSafe, Connection, PgConnection, SqliteConnection, sqlite::SqliteConnectOptions,
};

use super::rig::{House, Up, all_final};
use crate::support::{eventually_ok, postgres, redis};

const RECORDS: usize = 5_000;
/// A product's table.
const DECLARED: &str = r#"
    [databases.desk]
    url = "$URL"

    [[resources]]
    name = "tickets"
    database = "desk"
    table = "tickets"
    id = "id"
    tenant = "organisation"
    fields = { status = { type = "text" }, number = { type = "integer" } }
    actions = { update = {}, delete = {} }
"#;
const TABLE: &str = "CREATE TABLE tickets (organisation TEXT NOT NULL, id TEXT NOT NULL, \
     status TEXT NOT NULL, number BIGINT NOT NULL, PRIMARY KEY (organisation, id))";

/// A product's database.
enum Desk {
    Lite(SqliteConnection),
    Pg(PgConnection),
}

impl Desk {
    /// Declares the product to a house, and fills its table.
    async fn of(house: &House, pg: bool) -> Self {
        std::fs::create_dir_all(house.data()).unwrap();
        let (url, mut desk) = if pg {
            let url = postgres::schema().await;
            (url.clone(), Self::Pg(PgConnection::connect(&url).await.unwrap()))
        } else {
            let file = house.data().join("desk.sqlite");
            let options = SqliteConnectOptions::new().filename(&file).create_if_missing(true);
            let url = format!("sqlite://{}", file.display());
            (url, Self::Lite(SqliteConnection::connect_with(&options).await.unwrap()))
        };
        std::fs::write(house.data().join("resources.toml"), DECLARED.replace("$URL", &url))
            .unwrap();
        desk.execute(TABLE).await;
        for from in (0..RECORDS).step_by(500) {
            let row = |n| format!("('dev', 't{n:05}', 'open', 0)");
            let rows: Vec<_> = (from..from + 500).map(row).collect();
            desk.execute(&format!("INSERT INTO tickets VALUES {}", rows.join(","))).await;
        }
        desk
    }

    async fn execute(&mut self, sql: &str) {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Self::Lite(c) => drop(sqlx::raw_sql(sql).execute(c).await.unwrap()),
            Self::Pg(c) => drop(sqlx::raw_sql(sql).execute(c).await.unwrap()),
        }
    }

    async fn count(&mut self, condition: &str) -> usize {
        let sql = format!("SELECT count(*) FROM tickets WHERE {condition}");
        let sql = AssertSqlSafe(sql);
        let count: i64 = match self {
            Self::Lite(c) => sqlx::query_scalar(sql).fetch_one(c).await.unwrap(),
            Self::Pg(c) => sqlx::query_scalar(sql).fetch_one(c).await.unwrap(),
        };
        usize::try_from(count).unwrap()
    }
}

async fn submitted(up: &Up, payload: &Value) -> JobId {
    let (status, answer) = up.post(&json!({"type": "bulk-update", "payload": payload})).await;
    assert_eq!(status, 202, "{answer}");
    let data = &answer["data"];
    assert_eq!(data["job_id"], data["id"]);
    data["id"].as_str().unwrap().parse().unwrap()
}

/// Each record ends as if it had been changed once, by filters that the change itself empties.
async fn killed_at_any_moment(mut house: House, pg: bool) {
    // given a house in which no job is suspected of ending its workers
    house.set("WORKER__MAX_CRASHES", "50");
    let mut desk = Desk::of(&house, pg).await;
    let mut up = house.up().await;
    let by_filter = |status: &str, to: &str| {
        json!({"resource": "tickets", "action": "update", "update": {"status": to},
            "selection": {"mode": "filter", "filter": {"field": "status", "equals": status}}})
    };
    let removed = json!({"resource": "tickets", "action": "delete",
        "selection": {"mode": "filter", "filter": {"field": "number", "equals": 0}}});
    let queue = house.queue().await;
    let tenant = "dev".parse().unwrap();
    for payload in [by_filter("open", "closed"), by_filter("closed", "done"), removed] {
        let id = submitted(&up, &payload).await;
        // when the process is killed each time that it has got a little further
        for round in 1_u64..=2 {
            eventually_ok("the job gets further", || async {
                let job = queue.job(&tenant, id).await.unwrap().ok_or("gone")?;
                let far = job.cursor.processed >= round * 1_400 || job.status.is_final();
                if far { Ok(()) } else { Err("not yet") }
            })
            .await;
            up.process.kill().await;
            up = house.up().await;
        }
        // then it ends, every item is counted once, and none has failed
        let job = all_final(&queue, &[id]).await.remove(0);
        assert_eq!(job.status, Status::Completed, "{:?}", job.error);
        let cursor = &job.cursor;
        assert_eq!((cursor.processed, cursor.failed, cursor.total), (5_000, 0, 5_000));
    }
    assert_eq!(desk.count("1 = 1").await, 0);
    assert_eq!(up.process.terminate().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_leaves_every_record_as_if_changed_once_embedded() {
    killed_at_any_moment(House::new(), false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_leaves_every_record_as_if_changed_once_in_a_fleet() {
    killed_at_any_moment(House::of_a_fleet(redis::place()).await, true).await;
}
