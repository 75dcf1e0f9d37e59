//! Bulk jobs as callers see them: submitted, watched, told of, exported.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use super::desk::DECLARED;
use crate::{
    cli::program::{Up, command, finish, path},
    support::{
        receiver::{Act, Receiver},
        redis,
    },
};

const TABLES: &str = "CREATE TABLE tickets (organisation TEXT NOT NULL, id TEXT NOT NULL, \
       status TEXT NOT NULL DEFAULT 'open', priority BIGINT, subject TEXT, urgent BOOLEAN, \
       due_at TEXT, meta TEXT, score REAL, reference TEXT, updated_at BIGINT, deleted_at BIGINT, \
       PRIMARY KEY (organisation, id)); \
     CREATE TABLE notes (id BIGINT NOT NULL PRIMARY KEY, organisation TEXT NOT NULL, words TEXT, \
       made_at TEXT NOT NULL)";

/// A data directory with a product's database in it, and what is declared of that.
pub(super) async fn product(count: usize) -> TempDir {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir_all(&data).unwrap();
    let file = data.join("desk.sqlite");
    let options = SqliteConnectOptions::new().filename(&file).create_if_missing(true);
    let mut desk = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(TABLES).execute(&mut desk).await.unwrap();
    let rows: Vec<_> = (0..count).map(|n| format!("('dev', 't{n}')")).collect();
    let sql = format!("INSERT INTO tickets (organisation, id) VALUES {}", rows.join(","));
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut desk).await.unwrap();
    desk.close().await.unwrap();
    let declared = DECLARED.replace("env:DESK", &format!("sqlite://{}", file.display()));
    let tickets = "event = { name = \"ticket.updated\", per = \"record\" }\n    id = \"id\"";
    let declared = declared.replacen("id = \"id\"", tickets, 1);
    let notes = "event = { name = \"notes.updated\", per = \"chunk\" }\n    id = { column";
    let declared = declared.replacen("id = { column", notes, 1);
    std::fs::write(data.join("resources.toml"), declared).unwrap();
    let egress = "[webhooks.egress]\nallow_http = true\nallow_cidrs = [\"127.0.0.1/32\"]\n";
    std::fs::write(dir.path().join("postrider.toml"), egress).unwrap();
    dir
}

pub(super) async fn up(dir: TempDir) -> Up {
    up_with(dir, &[]).await
}

/// The same with these variables.
pub(super) async fn up_with(dir: TempDir, env: &[(&str, &str)]) -> Up {
    let (data, config) = (dir.path().join("data"), dir.path().join("postrider.toml"));
    let args = ["up", "--listen", "127.0.0.1:0", "--data", path(&data), "--config", path(&config)];
    let mut command = command(&args);
    command.env("POSTRIDER_HTTP__RATE_LIMIT", "100000/min").envs(env.iter().copied());
    Up::spawn(command, dir).await
}

