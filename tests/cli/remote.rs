//! Commands that talk to a façade: `jobs submit FILE` and `jobs wait`.

use std::{fs, path::PathBuf};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::program::{Finished, Up, command, finish, path};

pub(super) fn line(n: usize) -> String {
    json!({"type": "send", "tags": [format!("n{n}")], "payload": {
        "channel": "email", "account": "dev@example.com",
        "to": {"email": format!("p{n}@example.org")},
        "content": {"subject": "Hello", "text": "Hello."}, "dry_run": true,
    }})
    .to_string()
}

fn write(up: &Up, name: &str, text: &str) -> PathBuf {
    let file = up.dir.path().join(name);
    fs::write(&file, text).unwrap();
    file
}

/// A command with the façade's address and key in its environment.
async fn at(url: &str, key: &str, args: &[&str]) -> Finished {
    let mut command = command(args);
    command.env("POSTRIDER_CLIENT_URL", url).env("POSTRIDER_CLIENT_KEY", key);
    finish(command).await
}

async fn remotely(up: &Up, args: &[&str]) -> Finished {
    at(up.told("url"), up.told("key"), args).await
}

#[tokio::test]
async fn a_file_is_submitted_once_however_often_it_is_submitted() {
    let up = Up::new().await;
    // 1,205 jobs, with an empty line and a missing line break at the end: two requests.
    let mut text: Vec<String> = (0..1_205).map(line).collect();
    text.insert(3, String::new());
    let file = write(&up, "jobs.ndjson", &text.join("\n"));

    let first = remotely(&up, &["jobs", "submit", path(&file), "--json"]).await.with(0).json();
    let again = remotely(&up, &["jobs", "submit", path(&file)]).await.with(0);
    let ids = remotely(&up, &["jobs", "submit", path(&file), "--ids"]).await.with(0).out;

    assert_eq!(first, json!({"jobs": 1_205, "fresh": 1_205, "repeated": 0, "requests": 2}));
    assert_eq!(again.out, "1205 jobs accepted in 2 requests, 1205 of them before\n");
    assert_eq!(ids.lines().count(), 1_205);
    let listed = up.json(&["jobs", "list", "--limit", "1000", "--tag", "n1204"]).await;
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(listed[0]["id"], ids.lines().last().unwrap());

    // Anew, when that is what is wanted.
    let run = ["jobs", "submit", path(&file), "--run", "second", "--json"];
    assert_eq!(remotely(&up, &run).await.with(0).json()["fresh"], 1_205);
}

#[tokio::test]
async fn a_break_is_gone_on_from() {
    let up = Up::new().await;
    let (good, more) = ((0..1_000).map(line), (1_000..1_100).map(line));
    let good: Vec<String> = good.collect();
    let more: Vec<String> = more.collect();
    // Given a file whose second batch has mistakes.
    let mut bad = more.clone();
    bad[7] = bad[7].replace("p1007@example.org", "nobody");
    bad[9] = json!({"type": "dance", "payload": {}}).to_string();
    let file = write(&up, "jobs", &[&good[..], &bad].concat().join("\n"));

    let broken = remotely(&up, &["jobs", "submit", path(&file), "--json"]).await.with(65);
    assert!(broken.err.contains("line 1008: /payload/to/email:"), "{broken:?}");
    assert!(broken.err.contains("line 1010: /type: there is no kind"), "{broken:?}");
    assert!(broken.err.contains("1000 jobs before that: accepted"), "{broken:?}");
    assert_eq!(broken.json()["jobs"], 1_000);

    // When it is mended, then only what is missing is submitted.
    let file = write(&up, "jobs", &[good, more].concat().join("\n"));
    let mended = remotely(&up, &["jobs", "submit", path(&file), "--json"]).await.with(0).json();
    assert_eq!(mended, json!({"jobs": 1_100, "fresh": 100, "repeated": 1_000, "requests": 2}));
}

