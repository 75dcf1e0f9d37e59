//! Against a real mail system: Exim takes the mail, Dovecot shows it over IMAP.
//!
//! `POSTRIDER_TEST_MAIL` names its directory; `tests/support/mailstack.sh start DIR` starts it.

use std::{sync::Arc, time::Duration};

use futures::TryStreamExt;
use jobs::contract::ports::{Letter, Mail, Meaning, NotSent, Phase, Refusal};
use mail_parser::MessageParser;
use postrider::mail::{Mailer, Security, SmtpAccount, Transport};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream, rustls};

use crate::support::mail::{Gate, MailStack, letter, mailer, tenant};

const ALICE: &str = "alice@sender.test";
const CAPPED: &str = "capped@sender.test";

fn connect(stack: &MailStack, address: &'static str, account: SmtpAccount) -> Mailer {
    mailer(&stack.config(), [(address, Transport::Smtp(account))])
}

fn alice(stack: &MailStack, security: Security) -> Mailer {
    connect(stack, ALICE, stack.account(ALICE, "secret", security))
}

/// A word that no other test has.
fn unique() -> String {
    jobs::contract::JobId::generate().to_string().replace('_', "-").to_lowercase()
}

async fn refusal(mailer: &Mailer, from: &str, letter: &Letter) -> Refusal {
    let mail = mailer.compose(letter).unwrap();
    match mailer.send(&tenant(), from, &mail, &Gate::open()).await {
        Err(NotSent::Refused(refusal)) => refusal,
        other => panic!("{}: expected a refusal, got {other:?}", letter.to.email),
    }
}

type Inbox = async_imap::Session<TlsStream<TcpStream>>;

