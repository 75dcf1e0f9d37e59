//! The SMTP driver when something breaks: at every step of the dialogue, it is known what that means.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use jobs::contract::{
    Fault,
    ports::{Mail, Meaning, NotSent, Phase, PointOfNoReturn, Refusal},
};
use postrider::mail::{Act, MailConfig, Mailer, Rehearsal, Script, Security, Transport};

use crate::support::mail::{FROM, Gate, config, letter, mailer, rehearsed, tenant};

const TO: &str = "ada@example.org";

/// Where the script says it: at the connection, or at the recipient.
fn script(act: &Act, phase: Phase) -> Script {
    let script = Script::new().login("dev", "s3cret");
    if phase <= Phase::Mail {
        script.connections([act.clone()])
    } else {
        script.recipient(TO, [act.clone()])
    }
}

fn account(server: &Rehearsal) -> Transport {
    let mut account = rehearsed(server);
    account.username = Some("dev".into());
    account.password = Some("s3cret".into());
    Transport::Smtp(account)
}

async fn refusal(mailer: &Mailer, gate: &dyn PointOfNoReturn) -> Refusal {
    let mail = mailer.compose(&letter(FROM, TO, "hi")).unwrap();
    match mailer.send(&tenant(), FROM, &mail, gate).await {
        Err(NotSent::Refused(refusal)) => refusal,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

/// A gate that takes its time: until the server has done what its script says, if it means to.
struct Slow<'s>(&'s Rehearsal);

#[async_trait]
impl PointOfNoReturn for Slow<'_> {
    async fn pass(&self) -> Result<bool, Fault> {
        self.0.until(|seen| seen.acts == 1).await;
        Ok(true)
    }
}

/// The default configuration, but for a deadline at this step that a test can wait for.
fn impatient_at(phase: Phase) -> MailConfig {
    let mut config = config();
    let deadlines = &mut config.deadlines;
    let deadline = match phase {
        Phase::Connect => &mut deadlines.greeting,
        Phase::Tls => &mut deadlines.tls,
        Phase::Auth => &mut deadlines.auth,
        Phase::Mail => &mut deadlines.mail,
        Phase::Rcpt => &mut deadlines.rcpt,
        Phase::Data => &mut deadlines.data,
        Phase::Dot => &mut deadlines.dot,
    };
    *deadline = Duration::from_secs(1);
    config
}

async fn lost_at(phase: Phase, act: Act, meaning: Meaning) {
    // given
    let server = Rehearsal::start(script(&act, phase)).await.unwrap();
    let mailer = mailer(&impatient_at(phase), [(FROM, account(&server))]);
    let gate = Gate::open();
    // when
    let refusal = refusal(&mailer, &gate).await;
    // then
    assert_eq!((refusal.meaning, refusal.phase), (meaning, phase), "{act:?}");
    let past_the_gate = matches!(phase, Phase::Dot);
    assert_eq!(gate.asked(), usize::from(past_the_gate), "{act:?}");
    assert!(server.delivered().is_empty());
    // and the next mail is none the wiser
    let mail = mailer.compose(&letter(FROM, TO, "hi")).unwrap();
    mailer.send(&tenant(), FROM, &mail, &Gate::open()).await.unwrap();
    assert_eq!(server.delivered().len(), 1, "{act:?}");
}

#[tokio::test]
async fn a_lost_connection_is_a_server_away_before_the_dot_and_unknown_after_it() {
    let away = [Phase::Connect, Phase::Auth, Phase::Mail, Phase::Rcpt];
    let rows = away.map(|phase| (phase, Meaning::ServerAway));
    let rows = rows.into_iter().chain([(Phase::Dot, Meaning::Unknown)]);
    let cases = rows.flat_map(|(phase, meaning)| {
        [Act::HangUp(phase), Act::Mute(phase)].map(|act| lost_at(phase, act, meaning))
    });
    futures::future::join_all(cases).await;
}

#[tokio::test]
async fn a_server_that_never_takes_data_is_away() {
    lost_at(Phase::Data, Act::Mute(Phase::Data), Meaning::ServerAway).await;
}

#[tokio::test]
async fn a_server_that_hangs_up_within_the_message_has_not_taken_it() {
    let act = Act::HangUp(Phase::Data);
    let server = Rehearsal::start(script(&act, Phase::Data)).await.unwrap();
    let mailer = mailer(&config(), [(FROM, account(&server))]);
    let refusal = refusal(&mailer, &Slow(&server)).await;
    assert_eq!((refusal.meaning, refusal.phase), (Meaning::ServerAway, Phase::Data));
}

#[tokio::test]
async fn a_swallowed_answer_is_unknown_and_the_mail_was_taken_once() {
    let server = Rehearsal::start(script(&Act::Swallow, Phase::Dot)).await.unwrap();
    let mailer = mailer(&config(), [(FROM, account(&server))]);
    let refusal = refusal(&mailer, &Gate::open()).await;
    assert_eq!((refusal.meaning, refusal.rule), (Meaning::Unknown, 1));
    assert_eq!(server.delivered().len(), 1);
}

