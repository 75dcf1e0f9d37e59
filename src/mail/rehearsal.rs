//! An SMTP server on loopback that behaves as told, for the demo and for tests.
//!
//! It speaks real SMTP over TCP, one mail and one recipient at a time, and takes whatever its
//! [`Script`] says nothing about. It is not a mail server: what it takes stays in memory.

mod guest;

use std::{
    collections::{HashMap, VecDeque},
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
};

use jobs::contract::ports::Phase;
use tokio::{net::TcpListener, sync::Notify, task::JoinSet};

use self::guest::Guest;

/// What the server does once, instead of the usual.
#[derive(Debug, Clone)]
pub enum Act {
    /// The usual.
    Accept,
    /// Answers with this line (`451 4.7.1 Greylisted`) at this step; after a 421 it hangs up.
    Say(Phase, String),
    /// Hangs up at this step, without an answer; at [`Phase::Data`] in the middle of the message.
    HangUp(Phase),
    /// Never answers at this step.
    Mute(Phase),
    /// Takes the mail and hangs up without saying so.
    Swallow,
}

impl Act {
    fn phase(&self) -> Option<Phase> {
        match self {
            Self::Accept => None,
            Self::Say(phase, _) | Self::HangUp(phase) | Self::Mute(phase) => Some(*phase),
            Self::Swallow => Some(Phase::Dot),
        }
    }
}

/// What the server does at which occasion.
#[derive(Debug, Default, Clone)]
pub struct Script {
    connections: VecDeque<Act>,
    recipients: HashMap<String, VecDeque<Act>>,
    login: Option<(String, String)>,
    mechanisms: Option<String>,
}

impl Script {
    /// A server that takes everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// What it does on its first, second, … connection, up to and including MAIL FROM.
    #[must_use]
    pub fn connections(mut self, acts: impl IntoIterator<Item = Act>) -> Self {
        self.connections.extend(acts);
        self
    }

    /// What it does with the first, second, … mail to this recipient, from RCPT TO on.
    #[must_use]
    pub fn recipient(mut self, email: &str, acts: impl IntoIterator<Item = Act>) -> Self {
        self.recipients.entry(email.to_lowercase()).or_default().extend(acts);
        self
    }

    /// It offers a login and knows this one.
    #[must_use]
    pub fn login(mut self, username: &str, password: &str) -> Self {
        self.login = Some((username.to_owned(), password.to_owned()));
        self
    }

    /// It offers these ways to log in instead of `PLAIN LOGIN`.
    #[must_use]
    pub fn mechanisms(mut self, mechanisms: &str) -> Self {
        self.mechanisms = Some(mechanisms.to_owned());
        self
    }
}

/// A mail that the server took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// Envelope sender.
    pub from: String,
    /// Envelope recipient.
    pub to: String,
    /// The message, its dots as they were before they were doubled.
    pub message: Vec<u8>,
    /// The number of the connection that it came over, from 1.
    pub connection: usize,
}

/// What the server has seen so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Connections that it was asked for.
    pub connections: usize,
    /// Mails that it took.
    pub mails: usize,
    /// Things that it did by its script.
    pub acts: usize,
}

/// The running server; it stops when this is dropped.
pub struct Rehearsal {
    addr: SocketAddr,
    stage: Arc<Stage>,
    _running: JoinSet<()>,
}

struct Stage {
    script: Mutex<Script>,
    delivered: Mutex<Vec<Delivered>>,
    connections: AtomicUsize,
    acts: AtomicUsize,
    changed: Notify,
    hang_up: Notify,
}

impl Stage {
    fn for_recipient(&self, email: &str) -> Option<Act> {
        lock(&self.script).recipients.get_mut(&email.to_lowercase())?.pop_front()
    }
}

impl Rehearsal {
    /// Starts the server on a free port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// When no port can be had.
    pub async fn start(script: Script) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let stage = Arc::new(Stage {
            script: Mutex::new(script),
            delivered: Mutex::default(),
            connections: AtomicUsize::new(0),
            acts: AtomicUsize::new(0),
            changed: Notify::new(),
            hang_up: Notify::new(),
        });
        let mut running = JoinSet::new();
        running.spawn(serve(listener, Arc::clone(&stage)));
        Ok(Self { addr, stage, _running: running })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The mails that it took.
    pub fn delivered(&self) -> Vec<Delivered> {
        lock(&self.stage.delivered).clone()
    }

    /// What it has seen so far.
    pub fn seen(&self) -> Seen {
        Seen {
            connections: self.stage.connections.load(Ordering::SeqCst),
            mails: lock(&self.stage.delivered).len(),
            acts: self.stage.acts.load(Ordering::SeqCst),
        }
    }

    /// Waits until what it has seen is enough.
    pub async fn until(&self, enough: impl Fn(Seen) -> bool) {
        loop {
            // Registered before looking, so that nothing is missed in between.
            let mut changed = std::pin::pin!(self.stage.changed.notified());
            changed.as_mut().enable();
            if enough(self.seen()) {
                return;
            }
            changed.await;
        }
    }

    /// Closes every connection that is open now.
    pub fn hang_up(&self) {
        self.stage.hang_up.notify_waiters();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics on stage")
}

async fn serve(listener: TcpListener, stage: Arc<Stage>) {
    let mut guests = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let number = stage.connections.fetch_add(1, Ordering::SeqCst) + 1;
        let act = lock(&stage.script).connections.pop_front().unwrap_or(Act::Accept);
        stage.changed.notify_waiters();
        let guest = Guest::new(stream, Arc::clone(&stage), number, act);
        // A connection that breaks is the guest's affair.
        let stage = Arc::clone(&stage);
        guests.spawn(async move {
            tokio::select! {
                ended = guest.talk() => drop(ended),
                () = stage.hang_up.notified() => {}
            }
        });
        while guests.try_join_next().is_some() {}
    }
}
