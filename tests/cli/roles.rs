//! One role a process, keys and files, and the second signal.

use std::{process::Stdio, time::Duration};

use jobs::contract::ports::Phase;
use postrider::mail::{Act, Rehearsal, Script};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};

use super::program::{Up, command, finish, mails, path, run, signal};

/// 32 bytes that are nobody's secret.
const SECRET: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

async fn send(url: &str, key: &str) -> (u16, Value) {
    let payload = json!({
        "channel": "email", "account": "hello@postrider.example",
        "to": {"email": "ada@example.org"}, "content": {"subject": "s", "text": "t"},
    });
    let request = reqwest::Client::new().post(format!("{url}/jobs/send")).bearer_auth(key);
    let answer = request.json(&payload).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test]
async fn the_roles_work_together_as_processes_of_one_host() {
    // Given a directory that is made by hand, with the sample files in it
    let dir = TempDir::new().unwrap();
    let data = path(dir.path()).to_owned();
    let with_secret = |args: &[&str]| {
        let mut command = command(&[args, &["--data", &data]].concat());
        command.env("POSTRIDER_SECRET_KEY", SECRET);
        command
    };
    let sample = |name| format!("{}/config/samples/{name}", env!("CARGO_MANIFEST_DIR"));
    let (boxes, people) = (sample("mailboxes.toml"), sample("people.csv"));
    for args in [
        &["migrate"][..],
        &["apply", "--create-tenant", &boxes, &people],
        &["apply", &boxes, &people],
    ] {
        finish(with_secret(args)).await.with(0);
    }
    let create = ["keys", "create", "--tenant", "dev", "--json"];
    let key = finish(with_secret(&create)).await.with(0).json();
    let key = key["key"].as_str().unwrap_or_else(|| panic!("{key}")).to_owned();
    // When each role runs in a process of its own
    let serving =
        Up::spawn(with_secret(&["serve", "--listen", "127.0.0.1:0"]), TempDir::new().unwrap())
            .await;
    assert!(!serving.ready.contains("key="), "{}", serving.ready);
    let url = serving.told("url").to_owned();
    let mut others: Vec<_> = [&["worker", "--queues", "send"][..], &["scheduler"]]
        .into_iter()
        .map(|args| with_secret(args).stderr(Stdio::null()).spawn().unwrap())
        .collect();
    // Then a mail that is submitted at one is sent by another.
    let (status, body) = send(&url, &key).await;
    assert_eq!(status, 202, "{body}");
    let job = format!("{url}/jobs/{}", body["data"]["id"].as_str().unwrap());
    let ask = reqwest::Client::new().get(job).bearer_auth(&key).header("Prefer", "wait=30");
    let job: Value = ask.send().await.unwrap().json().await.unwrap();
    assert_eq!(job["data"]["status"], "completed", "{job}");
    assert_eq!(mails(&dir.path().join("mail")), 1);
    // And each ends well when it is asked to.
    for other in &mut others {
        signal(other, "TERM").await;
        assert_eq!(other.wait().await.unwrap().code(), Some(0));
    }
    serving.signal("TERM").await;
    assert_eq!(serving.end().await.0, Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    // Given a job whose mail server has fallen silent
    let server = Rehearsal::start(Script::new().connections([Act::Mute(Phase::Connect)])).await;
    let server = server.unwrap();
    let up = Up::new().await;
    let mailbox = format!(
        "[[mailboxes]]\nemail_address = \"slow@example.com\"\ntransport = \"smtp\"\n\
         host = \"127.0.0.1\"\nport = {}\nsecurity = \"none\"\n",
        server.addr().port()
    );
    let file = up.dir.path().join("slow.toml");
    std::fs::write(&file, mailbox).unwrap();
    up.beside(&["apply", path(&file)]).await.with(0);
    let payload = json!({
        "channel": "email", "account": "slow@example.com", "to": {"email": "ada@example.org"},
        "content": {"subject": "s", "text": "t"},
    });
    let payload = payload.to_string();
    up.beside(&["jobs", "submit", "send", "--payload", &payload]).await.with(0);
    server.until(|seen| seen.acts == 1).await;
    // When it is asked to stop twice
    up.signal("TERM").await;
    up.signal("INT").await;
    // Then it does not wait for the job's grace, and says by which signal it ended.
    let began = std::time::Instant::now();
    let (code, ..) = up.end().await;
    assert!(matches!(code, Some(130 | 143)), "{code:?}");
    assert!(began.elapsed().as_secs() < 20, "it waited for its grace");
}

#[tokio::test]
async fn a_revoked_key_and_a_wrong_file_are_said_in_a_sentence() {
    let up = Up::new().await;
    let made = up.json(&["keys", "create", "--tenant", "dev"]).await;
    let key = made["key"].as_str().unwrap_or_else(|| panic!("{made}"));
    let id = key.split('_').nth(2).unwrap();
    up.beside(&["keys", "revoke", "--tenant", "dev", id]).await.with(0);
    let (status, _) = send(up.told("url"), key).await;
    assert_eq!(status, 401);
    let unknown = up.beside(&["keys", "revoke", "--tenant", "dev", "nobody00"]).await.with(65);
    assert!(unknown.err.contains("has no such key"), "{unknown:?}");
    let file = up.dir.path().join("people.csv");
    std::fs::write(&file, "name\nAda\n").unwrap();
    let wrong = up.beside(&["apply", path(&file)]).await.with(65);
    assert!(wrong.err.contains("people.csv") && wrong.err.contains("email"), "{wrong:?}");
    let missing = up.beside(&["apply", "/nowhere/people.csv"]).await.with(65);
    assert!(missing.err.contains("cannot read /nowhere/people.csv"), "{missing:?}");
    let wrong = run(&["worker", "--queues", "nothing", "--data", &up.data()]).await.with(78);
    assert!(
        wrong.err.contains("--queues: worker.queues: expected some of bulk-update"),
        "{wrong:?}"
    );
}

#[tokio::test]
async fn a_role_that_waits_for_its_queue_at_the_start_can_be_told_to_stop() {
    // Given a store that is ready, and nobody where the queue should be
    let dir = TempDir::new().unwrap();
    let data = path(dir.path()).to_owned();
    let mut migrate = command(&["migrate", "--data", &data]);
    migrate.env("POSTRIDER_SECRET_KEY", SECRET);
    finish(migrate).await.with(0);
    for role in ["serve", "worker", "scheduler"] {
        let mut waiting = command(&[role, "--data", &data]);
        let nobody = format!("redis+unix://{data}/nobody");
        waiting.env("POSTRIDER_SECRET_KEY", SECRET).env("POSTRIDER_REDIS__URL", nobody);
        let mut waiting = waiting.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(waiting.stderr.take().unwrap()).lines();
        let said = async {
            while let Some(line) = log.next_line().await.unwrap() {
                if line.contains("cannot start yet") {
                    return line;
                }
            }
            panic!("{role} did not wait");
        };
        // It says which server it waits for.
        assert!(said.await.contains("/nobody: "), "{role}");
        // When it is asked to stop, then it ends well.
        signal(&waiting, "TERM").await;
        let ended = tokio::time::timeout(Duration::from_secs(20), waiting.wait()).await;
        assert_eq!(ended.unwrap().unwrap().code(), Some(0), "{role}");
    }
}