#[tokio::test]
async fn jobs_come_from_standard_input_and_are_waited_for() {
    let up = Up::new().await;
    let mut submit = command(&["jobs", "submit", "-", "--ids", "--url", up.told("url")]);
    let key = write(&up, "key", &format!("{}\n", up.told("key")));
    submit.args(["--key", &format!("@{}", key.display())]);
    submit.stdin(std::process::Stdio::piped());
    submit.stdout(std::process::Stdio::piped());
    let mut child = submit.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(format!("{}\n{}\n", line(1), line(2)).as_bytes()).await.unwrap();
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let ids: Vec<String> =
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(ids.len(), 2);

    let wait: Vec<&str> =
        ["jobs", "wait"].into_iter().chain(ids.iter().map(String::as_str)).collect();
    let waited = remotely(&up, &wait).await.with(0);
    let expected = format!("{} completed\n{} completed\n", ids[0], ids[1]);
    assert_eq!(waited.out, expected);
    // The same in the queue of the directory, and as documents.
    let here = up.json(&wait).await;
    assert_eq!((&here[0]["id"], &here[1]["status"]), (&json!(ids[0]), &json!("completed")));
    let there = remotely(&up, &[&wait[..], &["--json"]].concat()).await.with(0).json();
    assert_eq!(there[1]["status"], "completed");
    // Nobody waits for what is not there.
    let nobody = "job_01ARZ3NDEKTSV4RRFFQ69G5FAV";
    let finished = remotely(&up, &["jobs", "wait", nobody]).await.with(65);
    assert!(finished.err.contains("404: There is no job with this id"), "{finished:?}");
    up.beside(&["jobs", "wait", nobody]).await.with(65);
}

#[tokio::test]
async fn a_job_that_is_called_off_was_waited_for_in_vain() {
    let up = Up::new().await;
    let at = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24)).to_string();
    let payload: serde_json::Value = serde_json::from_str(&line(1)).unwrap();
    let payload = payload["payload"].to_string();
    let submit = ["jobs", "submit", "send", "--payload", &payload, "--run-at", &at];
    let id = up.json(&submit).await["id"].as_str().unwrap().to_owned();
    let (wait, cancel) = (["jobs", "wait", &id], ["jobs", "cancel", &id]);
    let (waited, _) = tokio::join!(remotely(&up, &wait), up.beside(&cancel));
    assert!(waited.with(1).err.contains(&format!("{id} is cancelled")));
}

#[tokio::test]
async fn what_cannot_be_submitted_is_named() {
    let up = Up::new().await;
    let (url, key) = (up.told("url"), up.told("key"));
    let broken = write(&up, "broken", &format!("{}\n{{}} {{}}\n", line(1)));
    let broken = path(&broken);
    let one = write(&up, "one", &line(1));
    let one = path(&one);
    for (url, key, args, code, words) in [
        (url, key, ["jobs", "submit", "send"], 65, "a job of the type \"send\" needs --payload"),
        (url, key, ["jobs", "submit", broken], 65, "broken line 2: not one JSON value"),
        (url, "prk_no", ["jobs", "submit", one], 78, "401: Send a valid key"),
        ("nonsense", key, ["jobs", "submit", one], 78, "--url: expected an address such as"),
        (url, "@/nowhere/key", ["jobs", "submit", one], 78, "--key: cannot read /nowhere/key"),
    ] {
        let finished = at(url, key, &args).await.with(code);
        assert!(finished.err.contains(words), "{words}: {finished:?}");
        assert!(!finished.err.contains(up.told("key")), "{finished:?}");
    }
    let mut without_key = command(&["jobs", "submit", one]);
    without_key.env("POSTRIDER_CLIENT_URL", url);
    assert!(finish(without_key).await.with(78).err.contains("which key?"));
    assert_eq!(up.json(&["jobs", "list"]).await, json!([]));
}

/// Takes a connection, reads a request whole, and answers with these bytes.
async fn serve_once(listener: &TcpListener, answer: &str) -> String {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut text = Vec::new();
    while !text.ends_with(b"]}") {
        let mut bytes = [0; 4_096];
        let read = stream.read(&mut bytes).await.unwrap();
        assert_ne!(read, 0, "the request broke off");
        text.extend_from_slice(&bytes[..read]);
    }
    stream.write_all(answer.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn a_façade_that_stumbles_is_asked_again_with_the_same_key() {
    let up = Up::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let file = write(&up, "one", &line(1));
    let args = ["jobs", "submit", path(&file), "--json"];
    let stumbles = async {
        let busy =
            "HTTP/1.1 503 Service Unavailable\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n";
        let body = json!({"data": [{"id": "job_01ARZ3NDEKTSV4RRFFQ69G5FAV"}]}).to_string();
        let good = format!("HTTP/1.1 202 Accepted\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let mut asked = Vec::new();
        // Cut off, asked for patience, cut off in the middle of an answer, answered.
        for answer in ["", busy, "HTTP/1.1 202 Acc", &good] {
            asked.push(serve_once(&listener, answer).await);
        }
        asked
    };
    let (finished, asked) = tokio::join!(at(&url, "prk_x", &args), stumbles);
    assert_eq!(finished.with(0).json()["jobs"], 1);
    assert!(asked[0].contains("idempotency-key: ndjson-"), "{}", asked[0]);
    assert!(asked.iter().all(|request| *request == asked[0]));
}