pub(super) async fn ask(
    up: &Up,
    method: Method,
    at: &str,
    body: impl Into<reqwest::Body>,
) -> (u16, Value) {
    let answer = reqwest::Client::new()
        .request(method, format!("{}{at}", up.told("url")))
        .bearer_auth(up.told("key"))
        .header("content-type", "application/json")
        .header("prefer", "wait=60")
        .body(body)
        .send()
        .await
        .unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

pub(super) async fn submitted(up: &Up, payload: &Value) -> Value {
    let (status, answer) = ask(up, Method::POST, "/jobs/bulk-update", payload.to_string()).await;
    assert_eq!(status, 202, "{answer}");
    answer["data"].clone()
}

pub(super) async fn ended(up: &Up, receipt: &Value) -> Value {
    let at = format!("/jobs/{}", receipt["job_id"].as_str().unwrap());
    let (status, answer) = ask(up, Method::GET, &at, "").await;
    assert_eq!(status, 200, "{answer}");
    answer["data"].clone()
}

#[tokio::test]
async fn a_job_is_submitted_watched_told_of_and_its_errors_exported() {
    // given a product with an endpoint that wants to hear of changes
    let receiver = Receiver::start().await;
    receiver.always(Act::status(200));
    let up = up(product(1_100).await).await;
    let toml = up.dir.path().join("crm.toml");
    let url = receiver.url("");
    std::fs::write(&toml, format!("[[endpoints]]\nid = \"crm\"\nurl = \"{url}/x\"\n")).unwrap();
    let config = up.dir.path().join("postrider.toml");
    up.beside(&["apply", path(&toml), "--config", path(&config)]).await.with(0);
    // when
    let mut ids: Vec<_> = (0..50).map(|n| format!("t{n}")).collect();
    ids.extend(["t1,\"x\"".to_owned(), "t7".to_owned()]);
    let receipt = submitted(
        &up,
        &json!({"resource": "tickets", "action": "update",
        "update": {"priority": 9}, "selection": {"mode": "ids", "ids": ids}}),
    )
    .await;
    // then the answer is what callers of bulk jobs know
    assert_eq!(receipt["status"], "queued");
    assert_eq!(receipt["total_items"], 52);
    let job = ended(&up, &receipt).await;
    assert_eq!((&job["type"], &job["status"]), (&json!("bulk-update"), &json!("completed")));
    assert_eq!(
        [&job["total_items"], &job["processed_items"], &job["failed_items"]],
        [&json!(52), &json!(52), &json!(2)]
    );
    let errors = job["errors"].as_array().unwrap();
    assert_eq!(errors[0]["item_id"], "t1,\"x\"");
    assert_eq!([&errors[0]["code"], &errors[1]["code"]], ["not_found", "duplicate"]);
    assert!(job["created_at"].is_string() && job["completed_at"].is_string());
    // and each change is told once, and nothing that was none
    let got = receiver.requests(50).await;
    let told: BTreeSet<String> = got
        .iter()
        .map(|got| serde_json::from_slice::<Value>(&got.body).unwrap())
        .filter(|body| body["type"] == "ticket.updated")
        .map(|body| body["data"]["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(told, (0..50).map(|n| format!("t{n}")).collect());
    // and the errors can be exported
    let id = receipt["id"].as_str().unwrap();
    let csv = up.beside(&["jobs", "errors", id, "--csv"]).await.with(0).out;
    assert!(csv.starts_with("item_id,code,message\n\"t1,\"\"x\"\"\",not_found,"), "{csv}");
    assert_eq!(csv.lines().count(), 3);
    assert_eq!(up.json(&["jobs", "errors", id]).await.as_array().unwrap().len(), 2);
    let unknown = up.beside(&["jobs", "errors", &id.replace('0', "1")]).await;
    assert_ne!(unknown.code, Some(0));
}

#[tokio::test]
async fn one_event_tells_of_a_chunk_where_that_is_declared() {
    let receiver = Receiver::start().await;
    receiver.always(Act::status(200));
    let up = up(product(1).await).await;
    let toml = up.dir.path().join("crm.toml");
    let url = receiver.url("");
    let text = format!("[[endpoints]]\nid = \"crm\"\nurl = \"{url}/x\"\nevents = [\"notes.*\"]\n");
    std::fs::write(&toml, text).unwrap();
    let config = up.dir.path().join("postrider.toml");
    up.beside(&["apply", path(&toml), "--config", path(&config)]).await.with(0);
    let receipt = submitted(&up, &json!({"resource": "notes", "action": "upsert",
        "update": {"words": "w"}, "selection": {"mode": "ids", "ids": (0..700).collect::<Vec<_>>()}}))
    .await;
    assert_eq!(ended(&up, &receipt).await["failed_items"], 0);
    let bodies: Vec<Value> = receiver
        .requests(2)
        .await
        .iter()
        .map(|got| serde_json::from_slice(&got.body).unwrap())
        .collect();
    let mut sizes: Vec<_> =
        bodies.iter().map(|body| body["data"]["ids"].as_array().unwrap().len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [200, 500]);
    assert_eq!(bodies[0]["data"]["changes"], json!({"words": "w"}));
}

#[tokio::test]
async fn more_errors_than_an_answer_lists_are_counted_and_exported() {
    let up = up(product(1).await).await;
    let ids: Vec<_> = (0..1_500).map(|n| format!("nobody{n}")).collect();
    let receipt = submitted(
        &up,
        &json!({"resource": "tickets", "action": "delete",
        "selection": {"mode": "ids", "ids": ids}}),
    )
    .await;
    let job = ended(&up, &receipt).await;
    assert_eq!(job["failed_items"], 1_500);
    assert_eq!(job["errors"].as_array().unwrap().len(), 1_000);
    let id = receipt["id"].as_str().unwrap();
    let csv = up.beside(&["jobs", "errors", id, "--csv"]).await.with(0).out;
    assert_eq!(csv.lines().count(), 1_501);
}

#[tokio::test]
async fn what_is_wrong_is_refused_before_anything_is_written() {
    let up = up(product(3).await).await;
    let ids = json!({"mode": "ids", "ids": ["t0"]});
    let of = |change: Value| {
        let mut payload = json!({"resource": "tickets", "selection": ids, "action": "update",
            "update": {"priority": 1}});
        payload.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        payload
    };
    let cases = [
        (of(json!({"resource": "x"})), "/resource", "unknown_resource"),
        (of(json!({"action": "x"})), "/action", "unknown_action"),
        (of(json!({"update": {"organisation": "acme"}})), "/update/organisation", "unknown_field"),
        (of(json!({"update": {"priority": "1"}})), "/update/priority", "invalid_value"),
        (of(json!({"update": {"priority": 1_001}})), "/update/priority", "invalid_value"),
        (of(json!({"update": {}})), "/update", "missing"),
        (of(json!({"selection": {"mode": "ids", "ids": []}})), "/selection/ids", "empty_selection"),
        (
            of(
                json!({"selection": {"mode": "filter", "filter": {"field": "id; --", "equals": 1}}}),
            ),
            "/selection/filter/field",
            "unknown_field",
        ),
        (
            of(json!({"selection": {"mode": "items", "items": [
                {"id": "t0", "update": {"priority": 1}}, {"id": "t1", "update": {"colour": 1}}]}})),
            "/selection/items/1/update/colour",
            "unknown_field",
        ),
        (of(json!({"selection": {"mode": "all"}})), "/selection/mode", "invalid_payload"),
        (of(json!({"colour": 1})), "/colour", "invalid_payload"),
    ];
    for (payload, at, code) in cases {
        let body = payload.to_string();
        let (status, answer) = ask(&up, Method::POST, "/jobs/bulk-update", body).await;
        assert_eq!(status, 422, "{payload}: {answer}");
        let problem = &answer["errors"][0];
        assert_eq!(
            (&problem["code"], &problem["pointer"]),
            (&json!(code), &json!(at)),
            "{payload}"
        );
    }
    // A filter that holds for nothing is no mistake.
    let receipt = submitted(
        &up,
        &of(json!({"selection": {"mode": "filter",
        "filter": {"field": "priority", "from": 999}}})),
    )
    .await;
    let job = ended(&up, &receipt).await;
    assert_eq!((&job["status"], &job["total_items"]), (&json!("completed"), &json!(0)));
}

#[tokio::test]
async fn the_command_line_submits_what_the_façade_takes() {
    // given ids for more than all jobs of a request together may have
    let up = up(product(2).await).await;
    let ids: Vec<_> = (0..12_000).map(|n| format!("{n:0>100}")).chain(["t1".into()]).collect();
    let payload = json!({"resource": "tickets", "action": "suspend", "selection": {"mode": "ids", "ids": ids}});
    let written = payload.to_string();
    assert!(written.len() > 1_100_000);
    let file = up.dir.path().join("payload.json");
    std::fs::write(&file, &written).unwrap();
    let at_file = format!("@{}", path(&file));
    // when
    let submit = ["jobs", "submit", "bulk-update", "--payload", &at_file, "--wait"];
    let job = up.json(&submit).await;
    // then
    assert_eq!(
        [&job["status"], &job["total_items"]],
        [&json!("completed"), &json!(12_001)],
        "{job}"
    );
    // and what is no bulk job is refused where a façade refuses it
    let refused = up.beside(&["jobs", "submit", "send", "--payload", &at_file]).await.with(65);
    assert!(refused.err.contains("more than 256 KiB"), "{refused:?}");
    // and the same as a line among others for a façade
    let small = json!({"type": "bulk-update", "payload": {"resource": "tickets", "action": "suspend",
        "selection": {"mode": "ids", "ids": ["t0"]}}});
    let line = json!({"type": "bulk-update", "payload": payload});
    let jobs = up.dir.path().join("jobs");
    let remote = ["--url", up.told("url"), "--key", up.told("key"), "--json"];
    std::fs::write(&jobs, format!("{small}\n{line}\n{small}\n")).unwrap();
    let sent =
        finish(command(&[&["jobs", "submit", path(&jobs)][..], &remote].concat())).await.with(0);
    assert_eq!(sent.json(), json!({"jobs": 3, "fresh": 3, "repeated": 0, "requests": 3}));
    // and what is wrong with it is said by its line
    let wrong = line.to_string().replace("\"t1\"", "\"\"");
    std::fs::write(&jobs, format!("{small}\n{wrong}\n")).unwrap();
    let sent =
        finish(command(&[&["jobs", "submit", path(&jobs)][..], &remote].concat())).await.with(65);
    assert!(sent.err.contains("line 2: /payload/selection/ids/12000:"), "{sent:?}");
    let tagged = line.to_string().replacen('{', "{\"tags\":[\"a\"],", 1);
    std::fs::write(&jobs, tagged).unwrap();
    let sent =
        finish(command(&[&["jobs", "submit", path(&jobs)][..], &remote].concat())).await.with(65);
    assert!(sent.err.contains("line 1: more than 1000000 bytes in one job"), "{sent:?}");
}

#[tokio::test]
async fn a_million_items_are_the_limit_in_the_embedded_queue() {
    a_million_items_are_the_limit(up(product(1).await).await).await;
}

#[tokio::test]
async fn a_million_items_are_the_limit_in_redis() {
    let place = redis::place();
    let env = [("POSTRIDER_REDIS__URL", &*place.url), ("POSTRIDER_REDIS__PREFIX", &place.prefix)];
    a_million_items_are_the_limit(up_with(product(1).await, &env).await).await;
}

async fn a_million_items_are_the_limit(up: Up) {
    let body = |count: usize, id: &str| {
        let ids = vec![format!("\"{id}\""); count].join(",");
        format!(
            "{{\"resource\":\"tickets\",\"action\":\"delete\",\"selection\":{{\"mode\":\"ids\",\
                 \"ids\":[{ids}]}}}}"
        )
    };
    let post = |body: String| ask(&up, Method::POST, "/jobs/bulk-update", body);
    let (status, answer) = post(body(1_000_001, "t")).await;
    assert_eq!(status, 422);
    let problem = &answer["errors"][0];
    assert_eq!(problem["code"], "too_many");
    assert!(problem["message"].as_str().unwrap().contains("at most 1000000 items"), "{problem}");
    // A million ids of 26 characters are taken in.
    let (status, answer) = post(body(1_000_000, "01J8ZQ4Y6V5W3X2T1S0R9Q8P7N")).await;
    assert_eq!(status, 202, "{answer}");
    assert_eq!(answer["data"]["total_items"], 1_000_000);
    let (status, answer) = post(body(1_200_000, "01J8ZQ4Y6V5W3X2T1S0R9Q8P7N")).await;
    assert_eq!((status, &answer["code"]), (413, &json!("payload_too_large")));
    // The other forms have the limits of all kinds.
    let one = format!("{{\"type\":\"bulk-update\",\"payload\":{}}}", body(20_000, "01J8ZQ4Y6V5W"));
    let (status, _) = ask(&up, Method::POST, "/jobs", one).await;
    assert_eq!(status, 413);
}
