//! Tests of `send`: its run with ports in memory.

mod checks;

use futures::executor::block_on;
use serde_json::{Value, json};

use super::Send;
use crate::contract::{
    Cause, Done, Fault, Job, Outcome, Scope, Stop,
    fakes::Fakes,
    ports::{EffectState, MailboxStatus, Meaning, NotSent, Phase, Refusal, Reply},
};

const FROM: &str = "dev@example.com";
const TO: &str = "ada@example.org";
const KEY: &str = "send:hello-ada";

fn payload() -> Value {
    json!({
        "channel": "email",
        "account": FROM,
        "to": {"email": TO, "name": "Ada"},
        "content": {"subject": "Hello {{firstName}}", "text": "{Hi|Hello} {{firstName}}"},
        "merge": {"firstName": "Ada"},
        "headers": {},
        "effect_key": "hello-ada",
        "dry_run": false
    })
}

/// The payload with the value at a pointer replaced; `merge/x` may be new.
fn with(pointer: &str, value: Value) -> Value {
    let mut payload = payload();
    let (parent, last) = pointer.rsplit_once('/').unwrap();
    payload.pointer_mut(parent).unwrap()[last] = value;
    payload
}

fn job(payload: Value) -> Send {
    serde_json::from_value(payload).unwrap()
}

fn fakes() -> Fakes {
    let fakes = Fakes::default();
    fakes.mailboxes.put(FROM, MailboxStatus::Enabled);
    fakes
}

fn run(fakes: &Fakes, fence: u64, payload: Value) -> Outcome {
    block_on(job(payload).perform(&fakes.context(1, fence)))
}

fn refusal(meaning: Meaning, phase: Phase, code: u16) -> NotSent {
    let reply = Some(Reply { code, enhanced: None, text: "no".into() });
    let message = "the server said no".into();
    NotSent::Refused(Refusal { meaning, phase, reply, rule: 1, message, in_a_row: 1 })
}

fn state(fakes: &Fakes) -> Option<EffectState> {
    fakes.ledger.effect(KEY).map(|effect| effect.state)
}

fn cancelled(outcome: Outcome) -> Cause {
    match outcome {
        Err(Stop::Cancel { cause }) => cause,
        other => panic!("expected a cancel, got {other:?}"),
    }
}

#[test]
fn an_accepted_mail_is_finished_and_written_down() {
    // given
    let fakes = fakes();
    // when
    let outcome = run(&fakes, 1, payload());
    // then
    let Ok(Done::Finished(result)) = outcome else { panic!("{outcome:?}") };
    let sent = fakes.mail.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].from.as_str(), sent[0].to.as_str()), (FROM, TO));
    assert_eq!(result["message_id"], json!(sent[0].message_id));
    assert_eq!(result["smtp"], Value::Null);
    let effect = fakes.ledger.effect(KEY).unwrap();
    assert_eq!((effect.state, effect.receipt), (EffectState::Accepted, Some(result)));
}

#[test]
fn the_same_effect_again_is_answered_and_not_sent() {
    // given
    let fakes = fakes();
    let first = run(&fakes, 1, payload());
    // when another job with the same key runs
    let ctx = fakes.context(2, 1);
    let second = block_on(job(payload()).perform(&ctx));
    // then
    let (Ok(Done::Finished(first)), Ok(Done::Finished(second))) = (first, second) else {
        panic!("both are done");
    };
    assert_eq!(second["message_id"], first["message_id"]);
    assert_eq!(second["replayed"], json!(true));
    assert_eq!(fakes.mail.sent().len(), 1);
    assert!(ctx.has_touched_nothing());
}

#[test]
fn a_retry_is_the_same_mail_to_the_byte() {
    // given a mail that is greylisted first
    let fakes = fakes();
    fakes.mail.fail_before_gate(refusal(Meaning::Greylisted, Phase::Rcpt, 451));
    // when
    let first = run(&fakes, 1, payload());
    fakes.clock.advance(std::time::Duration::from_secs(300));
    let second = run(&fakes, 2, payload());
    // then
    assert!(matches!(first, Err(Stop::Retry { .. })), "{first:?}");
    assert!(matches!(second, Ok(Done::Finished(_))), "{second:?}");
    let letters = fakes.mail.letters();
    assert_eq!(letters[0], letters[1]);
    assert_eq!(fakes.mail.sent().len(), 1);
}

#[test]
fn a_run_that_vanished_past_the_point_of_no_return_is_never_repeated() {
    // given a run that was aborted between the dot and the answer: nobody closed its entry
    let fakes = fakes();
    fakes.ledger.fail_closing(6);
    fakes.mail.fail_after_gate(refusal(Meaning::Later, Phase::Dot, 451));
    let aborted = run(&fakes, 1, payload());
    assert!(matches!(aborted, Err(Stop::Retry { .. })), "{aborted:?}");
    assert_eq!(state(&fakes), Some(EffectState::Dispatching));
    // when
    let outcome = run(&fakes, 2, payload());
    // then
    assert_eq!(cancelled(outcome).code, "delivery_unknown");
    assert_eq!(state(&fakes), Some(EffectState::Unknown));
    assert_eq!(fakes.mail.sent().len(), 0);
}

#[test]
fn no_answer_after_the_dot_is_unknown() {
    let fakes = fakes();
    fakes.mail.fail_after_gate(refusal(Meaning::Unknown, Phase::Dot, 0));
    assert_eq!(cancelled(run(&fakes, 1, payload())).code, "delivery_unknown");
    assert_eq!(state(&fakes), Some(EffectState::Unknown));
    assert_eq!(cancelled(run(&fakes, 2, payload())).code, "delivery_unknown");
    assert!(fakes.mail.sent().is_empty());
}

