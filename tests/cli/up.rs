//! `postrider up`: the ready line, the key, signals.

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::program::{Up, command, finish, mails, path, run};

async fn post(up: &Up, body: &Value) -> (u16, Value) {
    let request = reqwest::Client::new()
        .post(format!("{}/jobs", up.told("url")))
        .bearer_auth(up.told("key"))
        .json(body);
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

fn mail() -> Value {
    json!({"type": "send", "payload": {
        "channel": "email", "account": "dev@example.com",
        "to": {"email": "ada@example.org", "name": "Ada"},
        "content": {"subject": "Hello {{firstName}}", "text": "Hello."},
        "merge": {"firstName": "Ada"},
    }})
}

#[tokio::test]
async fn a_new_directory_is_ready_to_take_a_mail() {
    // Given `up` in a new directory
    let up = Up::new().await;
    let [word, url, key] = up.ready.split(' ').collect::<Vec<_>>()[..] else {
        panic!("not three words: {:?}", up.ready)
    };
    assert_eq!(word, "ready");
    assert!(url.starts_with("url=http://127.0.0.1:"), "{url}");
    assert!(key.starts_with("key=prk_"), "{key}");
    // When a mail is submitted with the key that it showed
    let (status, body) = post(&up, &mail()).await;
    assert_eq!(status, 202, "{body}");
    // Then it becomes a file.
    let id = body["data"]["id"].as_str().unwrap();
    let job = reqwest::Client::new()
        .get(format!("{}/jobs/{id}", up.told("url")))
        .bearer_auth(up.told("key"))
        .header("Prefer", "wait=30");
    let job: Value = job.send().await.unwrap().json().await.unwrap();
    assert_eq!(job["data"]["status"], "completed", "{job}");
    assert_eq!(mails(&up.dir.path().join("data/mail")), 1);
}

#[tokio::test]
async fn a_restart_shows_the_same_key_and_a_lost_one_is_replaced() {
    // Given a directory in which `up` ran
    let first = Up::new().await;
    let key = first.told("key").to_owned();
    let kept = first.dir.path().join("data/dev.key");
    assert_eq!(fs::read_to_string(&kept).unwrap().trim(), key);
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    first.signal("TERM").await;
    let (code, said, dir) = first.end().await;
    assert_eq!((code, said), (Some(0), Vec::new()));
    // When it is started again, then the key is the same and works.
    let second = Up::over(dir).await;
    assert_eq!(second.told("key"), key);
    assert_eq!(post(&second, &mail()).await.0, 202);
    // When the file is lost, however often, then there is a new key, and the lost one is of no use.
    let mut up = second;
    for _ in 0..3 {
        let lost = fs::read_to_string(&kept).unwrap();
        fs::remove_file(&kept).unwrap();
        up.signal("INT").await;
        let (code, _, dir) = up.end().await;
        assert_eq!(code, Some(0));
        up = Up::over(dir).await;
        assert_ne!(up.told("key"), lost.trim());
        assert_eq!(post(&up, &mail()).await.0, 202);
    }
    let data = path(&up.dir.path().join("data")).to_owned();
    let keys = run(&["keys", "list", "--tenant", "dev", "--data", &data]).await.with(0);
    assert_eq!(keys.out.matches(" active ").count(), 1, "{keys:?}");
    assert_eq!(keys.out.matches(" revoked ").count(), 3, "{keys:?}");
}

#[tokio::test]
async fn the_ready_line_is_json_when_asked_for() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let up =
        Up::start(&["up", "--data", path(&data), "--listen", "127.0.0.1:0", "--json"], dir).await;
    let ready: Value = serde_json::from_str(&up.ready).unwrap();
    assert_eq!(ready["ready"], true);
    assert!(ready["key"].as_str().unwrap().starts_with("prk_"));
    up.signal("TERM").await;
    assert_eq!(up.end().await.0, Some(0));
}

#[tokio::test]
async fn two_of_them_run_side_by_side_with_the_defaults() {
    // Given two directories, and nothing said about the admin listener
    let start = || async {
        let dir = TempDir::new().unwrap();
        let data = dir.path().join("data");
        let mut command = command(&["up", "--data", path(&data), "--listen", "127.0.0.1:0"]);
        command.env_remove("POSTRIDER_HTTP__ADMIN_LISTEN");
        Up::spawn(command, dir).await
    };
    let (one, two) = tokio::join!(start(), start());
    assert_ne!(one.told("url"), two.told("url"));
    assert_eq!(post(&one, &mail()).await.0, 202);
    assert_eq!(post(&two, &mail()).await.0, 202);
}

#[tokio::test]
async fn an_admin_address_that_was_named_is_had_or_an_error() {
    let dir = TempDir::new().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = command(&["up", "--data", path(dir.path()), "--listen", "127.0.0.1:0"]);
    command.env("POSTRIDER_HTTP__ADMIN_LISTEN", &address);
    let refused = finish(command).await.with(69);
    assert!(refused.err.contains(&format!("cannot listen on {address}")), "{refused:?}");
}
