//! A caller as the README asks for: who gets no answer asks again, under the same Idempotency-Key.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use futures::{StreamExt, stream};
use jobs::contract::JobId;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::processes::rig::mail;

/// Jobs of one request.
const BATCH: usize = 50;
/// Requests that are under way at once.
const AT_ONCE: usize = 4;
/// How long one try waits for its answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How soon a caller comes again.
const AGAIN_AFTER: Duration = Duration::from_millis(50);
/// How long a caller comes again before it gives up, and its test with it.
const PATIENCE: Duration = Duration::from_secs(180);

/// The addresses of the façades that serve now.
#[derive(Default)]
pub struct Doors(Mutex<Vec<String>>);

impl Doors {
    pub fn open(&self, url: &str) {
        self.0.lock().unwrap().push(url.to_owned());
    }

    pub fn close(&self, url: &str) {
        self.0.lock().unwrap().retain(|open| open != url);
    }

    fn some(&self, turn: usize) -> Option<String> {
        let open = self.0.lock().unwrap();
        (!open.is_empty()).then(|| open[turn % open.len()].clone())
    }
}

/// A job that was acknowledged.
#[derive(Debug, Clone)]
pub struct Accepted {
    pub id: JobId,
    /// The key under which its effect is counted.
    pub effect: String,
    /// Some try had no answer, and a later one was told that the job was there already.
    pub recovered: bool,
}

/// A caller of the fleet.
#[derive(Clone)]
pub struct Submitter {
    doors: Arc<Doors>,
    key: String,
    http: reqwest::Client,
    turn: Arc<AtomicUsize>,
}

impl Submitter {
    pub fn new(doors: &Arc<Doors>, key: &str) -> Self {
        let http = reqwest::Client::builder().timeout(ANSWER_WITHIN).build().unwrap();
        Self { doors: Arc::clone(doors), key: key.to_owned(), http, turn: Arc::default() }
    }

    /// Submits one mail to each recipient, in one request, until it is acknowledged.
    pub async fn submit(&self, account: &str, effects: &[String]) -> Vec<Accepted> {
        let jobs: Vec<Value> = effects
            .iter()
            .map(|to| {
                let mut job = mail(account, to);
                // What the fleet suffers here must not use the attempts up.
                job["max_attempts"] = json!(100);
                job
            })
            .collect();
        let key = effects[0].as_str();
        let (answer, recovered) = self.insist(key, &json!({"jobs": jobs})).await;
        let ids = answer["data"].as_array().unwrap().iter();
        ids.map(|job| job["id"].as_str().unwrap().parse().unwrap())
            .zip(effects.iter().cloned())
            .map(|(id, effect)| Accepted { id, effect, recovered })
            .collect()
    }

    /// Asks until there is a 202; whether one of the tries before had been taken in.
    async fn insist(&self, key: &str, body: &Value) -> (Value, bool) {
        let until = Instant::now() + PATIENCE;
        let mut beat = tokio::time::interval(AGAIN_AFTER);
        let mut doubt = false;
        loop {
            beat.tick().await;
            assert!(Instant::now() < until, "no façade took {key} in, in {PATIENCE:?}");
            match self.once(Some(key), body).await {
                Some((202, replayed, answer)) => return (answer, doubt && replayed),
                Some((503, ..)) | None => doubt = true,
                Some((status, _, answer)) => panic!("{status}: {answer}"),
            }
        }
    }

    /// Asks one façade once: the status, whether it is a replay, and the answer; none when none came.
    pub async fn once(&self, key: Option<&str>, body: &Value) -> Option<(u16, bool, Value)> {
        let url = self.doors.some(self.turn.fetch_add(1, Relaxed))?;
        let mut request = self.http.post(format!("{url}/jobs")).bearer_auth(&self.key).json(body);
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        let replayed = answer.headers().contains_key("idempotent-replayed");
        Some((status, replayed, answer.json().await.ok()?))
    }
}

/// Submits so many jobs, spread over the mailboxes, and answers when all are acknowledged.
pub async fn submit_all(caller: Submitter, mailboxes: Vec<String>, jobs: usize) -> Vec<Accepted> {
    let effects: Vec<String> = (0..jobs).map(|n| format!("effect-{n}@example.org")).collect();
    let batches = effects.chunks(BATCH).map(<[String]>::to_vec);
    let requests: Vec<_> = mailboxes.into_iter().cycle().zip(batches).collect();
    let answers = stream::iter(requests).map(|(account, effects)| {
        let caller = caller.clone();
        async move { caller.submit(&account, &effects).await }
    });
    let accepted: Vec<_> = answers.buffer_unordered(AT_ONCE).collect().await;
    accepted.into_iter().flatten().collect()
}
