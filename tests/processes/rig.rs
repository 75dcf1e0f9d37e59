//! Real processes over one data directory, and the signals that end or stop them.

use std::{net::SocketAddr, path::PathBuf, process::Stdio, sync::Arc};

use jobs::contract::{JobId, TenantId};
use postrider::queue::{
    JobRecord, Queue,
    redis::{RedisConfig, RedisQueue},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};

use super::process::{Process, Words};
use crate::support::{embedded_queue, eventually_ok, postgres, redis};

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_postrider");
/// Leases as short as the configuration allows, so that takeovers happen within a test.
const LEASE: &str = "5s";

/// libfaketime, for the wall clock alone. The loader fills in where this host has its libraries.
pub const AN_HOUR_AHEAD: [(&str, &str); 3] = [
    ("LD_PRELOAD", "/usr/$LIB/faketime/libfaketimeMT.so.1"),
    ("FAKETIME", "+1h"),
    ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
];

/// A data directory, and processes that work in it.
pub struct House {
    dir: tempfile::TempDir,
    env: Vec<(String, String)>,
    redis: Option<RedisConfig>,
    store: String,
}

/// A process that serves callers.
pub struct Up {
    pub process: Process,
    pub url: String,
    pub key: String,
}

impl House {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let env = [
            ("POSTRIDER_WORKER__LEASE", LEASE),
            ("POSTRIDER_HTTP__ADMIN_LISTEN", ""),
            ("POSTRIDER_HTTP__RATE_LIMIT", "100000/min"),
            ("POSTRIDER_LOG__LEVEL", "error"),
            ("POSTRIDER_LIMITS__MAILBOX_IN_FLIGHT", "8"),
            // 32 bytes, as in production: every process of the house shares it.
            ("POSTRIDER_SECRET_KEY", "cG9zdHJpZGVyIHRlc3RzIHVzZSB0aGlzIHNlY3JldCE="),
        ];
        let env = env.map(|(k, v)| (k.to_owned(), v.to_owned())).to_vec();
        Self { dir, env, redis: None, store: String::new() }
    }

    /// The same with its queue in Redis.
    pub fn with_redis() -> Self {
        Self::at(redis::place())
    }

    fn at(place: RedisConfig) -> Self {
        let mut house = Self::new();
        house.set("REDIS__URL", &place.url);
        house.set("REDIS__PREFIX", &place.prefix);
        house.redis = Some(place);
        house
    }

    /// One with its queue at `place` and its store in a schema of its own, as a fleet has it.
    pub async fn of_a_fleet(place: RedisConfig) -> Self {
        let mut house = Self::at(place);
        house.store = postgres::schema().await;
        house.env.push(("POSTRIDER_STORE__URL".into(), house.store.clone()));
        house
    }

    /// Where the store of a fleet is.
    pub fn store_url(&self) -> &str {
        &self.store
    }

    /// Sets an option for the processes that start from now on: `SECTION__KEY`.
    pub fn set(&mut self, option: &str, value: &str) {
        self.env.push((format!("POSTRIDER_{option}"), value.to_owned()));
    }

    /// Sets a variable of the environment for the processes that start from now on.
    pub fn environment(&mut self, name: &str, value: &str) {
        self.env.push((name.to_owned(), value.to_owned()));
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args(args)
            .arg("--data")
            .arg(self.data())
            .envs(self.env.iter().map(|(k, v)| (k, v)))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// A role whose clock is an hour ahead.
    pub fn an_hour_ahead(&self, role: &str) -> Process {
        let mut command = self.command(&[role]);
        command.envs(AN_HOUR_AHEAD).stdout(Stdio::null());
        Process { child: command.spawn().unwrap() }
    }

    /// `postrider up`, as soon as it serves.
    pub async fn up(&self) -> Up {
        let (process, line) = self.serving(&["up", "--listen", "127.0.0.1:0"]).await;
        Up { url: word(&line, "url="), key: word(&line, "key="), process }
    }

    /// `postrider serve`, as soon as it serves, and where.
    pub async fn serve(&self) -> (Process, String) {
        let (process, line) = self.serving(&["serve", "--listen", "127.0.0.1:0"]).await;
        (process, word(&line, "url="))
    }

    async fn serving(&self, args: &[&str]) -> (Process, String) {
        let mut child = self.command(args).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.next_line().await.unwrap().expect("a line before the end");
        (Process { child }, line)
    }

    /// `postrider worker`.
    pub fn worker(&self) -> Process {
        let child = self.command(&["worker"]).stdout(Stdio::null()).spawn().unwrap();
        Process { child }
    }

    /// `postrider worker`, and what it says to people.
    pub fn talking_worker(&self) -> (Process, Words) {
        let mut command = self.command(&["worker"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let says = BufReader::new(child.stderr.take().unwrap()).lines();
        (Process { child }, Words(says))
    }

    /// `postrider scheduler`.
    pub fn scheduler(&self) -> Process {
        let child = self.command(&["scheduler"]).stdout(Stdio::null()).spawn().unwrap();
        Process { child }
    }

    /// A command that must succeed; what it printed.
    pub async fn run(&self, args: &[&str]) -> String {
        let done = self.command(args).output().await.unwrap();
        assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }

    /// A store with tenant `dev`, where no `up` makes it; the tenant's key.
    pub async fn found(&self) -> String {
        self.run(&["migrate"]).await;
        let create = ["keys", "create", "--tenant", "dev", "--create-tenant", "--json"];
        let made: Value = serde_json::from_str(&self.run(&create).await).unwrap();
        made["key"].as_str().unwrap().to_owned()
    }

    /// A mailbox that sends through `server`, without limits that a test would feel.
    pub async fn mailbox(&self, address: &str, server: SocketAddr) {
        self.limited_mailbox(address, server, "100000/min").await;
    }

    /// A mailbox that sends through `server`, with this limit.
    pub async fn limited_mailbox(&self, address: &str, server: SocketAddr, limit: &str) {
        let file = self.dir.path().join(format!("{address}.toml"));
        let text = format!(
            "[[mailboxes]]\nemail_address = \"{address}\"\ntransport = \"smtp\"\nhost = \"127.0.0.1\"\n\
             port = {}\nsecurity = \"none\"\nlimits = [\"{limit}\"]\n",
            server.port()
        );
        std::fs::write(&file, text).unwrap();
        self.run(&["apply", file.to_str().unwrap()]).await;
    }

    /// The queue of the house, seen from outside its processes.
    pub async fn queue(&self) -> Arc<dyn Queue> {
        match &self.redis {
            None => embedded_queue(&self.data()).await,
            Some(place) => Arc::new(RedisQueue::open(place).await.unwrap()),
        }
    }
}

fn word(line: &str, name: &str) -> String {
    let mut words = line.split_whitespace();
    let found = words.find_map(|word| word.strip_prefix(name));
    found.unwrap_or_else(|| panic!("no {name} in {line:?}")).to_owned()
}

impl Up {
    /// POST /jobs with a body; the status and the answer.
    pub async fn post(&self, body: &Value) -> (u16, Value) {
        let answer = reqwest::Client::new()
            .post(format!("{}/jobs", self.url))
            .bearer_auth(&self.key)
            .json(body)
            .send()
            .await
            .unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// Submits one mail to each recipient; the ids.
    pub async fn send_to(&self, account: &str, recipients: &[String]) -> Vec<JobId> {
        let jobs: Vec<Value> = recipients.iter().map(|to| mail(account, to)).collect();
        let (status, answer) = self.post(&json!({"jobs": jobs})).await;
        assert_eq!(status, 202, "{answer}");
        let ids = answer["data"].as_array().unwrap().iter();
        ids.map(|job| job["id"].as_str().unwrap().parse().unwrap()).collect()
    }
}

/// A `send` job to one recipient.
pub fn mail(account: &str, to: &str) -> Value {
    json!({"type": "send", "payload": {
        "channel": "email",
        "account": account,
        "to": {"email": to},
        "content": {"subject": "Hello", "text": "A word."},
    }})
}

/// Waits until every one of these jobs has its final status.
pub async fn all_final(queue: &Arc<dyn Queue>, ids: &[JobId]) -> Vec<JobRecord> {
    let tenant: TenantId = "dev".parse().unwrap();
    let mut records = Vec::with_capacity(ids.len());
    for id in ids {
        let record = eventually_ok("the job ends", || async {
            let job = queue.job(&tenant, *id).await.unwrap().ok_or("an accepted job is gone")?;
            if job.status.is_final() { Ok(job) } else { Err("not final") }
        });
        records.push(record.await);
    }
    records
}
