//! The connection to the server: its time-outs, what is asked of a server, and calling a script.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use jobs::contract::{Moment, ports::Clock};
use redis::{
    Client, ErrorKind, ServerErrorKind, Value,
    aio::{ConnectionManager, ConnectionManagerConfig},
};

use super::{RedisConfig, keys::Shards, scripts::Script};
use crate::queue::QueueError;

/// How long one attempt to connect may take, and the longest pause between two.
const CONNECT: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How patient a call is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Patience {
    /// Somebody waits for an answer.
    Caller,
    /// A worker or a scheduler: what it was given must not get lost on the way.
    Worker,
}

/// A server, or whatever stands for one.
pub(super) struct Server {
    pub(super) client: Client,
    pub(super) shards: Shards,
    connection: ConnectionManager,
    clock: ServerClock,
    caller: Duration,
    worker: Duration,
}

impl Server {
    /// Connects, and refuses a server that would lose jobs.
    pub(super) async fn connect(
        config: &RedisConfig,
        clock: Option<Arc<dyn Clock>>,
    ) -> Result<Self, QueueError> {
        let client = Client::open(config.url.as_str())
            // Not the error itself, which may show the URL and the password in it.
            .map_err(|_| QueueError::Unusable(URL.to_owned()))?;
        let settings = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_max_delay(LONGEST_PAUSE)
            .set_response_timeout(Some(config.response_timeout));
        let connection = ConnectionManager::new_lazy_with_config(client.clone(), settings)?;
        let server = Self {
            client,
            shards: Shards::new(&config.prefix, config.shards),
            connection,
            clock: ServerClock { told: clock, since: Instant::now(), offset: AtomicI64::new(0) },
            caller: config.submit_timeout,
            worker: config.response_timeout,
        };
        server.inspect().await?;
        Ok(server)
    }

    async fn inspect(&self) -> Result<(), QueueError> {
        let mut info = redis::cmd("INFO");
        for section in ["server", "memory", "replication"] {
            info.arg(section);
        }
        let Value::BulkString(info) = self.send(&info, self.worker).await?? else {
            return Err(QueueError::Unusable("the server does not answer INFO".into()));
        };
        super::checks::check(&String::from_utf8_lossy(&info)).map_err(QueueError::Unusable)
    }

    /// The server's time, as far as this process knows.
    pub(super) fn now(&self) -> Moment {
        self.clock.now()
    }

    /// Takes note of what time the server said it was.
    pub(super) fn observe(&self, now: Moment) {
        let here = i64::try_from(self.clock.since.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.clock.offset.store(now.millis().saturating_sub(here), Ordering::Release);
    }

    /// How long a call of this patience waits for its answer.
    pub(super) fn patience(&self, patience: Patience) -> Duration {
        match patience {
            Patience::Caller => self.caller,
            Patience::Worker => self.worker,
        }
    }

    /// Calls a script in a shard. `arguments` come after the time.
    pub(super) async fn call(
        &self,
        script: &Script,
        shard: usize,
        patience: Patience,
        arguments: &[impl AsRef<[u8]>],
    ) -> Result<Value, QueueError> {
        let within = self.patience(patience);
        let command = |verb: &str, script: &str| {
            let mut command = redis::cmd(verb);
            command.arg(script).arg(1).arg(self.shards.base(shard)).arg(self.clock.argument());
            arguments.iter().for_each(|argument| {
                command.arg(argument.as_ref());
            });
            command
        };
        let answer = self.send(&command("EVALSHA", &script.hash), within).await?;
        match answer {
            // A server that was restarted, or took over, has not met the script yet.
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                Ok(self.send(&command("EVAL", &script.text), within).await??)
            }
            answer => Ok(answer?),
        }
    }

    async fn send(
        &self,
        command: &redis::Cmd,
        within: Duration,
    ) -> Result<redis::RedisResult<Value>, QueueError> {
        let mut connection = self.connection.clone();
        let answer = async {
            // An error that a script gives is a value until it is asked for.
            connection.send_packed_command(command).await?.extract_error()
        };
        tokio::time::timeout(within, answer).await.map_err(|_| {
            let words = format!("Redis did not answer within {} ms", within.as_millis());
            QueueError::Unavailable(words)
        })
    }
}

const URL: &str = "redis.url: expected redis://[user:password@]host[:port][/db] or \
                   redis+unix:///path/to/socket";

/// The server's clock, guessed from what it last said; or one that a test steps, which scripts are
/// told.
struct ServerClock {
    told: Option<Arc<dyn Clock>>,
    since: Instant,
    offset: AtomicI64,
}

impl ServerClock {
    fn now(&self) -> Moment {
        match &self.told {
            Some(clock) => clock.now(),
            None => {
                Moment::from_millis(self.offset.load(Ordering::Acquire)).plus(self.since.elapsed())
            }
        }
    }

    fn argument(&self) -> String {
        self.told.as_ref().map_or_else(String::new, |clock| clock.now().millis().to_string())
    }
}
