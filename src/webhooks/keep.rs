//! Connections that wait for the next delivery to their endpoint.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use tokio_util::task::AbortOnDropHandle;

/// The most connections that wait, in all and for one endpoint.
const MOST: usize = 512;
const MOST_EACH: usize = 8;

/// A connection that speaks HTTP; dropping it closes it.
pub(super) struct Wire {
    pub(super) sender: SendRequest<Full<Bytes>>,
    pub(super) remote: SocketAddr,
    pub(super) _task: AbortOnDropHandle<()>,
}

/// Connections that wait, the longest first.
pub(super) struct Keep {
    idle: Duration,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    wires: HashMap<String, Vec<(Instant, Wire)>>,
    count: usize,
}

impl Keep {
    /// Keeps connections so long; zero: none.
    pub(super) fn new(idle: Duration) -> Self {
        Self { idle, waiting: Mutex::default() }
    }

    /// The connection that was used last under this name, if one is open.
    pub(super) fn take(&self, name: &str) -> Option<Wire> {
        let mut waiting = self.lock();
        loop {
            let wires = waiting.wires.get_mut(name)?;
            let last = wires.pop();
            if wires.is_empty() {
                waiting.wires.remove(name);
            }
            let (since, wire) = last?;
            waiting.count -= 1;
            if since.elapsed() < self.idle && !wire.sender.is_closed() {
                return Some(wire);
            }
        }
    }

    /// Keeps a connection for the next request under this name.
    pub(super) fn put(&self, name: String, wire: Wire) {
        if self.idle.is_zero() {
            return;
        }
        let mut waiting = self.lock();
        if waiting.count >= MOST {
            waiting.drop_older_than(self.idle);
        }
        let full = waiting.count >= MOST;
        let wires = waiting.wires.entry(name).or_default();
        if !full && wires.len() < MOST_EACH {
            wires.push((Instant::now(), wire));
            waiting.count += 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // No code that can panic runs under this lock, so a poisoned one is whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn drop_older_than(&mut self, idle: Duration) {
        for wires in self.wires.values_mut() {
            wires.retain(|(since, wire)| since.elapsed() < idle && !wire.sender.is_closed());
        }
        self.wires.retain(|_, wires| !wires.is_empty());
        self.count = self.wires.values().map(Vec::len).sum();
    }
}