#[tokio::test]
async fn a_closed_gate_stops_the_mail_before_its_end() {
    let away = Fault::transient("store_away", "the store is away");
    for answer in [Ok(false), Err(away)] {
        let server = Rehearsal::start(Script::new()).await.unwrap();
        let mailer = mailer(&config(), [(FROM, Transport::Smtp(rehearsed(&server)))]);
        let mail = mailer.compose(&letter(FROM, TO, "hi")).unwrap();
        let sent = mailer.send(&tenant(), FROM, &mail, &Gate::answering(answer.clone())).await;
        assert_eq!(sent, Err(NotSent::Stopped(answer.err())));
        // The connection with half a mail on it is not used again.
        mailer.send(&tenant(), FROM, &mail, &Gate::open()).await.unwrap();
        assert_eq!((server.seen().connections, server.seen().mails), (2, 1));
    }
}

/// lettre's pool reads the answers of a dropped send as those of the next: this one must not.
#[tokio::test]
async fn a_send_that_is_dropped_halfway_leaves_nothing_to_the_next() {
    for phase in [Phase::Rcpt, Phase::Dot] {
        // given a connection that has proved itself, and a mail that hangs on it
        let script = Script::new()
            .recipient("slow@example.org", [Act::Mute(phase)])
            .recipient("gone@example.org", [Act::Say(Phase::Rcpt, "550 5.1.1 no".into())]);
        let server = Rehearsal::start(script).await.unwrap();
        let account = Transport::Smtp(rehearsed(&server));
        let mailer = Arc::new(mailer(&config(), [(FROM, account)]));
        let send = |to: &str| {
            let mailer = Arc::clone(&mailer);
            let mail = mailer.compose(&letter(FROM, to, "hi")).unwrap();
            async move { mailer.send(&tenant(), FROM, &mail, &Gate::open()).await }
        };
        send("first@example.org").await.unwrap();
        let hanging = tokio::spawn(send("slow@example.org"));
        server.until(|seen| seen.acts == 1).await;
        // when
        hanging.abort();
        assert!(hanging.await.unwrap_err().is_cancelled());
        // then the next ones get their own answers, over another connection
        let refused = send("gone@example.org").await;
        assert!(
            matches!(&refused, Err(NotSent::Refused(r)) if r.meaning == Meaning::HardBounce),
            "{refused:?}"
        );
        send("ada@example.org").await.unwrap();
        let taken: Vec<(String, usize)> =
            server.delivered().into_iter().map(|d| (d.to, d.connection)).collect();
        assert_eq!(taken, [("first@example.org".into(), 1), ("ada@example.org".into(), 2)]);
    }
}

#[tokio::test]
async fn tls_is_never_less_than_asked_for() {
    let not_now = || Act::Say(Phase::Tls, "454 4.7.0 not now".into());
    let injected = || Act::Say(Phase::Tls, "220 go\r\n250-evil\r\n250 AUTH PLAIN".into());
    let rows = [
        (Act::Accept, Security::StartTls, Meaning::ConfigError, "does not offer STARTTLS"),
        (not_now(), Security::StartTls, Meaning::ServerAway, "454"),
        // answers in plain text that would be read as if they had come over TLS
        (injected(), Security::StartTls, Meaning::ConfigError, "more than its answer"),
        (Act::HangUp(Phase::Tls), Security::StartTls, Meaning::ServerAway, "went away"),
        // a server that speaks no TLS at all
        (Act::Accept, Security::Tls, Meaning::ConfigError, "corrupt"),
    ];
    for (act, security, meaning, words) in rows {
        let server = Rehearsal::start(Script::new().connections([act.clone()])).await.unwrap();
        let mut account = rehearsed(&server);
        account.security = security;
        let mailer = mailer(&config(), [(FROM, Transport::Smtp(account))]);
        let gate = Gate::open();
        let refusal = refusal(&mailer, &gate).await;
        assert_eq!(
            (refusal.meaning, refusal.phase),
            (meaning, Phase::Tls),
            "{act:?}: {}",
            refusal.message
        );
        assert!(refusal.message.contains(words), "{act:?}: {}", refusal.message);
        assert_eq!(gate.asked(), 0);
        assert!(server.delivered().is_empty());
    }
}

#[tokio::test]
async fn without_protection_only_loopback_is_dialled() {
    let server = Rehearsal::start(Script::new()).await.unwrap();
    let mut account = rehearsed(&server);
    account.host = "192.0.2.1".into(); // TEST-NET-1: never routed
    let mailer = mailer(&config(), [(FROM, Transport::Smtp(account))]);
    let refusal = refusal(&mailer, &Gate::open()).await;
    assert_eq!(refusal.meaning, Meaning::ConfigError);
    assert!(refusal.message.contains("loopback"), "{}", refusal.message);
}

#[tokio::test]
async fn a_closed_port_is_a_server_away() {
    let server = Rehearsal::start(Script::new()).await.unwrap();
    let account = rehearsed(&server);
    drop(server);
    let mailer = mailer(&config(), [(FROM, Transport::Smtp(account))]);
    let refusal = refusal(&mailer, &Gate::open()).await;
    assert_eq!((refusal.meaning, refusal.phase), (Meaning::ServerAway, Phase::Connect));
}

#[tokio::test]
async fn a_certificate_file_that_is_none_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    std::fs::write(&file, "no certificate").unwrap();
    for path in [file, dir.path().join("missing.pem")] {
        let mut config = config();
        config.ca_file = path.clone();
        let accounts = Arc::new(crate::support::mail::FixedAccounts::none());
        let error = Mailer::new(&config, accounts, dir.path()).err().unwrap();
        assert!(
            error.contains("mail.ca_file") && error.contains(path.to_str().unwrap()),
            "{error}"
        );
    }
}
