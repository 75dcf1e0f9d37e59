//! Secrets of endpoints, planted in every field that has one, through a delivery that succeeds, one that is
//! retried and one that is dead: none of them is in Redis, in the log, in an answer or in a metric.
//!
//! What a caller submits is another matter: the queue keeps it until it is done and for as long as
//! finished jobs are kept, so that a payload is in Redis, and nowhere else.

use std::{
    fs::File,
    io::Write as _,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    cli::program::{Finished, Up, command, finish, path},
    support::{
        eventually_ok,
        receiver::{Act, Receiver},
        redis::Private,
    },
};

/// 32 bytes that seal what lies at rest.
const SECRET_KEY: &str = "Q0FOQVJZQ0FOQVJZQ0FOQVJZQ0FOQVJZQ0FOQVJZQ0E=";
/// Of an endpoint: the secret that signs, where it is, what it is sent, and what Slack goes by.
const SIGNING: &str = "whsec_Q0FOQVJZLWVuZHBvaW50LXNlY3JldC0xMjM0NQ==";
const PATH: &str = "/CANARY-path/hook";
const HEADER: &str = "Bearer CANARY-header";
/// Of another: a name and a password, in base64.
const BASIC: &str = "Basic dXNlcjpDQU5BUlktcGFzc3dvcmQ=";
const SLACK: &str = "T00CANARY/B00CANARY/CANARYslackCANARYslack";
/// Of a caller.
const DATA: &str = "CANARY-data";

struct House {
    redis: Private,
    up: Up,
    admin: SocketAddr,
    client: reqwest::Client,
    /// All that came out of it.
    texts: Vec<String>,
    /// What it told operators, who may read what endpoints answered.
    told: Vec<String>,
}

fn options(redis: &Private) -> Vec<(&'static str, String)> {
    vec![
        ("POSTRIDER_SECRET_KEY", SECRET_KEY.into()),
        ("POSTRIDER_REDIS__URL", redis.url()),
        ("POSTRIDER_WEBHOOKS__EGRESS__ALLOW_HTTP", "true".into()),
        ("POSTRIDER_WEBHOOKS__EGRESS__ALLOW_CIDRS", "127.0.0.0/8".into()),
    ]
}

impl House {
    async fn open() -> Self {
        // What is written to its file is written as it is.
        let redis = Private::start(&["--rdbcompression", "no"]).await;
        let dir = TempDir::new().unwrap();
        let (data, log) = (dir.path().join("data"), dir.path().join("log"));
        let admin = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut up = command(&["up", "--data", path(&data), "--listen", "127.0.0.1:0"]);
        up.envs(options(&redis)).env("POSTRIDER_LOG__LEVEL", "trace");
        up.env("POSTRIDER_HTTP__ADMIN_LISTEN", admin.to_string());
        let up = Up::watched(up, dir, File::create(&log).unwrap().into()).await;
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { redis, up, admin, client, texts: Vec::new(), told: Vec::new() }
    }

    /// A command beside it, whatever that says.
    async fn run(&mut self, args: &[&str]) -> Finished {
        let mut command = command(&[args, &["--data", &self.up.data()]].concat());
        command.envs(options(&self.redis)).env("POSTRIDER_LOG__LEVEL", "trace");
        let done = finish(command).await;
        self.told.push(done.out.clone());
        self.texts.push(done.err.clone());
        done
    }

    async fn apply(&mut self, toml: &str) {
        let file = self.up.dir.path().join("endpoints.toml");
        File::create(&file).unwrap().write_all(toml.as_bytes()).unwrap();
        self.run(&["apply", path(&file)]).await.with(0);
    }

    /// A delivery to one endpoint; its job.
    async fn submit(&mut self, endpoint: &str, attempts: u32) -> String {
        let payload = json!({"event": "a", "endpoint_id": endpoint, "data": {"secret": DATA}});
        let body =
            json!({"type": "webhook-delivery", "max_attempts": attempts, "payload": payload});
        let url = format!("{}/jobs", self.up.told("url"));
        let post = self.client.post(url).bearer_auth(self.up.told("key")).json(&body);
        let answer = post.send().await.unwrap();
        assert_eq!(answer.status(), 202);
        let answer = answer.text().await.unwrap();
        self.texts.push(answer.clone());
        let answer: Value = serde_json::from_str(&answer).unwrap();
        answer["data"]["id"].as_str().unwrap().to_owned()
    }

    /// The job, as soon as it has this status.
    async fn until(&mut self, job: &str, status: &str) {
        let url = format!("{}/jobs/{job}", self.up.told("url"));
        let (client, key) = (self.client.clone(), self.up.told("key").to_owned());
        let text = eventually_ok("it gets there", || async {
            let answer = client.get(&url).bearer_auth(&key).send().await.unwrap();
            let text = answer.text().await.unwrap();
            let value: Value = serde_json::from_str(&text).unwrap();
            if value["data"]["status"] == status { Ok(text) } else { Err(text) }
        })
        .await;
        self.texts.push(text);
    }
}

