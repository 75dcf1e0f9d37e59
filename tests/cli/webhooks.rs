//! Webhooks from the command line: an endpoint made, tested and watched, and nothing secret said.

use std::{fs::File, process::Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};

use super::program::{command, finish, path};
use crate::support::receiver::{Act, Receiver};

#[tokio::test]
async fn no_secret_is_said_by_any_process_not_even_in_the_finest_log() {
    // Given a whole program that logs everything there is to log, a receiver that repeats what it got,
    // and canaries in everything that an endpoint and an event have
    let dir = TempDir::new().unwrap();
    let (data, log, toml) =
        (dir.path().join("data"), dir.path().join("log"), dir.path().join("canary.toml"));
    let receiver = Receiver::start().await;
    receiver.always(Act::Echo);
    let key = "canaryKEYcanaryKEYcanaryKEYcanary000";
    let text = format!(
        "[[endpoints]]\nid = \"crm\"\nurl = \"{}/canary?canary=canary\"\nsecret = \"whsec_{key}\"\n\
         headers = {{ X-Token = \"canary-header\" }}\n\
         signature = {{ header = \"X-Second\", form = \"{{hex}}\" }}\n",
        receiver.url("")
    );
    std::fs::write(&toml, text).unwrap();
    let config = dir.path().join("postrider.toml");
    std::fs::write(
        &config,
        "[webhooks.egress]\nallow_http = true\nallow_cidrs = [\"127.0.0.1/32\"]\n",
    )
    .unwrap();
    let all = ["--config", path(&config), "--data", path(&data)];
    let mut up = command(&[&["up", "--listen", "127.0.0.1:0"], &all[..]].concat());
    up.env("POSTRIDER_LOG__LEVEL", "trace").stdout(Stdio::piped());
    let mut up = up.stderr(File::create(&log).unwrap()).spawn().unwrap();
    let mut said = BufReader::new(up.stdout.take().unwrap()).lines();
    said.next_line().await.unwrap().expect("it is ready");
    let run = async |args: &[&str]| finish(command(&[args, &all[..], &["--json"]].concat())).await;
    // When an event with a canary fails to be delivered
    run(&["apply", path(&toml)]).await.with(0);
    let payload = r#"{"endpoint_id":"crm","event":"a","data":{"canary":"canary"}}"#;
    let submitted =
        run(&["jobs", "submit", "webhook-delivery", "--payload", payload]).await.with(0);
    receiver.requests(2).await;
    // Then what commands say has none of them,
    let id = submitted.json()["id"].as_str().unwrap().to_owned();
    let deliveries = run(&["endpoints", "log", "crm"]).await.with(0);
    let delivery = deliveries.json()[0]["id"].as_str().unwrap().to_owned();
    for args in [
        &["jobs", "show", &id][..],
        &["endpoints", "show", "crm"],
        &["endpoints", "list"],
        &["endpoints", "log", "crm"],
    ] {
        let told = run(args).await.with(0);
        assert!(!told.out.contains("canary") && !told.err.contains("canary"), "{told:?}");
    }
    // the log has what the receiver answered, without them (the event's own data are the tenant's),
    let attempts: Value =
        run(&["endpoints", "log", "crm", "--delivery", &delivery]).await.with(0).json();
    let words = attempts[0]["words"].as_str().unwrap();
    assert!(words.contains("POST …") && !words.contains("canary-header"), "{words}");
    assert!(!words.contains(key), "{words}");
    // and neither has what the process logged, up to its last word.
    super::program::signal(&up, "TERM").await;
    up.wait().await.unwrap();
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(log.contains("DEBUG"), "the finest log is on");
    let found: Vec<&str> = log.lines().filter(|line| line.contains("canary")).collect();
    assert!(found.is_empty(), "{found:#?}");
}
