//! Composing and sending mail, without naming a protocol's library.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::contract::{Fault, Moment, TenantId};

/// A name and an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The address, `local@domain`.
    pub email: String,
    /// The name shown beside it.
    pub name: Option<String>,
}

/// A mail before it is bytes. Every text is final: merged, spun and free of control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Who writes; also the envelope sender.
    pub from: Person,
    /// Who reads; the only recipient.
    pub to: Person,
    /// The subject.
    pub subject: String,
    /// The plain text part; at least one part is there.
    pub text: Option<String>,
    /// The HTML part.
    pub html: Option<String>,
    /// Further headers, names as allowed by `send`.
    pub headers: Vec<(String, String)>,
    /// The Message-ID, with its angle brackets.
    pub message_id: String,
    /// The Date header.
    pub date: Moment,
}

/// A mail as bytes, ready for the wire: CRLF line ends, no dot-stuffing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Composed {
    /// Envelope sender.
    pub from: String,
    /// Envelope recipient.
    pub to: String,
    /// The Message-ID, with its angle brackets.
    pub message_id: String,
    /// The message.
    pub bytes: Vec<u8>,
}

/// What a server answered (RFC 5321 section 4.2, RFC 2034).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The basic code, 200 to 599.
    pub code: u16,
    /// The enhanced code, `5.1.1`, if there was one.
    pub enhanced: Option<String>,
    /// The text, its lines joined by spaces, without the codes.
    pub text: String,
}

/// The step of the dialogue at which something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Name look-up, TCP, greeting, EHLO.
    Connect,
    /// STARTTLS or TLS from the first byte.
    Tls,
    /// AUTH.
    Auth,
    /// MAIL FROM.
    Mail,
    /// RCPT TO.
    Rcpt,
    /// DATA and the message up to its last line.
    Data,
    /// After the final dot: from here on the server may have taken the message.
    Dot,
}

/// Where an accepted mail went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The server's last word; `None` where there is no server (the file transport).
    pub reply: Option<Reply>,
    /// The id that the provider gave it: a replaced Message-ID, a queue id, or the file's path inside
    /// the data directory.
    pub provider_id: Option<String>,
    /// Whether the mailbox's login was asked for, and worked, for this mail.
    pub logged_in: bool,
}

/// A mail that was not taken, with everything the table of replies said about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What it means.
    pub meaning: Meaning,
    /// Where in the dialogue it happened.
    pub phase: Phase,
    /// The server's words, if it said anything.
    pub reply: Option<Reply>,
    /// The row of the table that decided, for looking it up.
    pub rule: u8,
    /// What happened, as a sentence without secrets.
    pub message: String,
    /// The how manieth refusal of this meaning this is without an accepted mail of the mailbox in
    /// between, from 1, as far as this process knows.
    pub in_a_row: u32,
}

/// What a refusal means for the job, the recipient or the mailbox (the table of replies).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Meaning {
    /// No answer after the final dot: it may have been delivered. Never sent again by itself.
    Unknown,
    /// The server is away or closed the connection before the dot.
    ServerAway,
    /// The recipient does not exist: suppress the address.
    HardBounce,
    /// Our configuration, or TLS, is wrong: the mailbox waits.
    ConfigError,
    /// The login is refused: the mailbox waits at once, against lock-outs.
    AuthInvalid,
    /// The login cannot be checked now.
    AuthLater,
    /// The mailbox's own quota is spent: the mailbox waits; the recipient is not bounced.
    QuotaSpent,
    /// The recipient gets mail too fast.
    RecipientBusy,
    /// The provider slows the mailbox down.
    RateLimited,
    /// Greylisting (RFC 6647): come back a little later with the same envelope.
    Greylisted,
    /// Any other temporary answer.
    Later,
    /// The recipient's mailbox is full or asleep.
    SoftBounce,
    /// The message itself is refused: size, form.
    MessageError,
    /// The envelope sender is refused for this account.
    SenderRefused,
    /// SPF, DKIM or DMARC of the sender's domain failed.
    AuthenticationBlocked,
    /// Blocked by policy or reputation: not a bad address.
    PolicyBlocked,
    /// Any other permanent answer.
    Failed,
}