fn endpoints(receiver: &Receiver) -> String {
    let endpoint = |id: &str, url: &str| {
        format!(
            "[[endpoints]]\nid = \"{id}\"\nurl = \"{url}\"\nevents = [\"never.*\"]\n\
             secret = \"{SIGNING}\"\nheaders = {{ Authorization = \"{HEADER}\" }}\n"
        )
    };
    let url = receiver.url(&format!("{PATH}?token=CANARY-query"));
    // Nobody listens there, and nothing leaves this machine: its name has no address.
    let slack = format!("https://hooks.slack.com/services/{SLACK}");
    let parts = endpoint("parts", &url).replace(HEADER, BASIC);
    ["good", "later", "dead"].map(|id| endpoint(id, &url)).concat()
        + &parts
        + &format!("[[endpoints]]\nid = \"slack\"\nurl = \"{slack}\"\nevents = [\"never.*\"]\n")
}

fn lies_in(text: &[u8], word: &str) -> bool {
    let (text, word) = (text.to_ascii_lowercase(), word.to_ascii_lowercase());
    text.windows(word.len()).any(|window| window == word.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_of_an_endpoint_comes_out() {
    // given endpoints whose receiver answers with all that it was sent, unless it is content
    let mut house = House::open().await;
    let receiver = Receiver::start().await;
    house.apply(&endpoints(&receiver)).await;
    // when a delivery gets through, one is put off, one is given up, and one is for Slack
    let good = house.submit("good", 1).await;
    house.until(&good, "completed").await;
    receiver.always(Act::Echo);
    let later = house.submit("later", 5).await;
    house.until(&later, "scheduled").await;
    let dead = house.submit("dead", 1).await;
    house.until(&dead, "failed").await;
    // by a receiver that tells what it did not find, in parts and decoded,
    let told = "no CANARY-path\\/hook (/CANARY-path), token CANARY-query, \
                user:CANARY-password by dXNlcjpDQU5BUlktcGFzc3dvcmQ=";
    receiver.always(Act::Answer(404, String::new(), told.to_owned()));
    let parts = house.submit("parts", 1).await;
    house.until(&parts, "failed").await;
    house.run(&["endpoints", "disable", "slack", "--tenant", "dev"]).await.with(0);
    let slack = house.submit("slack", 1).await;
    house.until(&slack, "failed").await;
    // and operators look at it
    for args in [
        &["endpoints", "list", "--tenant", "dev"][..],
        &["endpoints", "show", "dead", "--tenant", "dev"],
        &["endpoints", "show", "slack", "--tenant", "dev"],
        &["endpoints", "log", "dead", "--tenant", "dev"],
        &["endpoints", "log", "good", "--tenant", "dev"],
        &["endpoints", "log", "parts", "--tenant", "dev"],
        &["endpoints", "log", "parts", "--delivery", &parts.replace("job_", "dlv_")],
        &["jobs", "list", "--status", "failed"],
        &["jobs", "show", &dead],
        &["lanes", "list"],
    ] {
        house.run(args).await.with(0);
    }
    let metrics = house.client.get(format!("http://{}/metrics", house.admin)).send().await.unwrap();
    house.texts.push(metrics.text().await.unwrap());
    house.redis.ask::<()>("SAVE").await.unwrap();
    let kept = std::fs::read(house.redis.socket().with_file_name("dump.rdb")).unwrap();
    // then nothing of the endpoints is in Redis, and the key of the caller is not
    let key = house.up.told("key").to_owned();
    let raw = SIGNING.trim_start_matches("whsec_");
    let of_endpoints = [
        raw,
        "CANARY-path",
        "CANARY-query",
        "CANARY-header",
        "CANARY-password",
        BASIC.trim_start_matches("Basic "),
        SLACK,
    ];
    let in_stores = || of_endpoints.into_iter().chain(["hooks.slack.com", SECRET_KEY, &key]);
    for secret in in_stores() {
        assert!(!lies_in(&kept, secret), "{secret} is in Redis");
    }
    // (while what the caller submitted is: so it would have been found),
    assert!(lies_in(&kept, DATA));
    // nor in anything that was said or answered,
    let House { up, mut texts, told, .. } = house;
    up.signal("TERM").await;
    let (_, lines, dir) = up.end().await;
    let log = std::fs::read_to_string(dir.path().join("log")).unwrap();
    assert!(log.contains("a run ended"), "it logs all that it can");
    texts.extend(lines);
    texts.push(log);
    let said = || of_endpoints.into_iter().chain([SECRET_KEY, &key]);
    for text in &texts {
        for secret in said().chain([DATA]) {
            assert!(!lies_in(text.as_bytes(), secret), "{secret} in {text}");
        }
    }
    for text in &told {
        for secret in said() {
            assert!(!lies_in(text.as_bytes(), secret), "{secret} in {text}");
        }
    }
    // nor in the store, where they are sealed.
    let mut store = std::fs::read(dir.path().join("data/store.sqlite")).unwrap();
    store.extend(std::fs::read(dir.path().join("data/store.sqlite-wal")).unwrap_or_default());
    for secret in in_stores() {
        assert!(!lies_in(&store, secret), "{secret} is in the store");
    }
    tokio::time::timeout(Duration::from_secs(60), receiver.requests(4)).await.unwrap();
}
