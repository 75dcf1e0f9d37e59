//! The README's section for callers: what it shows is run as it stands there.

use std::{path::Path, process::Stdio};

use serde_json::Value;
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tokio::process::Command;

use super::{
    program::{Up, command, path},
    remote::line,
};

const README: &str = include_str!("../../README.md");

/// The indented blocks of the section for callers.
fn blocks() -> Vec<String> {
    let section = README.split("\n## Use it\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let mut blocks = vec![String::new()];
    for line in section.lines() {
        let last = blocks.last_mut().unwrap();
        match line.strip_prefix("    ") {
            Some(code) => last.push_str(&format!("{code}\n")),
            None if last.is_empty() => {}
            None => blocks.push(String::new()),
        }
    }
    blocks
}

fn block(beginning: &str) -> String {
    let found = blocks().into_iter().find(|block| block.starts_with(beginning));
    found.unwrap_or_else(|| panic!("the README shows nothing that begins with {beginning}"))
}

/// The product of the section on bulk jobs, in `data`; the URL of its database.
async fn desk(data: &Path) -> String {
    let file = data.join("desk.sqlite");
    std::fs::create_dir_all(data).unwrap();
    let options = SqliteConnectOptions::new().filename(&file).create_if_missing(true);
    let mut desk = SqliteConnection::connect_with(&options).await.unwrap();
    let sql = include_str!("../../config/samples/desk.sql");
    sqlx::raw_sql(sql).execute(&mut desk).await.unwrap();
    desk.close().await.unwrap();
    std::fs::write(data.join("resources.toml"), block("[databases.desk]")).unwrap();
    format!("sqlite://{}", file.display())
}

/// Runs a block as a shell does, where the README's façade is this one; what it printed.
async fn run(up: &Up, script: &str, env: &[(&str, String)]) -> String {
    let script = script.replace("http://127.0.0.1:8080", up.told("url"));
    let bin = Path::new(env!("CARGO_BIN_EXE_postrider")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("bash");
    shell.args(["-euo", "pipefail", "-c", &script]).current_dir(up.dir.path()).env("PATH", path);
    shell.envs(env.iter().map(|(name, value)| (name, value)));
    shell.stdin(Stdio::null()).kill_on_drop(true);
    let done = tokio::time::timeout(std::time::Duration::from_secs(60), shell.output());
    let done = done.await.expect("it ends").unwrap();
    let (out, err) = (String::from_utf8(done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{script}\n{err}");
    out.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_for_callers_does_what_the_text_says() {
    // given the README's process
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("my-data");
    let args = ["up", "--data", path(&data), "--listen", "127.0.0.1:0"];
    let up = Up::spawn(command(&args), dir).await;

    // when a job is submitted, twice, then it is accepted with its place, and nothing is done twice
    let submit = block("curl -i http://127.0.0.1:8080/jobs");
    let first = run(&up, &submit, &[]).await;
    assert!(first.starts_with("HTTP/1.1 202 Accepted"), "{first}");
    let place = first.split("location: ").nth(1).unwrap().lines().next().unwrap().trim();
    let again = run(&up, &submit, &[]).await;
    assert!(again.contains("idempotent-replayed: true"), "{again}");
    assert_eq!(again.lines().last(), first.lines().last());

    // when it is asked for in four ways, then four times it is told of, and at last it has ended
    let key = std::fs::read_to_string(data.join("dev.key")).unwrap();
    let key = ("KEY", format!("Authorization: Bearer {}", key.trim()));
    let job = ("JOB", format!("{}{place}", up.told("url")));
    let asked = run(&up, &block("curl $JOB"), &[job, key]).await;
    let id = place.strip_prefix("/jobs/").unwrap();
    assert_eq!(asked.matches(&format!("{{\"data\":{{\"id\":\"{id}\"")).count(), 4, "{asked}");
    assert!(asked.contains("event: job\nid: "), "{asked}");
    let last = asked.rsplit("data: ").next().unwrap();
    let last: Value = serde_json::from_str(last).unwrap();
    assert_eq!(last["data"]["status"], "completed");

    // when a file is submitted and waited for, then so it is
    std::fs::write(up.dir.path().join("jobs.ndjson"), [line(1), line(2)].join("\n")).unwrap();
    let file = block("export POSTRIDER_CLIENT_URL").replace("job_01J…", id);
    let said = run(&up, &file, &[]).await;
    assert_eq!(said, format!("2 jobs accepted in 1 request\n{id} completed\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_of_bulk_jobs_does_what_the_text_says() {
    // given the README's process, with what the README declares
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("my-data");
    let url = desk(&data).await;
    let mut up = command(&["up", "--data", path(&data), "--listen", "127.0.0.1:0"]);
    up.env("DESK_DATABASE_URL", &url);
    let up = Up::spawn(up, dir).await;
    let desk = ("DESK_DATABASE_URL", url.clone());
    // when each of its bulk jobs is submitted and has ended
    let curl = "curl http://127.0.0.1:8080/jobs/bulk-update";
    let scripts: Vec<_> = blocks().into_iter().filter(|b| b.starts_with(curl)).collect();
    let mut counts = Vec::new();
    let mut ids = Vec::new();
    for script in &scripts {
        let receipt: Value = serde_json::from_str(&run(&up, script, &[]).await).unwrap();
        let id = receipt["data"]["job_id"].as_str().unwrap().to_owned();
        let job = reqwest::Client::new()
            .get(format!("{}/jobs/{id}", up.told("url")))
            .bearer_auth(up.told("key"))
            .header("prefer", "wait=30");
        let job: Value = job.send().await.unwrap().json().await.unwrap();
        let job = &job["data"];
        assert_eq!(job["status"], "completed", "{job}");
        counts.push(["processed_items", "failed_items"].map(|name| job[name].as_u64().unwrap()));
        ids.push(id);
    }
    // then it has changed the records that it was about,
    assert_eq!(counts, [[3, 1], [3, 0], [2, 0]]);
    let file = url.strip_prefix("sqlite://").unwrap();
    let options = SqliteConnectOptions::new().filename(file);
    let mut desk_file = SqliteConnection::connect_with(&options).await.unwrap();
    let statuses = "SELECT group_concat(status, ' ') FROM (SELECT status FROM tickets ORDER BY id)";
    let statuses: String = sqlx::query_scalar(statuses).fetch_one(&mut desk_file).await.unwrap();
    assert_eq!(statuses, "open closed solved solved solved open");
    // and the errors of the first are what the export says.
    let export = block("postrider jobs errors").replace("job_01J…", &ids[0]);
    let csv = run(&up, &export, &[desk]).await;
    assert!(csv.starts_with("item_id,code,message\nt-901,not_found,"), "{csv}");
    assert_eq!(csv.lines().count(), 2);
}

#[test]
fn the_table_of_refusals_is_whole() {
    let rows: Vec<&str> = README.lines().filter(|line| line.starts_with("| ")).collect();
    for code in postrider::http::ErrorCode::ALL {
        let (status, code) = (code.status().as_u16().to_string(), format!("`{}`", code.as_str()));
        let row = rows.iter().find(|row| row.contains(&code));
        let row = row.unwrap_or_else(|| panic!("{code} is not in the README"));
        let statuses = row.split('|').nth(1).unwrap();
        assert!(statuses.contains(&status), "{code} is {status}: {row}");
    }
}
