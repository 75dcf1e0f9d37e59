//! Secrets planted wherever a caller or an operator can put one, through a whole process that logs all it
//! can: none of them comes out again.

use std::{fs::File, time::Duration};

use jobs::contract::ports::Phase;
use postrider::mail::{Act, Rehearsal, Script};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cli::program::{Up, command, path};

/// Whom mails go to; the servers' answers name them, as servers do.
const TAKEN: &str = "canary-taken@example.org";
const REFUSED: &str = "canary-refused@example.org";
const LATER: &str = "canary-later@example.org";
const PASSWORD: &str = "CANARY-password";
/// 32 bytes that seal what lies at rest.
const SECRET_KEY: &str = "Q0FOQVJZQ0FOQVJZQ0FOQVJZQ0FOQVJZQ0FOQVJZQ0E=";

/// All that came out of a process.
struct Heard {
    client: reqwest::Client,
    url: String,
    key: String,
    texts: Vec<String>,
}

impl Heard {
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.url));
        request.bearer_auth(&self.key).timeout(Duration::from_secs(20))
    }

    /// Sends a request and keeps its answer, head and body.
    async fn sent(&mut self, request: RequestBuilder, status: u16) -> Value {
        let response = request.send().await.unwrap();
        let got = response.status().as_u16();
        let head = format!("{:?}", response.headers());
        let body = response.text().await.unwrap();
        assert_eq!(got, status, "{body}");
        let value = serde_json::from_str(&body).unwrap_or_default();
        self.texts.extend([head, body]);
        value
    }

    fn clean(&self, what: &str, secrets: &[&str]) {
        for text in &self.texts {
            for secret in secrets {
                let at = text.to_lowercase().find(&secret.to_lowercase());
                let around = at.map(|at| &text[at.saturating_sub(300)..text.len().min(at + 300)]);
                assert_eq!(around, None, "{secret} in {what}");
            }
        }
    }
}

