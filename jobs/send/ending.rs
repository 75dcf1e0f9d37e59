//! How a run ends, and how that is written down.

use std::time::Duration;

use serde_json::{Value, json};

use super::gate::Held;
use crate::contract::{
    Context, Done, Fault, Outcome, Scope, Stop,
    ports::{Composed, EffectState, Letter, Mailbox, Receipt},
};

/// How often a write of what has happened is tried, and how long the first pause between is.
const CLOSE_ATTEMPTS: u32 = 6;
const CLOSE_PAUSE: Duration = Duration::from_millis(200);

/// Says what a dry run would have done.
pub(super) fn dry(ctx: &Context, letter: &Letter, mail: &Composed) -> Done {
    ctx.touched_nothing();
    Done::Finished(json!({
        "dry_run": true,
        "from": mail.from,
        "to": mail.to,
        "subject": letter.subject,
        "message_id": mail.message_id,
        "bytes": mail.bytes.len(),
    }))
}

/// The mail is out. Nothing that fails from here on may make the run look failed.
pub(super) async fn accepted(
    ctx: &Context,
    mailbox: &Mailbox,
    mail: &Composed,
    key: &str,
    receipt: Receipt,
) -> Done {
    let result = json!({
        "message_id": mail.message_id,
        "provider_id": receipt.provider_id,
        "accepted_at": ctx.now(),
        "smtp": receipt.reply,
    });
    // When even the last try fails, the entry stays past the point of no return and is found as
    // unknown: the mail is not sent again, and the job has its result.
    let _ = close(ctx, key, EffectState::Accepted, Some(result.clone())).await;
    if receipt.logged_in {
        // Forgetting refused logins can wait for the next one that works.
        let _ = ctx.ports().mailboxes.login_worked(ctx.tenant(), &mailbox.address).await;
    }
    Done::Finished(result)
}

/// The mail was stopped at the point of no return; nothing was sent.
pub(super) async fn stopped(
    ctx: &Context,
    key: &str,
    held: Option<Held>,
    fault: Option<Fault>,
) -> Outcome {
    // Even when the ledger did not answer: if it did take the step, it is taken back here.
    close(ctx, key, EffectState::Refused, None).await?;
    match (held, fault) {
        (Some(Held::Suppressed(why)), _) => {
            ctx.touched_nothing();
            Ok(Done::Skipped(why))
        }
        (_, Some(fault)) => Err(fault.into()),
        (Some(Held::NotOurs) | None, None) => {
            let until = ctx.now().plus(ctx.ports().mail.pauses().effect_busy);
            let why = "another run took the mail over".to_owned();
            Err(Stop::Snooze { until, why, scope: Scope::Job })
        }
    }
}

/// Writes how the effect ended, again and again for some seconds: what has happened must be known.
pub(super) async fn close(
    ctx: &Context,
    key: &str,
    state: EffectState,
    receipt: Option<Value>,
) -> Result<(), Fault> {
    let mut pause = CLOSE_PAUSE;
    let mut attempt = 1;
    loop {
        let written = ctx.ports().ledger.close(ctx.info(), key, state, receipt.clone(), ctx.now());
        let written = written.await;
        let passing = matches!(written, Err(Fault::Transient(_) | Fault::Throttled { .. }));
        if !passing || attempt == CLOSE_ATTEMPTS {
            return written;
        }
        ctx.ports().clock.sleep(pause).await;
        pause *= 2;
        attempt += 1;
    }
}
