//! One connection, and the dialogue over it. Every step knows its phase and has its deadline.
//!
//! A session is owned by the send that uses it. Dropping that future drops the session, and with it
//! the connection: a server discards a mail whose end it has not seen (RFC 5321 section 3.3), and no
//! late answer can be taken for the next mail's.

use std::time::{Duration, Instant};

use jobs::contract::ports::{Composed, Phase, PointOfNoReturn, Reply};
use lettre::{
    Address,
    transport::smtp::{
        Error as SmtpError,
        authentication::{Credentials, Mechanism},
        client::AsyncSmtpConnection,
        commands::{Auth, Data, Ehlo, Mail, Quit, Rcpt, Rset, Starttls},
        extension::{ClientId, MailParameter},
    },
};
use secrecy::ExposeSecret;
use tokio::{io::AsyncWriteExt, time::timeout};

use super::{
    answer::{Extensions, Trouble, positive, step},
    dial,
    wire::Wire,
};
use crate::mail::{
    account::{Security, SmtpAccount},
    config::Deadlines,
};

/// How long a connection that is in trouble may take to say its last words, or to be reset.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// A connection that is ready for a mail.
pub(super) struct Session {
    connection: AsyncSmtpConnection,
    wire: Wire,
    extensions: Extensions,
    deadlines: Deadlines,
    /// When it was opened.
    pub(super) opened: Instant,
    /// Mails that went over it.
    pub(super) mails: u32,
}

impl Session {
    /// Connects, protects the connection and logs in, as the account asks for.
    pub(super) async fn open(
        account: &SmtpAccount,
        hello: &ClientId,
        tls: &tokio_rustls::TlsConnector,
        deadlines: Deadlines,
    ) -> Result<Self, Trouble> {
        let wire = dial::dial(account, tls, &deadlines).await?;
        let greeting = AsyncSmtpConnection::connect_with_transport(Box::new(wire.clone()), hello);
        let connection = step(Phase::Connect, deadlines.greeting, greeting).await?;
        let extensions = Extensions::read(&wire.take_notes());
        let opened = Instant::now();
        let mut session = Self { connection, wire, extensions, deadlines, opened, mails: 0 };
        if account.security == Security::StartTls {
            session.starttls(account, hello, tls).await?;
        }
        session.login(account).await?;
        Ok(session)
    }

    async fn starttls(
        &mut self,
        account: &SmtpAccount,
        hello: &ClientId,
        tls: &tokio_rustls::TlsConnector,
    ) -> Result<(), Trouble> {
        let limit = self.deadlines.tls;
        let wrong = |words: &str| {
            Err(Trouble::Misconfigured { phase: Phase::Tls, words: words.to_owned() })
        };
        if !self.extensions.starttls {
            return wrong("the server does not offer STARTTLS, and nothing less will do");
        }
        self.command(Phase::Tls, limit, Starttls, &[220]).await?;
        let Some(stream) = self.wire.take_plain() else {
            return wrong("the server sent more than its answer to STARTTLS before TLS began");
        };
        self.wire.put_tls(dial::handshake(&account.host, stream, tls, limit).await?);
        // What was said in plain text does not count (RFC 3207 section 4.2).
        self.wire.take_notes();
        self.command(Phase::Tls, limit, Ehlo::new(hello.clone()), &[250]).await?;
        self.extensions = Extensions::read(&self.wire.take_notes());
        Ok(())
    }

    async fn login(&mut self, account: &SmtpAccount) -> Result<(), Trouble> {
        let Some(username) = &account.username else { return Ok(()) };
        let Some(password) = &account.password else {
            let words = "the account has a username and no password".to_owned();
            return Err(Trouble::Misconfigured { phase: Phase::Auth, words });
        };
        let mechanism = match (self.extensions.plain, self.extensions.login) {
            (true, _) => Mechanism::Plain,
            (false, true) => Mechanism::Login,
            (false, false) => {
                let words = "the server offers neither AUTH PLAIN nor AUTH LOGIN".to_owned();
                return Err(Trouble::Misconfigured { phase: Phase::Auth, words });
            }
        };
        let secret = password.expose_secret().to_owned();
        let credentials = Credentials::new(username.clone(), secret);
        let limit = self.deadlines.auth;
        step(Phase::Auth, limit, authenticate(&mut self.connection, mechanism, credentials)).await
    }

    /// Whether the connection may be given another mail: the server has not spoken since.
    pub(super) fn is_quiet(&self) -> bool {
        self.wire.is_quiet()
    }