/// How long to wait after a refusal, by what it means.
///
/// A schedule is the wait after the first, second, … time; its last entry repeats. An empty one does
/// not wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pauses {
    /// The server is away: the lane, or the mail when it is the mail that drives the server away.
    pub server_away: Vec<Duration>,
    /// Greylisting: the mail.
    pub greylisted: Vec<Duration>,
    /// Other temporary answers: the mail.
    pub later: Vec<Duration>,
    /// The provider slows the mailbox down: the lane.
    pub rate_limited: Vec<Duration>,
    /// The recipient gets mail too fast: the mail.
    pub recipient_busy: Duration,
    /// The mailbox's quota is spent: the lane, tried again until its day has passed.
    pub quota_spent: Duration,
    /// The mailbox has too many connections open: the lane.
    pub connections_spent: Duration,
    /// The login is refused: the lane, against lock-outs.
    pub login_refused: Duration,
    /// The login cannot be checked now: the lane.
    pub login_later: Duration,
    /// The mailbox is disabled, or something about it must be mended by a person: the lane.
    pub misconfigured: Duration,
    /// Another job holds the same effect: the mail.
    pub effect_busy: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        const SECOND: Duration = Duration::from_secs(1);
        const MINUTE: Duration = Duration::from_secs(60);
        const HOUR: Duration = Duration::from_secs(3_600);
        Self {
            server_away: vec![SECOND * 30, MINUTE * 2, MINUTE * 5, MINUTE * 15, MINUTE * 30],
            greylisted: vec![MINUTE * 5, MINUTE * 10, MINUTE * 20, MINUTE * 40],
            later: vec![MINUTE * 15, MINUTE * 30, HOUR, HOUR * 2, HOUR * 3],
            rate_limited: vec![HOUR, HOUR * 2, HOUR * 4],
            recipient_busy: HOUR,
            quota_spent: HOUR,
            connections_spent: SECOND * 30,
            login_refused: MINUTE * 15,
            login_later: MINUTE * 15,
            misconfigured: HOUR,
            effect_busy: SECOND * 30,
        }
    }
}

/// The question asked right before the final dot: may this mail go out?
#[async_trait]
pub trait PointOfNoReturn: Send + Sync {
    /// Commits that the mail may have been delivered from now on; `false` when it must not go out.
    ///
    /// # Errors
    ///
    /// A fault when that cannot be committed: the mail must not go out.
    async fn pass(&self) -> Result<bool, Fault>;
}

/// How sending ended when the mail was not accepted.
#[derive(Debug, Clone, PartialEq)]
pub enum NotSent {
    /// The table of replies knows what it means.
    Refused(Refusal),
    /// [`PointOfNoReturn::pass`] said no, or could not say yes; nothing was sent.
    Stopped(Option<Fault>),
    /// Something of ours failed before anything was sent.
    Fault(Fault),
}

/// Composing and sending mail.
#[async_trait]
pub trait Mail: Send + Sync {
    /// How long to wait after refusals.
    fn pauses(&self) -> &Pauses;

    /// Turns a letter into bytes; connects to nothing.
    ///
    /// # Errors
    ///
    /// A permanent fault when no valid message can be made of it.
    fn compose(&self, letter: &Letter) -> Result<Composed, Fault>;

    /// Sends a composed mail from the tenant's mailbox `account`, asking `gate` right before the
    /// final dot. Dropping the future closes the connection it used.
    ///
    /// # Errors
    ///
    /// Why the mail was not accepted.
    async fn send(
        &self,
        tenant: &TenantId,
        account: &str,
        mail: &Composed,
        gate: &dyn PointOfNoReturn,
    ) -> Result<Receipt, NotSent>;
}