/// A mail with a secret in every field that has room for one.
fn mail(to: &str) -> Value {
    json!({"type": "send", "max_attempts": 2, "payload": {
        "channel": "email", "account": "sales@example.com",
        "to": {"email": to, "name": "CANARY name"},
        "content": {"subject": "CANARY subject {{token}}", "text": "CANARY text",
                    "html": "<p>CANARY html</p>"},
        "merge": {"token": "CANARY merge"},
    }})
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_comes_out_of_a_façade() {
    // given a process that logs all it can, and a mailbox with a password
    let said =
        |code: &'static str, to: &str| Act::Say(Phase::Rcpt, format!("{code} <{to}> is not here"));
    let script = Script::new()
        .login("sales@example.com", PASSWORD)
        .recipient(REFUSED, [said("550 5.1.1", REFUSED)])
        .recipient(LATER, [said("451 4.3.0", LATER)]);
    let server = Rehearsal::start(script).await.unwrap();
    let dir = TempDir::new().unwrap();
    let (data, log) = (dir.path().join("data"), dir.path().join("log"));
    let admin = free_address();
    let mut up = command(&["up", "--data", path(&data), "--listen", "127.0.0.1:0"]);
    up.env("POSTRIDER_LOG__LEVEL", "trace").env("POSTRIDER_SECRET_KEY", SECRET_KEY);
    up.env("POSTRIDER_HTTP__ADMIN_LISTEN", &admin);
    let up = Up::watched(up, dir, File::create(&log).unwrap().into()).await;
    mailbox(&up, &server).await;
    let (url, key) = (up.told("url").to_owned(), up.told("key").to_owned());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut heard = Heard { client, url, key: key.clone(), texts: Vec::new() };

    // when mails are taken, refused and put off, and requests are wrong in every way
    for (to, ending) in [(TAKEN, "completed"), (REFUSED, "failed"), (LATER, "scheduled")] {
        let post = heard.request(Method::POST, "/jobs?token=CANARY").json(&mail(to));
        let post = post.header("idempotency-key", format!("CANARY-{to}"));
        let response = post.send().await.unwrap();
        assert_eq!(response.status(), 202);
        let answer: Value = response.json().await.unwrap();
        let job = format!("/jobs/{}", answer["data"]["id"].as_str().unwrap());
        let has_ended = ends(&mut heard, &job, ending).await;
        let get = heard.request(Method::GET, &job).header("accept", "text/html");
        heard.sent(get, 200).await;
        if has_ended {
            let get = heard.request(Method::GET, &job).header("accept", "text/event-stream");
            heard.sent(get, 200).await;
        }
    }
    for (request, status) in mistakes(&heard) {
        heard.sent(request, status).await;
    }
    let metrics = reqwest::get(format!("http://{admin}/metrics")).await.unwrap();
    heard.texts.push(metrics.text().await.unwrap());

    // then nothing of it is in an answer or a metric
    heard.clean("an answer", &["CANARY", PASSWORD, SECRET_KEY, &key]);
    // nor in the log
    up.signal("TERM").await;
    let (_, lines, dir) = up.end().await;
    heard.texts = lines;
    heard.texts.push(std::fs::read_to_string(dir.path().join("log")).unwrap());
    let lines = heard.texts.concat();
    assert!(lines.matches("a request was answered").count() > 20, "{lines}");
    heard.clean("the log", &["CANARY", PASSWORD, SECRET_KEY, &key]);
}

/// Waits until a job has ended or is put off, and keeps every answer on the way; whether it has ended.
async fn ends(heard: &mut Heard, job: &str, ending: &str) -> bool {
    loop {
        let get = heard.request(Method::GET, job).header("prefer", "wait=10");
        let answer = heard.sent(get, 200).await;
        let status = answer["data"]["status"].as_str().unwrap();
        if status == ending {
            return status != "scheduled";
        }
        assert!(["queued", "processing"].contains(&status), "{answer}");
    }
}

/// Requests that are refused, each with a secret where it is wrong or beside it.
fn mistakes(heard: &Heard) -> Vec<(RequestBuilder, u16)> {
    let post = |body: &str| {
        let post = heard.request(Method::POST, "/jobs").header("content-type", "application/json");
        post.body(body.to_owned())
    };
    let in_payload = |at: &str, value: Value| {
        let mut job = mail(TAKEN);
        *job.pointer_mut(at).unwrap() = value;
        post(&job.to_string())
    };
    let bare = |path: &str| heard.client.get(format!("{}{path}", heard.url));
    vec![
        (post("CANARY"), 400),
        (post("{\"CANARY\": CANARY"), 400),
        (post("{\"type\":\"send\",\"payload\":\"CANARY\"}"), 422),
        (post("[\"CANARY\"]"), 422),
        (in_payload("/payload/content", json!("CANARY")), 422),
        (in_payload("/payload/content/subject", json!({"CANARY": "CANARY"})), 422),
        (in_payload("/payload/to/email", json!("CANARY")), 422),
        (in_payload("/payload/merge", json!(["CANARY"])), 422),
        (in_payload("/max_attempts", json!("CANARY")), 422),
        (post("{}").header("idempotency-key", "CANARY CANARY"), 400),
        (post("{}").header("content-encoding", "CANARY"), 415),
        (post("{}").header("accept", "text/CANARY"), 406),
        (heard.request(Method::GET, "/CANARY?CANARY"), 404),
        (heard.request(Method::GET, "/jobs/CANARY"), 404),
        (heard.request(Method::from_bytes(b"CANARY").unwrap(), "/jobs"), 405),
        (bare("/jobs/CANARY").bearer_auth("CANARY"), 401),
        (bare("/jobs/CANARY").basic_auth("CANARY", Some("CANARY")), 401),
        (bare("/jobs/CANARY").header("cookie", "CANARY=CANARY"), 401),
    ]
}

async fn mailbox(up: &Up, server: &Rehearsal) {
    let file = up.dir.path().join("mailbox.toml");
    let text = format!(
        "[[mailboxes]]\nemail_address = \"sales@example.com\"\ntransport = \"smtp\"\n\
         host = \"127.0.0.1\"\nport = {}\nsecurity = \"none\"\nusername = \"sales@example.com\"\n\
         password_env = \"MAILBOX_PASSWORD\"\nlimits = [\"1000/min\"]\n",
        server.addr().port()
    );
    std::fs::write(&file, text).unwrap();
    let mut apply = command(&["apply", path(&file), "--data", &up.data()]);
    apply.env("MAILBOX_PASSWORD", PASSWORD).env("POSTRIDER_SECRET_KEY", SECRET_KEY);
    crate::cli::program::finish(apply).await.with(0);
}

/// An address where nobody listens.
fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}