    /// Sends one mail to its one recipient, asking the gate right before the final dot.
    pub(super) async fn transact(
        &mut self,
        mail: &Composed,
        gate: &dyn PointOfNoReturn,
    ) -> Result<Reply, Trouble> {
        let Deadlines { mail: sender, rcpt, data, dot, .. } = self.deadlines;
        let mut parameters = Vec::new();
        if self.extensions.size {
            parameters.push(MailParameter::Size(mail.bytes.len()));
        }
        let from = address(&mail.from, Phase::Mail)?;
        let to = address(&mail.to, Phase::Rcpt)?;
        self.command(Phase::Mail, sender, Mail::new(Some(from), parameters), &[250]).await?;
        self.command(Phase::Rcpt, rcpt, Rcpt::new(to, Vec::new()), &[250, 251, 252]).await?;
        self.command(Phase::Data, data, Data, &[354]).await?;
        self.body(&mail.bytes).await?;
        self.listen().await?;
        match gate.pass().await {
            Ok(true) => {}
            Ok(false) => return Err(Trouble::Stopped(None)),
            Err(fault) => return Err(Trouble::Stopped(Some(fault))),
        }
        // The gate asks our store, which may take a while; the dot has not been written yet, so a
        // server that hung up meanwhile cannot have taken the mail.
        self.listen().await?;
        let reply = self.command(Phase::Dot, dot, ".\r\n", &[250]).await?;
        self.mails += 1;
        Ok(reply)
    }

    /// Writes the message up to, and not including, its final dot.
    async fn body(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        let stuffed = stuff(bytes);
        let wire = &mut self.wire;
        let writing = async {
            wire.write_all(&stuffed).await?;
            wire.flush().await
        };
        let words = match timeout(self.deadlines.body, writing).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("it was not taken within {} s", self.deadlines.body.as_secs()),
        };
        self.last_words(words).await
    }

    /// Makes sure that the server has not spoken before its turn.
    async fn listen(&mut self) -> Result<(), Trouble> {
        // Lets the runtime look at its sockets: what has arrived is not known before.
        tokio::task::yield_now().await;
        if self.wire.is_quiet() {
            return Ok(());
        }
        self.last_words("the server broke off".to_owned()).await
    }

    /// The server's answer to a mail that it did not hear to the end, if it gives one.
    async fn last_words(&mut self, words: String) -> Result<(), Trouble> {
        let said = step(Phase::Data, LAST_WORDS, self.connection.read_response()).await;
        match said {
            Err(refused @ Trouble::Refused { .. }) => Err(refused),
            _ => Err(Trouble::Lost { phase: Phase::Data, words }),
        }
    }

    /// Ends a transaction that was refused, so that the connection can be used for another mail.
    pub(super) async fn reset(&mut self) -> Result<(), Trouble> {
        self.command(Phase::Mail, LAST_WORDS, Rset, &[250]).await.map(drop)
    }

    /// Says goodbye. Nobody waits for the answer for long.
    pub(super) async fn quit(mut self) {
        let _ = self.command(Phase::Connect, LAST_WORDS, Quit, &[221]).await;
    }

    async fn command(
        &mut self,
        phase: Phase,
        limit: Duration,
        command: impl std::fmt::Display,
        expected: &[u16],
    ) -> Result<Reply, Trouble> {
        let response = step(phase, limit, self.connection.command(command)).await?;
        let reply = positive(&response);
        if expected.contains(&reply.code) {
            return Ok(reply);
        }
        let words = format!("the server answered {} where {expected:?} was due", reply.code);
        Err(Trouble::Lost { phase, words })
    }
}

/// The steps of AUTH (RFC 4954). lettre's own would trust what was offered before TLS.
async fn authenticate(
    connection: &mut AsyncSmtpConnection,
    mechanism: Mechanism,
    credentials: Credentials,
) -> Result<(), SmtpError> {
    let mut command = Auth::new(mechanism, credentials.clone(), None)?;
    // LOGIN asks twice; whoever asks more often does not want to let us in.
    for _ in 0..4 {
        let response = connection.command(command).await?;
        if !response.has_code(334) {
            return Ok(());
        }
        command = Auth::new_from_response(mechanism, credentials.clone(), &response)?;
    }
    // The command that is one too many is the answer that a server like that gets: none.
    connection.read_response().await.map(drop)
}

fn address(text: &str, phase: Phase) -> Result<Address, Trouble> {
    text.parse().map_err(|_| {
        let words = "an address of the mail is not one".to_owned();
        Trouble::Misconfigured { phase, words }
    })
}

/// Doubles the dots that begin lines (RFC 5321 section 4.5.2) and ends the last line.
fn stuff(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 64 + 2);
    let mut line_start = true;
    for byte in bytes {
        if line_start && *byte == b'.' {
            out.push(b'.');
        }
        out.push(*byte);
        line_start = *byte == b'\n';
    }
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_at_the_start_of_lines_are_doubled() {
        assert_eq!(stuff(b".a\r\n..b\r\nc."), b"..a\r\n...b\r\nc.\r\n");
        assert_eq!(stuff(b""), b"\r\n");
        assert_eq!(stuff(b"a\r\n"), b"a\r\n");
    }
}
