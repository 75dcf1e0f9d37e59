//! Who waits for a change, and how the news reach them: one subscription a process, on a connection
//! of its own. Nobody polls.

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use futures::{StreamExt, future::join_all};
use jobs::contract::Moment;
use redis::aio::{PubSubSink, PubSubStream};
use tokio::{sync::watch, time::timeout};

use super::{
    keys::SEPARATOR,
    reply::Fields,
    scripts::READY,
    server::{Patience, Server},
};
use crate::queue::{QueueError, Seen};

/// The longest that a waiter sleeps without having heard anything: a net below the news.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// A subscription that was silent for so long is asked whether it still stands.
const SILENCE: Duration = Duration::from_secs(5);
/// How long a step of subscribing may take.
const STEP: Duration = Duration::from_secs(2);
/// The first pause before subscribing again, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What is known of the queue's versions.
///
/// Shards count for themselves, so that this process counts on its own: its version rises with every
/// piece of news, and is never lower than that of any shard.
#[derive(Debug, Default)]
struct Known {
    version: u64,
    woken: BTreeMap<String, u64>,
    /// News may have been missed up to here.
    all_woken: u64,
}

/// The waiters of this process.
#[derive(Default)]
pub(super) struct Wake {
    known: watch::Sender<Known>,
}

impl Wake {
    /// What was heard so far. Whoever reads the queue after asking this misses nothing.
    pub(super) fn seen(&self) -> Seen {
        Seen(self.known.borrow().version)
    }

    /// Waits until something may have become claimable in `queue` since `seen`, or until `until`.
    pub(super) async fn claimable(
        &self,
        queue: &str,
        seen: Seen,
        until: Option<Moment>,
        now: Moment,
    ) {
        let mut known = self.known.subscribe();
        let news = known.wait_for(|known| {
            known.all_woken > seen.0 || known.woken.get(queue).is_some_and(|at| *at > seen.0)
        });
        let left = until.map_or(LONGEST_WAIT, |until| until.since(now).min(LONGEST_WAIT));
        let _ = timeout(left, news).await;
    }

    /// Waits until anything changed since `seen`, or `at_most` this long; the version known then.
    pub(super) async fn any(&self, seen: Seen, at_most: Duration) -> Seen {
        let mut known = self.known.subscribe();
        let _ = timeout(at_most, known.wait_for(|known| known.version > seen.0)).await;
        self.seen().max(seen)
    }

    /// Takes in one message: the shard's version, then the queues woken.
    fn hear(&self, message: &str) {
        let mut words = message.split(SEPARATOR);
        let version = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        self.known.send_modify(|known| {
            known.version = version.max(known.version + 1);
            for queue in words {
                known.woken.insert(queue.to_owned(), known.version);
            }
        });
    }

    /// Something may be claimed from the queue of which no news told.
    pub(super) fn look_again(&self, queue: &str) {
        self.known.send_modify(|known| {
            known.version += 1;
            known.woken.insert(queue.to_owned(), known.version);
        });
    }

    /// Begins with what the shards have come to.
    fn begin(&self, version: u64) {
        self.known.send_modify(|known| known.version = version.max(known.version));
    }

    /// Nobody knows what was missed: everybody looks again.
    fn resume(&self, version: u64) {
        self.known.send_modify(|known| {
            known.version = version.max(known.version + 1);
            known.all_woken = known.version;
        });
    }
}

/// A standing subscription to the news of all shards.
pub(super) struct Subscription {
    sink: PubSubSink,
    stream: PubSubStream,
    /// Tells when another server may have taken over.
    moved: watch::Receiver<u64>,
    version: u64,
}

impl Subscription {
    async fn open(server: &Server) -> Result<Self, QueueError> {
        let (client, mut moved) = server.listening().await?;
        moved.mark_unchanged();
        let pubsub = in_time(client.get_async_pubsub()).await?;
        let (mut sink, stream) = pubsub.split();
        let channels: Vec<String> = server.shards.all().map(|s| server.shards.channel(s)).collect();
        in_time(sink.subscribe(channels)).await?;
        // Of a shard that is away nothing can be news; what it says once it is back is heard.
        let version = all_ready(server).await?.version;
        Ok(Self { sink, stream, moved, version })
    }

