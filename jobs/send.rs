//! `send`: one mail to one person, exactly once as far as the world allows.
//!
//! The run is a pipeline: mailbox, suppression, render, compose, (dry run ends here,) ledger, send,
//! close. The mail passes the point of no return, written to the ledger, right before the byte that
//! ends it goes out; what happens after that without an answer is `unknown`, and never sent again by
//! itself.

mod check;
mod consequence;
mod ending;
mod gate;
mod headers;
mod message_id;
mod render;
mod spintax;
mod template;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::{
    consequence::{Consequence, consequence},
    ending::{accepted, close, dry, stopped},
    gate::Gate,
    render::Rendered,
};
use crate::contract::{
    Cause, Context, Done, Fault, Job, LaneName, Outcome, Problem, Retry, Scope, Stop,
    ports::{
        Composed, EffectState, Letter, Mailbox, MailboxStatus, Meaning, NotSent, Opened, Person,
        Phase, Refusal,
    },
    schema,
};

const MINUTE: Duration = Duration::from_secs(60);

/// One message to one person.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Send {
    /// By which way it goes.
    pub channel: Channel,
    /// The address of the mailbox that it goes out from.
    pub account: String,
    /// Who reads it.
    pub to: Recipient,
    /// What it says, as templates.
    pub content: Content,
    /// The values of merge fields: texts, numbers, booleans; `null` is not given.
    #[serde(default)]
    pub merge: BTreeMap<String, Value>,
    /// Further headers: Reply-To, List-Unsubscribe, List-Unsubscribe-Post, List-Id, X-….
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Names the effect: mails of one tenant with the same key are one mail. By default the job's id.
    #[serde(default)]
    pub effect_key: Option<String>,
    /// Checks, renders and composes, but sends nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// By which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// Mail.
    Email,
}

/// Who reads a message.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recipient {
    /// The address.
    pub email: String,
    /// The name shown beside it.
    #[serde(default)]
    pub name: Option<String>,
}

/// What a message says, as templates: merge fields and spintax.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// The subject.
    pub subject: String,
    /// The plain text part.
    #[serde(default)]
    pub text: Option<String>,
    /// The HTML part; merged values are escaped in it.
    #[serde(default)]
    pub html: Option<String>,
}

impl Job for Send {
    const KIND: &'static str = "send";
    const RETRY: Retry = Retry {
        max_attempts: 8,
        // For faults of ours (the store is away); a server's answers bring waits of their own.
        waits: &[Duration::from_secs(10), MINUTE, Duration::from_secs(300)],
        jitter: 0.2,
    };
    // Above the sum of the SMTP deadlines, which the configuration keeps below this: a run that is
    // aborted while it waits for the last answer is a mail nobody knows about.
    const TIMEOUT: Duration = Duration::from_secs(40 * 60);
    const PATIENCE: Duration = Duration::from_secs(72 * 3_600);

    fn check(&self) -> Vec<Problem> {
        check::check(self)
    }

    fn schema() -> Value {
        schema::<Self>()
    }

    fn example() -> Value {
        json!({
            "channel": "email",
            "account": "dev@example.com",
            "to": {"email": "ada@example.org", "name": "Ada"},
            "content": {
                "subject": "Hello {{firstName}}",
                "text": "{Hi|Hello} {{firstName}}, how do you do?",
            },
            "merge": {"firstName": "Ada"},
        })
    }

    fn lane(&self) -> LaneName {
        LaneName::mailbox(&self.account)
    }

    /// Two unfinished jobs for one effect are one job; a dry run has no effect.
    fn unique(&self) -> Option<String> {
        self.effect_key.clone().filter(|_| !self.dry_run)
    }

    async fn perform(self, ctx: &Context) -> Outcome {
        let mailbox = self.mailbox(ctx).await?;
        if let Some(why) = self.suppressed(ctx).await? {
            ctx.touched_nothing();
            return Ok(Done::Skipped(why));
        }
        let key = self.effect_key.clone().unwrap_or_else(|| ctx.info().job.to_string());
        let rendered = render::render(&self, &key).map_err(|found| invalid(&found))?;
        let mail = self.compose(ctx, &mailbox, rendered, &key)?;
        if self.dry_run {
            return Ok(dry(ctx, &mail.0, &mail.1));
        }
        let key = format!("{}:{key}", Self::KIND);
        if let Some(ended) = open(ctx, &key).await? {
            return Ok(ended);
        }
        self.dispatch(ctx, &mailbox, &mail.1, &key).await
    }
}

/// How long an entry of the ledger that another job holds is left alone: longer than a run may take.
const STALE_AFTER: Duration = Duration::from_secs(45 * 60);

