//! Cost must not grow with what waits: every hot statement reads index ranges only.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Row, SqliteConnection};

use super::{
    SystemHostClock, claim, dead, enqueue, file::File, lanes, leases, limits, prune, record,
    rescue, settle, told, turns,
};

const HOT: [(&str, &str); 29] = [
    ("claim::WAKE", claim::WAKE),
    ("claim::LEASE", claim::LEASE),
    ("claim::BODIES", claim::BODIES),
    ("claim::BEGIN_ATTEMPTS", claim::BEGIN_ATTEMPTS),
    ("claim::FIRST", claim::FIRST),
    ("turns::READY_TENANTS", turns::READY_TENANTS),
    ("turns::DUE", turns::DUE),
    ("turns::TENANT_TURNS", turns::TENANT_TURNS),
    ("turns::LANE_TURNS", turns::LANE_TURNS),
    ("lanes::READY_IN_TURN", lanes::READY_IN_TURN),
    ("lanes::OUTLOOK", lanes::OUTLOOK),
    ("lanes::FIND", lanes::FIND),
    ("lanes::LOAD", lanes::LOAD),
    ("settle::RUNNING", settle::RUNNING),
    ("settle::MOVE", settle::MOVE),
    ("settle::END_ATTEMPT", settle::END_ATTEMPT),
    ("rescue::EXPIRED", rescue::EXPIRED),
    ("leases::RENEW", leases::RENEW),
    ("enqueue::TWIN", enqueue::TWIN),
    ("enqueue::REMEMBERED", enqueue::REMEMBERED),
    ("dead::TWIN", dead::TWIN),
    ("limits::NTH_NEWEST", limits::NTH_NEWEST),
    ("limits::USED", limits::USED),
    ("limits::LANES_OF_CLAIM", limits::LANES_OF_CLAIM),
    ("limits::DRAW_FOR_CLAIMS", limits::DRAW_FOR_CLAIMS),
    ("prune::FINISHED", prune::FINISHED),
    ("prune::OLDEST_DEAD", prune::OLDEST_DEAD),
    ("record::ATTEMPTS", record::ATTEMPTS),
    ("told::TOLD", told::TOLD),
];

async fn plan(conn: &mut SqliteConnection, sql: &str) -> Vec<String> {
    let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
    let rows = sqlx::query(explain).fetch_all(conn).await.unwrap();
    rows.iter().map(|row| row.get("detail")).collect()
}

/// A scan of a table, or of all of an index; lists that were handed in and results of bounded
/// subqueries may be read from end to end.
fn scans(step: &str) -> bool {
    let bounded = ["VIRTUAL TABLE", "CONSTANT ROW", "SCAN (subquery", "json_each"];
    step.starts_with("SCAN") && !bounded.iter().any(|words| step.contains(words))
}

#[tokio::test]
async fn no_hot_statement_scans_a_table() {
    // given
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("queue.db");
    let file = File { path: &path, busy_timeout: Duration::from_secs(1) };
    let mut conn = file.writer(&SystemHostClock::new()).await.unwrap();

    for (name, sql) in HOT {
        // when
        let steps = plan(&mut conn, sql).await;

        // then
        assert!(!steps.is_empty(), "{name} has a plan");
        assert!(!steps.iter().any(|step| scans(step)), "{name}\n{steps:#?}");
    }
}

/// The test above can fail: a statement without an index is found out.
#[test]
fn a_scan_is_told_from_a_search() {
    assert!(scans("SCAN jobs"));
    assert!(scans("SCAN lanes USING COVERING INDEX lanes_by_name"));
    assert!(!scans("SEARCH jobs USING INDEX jobs_by_id (id=?)"));
    assert!(!scans("SCAN e VIRTUAL TABLE INDEX 1:"));
}