    /// The first one: it stands before anybody can wait.
    pub(super) async fn first(server: &Server, wake: &Wake) -> Result<Self, QueueError> {
        let subscription = Self::open(server).await?;
        wake.begin(subscription.version);
        Ok(subscription)
    }

    /// Brings the news for as long as the subscription stands.
    async fn listen(&mut self, wake: &Wake) {
        loop {
            tokio::select! {
                heard = timeout(SILENCE, self.stream.next()) => match heard {
                    Ok(Some(message)) => {
                        wake.hear(&String::from_utf8_lossy(message.get_payload_bytes()));
                    }
                    Ok(None) => return,
                    Err(_) => {
                        let alive = in_time(self.sink.ping::<redis::Value>()).await;
                        if alive.is_err() {
                            return;
                        }
                    }
                },
                // News are published where the jobs are, which may be elsewhere now.
                _ = self.moved.changed() => return,
            }
        }
    }
}

/// Which shards can be written to.
pub(super) struct Ready {
    pub(super) shards: Vec<usize>,
    /// The newest version of theirs.
    version: u64,
    /// Why the first of the others cannot be.
    pub(super) failure: Option<QueueError>,
}

/// Asks all shards whether they can be written to.
///
/// # Errors
///
/// When none of them can.
pub(super) async fn all_ready(server: &Server) -> Result<Ready, QueueError> {
    let asked = server.shards.all().map(|shard| async move { (shard, ready(server, shard).await) });
    let mut all = Ready { shards: Vec::new(), version: 0, failure: None };
    for (shard, answer) in join_all(asked).await {
        match answer {
            Ok(version) => {
                all.shards.push(shard);
                all.version = all.version.max(version);
            }
            Err(error) => all.failure = all.failure.or(Some(error)),
        }
    }
    match all.failure {
        Some(error) if all.shards.is_empty() => Err(error),
        _ => Ok(all),
    }
}

/// Proves that a shard can be written to; the version of its last change.
async fn ready(server: &Server, shard: usize) -> Result<u64, QueueError> {
    let none: [&str; 0] = [];
    let answer = server.call(&READY, shard, Patience::Caller, &none).await?;
    let mut fields = Fields::of(answer)?;
    server.observe(fields.moment()?);
    fields.number()
}

/// Brings the news until the task is aborted, subscribing again whenever that is needed.
pub(super) async fn bring_news(server: Arc<Server>, wake: Arc<Wake>, first: Subscription) {
    let mut standing = first;
    loop {
        standing.listen(&wake).await;
        tracing::warn!("the subscription to the queue's news broke; subscribing again");
        let (mut pause, mut failed) = (FIRST_PAUSE, false);
        standing = loop {
            // Whatever broke it may have happened to the other connections, which nobody uses now.
            server.doubt();
            match Subscription::open(&server).await {
                Ok(again) => break again,
                // Once, when it begins: with it ends what a worker that has nothing to do would say.
                Err(error) if !std::mem::replace(&mut failed, true) => {
                    tracing::warn!(%error, "could not subscribe to the queue's news; trying again");
                }
                Err(error) => tracing::debug!(%error, "could not subscribe to the queue's news"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        };
        wake.resume(standing.version);
        tracing::info!("the subscription to the queue's news stands again");
        // Apart: a server that does not answer must not keep the news waiting.
        let server = Arc::clone(&server);
        tokio::spawn(async move { server.examine_again().await });
    }
}

async fn in_time<T>(step: impl Future<Output = redis::RedisResult<T>>) -> Result<T, QueueError> {
    match timeout(STEP, step).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(QueueError::Unavailable("Redis did not answer in time".into())),
    }
}