impl Send {
    async fn mailbox(&self, ctx: &Context) -> Result<Mailbox, Stop> {
        let found = ctx.ports().mailboxes.find(ctx.tenant(), &self.account).await?;
        let Some(mailbox) = found else {
            ctx.touched_nothing();
            let words = format!("this tenant has no mailbox {:?}", self.account);
            return Err(Stop::Cancel { cause: Cause::new("unknown_account", words) });
        };
        match &mailbox.status {
            MailboxStatus::Enabled => Ok(mailbox),
            // Its jobs wait: somebody will mend the mailbox, or patience ends.
            MailboxStatus::Disabled(why) => {
                ctx.touched_nothing();
                let until = ctx.now().plus(ctx.ports().mail.pauses().misconfigured);
                let why = format!("the mailbox is disabled: {why}");
                Err(Stop::Snooze { until, why, scope: Scope::Lane })
            }
        }
    }

    async fn suppressed(&self, ctx: &Context) -> Result<Option<String>, Fault> {
        let found = ctx.ports().suppressions.find(ctx.tenant(), &self.to.email).await?;
        Ok(found.map(|s| gate::suppressed(&s)))
    }

    fn compose(
        &self,
        ctx: &Context,
        mailbox: &Mailbox,
        rendered: Rendered,
        key: &str,
    ) -> Result<(Letter, Composed), Fault> {
        let headers = self.headers.iter().map(|(name, value)| (name.clone(), value.clone()));
        let letter = Letter {
            from: Person { email: mailbox.address.clone(), name: mailbox.display_name.clone() },
            to: Person { email: self.to.email.clone(), name: self.to.name.clone() },
            subject: rendered.subject,
            text: rendered.text,
            html: rendered.html,
            headers: headers.collect(),
            message_id: message_id::message_id(ctx.tenant().as_str(), key, &mailbox.address),
            // When it was asked for, not when it is tried: a retry is the same mail to the byte.
            date: ctx.info().created_at,
        };
        let composed = ctx.ports().mail.compose(&letter)?;
        Ok((letter, composed))
    }

    async fn dispatch(
        self,
        ctx: &Context,
        mailbox: &Mailbox,
        mail: &Composed,
        key: &str,
    ) -> Outcome {
        let gate = Gate::new(ctx, key, &self.to.email);
        let sent = ctx.ports().mail.send(ctx.tenant(), &mailbox.address, mail, &gate).await;
        match sent {
            Ok(receipt) => Ok(accepted(ctx, mailbox, mail, key, receipt).await),
            Err(NotSent::Refused(refusal)) => Err(self.refused(ctx, mailbox, key, refusal).await?),
            Err(NotSent::Stopped(fault)) => stopped(ctx, key, gate.held(), fault).await,
            Err(NotSent::Fault(fault)) => {
                close(ctx, key, EffectState::Refused, None).await?;
                Err(fault.into())
            }
        }
    }

    /// Writes down what a refusal means, then says how the run ends.
    async fn refused(
        &self,
        ctx: &Context,
        mailbox: &Mailbox,
        key: &str,
        refusal: Refusal,
    ) -> Result<Stop, Fault> {
        let ports = ctx.ports();
        let state = match refusal.meaning {
            Meaning::Unknown => EffectState::Unknown,
            _ => EffectState::Refused,
        };
        let note = json!({ "phase": refusal.phase, "meaning": refusal.meaning,
            "rule": refusal.rule, "smtp": refusal.reply });
        close(ctx, key, state, Some(note)).await?;
        if refusal.phase <= Phase::Auth {
            ctx.touched_nothing(); // the server never heard of the mail
        }
        let attempt = ctx.info().attempt;
        let Consequence { stop, suppress, login_refused } =
            consequence(&refusal, attempt, ctx.now(), ports.mail.pauses());
        if suppress {
            let to = &self.to.email;
            ports.suppressions.add(ctx.tenant(), to, "hard_bounce", ctx.now()).await?;
        }
        if login_refused {
            let words = &refusal.message;
            ports.mailboxes.login_refused(ctx.tenant(), &mailbox.address, words).await?;
        }
        Ok(stop)
    }
}

/// Takes the effect's entry in the ledger; `Some` when there is nothing left to do.
async fn open(ctx: &Context, key: &str) -> Result<Option<Done>, Stop> {
    match ctx.ports().ledger.open(ctx.info(), key, ctx.now(), STALE_AFTER).await? {
        Opened::Mine => Ok(None),
        Opened::AlreadyAccepted(receipt) => {
            ctx.touched_nothing();
            let mut result = receipt.filter(Value::is_object).unwrap_or_else(|| json!({}));
            result["replayed"] = json!(true);
            Ok(Some(Done::Finished(result)))
        }
        Opened::Unknown => {
            ctx.touched_nothing();
            let words = "an earlier run ended between handing the mail over and hearing the answer: \
                it may have been delivered, so a person must look before it is sent again";
            Err(Stop::Cancel { cause: Cause::new("delivery_unknown", words) })
        }
        Opened::Busy => {
            ctx.touched_nothing();
            let until = ctx.now().plus(ctx.ports().mail.pauses().effect_busy);
            let why = "another job with the same effect key is at work".to_owned();
            Err(Stop::Snooze { until, why, scope: Scope::Job })
        }
    }
}

fn invalid(problems: &[Problem]) -> Stop {
    let words =
        problems.first().map_or_else(String::new, |p| format!("{}: {}", p.pointer, p.message));
    Stop::Cancel { cause: Cause::new("invalid_payload", words) }
}
