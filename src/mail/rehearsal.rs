//! An SMTP server on loopback that behaves as told, for the demo and for tests.
//!
//! It speaks real SMTP over TCP, one mail and one recipient at a time, and takes whatever its
//! [`Script`] says nothing about. It is not a mail server: what it takes stays in memory.

use std::{
    collections::{HashMap, VecDeque},
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jobs::contract::ports::Phase;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinSet,
};

/// The largest mail it takes, in bytes, and the longest line it reads.
const LARGEST: usize = 1 << 20;
const LONGEST_LINE: u64 = 64 << 10;

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
        let guest = Guest {
            stream: BufReader::new(stream),
            stage: Arc::clone(&stage),
            number,
            act: Some(act),
            from: String::new(),
            to: String::new(),
        };
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

/// One connection.
struct Guest {
    stream: BufReader<TcpStream>,
    stage: Arc<Stage>,
    number: usize,
    act: Option<Act>,
    from: String,
    to: String,
}

/// Whether the dialogue goes on.
type Goes = io::Result<bool>;

impl Guest {
    async fn talk(mut self) -> io::Result<()> {
        if !self.step(Phase::Connect, "220 rehearsal ESMTP").await? {
            return Ok(());
        }
        while let Some(line) = self.line().await? {
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            let goes = match verb.as_str() {
                "EHLO" => self.hello().await,
                "STARTTLS" => self.step(Phase::Tls, "454 4.7.0 TLS is not rehearsed").await,
                "AUTH" => self.auth(&line).await,
                "MAIL" => {
                    self.from = in_brackets(&line);
                    self.step(Phase::Mail, "250 2.1.0 ok").await
                }
                "RCPT" => {
                    self.to = in_brackets(&line);
                    self.act = self.stage.for_recipient(&self.to);
                    self.step(Phase::Rcpt, "250 2.1.5 ok").await
                }
                "DATA" => self.data().await,
                "RSET" | "NOOP" => self.say("250 2.0.0 ok").await,
                "QUIT" => {
                    self.say("221 2.0.0 bye").await?;
                    Ok(false)
                }
                _ => self.say("502 5.5.1 not rehearsed").await,
            };
            if !goes? {
                break;
            }
        }
        Ok(())
    }

    async fn hello(&mut self) -> Goes {
        let mut lines = vec!["250-rehearsal".to_owned(), format!("250-SIZE {LARGEST}")];
        let script = lock(&self.stage.script).clone();
        if script.login.is_some() {
            let mechanisms = script.mechanisms.as_deref().unwrap_or("PLAIN LOGIN");
            lines.push(format!("250-AUTH {mechanisms}"));
        }
        if self.act.as_ref().and_then(Act::phase) == Some(Phase::Tls) {
            lines.push("250-STARTTLS".into());
        }
        lines.push("250 ENHANCEDSTATUSCODES".into());
        self.say(&lines.join("\r\n")).await
    }

    async fn auth(&mut self, line: &str) -> Goes {
        if self.act.as_ref().and_then(Act::phase) == Some(Phase::Auth) {
            return self.step(Phase::Auth, "").await;
        }
        let decode = |text: &str| {
            let bytes = STANDARD.decode(text.trim()).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let words: Vec<&str> = line.split(' ').collect();
        let given = if let [_, "PLAIN", response] = words[..] {
            let parts: Vec<String> = decode(response).split('\0').map(str::to_owned).collect();
            parts.get(1).cloned().zip(parts.get(2).cloned())
        } else {
            let mut answers = Vec::new();
            for prompt in ["334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6"] {
                self.say(prompt).await?;
                let answer = self.line().await?.unwrap_or_default();
                answers.push(decode(&String::from_utf8_lossy(&answer)));
            }
            answers.pop().map(|password| (answers.concat(), password))
        };
        let known = lock(&self.stage.script).login.clone();
        if known.is_some() && given == known {
            self.say("235 2.7.0 welcome").await
        } else {
            self.say("535 5.7.8 wrong name or password").await
        }
    }

    async fn data(&mut self) -> Goes {
        if matches!(self.act, Some(Act::Say(Phase::Data, _) | Act::Mute(Phase::Data))) {
            return self.step(Phase::Data, "").await;
        }
        self.say("354 go ahead").await?;
        let mut message = Vec::new();
        loop {
            let Some(line) = self.line().await? else { return Ok(false) };
            if matches!(self.act, Some(Act::HangUp(Phase::Data))) {
                return self.step(Phase::Data, "").await;
            }
            if line == b".\r\n" {
                break;
            }
            message.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
            if message.len() > LARGEST {
                self.say("552 5.3.4 too large").await?;
                return Ok(false);
            }
        }
        let taken = matches!(self.act, None | Some(Act::Accept | Act::Swallow));
        if taken {
            let (from, to) = (self.from.clone(), self.to.clone());
            let delivered = Delivered { from, to, message, connection: self.number };
            lock(&self.stage.delivered).push(delivered);
            self.stage.changed.notify_waiters();
        }
        self.step(Phase::Dot, "250 2.0.0 OK id=rehearsed").await
    }

    /// Does what the script says for this step, or answers `usual`.
    async fn step(&mut self, phase: Phase, usual: &str) -> Goes {
        let here = self.act.as_ref().and_then(Act::phase) == Some(phase);
        if here {
            self.stage.acts.fetch_add(1, Ordering::SeqCst);
            self.stage.changed.notify_waiters();
        }
        match if here { self.act.take() } else { None } {
            Some(Act::Say(_, line)) => {
                self.say(&line).await?;
                Ok(!line.starts_with("421"))
            }
            Some(Act::HangUp(_) | Act::Swallow) => Ok(false),
            Some(Act::Mute(_)) => {
                // Until the other side gives up.
                while self.line().await?.is_some() {}
                Ok(false)
            }
            Some(Act::Accept) | None => self.say(usual).await,
        }
    }

    async fn say(&mut self, lines: &str) -> Goes {
        self.stream.write_all(format!("{lines}\r\n").as_bytes()).await?;
        Ok(true)
    }

    async fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        (&mut self.stream).take(LONGEST_LINE).read_until(b'\n', &mut line).await?;
        Ok(line.ends_with(b"\n").then_some(line))
    }
}

fn in_brackets(line: &str) -> String {
    let inner = line.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inner.map_or_else(String::new, |(address, _)| address.to_owned())
}
