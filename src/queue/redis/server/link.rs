//! A connection to one server: made when it is needed, forgotten when it broke, and made again.

use std::{
    sync::{Arc, PoisonError, RwLock, Weak},
    time::{Duration, Instant},
};

use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, Pipeline, ProtocolVersion, PushInfo, PushKind,
    RedisError, ServerErrorKind, Value, aio::MultiplexedConnection,
};
use tokio::{
    sync::{Mutex, watch},
    time::timeout,
};

use super::sentinel::Sentinels;
use crate::queue::{QueueError, redis::error::at_server};

/// How long one attempt to connect may take.
const CONNECT: Duration = Duration::from_secs(1);
/// How long a connection whose answer is overdue may take to prove that it stands.
const PROOF: Duration = Duration::from_secs(2);
/// After a failed attempt nobody tries again for so long: at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Why a call has no answer.
#[derive(Debug)]
pub(super) enum Failed {
    /// There is no connection: nobody can have heard it.
    NotSent(QueueError),
    /// The connection broke: it may have been carried out.
    Broken(QueueError),
}

impl From<Failed> for QueueError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::NotSent(error) | Failed::Broken(error) => error,
        }
    }
}

/// How the server is found.
#[derive(Debug, Clone)]
pub(super) enum Finder {
    /// It is always here.
    At(Box<ConnectionInfo>),
    /// Where the sentinels say that it is.
    Sentinels(Arc<Sentinels>),
}

struct Standing {
    number: u64,
    connection: MultiplexedConnection,
    info: ConnectionInfo,
}

impl Standing {
    fn name(&self) -> String {
        self.info.addr().to_string()
    }
}

/// What went wrong last, so that a crowd does not try again at once.
#[derive(Default)]
struct Trouble {
    last: Option<(Instant, QueueError)>,
    pause: Duration,
}

/// A connection that many share, and that is made again whenever it broke.
///
/// The library's own manager always dials one address, and its cluster connection repeats what may
/// have been carried out already; here a call is sent once.
pub(super) struct Link {
    finder: Finder,
    response_timeout: Duration,
    standing: RwLock<Option<Arc<Standing>>>,
    dialling: Mutex<Trouble>,
    /// How many connections there have been.
    made: watch::Sender<u64>,
    this: Weak<Link>,
}

impl Link {
    pub(super) fn new(finder: Finder, response_timeout: Duration) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            finder,
            response_timeout,
            standing: RwLock::default(),
            dialling: Mutex::default(),
            made: watch::Sender::new(0),
            this: Weak::clone(this),
        })
    }

    /// Sends commands in one piece; an answer for each, which may be an error.
    pub(super) async fn send(&self, commands: &Pipeline) -> Result<Vec<Value>, Failed> {
        let standing = self.standing().await.map_err(Failed::NotSent)?;
        let mut connection = standing.connection.clone();
        match connection.send_packed_commands(commands, 0, commands.len()).await {
            Ok(answers) => {
                // The server was demoted: what takes its place is found by dialling again.
                if answers.iter().any(is_read_only) {
                    self.forget(standing.number);
                }
                Ok(answers)
            }
            Err(error) => {
                if error.is_unrecoverable_error() {
                    self.forget(standing.number);
                }
                Err(Failed::Broken(at_server(&standing.name(), error.into())))
            }
        }
    }

    /// A client of the server that is connected at present.
    pub(super) async fn client(&self) -> Result<Client, QueueError> {
        Ok(Client::open(self.standing().await?.info.clone())?)
    }

    /// Tells of every new connection, which may lead to another server.
    pub(super) fn news(&self) -> watch::Receiver<u64> {
        self.made.subscribe()
    }

    /// An answer is overdue. A connection that does not answer a ping, either, is replaced.
    pub(super) fn doubt(&self) {
        let (Some(standing), Some(link)) = (self.current(), self.this.upgrade()) else { return };
        tokio::spawn(async move {
            let mut connection = standing.connection.clone();
            let ping = redis::cmd("PING");
            let proof = timeout(PROOF, connection.send_packed_command(&ping)).await;
            if !matches!(proof, Ok(Ok(_))) {
                link.forget(standing.number);
            }
        });
    }

    fn current(&self) -> Option<Arc<Standing>> {
        self.standing.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn forget(&self, number: u64) {
        let mut standing = self.standing.write().unwrap_or_else(PoisonError::into_inner);
        if standing.as_ref().is_some_and(|s| s.number == number) {
            *standing = None;
        }
    }

    async fn standing(&self) -> Result<Arc<Standing>, QueueError> {
        if let Some(standing) = self.current() {
            return Ok(standing);
        }
        let gone = || QueueError::Unavailable("this process is stopping".into());
        let link = self.this.upgrade().ok_or_else(gone)?;
        // A task of its own: a caller who stops waiting does not make the others begin anew.
        tokio::spawn(async move { link.dial().await }).await.unwrap_or_else(|_| Err(gone()))
    }

    /// Connects, unless another task just did or could not.
    async fn dial(&self) -> Result<Arc<Standing>, QueueError> {
        let mut trouble = self.dialling.lock().await;
        if let Some(standing) = self.current() {
            return Ok(standing);
        }
        if let Some((at, error)) = &trouble.last
            && at.elapsed() < trouble.pause
        {
            return Err(error.clone());
        }
        match self.connect().await {
            Ok(standing) => {
                let standing = Arc::new(standing);
                *trouble = Trouble::default();
                let mut place = self.standing.write().unwrap_or_else(PoisonError::into_inner);
                *place = Some(Arc::clone(&standing));
                drop(place);
                self.made.send_replace(standing.number);
                Ok(standing)
            }
            Err(error) => {
                trouble.pause = (trouble.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
                trouble.last = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    async fn connect(&self) -> Result<Standing, QueueError> {
        let info = match &self.finder {
            Finder::At(info) => (**info).clone(),
            Finder::Sentinels(sentinels) => sentinels.primary().await?,
        };
        let name = info.addr().to_string();
        self.connect_to(info).await.map_err(|error| at_server(&name, error))
    }

    async fn connect_to(&self, info: ConnectionInfo) -> Result<Standing, QueueError> {
        let number = *self.made.borrow() + 1;
        // Told of its end at once, a link does not fail a call to find out.
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let client = Client::open(info.clone().set_redis_settings(settings))?;
        let link = Weak::clone(&self.this);
        let ended = move |push: PushInfo| {
            if push.kind == PushKind::Disconnection
                && let Some(link) = link.upgrade()
            {
                link.forget(number);
            }
            Ok::<(), ()>(())
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(self.response_timeout))
            .set_push_sender(ended);
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        if matches!(self.finder, Finder::Sentinels(_)) {
            must_be_primary(&mut connection).await?;
        }
        Ok(Standing { number, connection, info })
    }
}

/// Sentinels may not yet know, or the server itself may not, that another one took over.
async fn must_be_primary(connection: &mut MultiplexedConnection) -> Result<(), QueueError> {
    let role = redis::cmd("ROLE");
    let role = timeout(CONNECT, connection.send_packed_command(&role)).await;
    let first = match role {
        Ok(Ok(Value::Array(role))) => role.into_iter().next(),
        Ok(Ok(Value::ServerError(error))) => return Err(RedisError::from(error).into()),
        _ => None,
    };
    match first {
        Some(Value::BulkString(role)) if role == b"master" => Ok(()),
        _ => {
            let words = "the server that the sentinels name is no primary at present";
            Err(QueueError::Unavailable(words.into()))
        }
    }
}

fn is_read_only(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if error.kind() == Some(ServerErrorKind::ReadOnly))
}
