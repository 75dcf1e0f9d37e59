//! One connection of the rehearsal.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jobs::contract::ports::Phase;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use super::{Act, Delivered, Stage, lock};

/// The largest mail it takes, in bytes, and the longest line it reads.
const LARGEST: usize = 1 << 20;
const LONGEST_LINE: u64 = 64 << 10;

/// One connection.
pub(super) struct Guest {
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
    pub(super) fn new(stream: TcpStream, stage: Arc<Stage>, number: usize, act: Act) -> Self {
        Self {
            stream: BufReader::new(stream),
            stage,
            number,
            act: Some(act),
            from: String::new(),
            to: String::new(),
        }
    }

    /// Talks until one side has had enough.
    pub(super) async fn talk(mut self) -> io::Result<()> {
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
