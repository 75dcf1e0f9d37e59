//! One server: its connections and its memory.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use redis::{Pipeline, Value};
use tokio::{sync::Mutex, time::Instant};

use super::{
    link::{Failed, Finder, Link},
    memory::{Known, Memory},
};
use crate::queue::{QueueError, redis::scripts::LIBRARY};

/// Connections on which submissions wait for a replica: each waits for those before it.
const WAITING_LINKS: usize = 4;

/// Which connection a call takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The one that everybody shares.
    Shared,
    /// One that may be held up by `WAIT`.
    Waiting,
}

/// A server that takes writes.
pub(super) struct Node {
    shared: Arc<Link>,
    waiting: Vec<Arc<Link>>,
    turn: AtomicUsize,
    memory: Memory,
    high_water: f64,
    /// When it was last given the library. Held by the one who gives it.
    library: Mutex<Option<Instant>>,
}

impl Node {
    pub(super) fn new(finder: &Finder, response_timeout: Duration, high_water: f64) -> Arc<Self> {
        let link = || Link::new(finder.clone(), response_timeout);
        Arc::new(Self {
            shared: link(),
            waiting: (0..WAITING_LINKS).map(|_| link()).collect(),
            turn: AtomicUsize::new(0),
            memory: Memory::default(),
            high_water,
            library: Mutex::default(),
        })
    }

    pub(super) fn link(&self) -> &Arc<Link> {
        &self.shared
    }

    pub(super) async fn send(&self, way: Way, commands: &Pipeline) -> Result<Vec<Value>, Failed> {
        match way {
            Way::Shared => self.shared.send(commands).await,
            Way::Waiting => {
                let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.waiting.len();
                self.waiting[turn].send(commands).await
            }
        }
    }

    /// An answer is overdue.
    pub(super) fn doubt(&self, way: Way) {
        match way {
            Way::Shared => self.shared.doubt(),
            Way::Waiting => self.waiting.iter().for_each(|link| link.doubt()),
        }
    }

    /// What the server says of itself.
    pub(super) async fn info(&self, sections: &[&str]) -> Result<String, QueueError> {
        let mut info = redis::cmd("INFO");
        for section in sections {
            info.arg(section);
        }
        let mut commands = Pipeline::new();
        commands.add_command(info);
        match self.shared.send(&commands).await?.into_iter().next() {
            Some(Value::BulkString(text)) => Ok(String::from_utf8_lossy(&text).into_owned()),
            Some(Value::VerbatimString { text, .. }) => Ok(text),
            Some(Value::ServerError(error)) => Err(redis::RedisError::from(error).into()),
            _ => Err(QueueError::Unusable("the server does not answer INFO".into())),
        }
    }

    /// Gives the server the library, unless somebody did since then; its answer.
    pub(super) async fn load(&self, since: Instant) -> Result<Value, QueueError> {
        let mut loaded = self.library.lock().await;
        if loaded.is_some_and(|at| at >= since) {
            return Ok(Value::Okay);
        }
        let mut commands = Pipeline::new();
        // Whoever loads it at the same time loads the same.
        commands.cmd("FUNCTION").arg("LOAD").arg("REPLACE").arg(&LIBRARY.text);
        let answer = self.shared.send(&commands).await?.into_iter().next().unwrap_or(Value::Nil);
        if !matches!(answer, Value::ServerError(_)) {
            *loaded = Some(Instant::now());
        }
        Ok(answer)
    }

    /// Refuses a submission while the memory is used beyond the mark. Looks at it about once a second
    /// while submissions come, and never without them.
    pub(super) async fn admit(self: &Arc<Self>) -> Result<(), QueueError> {
        match self.memory.known() {
            Known::Room => Ok(()),
            Known::Full(words) => Err(QueueError::Unavailable(words)),
            Known::RoomOnce => {
                let node = Arc::clone(self);
                tokio::spawn(async move { node.look(Known::RoomOnce).await });
                Ok(())
            }
            Known::Unknown => {
                self.look(Known::Unknown).await;
                match self.memory.known() {
                    Known::Full(words) => Err(QueueError::Unavailable(words)),
                    _ => Ok(()),
                }
            }
        }
    }

    /// Why no jobs are taken at present, if so; by a look that is a second old at most.
    pub(super) async fn full(&self) -> Option<String> {
        let known = self.memory.known();
        if matches!(known, Known::RoomOnce | Known::Unknown) {
            self.look(known).await;
        }
        match self.memory.known() {
            Known::Full(words) => Some(words),
            _ => None,
        }
    }

    /// Looks at the memory, unless somebody did meanwhile.
    async fn look(&self, because: Known) {
        let _one = self.memory.looking.lock().await;
        if self.memory.known() == because {
            let info = self.info(&["memory"]).await.ok();
            self.memory.see(info.as_deref(), self.high_water);
        }
    }
}
