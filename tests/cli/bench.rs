//! The benchmark, short: what it measures and says, and that it leaves nothing behind.

use std::fs;

use serde_json::Value;
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

use super::program::{Finished, command, finish, path, run};
use crate::support::{postgres, redis};

/// Few jobs: a test wants to see that figures come out, not what they are.
const SHORT: [&str; 7] = ["--jobs", "300", "--waiting", "1000", "--runs", "1", "--json"];

async fn measured(only: &str, more: &[&str]) -> Value {
    let args = [&["bench", "--only", only][..], &SHORT, more].concat();
    let mut command = command(&args);
    command.env("POSTRIDER_REDIS__URL", redis::server());
    finish(command).await.with(0).json()
}

/// The names of a measurement's figures; each must be a number.
fn figures(document: &Value, measurement: &str) -> Vec<String> {
    let all = document["figures"].as_array().unwrap();
    let ours = all.iter().filter(|figure| figure["measurement"] == measurement);
    ours.map(|figure| {
        assert!(figure["value"].is_number() && figure["unit"].is_string(), "{figure}");
        assert_eq!(figure["rounds"].as_array().unwrap().len(), 1, "{figure}");
        figure["figure"].as_str().unwrap().to_owned()
    })
    .collect()
}

#[tokio::test]
async fn a_backlog_is_carried_out_to_the_last_job_and_compared_with_bare_lua() {
    let dir = TempDir::new().unwrap();
    let chart = dir.path().join("chart.svg");
    // When enqueue, drain and the full life are measured (each ends only when all jobs are completed)
    let document = measured("enqueue,drain,life", &["--plot", path(&chart)]).await;
    // Then there is a figure of each way in,
    let ways = ["single", "64 at once", "batches of 100", "batches of 1,000"];
    assert_eq!(figures(&document, "enqueue")[..4], ways);
    // of both crews and what they cost,
    let drain = figures(&document, "drain");
    for name in ["1 process", "2 processes", "worker CPU, 1 process", "Redis CPU, 1 process"] {
        assert!(drain.contains(&name.to_owned()), "{drain:?}");
    }
    // and of the yardstick, with what is promised.
    let life = figures(&document, "life");
    assert!(life.contains(&"bare Lua, full life".to_owned()), "{life:?}");
    let all = document["figures"].as_array().unwrap();
    let share = all.iter().find(|f| f["figure"] == "of bare Lua, by Redis CPU").unwrap();
    assert_eq!(share["promised_at_least"], 60.0);
    assert!(share["value"].as_f64().unwrap() > 0.0 && share["kept"].is_boolean(), "{share}");
    assert_eq!((&document["queue"], &document["jobs"]), (&"redis".into(), &300.into()));
    // And the chart has a bar for each rate.
    let svg = fs::read_to_string(&chart).unwrap();
    let rates = all.iter().filter(|figure| figure["unit"] == "jobs/s").count();
    assert_eq!(bars(&svg), rates);
}

/// The bars of a chart, after following its tags to the end: each is closed by its own.
fn bars(svg: &str) -> usize {
    let (mut open, mut bars) = (Vec::new(), 0);
    for tag in svg.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').expect("every tag ends");
        let name = tag.split_whitespace().next().unwrap();
        if let Some(name) = name.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "{svg}");
        } else if !tag.ends_with('/') {
            open.push(name);
        }
        bars += usize::from(tag.starts_with("rect class=\"bar\""));
    }
    assert!(open.is_empty(), "{open:?}");
    bars
}

#[tokio::test]
async fn an_idle_worker_is_weighed_and_its_latency_measured() {
    let document = measured("idle,latency", &["--concurrency", "8"]).await;
    assert_eq!(figures(&document, "latency"), ["p50", "p99"]);
    assert!(figures(&document, "idle").contains(&"start".to_owned()));
}

#[tokio::test]
async fn what_is_special_about_the_queue_is_measured() {
    let of = |what: &'static str| async move { figures(&measured(what, &[]).await, what) };
    let (lanes, later, waiting, memory) =
        tokio::join!(of("lanes"), of("later"), of("waiting"), of("memory"));
    assert!(lanes.contains(&"slower".to_owned()), "{lanes:?}");
    assert!(later.contains(&"late, p99".to_owned()), "{later:?}");
    assert!(waiting.contains(&"ratio".to_owned()), "{waiting:?}");
    assert_eq!(memory, ["waiting job"]);
    // A server that is not the benchmark's own is not told what to remember.
    assert!(!waiting.iter().any(|name| name.starts_with("slowest")), "{waiting:?}");
}

#[tokio::test]
async fn webhooks_are_measured_beside_a_bare_loop_and_beside_one_that_hangs() {
    let args = [&["bench", "webhooks", "--queue", "sqlite"][..], &SHORT].concat();
    let document = finish(command(&args)).await.with(0).json();
    let names = figures(&document, "webhooks");
    for share in ["of the bare loop", "of the bare loop, 5 ms", "of the bare loop, 20 ms"] {
        assert!(names.contains(&share.to_owned()), "{names:?}");
    }
    let all = document["figures"].as_array().unwrap();
    assert_eq!(all.iter().filter(|figure| figure["promised_at_least"] == 70.0).count(), 3);
    let beside = all.iter().find(|f| f["figure"] == "p99 beside one that hangs").unwrap();
    assert_eq!(beside["promised_at_most"], 2_000.0);
    assert!(beside["value"].as_f64().unwrap() > 0.0, "{beside}");
}

