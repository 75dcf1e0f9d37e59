//! The job `send`, run with the real mailer, against a server that behaves as told.

use std::sync::Arc;

use jobs::{
    catalogue,
    contract::{
        Context, Done, JobId, Moment, Outcome, Ports, RunInfo, Scope, Stop,
        fakes::Fakes,
        ports::{EffectState, Mail, MailboxStatus, Phase, Progress},
    },
};
use postrider::mail::{Act, Rehearsal, Script, Transport};
use serde_json::json;

use crate::support::mail::{FROM, config, mailer, rehearsed, tenant};

const TO: &str = "ada@example.org";
const KEY: &str = "send:hello";

struct Stage {
    server: Rehearsal,
    fakes: Fakes,
    ports: Arc<Ports>,
}

impl Stage {
    async fn set(script: Script) -> Self {
        let server = Rehearsal::start(script).await.unwrap();
        let mailer = mailer(&config(), [(FROM, Transport::Smtp(rehearsed(&server)))]);
        let fakes = Fakes::default();
        fakes.mailboxes.put(FROM, MailboxStatus::Enabled);
        let mail: Arc<dyn Mail> = Arc::new(mailer);
        let ports = Arc::new(Ports { mail, ..(*fakes.ports()).clone() });
        Self { server, fakes, ports }
    }

    /// Runs the one job of this stage for the `attempt`th time.
    async fn run(&self, attempt: u32) -> Outcome {
        let payload = json!({
            "channel": "email", "account": FROM, "to": {"email": TO},
            "content": {"subject": "Hello {{firstName}}", "text": "{Hi|Hello} {{firstName}}"},
            "merge": {"firstName": "Ada"}, "effect_key": "hello"
        });
        let info = RunInfo {
            job: JobId::from_u128(1),
            tenant: tenant(),
            attempt,
            max_attempts: 8,
            fence: u64::from(attempt),
            created_at: Moment::from_millis(1_780_000_000_000),
            cursor: None,
        };
        let progress = Arc::clone(&self.fakes.progress) as Arc<dyn Progress>;
        let ctx = Context::new(info, Arc::clone(&self.ports), progress);
        let catalogue = catalogue();
        let kind = catalogue.find("send").unwrap();
        let job = kind.decode(payload.to_string().as_bytes()).unwrap();
        job.perform(Arc::new(ctx)).await
    }

    fn state(&self) -> EffectState {
        self.fakes.ledger.effect(KEY).unwrap().state
    }
}

#[tokio::test]
async fn an_accepted_mail_answers_with_what_the_server_said() {
    let stage = Stage::set(Script::new()).await;
    let outcome = stage.run(1).await;
    let Ok(Done::Finished(result)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(result["smtp"]["code"], json!(250));
    assert_eq!(result["smtp"]["enhanced"], json!("2.0.0"));
    assert_eq!(result["provider_id"], json!("rehearsed"));
    let message = String::from_utf8(stage.server.delivered()[0].message.clone()).unwrap();
    assert!(message.contains(&format!("Message-ID: {}", result["message_id"].as_str().unwrap())));
    assert!(message.contains("Subject: Hello Ada"));
}

#[tokio::test]
async fn a_greylisted_mail_passes_on_its_second_attempt_unchanged() {
    let grey = Act::Say(Phase::Rcpt, "451 4.7.1 Greylisted".into());
    let stage = Stage::set(Script::new().recipient(TO, [grey])).await;
    let first = stage.run(1).await;
    let Err(Stop::Retry { after: Some(after), .. }) = &first else { panic!("{first:?}") };
    assert_eq!(after.as_secs(), 300);
    assert!(matches!(stage.run(2).await, Ok(Done::Finished(_))));
    assert_eq!(stage.server.delivered().len(), 1);
}

#[tokio::test]
async fn a_swallowed_answer_is_never_sent_again() {
    let stage = Stage::set(Script::new().recipient(TO, [Act::Swallow])).await;
    for attempt in 1..=3 {
        let outcome = stage.run(attempt).await;
        let Err(Stop::Cancel { cause }) = &outcome else { panic!("{outcome:?}") };
        assert_eq!(cause.code, "delivery_unknown");
        assert_eq!(stage.state(), EffectState::Unknown);
    }
    assert_eq!(stage.server.delivered().len(), 1);
}

/// A worker that is killed: its run is dropped wherever it is, and the job runs again.
#[tokio::test]
async fn a_run_dropped_before_the_dot_is_sent_once_and_after_it_never_again() {
    for (phase, copies) in [(Phase::Rcpt, 1), (Phase::Dot, 0)] {
        // given a run that hangs at this step
        let stage = Arc::new(Stage::set(Script::new().recipient(TO, [Act::Mute(phase)])).await);
        let hanging = tokio::spawn({
            let stage = Arc::clone(&stage);
            async move { stage.run(1).await }
        });
        stage.server.until(|seen| seen.acts == 1).await;
        // when
        hanging.abort();
        assert!(hanging.await.unwrap_err().is_cancelled());
        let again = stage.run(2).await;
        // then
        assert_eq!(stage.server.delivered().len(), copies, "{phase:?}");
        match phase {
            Phase::Dot => assert!(
                matches!(&again, Err(Stop::Cancel { cause }) if cause.code == "delivery_unknown"),
                "{again:?}"
            ),
            _ => assert!(matches!(&again, Ok(Done::Finished(_))), "{again:?}"),
        }
    }
}

#[tokio::test]
async fn a_throttled_mailbox_puts_its_lane_to_sleep_longer_each_time() {
    let busy = || Act::Say(Phase::Rcpt, "421 4.7.28 unusual rate".into());
    let stage = Stage::set(Script::new().recipient(TO, [busy(), busy()])).await;
    let mut waits = Vec::new();
    for attempt in 1..=2 {
        let began = stage.ports.clock.now();
        let outcome = stage.run(attempt).await;
        let Err(Stop::Snooze { until, scope: Scope::Lane, .. }) = outcome else {
            panic!("{outcome:?}")
        };
        waits.push(until.since(began).as_secs());
    }
    assert_eq!(waits, [3_600, 7_200]);
}

#[tokio::test]
async fn a_bounce_after_the_dot_is_written_down_and_suppresses() {
    let gone = Act::Say(Phase::Dot, "550 5.1.1 no such user".into());
    let stage = Stage::set(Script::new().recipient(TO, [gone])).await;
    let outcome = stage.run(1).await;
    assert!(matches!(&outcome, Err(Stop::Cancel { cause }) if cause.code == "hard_bounce"));
    assert_eq!(stage.state(), EffectState::Refused);
    assert_eq!(stage.fakes.suppressions.reason(TO).as_deref(), Some("hard_bounce"));
    assert!(matches!(stage.run(2).await, Ok(Done::Skipped(_))));
}