#[test]
fn an_effect_that_another_job_holds_is_waited_for() {
    // given another job's entry in intent
    let fakes = fakes();
    fakes.mail.fail_before_gate(NotSent::Fault(Fault::transient("store_away", "away")));
    assert!(matches!(run(&fakes, 1, payload()), Err(Stop::Retry { .. })));
    // when
    let ctx = fakes.context(2, 1);
    let outcome = block_on(job(payload()).perform(&ctx));
    // then
    let Err(Stop::Snooze { scope: Scope::Job, .. }) = outcome else { panic!("{outcome:?}") };
    assert!(ctx.has_touched_nothing());
}

#[test]
fn an_accepted_mail_stays_accepted_while_the_store_is_away() {
    let fakes = fakes();
    fakes.ledger.fail_closing(4);
    assert!(matches!(run(&fakes, 1, payload()), Ok(Done::Finished(_))));
    assert_eq!(state(&fakes), Some(EffectState::Accepted));

    let fakes = self::fakes();
    fakes.ledger.fail_closing(1_000);
    assert!(matches!(run(&fakes, 1, payload()), Ok(Done::Finished(_))));
    assert_eq!(state(&fakes), Some(EffectState::Dispatching));
}

#[test]
fn nothing_is_sent_when_the_point_of_no_return_cannot_be_written() {
    let fakes = fakes();
    fakes.ledger.fail_dispatching(1);
    assert!(matches!(run(&fakes, 1, payload()), Err(Stop::Retry { .. })));
    assert!(fakes.mail.sent().is_empty());
    assert_eq!(state(&fakes), Some(EffectState::Refused));
    assert!(matches!(run(&fakes, 2, payload()), Ok(Done::Finished(_))));
}

#[test]
fn a_recipient_who_unsubscribes_meanwhile_gets_nothing() {
    let fakes = fakes();
    let suppressions = std::sync::Arc::clone(&fakes.suppressions);
    fakes.mail.meanwhile(move || suppressions.put(TO, "unsubscribed"));
    let outcome = run(&fakes, 1, payload());
    let Ok(Done::Skipped(why)) = outcome else { panic!("{outcome:?}") };
    assert!(why.contains("unsubscribed"), "{why}");
    assert!(fakes.mail.sent().is_empty());
}

#[test]
fn a_suppressed_recipient_is_skipped_before_anything_connects() {
    for suppressed in [TO, "example.org"] {
        let fakes = fakes();
        fakes.suppressions.put(suppressed, "manual");
        assert!(matches!(run(&fakes, 1, payload()), Ok(Done::Skipped(_))));
        assert!(fakes.mail.letters().is_empty());
    }
}

#[test]
fn a_hard_bounce_suppresses_and_a_refused_login_is_counted_and_forgotten() {
    let fakes = fakes();
    fakes.mail.fail_before_gate(refusal(Meaning::AuthInvalid, Phase::Auth, 535));
    let outcome = run(&fakes, 1, payload());
    assert!(matches!(outcome, Err(Stop::Snooze { scope: Scope::Lane, .. })), "{outcome:?}");
    assert_eq!(fakes.mailboxes.refused(FROM), 1);

    assert!(matches!(run(&fakes, 2, payload()), Ok(Done::Finished(_))));
    assert_eq!(fakes.mailboxes.refused(FROM), 0);

    fakes.mail.fail_before_gate(refusal(Meaning::HardBounce, Phase::Rcpt, 550));
    let other = with("/effect_key", json!("second"));
    assert_eq!(cancelled(run(&fakes, 1, other)).code, "hard_bounce");
    assert_eq!(fakes.suppressions.reason(TO).as_deref(), Some("hard_bounce"));
}

#[test]
fn a_mailbox_must_exist_and_be_enabled() {
    let fakes = Fakes::default();
    assert_eq!(cancelled(run(&fakes, 1, payload())).code, "unknown_account");
    fakes.mailboxes.put(FROM, MailboxStatus::Disabled("its login is refused".into()));
    let outcome = run(&fakes, 1, payload());
    let Err(Stop::Snooze { scope: Scope::Lane, why, .. }) = outcome else { panic!("{outcome:?}") };
    assert!(why.contains("its login is refused"), "{why}");
}

#[test]
fn a_dry_run_says_what_it_would_have_done_and_does_nothing() {
    let fakes = fakes();
    let ctx = fakes.context(1, 1);
    let outcome = block_on(job(with("/dry_run", json!(true))).perform(&ctx));
    let Ok(Done::Finished(result)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(result["dry_run"], json!(true));
    assert_eq!(result["subject"], json!("Hello Ada"));
    assert_eq!((&result["from"], &result["to"]), (&json!(FROM), &json!(TO)));
    assert!(result["bytes"].as_u64().unwrap() > 0);
    assert!(fakes.mail.sent().is_empty());
    assert_eq!(state(&fakes), None);
    assert!(ctx.has_touched_nothing());
}

#[test]
fn without_a_key_every_job_is_an_effect_of_its_own() {
    let fakes = fakes();
    let payload = with("/effect_key", Value::Null);
    for number in [1, 2] {
        let outcome = block_on(job(payload.clone()).perform(&fakes.context(number, 1)));
        assert!(matches!(outcome, Ok(Done::Finished(_))), "{outcome:?}");
    }
    let sent = fakes.mail.sent();
    assert_eq!(sent.len(), 2);
    assert_ne!(sent[0].message_id, sent[1].message_id);
}