/// Figures of bulk jobs, of both databases.
fn bulk_figures(document: &Value) {
    let names = figures(document, "bulk");
    let of = |database: &str| {
        ["loop by hand", "bulk-update", "job taken in", "of the loop"]
            .map(|name| format!("{database}: {name}"))
    };
    assert_eq!(names, [of("SQLite"), of("Postgres")].concat());
    let all = document["figures"].as_array().unwrap();
    assert!(all.iter().all(|figure| figure["value"].as_f64().unwrap() > 0.0), "{document}");
    let shares = all.iter().filter(|figure| figure["promised_at_least"] == 50.0);
    assert_eq!(shares.count(), 2);
}

#[tokio::test]
async fn bulk_jobs_are_measured_beside_a_loop_in_the_databases_that_there_are() {
    // On servers of ours, in a schema that is gone afterwards,
    let mut command = command(&[&["bench", "bulk", "--records", "1300"][..], &SHORT].concat());
    command.env("POSTRIDER_REDIS__URL", redis::server());
    command.env("POSTRIDER_STORE__URL", postgres::schema().await);
    let document = finish(command).await.with(0).json();
    bulk_figures(&document);
    assert_eq!(document["records"], 1_300);
    let mut server = PgConnection::connect(&postgres::server()).await.unwrap();
    let left = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'postrider_bench_%'";
    assert_eq!(sqlx::query_scalar::<_, i64>(left).fetch_one(&mut server).await.unwrap(), 0);
    // and embedded, with a Postgres of the benchmark's own.
    bulk_figures(&measured("bulk", &["--queue", "sqlite", "--records", "700"]).await);
}

#[tokio::test]
async fn the_embedded_queue_is_measured_too() {
    let document = measured("enqueue,drain,life", &["--queue", "sqlite"]).await;
    assert_eq!(figures(&document, "enqueue").len(), 4);
    assert_eq!(figures(&document, "drain"), ["1 process", "2 processes", "worker CPU, 1 process"]);
    assert_eq!(figures(&document, "life"), ["full life", "a status read"]);
}

#[tokio::test]
async fn a_façade_is_measured_with_callers_that_wait_and_with_strangers() {
    for queue in ["sqlite", "redis"] {
        let short = ["--waiting", "60", "--submissions", "40", "--flood", "200", "--json"];
        let args = [&["bench", "facade", "--queue", queue][..], &short].concat();
        let mut command = command(&args);
        command.env("POSTRIDER_REDIS__URL", redis::server());
        let document = finish(command).await.with(0).json();
        let all = document["figures"].as_array().unwrap();
        let named = |name: &str| all.iter().find(|figure| figure["figure"] == name).unwrap();
        for name in ["p50, alone", "p99, flood", "p50, all wait", "p99, all wait, flood"] {
            assert!(named(name)["value"].as_f64().unwrap() > 0.0, "{document}");
        }
        assert_eq!(named("memory, all wait")["promised_at_most"], 300.0);
        assert_eq!(named("p99, all wait")["promised_at_most"], 50.0);
        assert_eq!((&document["queue"], &document["waiting"]), (&queue.into(), &60.into()));
    }
}

#[tokio::test]
async fn what_cannot_be_measured_is_refused() {
    let refused = |args: &'static [&'static str]| async { run(args).await };
    let Finished { code, err, .. } =
        refused(&["bench", "--queue", "sqlite", "--only", "memory"]).await;
    assert_eq!(code, Some(65));
    assert!(err.contains("--only memory asks the Redis server itself"), "{err}");
    let Finished { code, err, .. } = refused(&["bench", "enqueue", "5"]).await;
    assert_eq!(code, Some(78));
    assert!(err.contains("set redis.url"), "{err}");
    assert_eq!(refused(&["bench", "--jobs", "1"]).await.code, Some(2));
}

#[tokio::test]
async fn the_shipped_user_may_play_a_part_and_is_told_which_rights_the_rest_needs() {
    // Given a server on which we are the shipped user
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/config/redis/users.acl");
    let server = redis::Private::start(&["--aclfile", file]).await;
    server.ask::<()>("ACL SETUSER postrider on >s3cret").await.unwrap();
    let url = format!("{}?user=postrider&pass=s3cret", server.url());
    let bench = async |args: &[&str]| {
        let mut command = command(args);
        command.env("POSTRIDER_REDIS__URL", &url);
        finish(command).await
    };
    // When a part of it enqueues, then it may;
    bench(&["bench", "enqueue", "5"]).await.with(0);
    // when it would have to remove its keys, it is told how it may,
    let all = [&["bench", "--only", "life"][..], &SHORT].concat();
    let refused = bench(&all).await.with(78);
    let (_, rights) = refused.err.split_once("redis-cli ").unwrap();
    let (rights, _) = rights.split_once(';').unwrap();
    // and then it may.
    server.ask::<()>(rights).await.unwrap();
    bench(&all).await.with(0);
    let left = server.keys().await;
    assert!(left.iter().all(|key| key.starts_with("postrider:bench:")), "{left:?}");
}