async fn inbox(stack: &MailStack, user: &str) -> Inbox {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(stack.value("MAIL_CA")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let port = stack.port("MAIL_IMAPS_PORT");
    let tcp = TcpStream::connect((stack.value("MAIL_HOST"), port)).await.unwrap();
    let name = stack.value("MAIL_HOST").to_owned().try_into().unwrap();
    let tls = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap();
    let mut client = async_imap::Client::new(tls);
    client.read_response().await.unwrap().expect("a greeting");
    client.login(user, "secret").await.map_err(|(error, _)| error).unwrap()
}

/// Every mail in the inbox with this Message-ID; waits until there is one.
async fn arrived(inbox: &mut Inbox, message_id: &str) -> Vec<Vec<u8>> {
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    let search = async {
        loop {
            tick.tick().await;
            inbox.select("INBOX").await.unwrap();
            let query = format!("HEADER Message-ID \"{message_id}\"");
            let found = inbox.uid_search(query).await.unwrap();
            if !found.is_empty() {
                return found;
            }
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(20), search).await.expect("it arrives");
    let uids = found.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let fetched = inbox.uid_fetch(uids, "BODY.PEEK[]").await.unwrap();
    let mails: Vec<_> = fetched.try_collect().await.unwrap();
    mails.iter().map(|mail| mail.body().expect("a body").to_vec()).collect()
}

#[tokio::test]
async fn a_mail_really_arrives_over_starttls_and_over_tls() {
    let stack = MailStack::from_env();
    let mut inbox = inbox(&stack, "bob@remote.test").await;
    for security in [Security::StartTls, Security::Tls] {
        // given
        let mailer = alice(&stack, security);
        let mut letter = letter(ALICE, "bob@remote.test", &unique());
        letter.html = Some("<p>Grüße ✓</p>".into());
        let mail = mailer.compose(&letter).unwrap();
        // when
        let receipt = mailer.send(&tenant(), ALICE, &mail, &Gate::open()).await.unwrap();
        // then
        assert!(receipt.logged_in);
        assert_eq!(receipt.reply.unwrap().code, 250);
        assert!(receipt.provider_id.is_some(), "Exim names its queue id");
        // and another one over the same connection
        let next =
            mailer.compose(&crate::support::mail::letter(ALICE, "carol@remote.test", &unique()));
        let next = mailer.send(&tenant(), ALICE, &next.unwrap(), &Gate::open()).await.unwrap();
        assert!(!next.logged_in);
        let mails = arrived(&mut inbox, &mail.message_id).await;
        assert_eq!(mails.len(), 1);
        let read = MessageParser::default().parse(&mails[0]).unwrap();
        assert_eq!(read.subject(), Some(letter.subject.as_str()));
        assert_eq!(read.body_text(0).unwrap(), "Hello.\r\n.\r\n..two dots\r\n");
        assert_eq!(read.body_html(0).unwrap(), "<p>Grüße ✓</p>");
        assert_eq!(read.from().unwrap().first().unwrap().address(), Some(ALICE));
    }
}

/// Every answer that the server can be made to give, with the row of the table that it must get.
#[tokio::test]
async fn every_answer_of_the_server_gets_its_row() {
    let stack = MailStack::from_env();
    let mailer = alice(&stack, Security::StartTls);
    let rows = [
        ("hangup@fail.test", Meaning::ServerAway, 2, Phase::Rcpt),
        ("shutdown@fail.test", Meaning::ServerAway, 2, Phase::Rcpt),
        ("nullmx@fail.test", Meaning::HardBounce, 3, Phase::Rcpt),
        ("toofast@fail.test", Meaning::RecipientBusy, 8, Phase::Rcpt),
        ("throttled@fail.test", Meaning::RateLimited, 9, Phase::Rcpt),
        ("tempfail@fail.test", Meaning::Later, 11, Phase::Rcpt),
        ("overquota@fail.test", Meaning::Later, 11, Phase::Rcpt),
        ("dataslow@fail.test", Meaning::Later, 11, Phase::Dot),
        ("nobody@remote.test", Meaning::HardBounce, 12, Phase::Rcpt),
        ("x@nodomain.test", Meaning::HardBounce, 12, Phase::Rcpt),
        ("disabled@fail.test", Meaning::HardBounce, 12, Phase::Rcpt),
        ("moved@fail.test", Meaning::HardBounce, 12, Phase::Rcpt),
        ("full@fail.test", Meaning::SoftBounce, 13, Phase::Rcpt),
        ("form@fail.test", Meaning::MessageError, 14, Phase::Dot),
        ("dmarc@fail.test", Meaning::AuthenticationBlocked, 16, Phase::Dot),
        ("blocked@fail.test", Meaning::PolicyBlocked, 17, Phase::Rcpt),
        ("policy@fail.test", Meaning::PolicyBlocked, 17, Phase::Rcpt),
        ("spam@fail.test", Meaning::PolicyBlocked, 17, Phase::Dot),
        ("bare@fail.test", Meaning::HardBounce, 18, Phase::Rcpt),
        ("odd@fail.test", Meaning::Failed, 19, Phase::Rcpt),
    ];
    for (to, meaning, row, phase) in rows {
        let refusal = refusal(&mailer, ALICE, &letter(ALICE, to, &unique())).await;
        let got = (refusal.meaning, refusal.rule, refusal.phase);
        assert_eq!(got, (meaning, row, phase), "{to}: {}", refusal.message);
    }
}

/// Exim stays after a 421; RFC 5321 says that it goes, and so do we.
#[tokio::test]
async fn a_connection_ends_with_its_421() {
    let stack = MailStack::from_env();
    let mailer = alice(&stack, Security::Tls);
    refusal(&mailer, ALICE, &letter(ALICE, "throttled@fail.test", &unique())).await;
    let mail = mailer.compose(&letter(ALICE, "carol@remote.test", &unique())).unwrap();
    let receipt = mailer.send(&tenant(), ALICE, &mail, &Gate::open()).await.unwrap();
    assert!(receipt.logged_in);
}

#[tokio::test]
async fn a_sender_who_may_not_is_told_apart() {
    let stack = MailStack::from_env();
    // a spent quota
    let capped = stack.account(CAPPED, "secret", Security::Tls);
    let mailer = connect(&stack, CAPPED, capped);
    let spent = refusal(&mailer, CAPPED, &letter(CAPPED, "bob@remote.test", &unique())).await;
    assert_eq!((spent.meaning, spent.phase), (Meaning::QuotaSpent, Phase::Mail));
    // somebody else's address
    let mailer = alice(&stack, Security::Tls);
    let foreign = letter("carol@remote.test", "bob@remote.test", &unique());
    let foreign = refusal(&mailer, ALICE, &foreign).await;
    assert_eq!((foreign.meaning, foreign.phase), (Meaning::SenderRefused, Phase::Mail));
    // a wrong password
    let wrong = stack.account(ALICE, "wrong", Security::StartTls);
    let mailer = connect(&stack, ALICE, wrong);
    let refused = refusal(&mailer, ALICE, &letter(ALICE, "bob@remote.test", &unique())).await;
    assert_eq!((refused.meaning, refused.phase), (Meaning::AuthInvalid, Phase::Auth));
    // no login at all
    let mut nobody = stack.account(ALICE, "secret", Security::StartTls);
    (nobody.username, nobody.password) = (None, None);
    let mailer = connect(&stack, ALICE, nobody);
    let refused = refusal(&mailer, ALICE, &letter(ALICE, "bob@remote.test", &unique())).await;
    assert_eq!((refused.meaning, refused.rule), (Meaning::ConfigError, 4));
}

#[tokio::test]
async fn a_mail_that_is_too_large_is_refused_before_it_is_uploaded() {
    let stack = MailStack::from_env();
    let mailer = alice(&stack, Security::StartTls);
    let mut large = letter(ALICE, "bob@remote.test", &unique());
    large.text = Some("0123456789\n".repeat(110_000));
    let refusal = refusal(&mailer, ALICE, &large).await;
    assert_eq!((refusal.meaning, refusal.phase), (Meaning::MessageError, Phase::Mail));
    assert_eq!(refusal.reply.unwrap().code, 552);
}

#[tokio::test]
async fn a_greylisted_mail_passes_when_it_comes_back() {
    let stack = MailStack::from_env();
    let mailer = alice(&stack, Security::StartTls);
    let word = unique();
    let mail = mailer.compose(&letter(ALICE, &format!("{word}@grey.test"), &word)).unwrap();
    let send = || async { mailer.send(&tenant(), ALICE, &mail, &Gate::open()).await };
    // given
    let first = send().await;
    let Err(NotSent::Refused(refusal)) = first else { panic!("{first:?}") };
    assert_eq!((refusal.meaning, refusal.rule), (Meaning::Greylisted, 10));
    // when it comes back until the server has seen it for long enough
    let mut tick = tokio::time::interval(Duration::from_millis(250));
    let passing = async {
        loop {
            tick.tick().await;
            match send().await {
                Ok(_) => return,
                Err(NotSent::Refused(refusal)) => {
                    assert_eq!(refusal.meaning, Meaning::Greylisted);
                }
                Err(other) => panic!("{other:?}"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), passing).await.expect("it passes");
    // then it is there, once
    let mut inbox = inbox(&stack, "bob@remote.test").await;
    assert_eq!(arrived(&mut inbox, &mail.message_id).await.len(), 1);
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_stops_everything() {
    let stack = MailStack::from_env();
    for security in [Security::StartTls, Security::Tls] {
        // given a mailer that does not trust the stack's authority
        let mut config = stack.config();
        config.ca_file = "".into();
        let account = stack.account(ALICE, "secret", security);
        let mailer = mailer(&config, [(ALICE, Transport::Smtp(account))]);
        // when
        let refused = refusal(&mailer, ALICE, &letter(ALICE, "bob@remote.test", &unique())).await;
        // then
        assert_eq!((refused.meaning, refused.phase), (Meaning::ConfigError, Phase::Tls));
        assert!(refused.message.contains("certificate"), "{}", refused.message);
    }
}
